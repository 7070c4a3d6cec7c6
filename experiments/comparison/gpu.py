"""Carries the protocol at 64 pixels through on a machine with a GPU that is at hand for some minutes, and brings the editors back.

    python experiments/comparison/gpu.py train --pack PACK [--pack PACK ...] --runs RUNS --minutes 8 [--processes 6]
    python experiments/comparison/gpu.py list  --runs RUNS
    python experiments/comparison/gpu.py bring --runs RUNS --out OUT --parts 1-4
    python experiments/comparison/gpu.py join  brought-*.tar --runs runs

`train` makes sets of 64 pixels of what experiments/default-editor/gpu.py packed, and works through the queue, several trainings at once,
a process and a thread each; called again, it continues. `list` says what is in which part. `bring` writes parts, each whole by itself and
under 15 MB: the last editors of all trainings first, then those along the training, seed 0 before the others. `join` unpacks parts into
run folders `cmp-SEED` as report.py reads them. Nothing of legan has to be installed (PYTHONPATH=src).
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STARTED = time.monotonic()
HERE = Path(__file__).resolve().parent
# Share of each set in a batch.
SETS = {"turned": 0.4, "reexpressed": 0.3, "portraits-relit": 0.3}
SIZE, SEEDS = 64, (0, 1, 2)
TABLE = ("legan", "legan-noqual", "stargan-qual", "stargan", "starganv2")
FOUR, OFFICIAL = TABLE[:-1], "stargan-official"
# What the claims are about first, whole seeds at a time, longest first.
QUEUE = [*((name, seed) for seed in SEEDS for name in FOUR), (OFFICIAL, 0), *(("starganv2", seed) for seed in SEEDS)]
SMALL = ("log.jsonl", "config.toml")
PART = 14_900_000  # bytes of a part, at most
PATIENCE = 40  # seconds that a training has to save and end


class Training(NamedTuple):
    """One entry of the queue."""

    name: str
    seed: int

    def place(self, runs: Path) -> Path:
        """Folder of its own, so that no two processes write the same `curves.csv`; the run folder lies in it."""
        return runs / f"seed-{self.seed}" / self.name

    def log(self, runs: Path) -> Path:
        """What it printed."""
        return self.place(runs).with_suffix(".txt")

    def is_done(self, runs: Path) -> bool:
        """Whether it has come to its end."""
        return (self.place(runs) / f"{self.name}.safetensors").exists()

    def __str__(self) -> str:
        return f"{self.name} seed {self.seed}"


# Training.


def make_sets(packs: Sequence[Path], out: Path, n_workers: int) -> list[Path]:
    """Write the sets of `SIZE` pixels, each of all packs that have it."""
    from shrink import shrink

    from legan.data.manifest import MANIFEST

    for name in SETS:
        found = [pack / name for pack in packs if (pack / name / MANIFEST).exists()]
        if not found:
            sys.exit(f"error: no pack holds {name}: name the folders that lie above the sets")
        if not (out / f"{name}-{SIZE}" / MANIFEST).exists():
            n_images = shrink(found, out / f"{name}-{SIZE}", SIZE, n_workers)
            print(f"{name}-{SIZE}: {n_images} images of {len(found)} packs", flush=True)
    return [out / f"{name}-{SIZE}" for name in SETS]


def command(one: Training, sets: Sequence[Path], words: argparse.Namespace) -> list[str]:
    """The README's command, for one training."""
    options = {
        "runs": one.place(words.runs),
        "seed": one.seed,
        "only": one.name,
        "size": SIZE,
        "threads": 1,
        "images": words.images,
    }
    options |= {"warm-start": words.warm_start, "snapshots": words.snapshots}
    data = [word for folder in sets for word in ("--data", str(folder))]
    settings = [
        f"data.weights=[{','.join(map(str, SETS.values()))}]",
        f"loop.log_every={words.log_every}",
        f"data.batch_size={words.batch_size}",
    ]
    told = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, str(HERE / "train.py"), *data, *told, *settings]


def train(words: argparse.Namespace) -> int:
    """Work through the queue until it is empty or the time is up; return 1 where a training failed."""
    # A process that a shell put into the background ignores Ctrl-C, and so would those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    sets = make_sets(words.pack, words.runs / "data", len(os.sched_getaffinity(0)))
    print(f"sets are there after {time.monotonic() - STARTED:.0f} s", flush=True)
    deadline = STARTED + 60 * words.minutes
    wanted = [Training(*entry) for entry in QUEUE if entry[0] in (words.only or entry) and entry[1] in (words.seed or SEEDS)]
    waiting = [one for one in wanted if not one.is_done(words.runs)]
    running: dict[Training, tuple[subprocess.Popen[bytes], float]] = {}
    stopped, failed = [], []
    while running or (waiting and time.monotonic() < deadline):
        is_late = time.monotonic() >= deadline
        while waiting and len(running) < words.processes and not is_late:
            one = waiting.pop(0)
            one.log(words.runs).parent.mkdir(parents=True, exist_ok=True)
            with open(one.log(words.runs), "ab") as log:
                process = subprocess.Popen(command(one, sets, words), env=environment, stdout=log, stderr=log)
            running[one] = process, time.monotonic()
        if is_late:
            stopped = _stop([process for process, _ in running.values()]) and list(running)
        for one, (process, begun) in list(running.items()):
            if process.poll() is None:
                continue
            del running[one]
            now = time.monotonic()
            if one.is_done(words.runs):
                print(f"{now - STARTED:4.0f} s: {one} is done, {now - begun:.0f} s", flush=True)
            elif one not in stopped:
                failed.append(one)
                last = one.log(words.runs).read_text(errors="replace").splitlines()[-4:]
                print(f"{now - STARTED:4.0f} s: {one} FAILED:", *last, sep="\n    ", flush=True)
        time.sleep(0.2)
    for what, those in (("failed", failed), ("stopped", stopped), ("not begun", waiting)):
        left = [str(one) for one in those if not one.is_done(words.runs)]
        print(f"{what}: {', '.join(left) or 'none'}", flush=True)
    return 1 if failed else 0


def _stop(processes: Sequence["subprocess.Popen[bytes]"]) -> bool:
    """Do what Ctrl-C does, wait until all have ended, and end the others."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    until = time.monotonic() + PATIENCE
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(0.2)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
    return bool(processes)


# Bringing back.


def parts_of(runs: Path) -> list[list[tuple[Path, str]]]:
    """Files and their names of each part: the last editors with config and logs, then those along the training."""
    trainings = sorted((Training(*entry) for entry in QUEUE), key=lambda one: (one.seed, one.name not in FOUR))
    last, along = [], []
    for one in trainings:
        run, name = one.place(runs) / one.name, f"cmp-{one.seed}/{one.name}"
        last += [(run / file, f"{name}/{file}") for file in SMALL if (run / file).exists()]
        last += [(one.log(runs), f"{name}.txt")] if one.log(runs).exists() else []
        editors = [(path, f"{name}/snapshots/{path.name}") for path in sorted((run / "snapshots").glob("*.safetensors"))]
        last += editors[-1:]
        # The middle first: each further one halves a gap, about.
        along += [(one.seed, (0.5 - (k + 1) / len(editors)) ** 2, editors[k]) for k in range(len(editors) - 1)]
    ordered = [*last, *(editor for *_, editor in sorted(along, key=lambda entry: entry[:2]))]
    parts: list[list[tuple[Path, str]]] = []
    while ordered:
        part, room = [], PART - 20_000
        for entry in list(ordered):
            n = entry[0].stat().st_size + 2048  # its header, and what fills up a block
            if n <= room or not part:
                part.append(entry)
                ordered.remove(entry)
                room -= n
        parts.append(part)
    return parts


def bring(words: argparse.Namespace) -> int:
    """Write the parts asked for."""
    words.out.mkdir(parents=True, exist_ok=True)
    parts = parts_of(words.runs)
    for number in words.parts:
        if number <= len(parts):
            place = words.out / f"brought-{number}.tar"
            with tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
                for path, name in parts[number - 1]:
                    tar.add(path, name)
            print(f"{place.name}: {place.stat().st_size / 1e6:.2f} MB")
    print(f"{len(parts)} parts in all")
    return 0


def show(words: argparse.Namespace) -> int:
    """Print what is in which part."""
    for number, part in enumerate(parts_of(words.runs), 1):
        names = [name.replace("snapshots/images_", "").removesuffix(".safetensors") for _, name in part if "snapshots" in name]
        print(f"{number}: {sum(path.stat().st_size for path, _ in part) / 1e6:.1f} MB: {', '.join(names)}")
    return 0


def join(words: argparse.Namespace) -> int:
    """Unpack parts into `RUNS/cmp-SEED`, and write the curves of each."""
    from legan.core.config import read_toml
    from train import write_curves

    for place in words.brought:
        with tarfile.open(place) as tar:
            tar.extractall(words.runs, filter="data")
    for folder in sorted(words.runs.glob("cmp-*")):
        configs = sorted(folder.glob("*/config.toml"))
        if configs:
            write_curves(folder, read_toml(configs[0])["data"]["batch_size"])
        for run in sorted(path.parent for path in folder.glob("*/snapshots")):
            seen = [int(path.stem.split("_")[1]) for path in sorted((run / "snapshots").glob("*.safetensors"))]
            print(f"{folder.name}/{run.name}: editors after {', '.join(map(str, seen))} images")
    return 0


# The command line.


def _numbers(text: str) -> range:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not found or int(found[1]) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': write a number from 1, or two such as 1-4")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def main() -> int:
    """Read the command line and do what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    training = verbs.add_parser("train", help="shrink what is packed, and work through the queue")
    training.set_defaults(do=train)
    training.add_argument("--pack", type=Path, action="append", required=True, help="folder above packed sets; may be repeated")
    training.add_argument(
        "--minutes", type=float, required=True, help="from the start of this command until trainings are stopped"
    )
    training.add_argument("--processes", type=int, default=6, help="trainings at once")
    training.add_argument(
        "--only", choices=[*TABLE, OFFICIAL], action="append", help="may be repeated; the whole queue by default"
    )
    training.add_argument("--seed", type=int, choices=SEEDS, action="append", help="may be repeated; all by default")
    training.add_argument("--images", type=int, default=96_000, help="that each model is shown")
    training.add_argument("--warm-start", type=int, default=48_000, help="of these, that are only copied, at first")
    training.add_argument("--batch-size", type=int, default=32)
    training.add_argument("--snapshots", type=int, default=6)
    training.add_argument("--log-every", type=int, default=50)
    listing = verbs.add_parser("list", help="what is in which part")
    listing.set_defaults(do=show)
    bringing = verbs.add_parser("bring", help="write parts of what was trained")
    bringing.set_defaults(do=bring)
    bringing.add_argument("--out", type=Path, required=True)
    bringing.add_argument("--parts", type=_numbers, default=range(1, 5), help="such as 1-4, the default, or 5")
    joining = verbs.add_parser("join", help="unpack parts")
    joining.set_defaults(do=join)
    joining.add_argument("brought", type=Path, nargs="+")
    for verb in (training, listing, bringing, joining):
        verb.add_argument("--runs", type=Path, required=True)
    words = parser.parse_args()
    words.runs = words.runs.resolve()
    return int(words.do(words))


if __name__ == "__main__":
    sys.exit(main())
