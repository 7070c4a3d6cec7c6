"""Where the time of a photo goes: seconds of one core by stage, for `legan score --parts` and `legan edit`.

    python benchmarks/stages.py [--n 48] [--sides 512 1024 2048] [--verbs score edit] [--json stages.json]
    python benchmarks/stages.py --plan stages.json [--photos 10000000] [--cores 16]

Photos are the four packaged ones, each scaled to the long sides given and saved as JPEG at quality 90, with a little noise by seed, so
that no two are the same file. Times are processor time of the one thread that works, which other work on the machine changes little;
what a stage calls that is a stage itself is taken off. The packaged networks run, on the CPU, in float32.

`--plan` computes from measured stages, without running anything, how long many photos take on 8 to 64 nodes, each core a worker: on CPUs
alone, and with the network on GPUs that take no time at all, which no GPU can beat. It has no start-up, no stragglers, and storage that
keeps up.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), LEGAN_PRECISION="fp32")

import numpy as np
from PIL import Image

from legan.core.weights import asset
from legan.core.workers import become_worker, use_one_thread
from legan.editing import editor, folders
from legan.faces import align, detect
from legan.quality import scorer
from legan.requests import EditRequest

STAGES: dict[str, list[tuple[Any, str]]] = {
    "decode": [(align, "as_photo"), (editor, "as_photo")],
    "detect": [(detect, "_boxes_at")],
    "landmarks": [(detect, "locate_with_spreads")],
    "align": [(align, "align"), (align, "outside"), (editor, "align"), (editor, "suitable_faces")],
    "network": [(scorer.QualityScorer, "predict_crops"), (editor.Editor, "_translated")],
    "compose": [(editor, "_photo_fields"), (editor, "_edited_photo")],
    "write": [(scorer._Parts, "write"), (editor.Edit, "save")],
}


class Clock:
    """Seconds of this thread by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted for the stage."""

        def wrapper(*args: Any, **options: Any) -> Any:
            with self.counted(stage):
                return function(*args, **options)

        return wrapper

    @contextmanager
    def counted(self, stage: str) -> Iterator[None]:
        """Count the block's time, less that of the stages within."""
        start = time.thread_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.thread_time() - start
            self.seconds[stage] += spent - self._inner.pop()
            self._inner[-1] += spent


def photos(folder: Path, side: int, n: int, seed: int = 0) -> None:
    """Write `n` photos of this long side."""
    random = np.random.default_rng(seed)
    sources = [Image.open(path).convert("RGB") for path in sorted(asset("faces").glob("*.jpg"))]
    for i in range(n):
        source = sources[i % len(sources)]
        scale = side / max(source.size)
        pixels = np.asarray(source.resize([round(length * scale) for length in source.size], Image.Resampling.LANCZOS))
        noisy = pixels + random.normal(0, 2, pixels.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=90)


def measured(work: Callable[[], Any], n: int) -> dict[str, float]:
    """Milliseconds a photo by stage, and `other`, of work on `n` photos."""
    clock = Clock()
    with ExitStack() as patches:
        for stage, places in STAGES.items():
            for owner, name in places:
                patches.enter_context(mock.patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        with clock.counted("other"):
            work()
    return {stage: 1000 * clock.seconds[stage] / n for stage in (*STAGES, "other")}


def score(images: Sequence[str | Path], out: Path) -> None:
    """As `legan score --parts`."""
    scorer.score_in_parts(images, out)


def edit(images: Sequence[str | Path], out: Path) -> None:
    """As `legan edit`."""
    folders.edit_photos(images, out, EditRequest(expression="smile", lightings=("left",)))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--n", type=int, default=48)
    words.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    words.add_argument("--verbs", nargs="+", default=["score", "edit"], choices=("score", "edit"))
    words.add_argument("--json", type=Path)
    words.add_argument("--plan", type=Path)
    words.add_argument("--photos", type=int, default=10_000_000)
    words.add_argument("--cores", type=int, default=16)
    given = words.parse_args()
    if given.plan:
        plan(json.loads(given.plan.read_text()), given.photos, given.cores)
        return
    become_worker()
    use_one_thread()
    table: dict[str, dict[str, float]] = {}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place, mock.patch.object(align, "ThreadPoolExecutor", Here):
        for side in given.sides:
            folder, out = Path(place) / str(side), Path(place) / "out"
            folder.mkdir()
            photos(folder, side, given.n)
            few = sorted(folder.iterdir())[:8]
            sizes[str(side)] = sum(path.stat().st_size for path in folder.iterdir()) / given.n
            for verb, work in ((verb, {"score": score, "edit": edit}[verb]) for verb in given.verbs):
                work(few, out / f"warm-{verb}-{side}")  # networks loaded, kernels chosen
                table[f"{verb} {side}"] = measured(partial(work, [folder], out / f"{verb}-{side}"), given.n)
    stages = (*STAGES, "other")
    print(f"milliseconds of one core for a photo, n={given.n}")
    print("| verb, long side | " + " | ".join(stages) + " | sum |\n|" + " --- |" * (len(stages) + 2))
    for name, row in table.items():
        cells = [f"{row[stage]:.1f} ({row[stage] / sum(row.values()):.0%})" for stage in stages]
        print(f"| {name} | " + " | ".join(cells) + f" | {sum(row.values()):.1f} |")
    if given.json:
        given.json.write_text(json.dumps({"n": given.n, "bytes": sizes, "milliseconds": table}, indent=2) + "\n")


def plan(measured: dict[str, Any], n_photos: int, n_cores: int) -> None:
    """Print hours and rates of many photos on many nodes."""
    print(
        f"{n_photos:,} photos, {n_cores} workers a node\n| verb, long side | nodes | hours, CPU | hours, GPU at best | photos/s, CPU |",
        end="",
    )
    print(" MB/s read, all |\n| --- | --- | --- | --- | --- | --- |")
    for name, stages in measured["milliseconds"].items():
        whole = sum(stages.values()) / 1000
        for n_nodes in (8, 16, 32, 64):
            workers = n_nodes * n_cores
            rate, best = workers / whole, workers / (whole - stages["network"] / 1000)
            hours = [n_photos / photos_a_second / 3600 for photos_a_second in (rate, best)]
            read = rate * measured["bytes"][name.split()[1]] / 1e6
            print(f"| {name} | {n_nodes} | {hours[0]:.2f} | {hours[1]:.2f} | {rate:,.0f} | {read:,.0f} |")


class Here:
    """In place of a pool of threads: does the work at once, in this thread, whose time is measured."""

    def __init__(self, *_: Any, **options: Any) -> None:
        options["initializer"](*options["initargs"])

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function now."""
        result = function(*args)
        return mock.Mock(result=lambda: result)

    def shutdown(self) -> None:
        """Nothing runs."""


if __name__ == "__main__":
    main()
