"""Golden values: proves that a refactoring changes nothing that the project puts out.

    python tools/golden.py --write tools/golden.json                   # before
    python tools/golden.py --check tools/golden.json [--only 'train.*' edit]   # after: prints what differs, exit code 1
    python tools/golden.py --fixtures DIR                              # writes files of today ...
    python tools/golden.py --open DIR                                  # ... that the code at hand must still open

Everything goes through the command line and the names of `legan.__all__`, so that modules may move. Images count by their pixels,
checkpoints and weights by their tensors; figures stand as numbers, and `--tolerance 1e-6` forgives a little where a library took the
place of own code. Tensors are hashed twice: `values` without names (stays when a key is renamed) and `names`.

One thread, float32, fixed seeds. The values hold for one machine and one version of PyTorch: other processors choose other kernels. So
`--write` before the change and `--check` after it run on the same machine. The data is made here: three rendered people
take most of the time (`--renders DIR` reuses a set of an earlier `--keep`).

Left out, since two runs of the same code differ or the command line does not reach it: see `LEFT_OUT`.
"""

import argparse
import csv
import fnmatch
import hashlib
import http.cookiejar
import io
import json
import os
import platform
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"), COLUMNS="120", NO_COLOR="1", CUDA_VISIBLE_DEVICES="")

import numpy as np  # noqa: E402  # after the number of threads is fixed
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors import safe_open  # noqa: E402

import legan  # noqa: E402
import legan.cli  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # `tools.landmarks`

torch.set_num_threads(1)

LEFT_OUT = (
    "demo: its images are those of edit",
    "import, verify lfw | bin | ijbb, ratings import: need published data",
    "study: rater names, order of items and times are random; each picture's answer is compared instead",
    "training on several processes, bfloat16, GPUs",
)
FACES = ("r000009", "r000019", "r000029")
EDITS = {
    "smile": ["--expression", "smile"],
    "left": ["--lighting", "left"],
    "both-half": ["--expression", "surprise", "--lighting", "-45", "--strength", "0.5"],
    "soft-room": ["--expression", "smile:0.7", "--lighting", "room", "--strength", "0.5"],
}
# What every training is run with: 12 steps, with checkpoints at 5, 10 and 12.
LOOP = {
    "loop.n_steps": 12,
    "loop.log_every": 4,
    "loop.sample_every": 6,
    "loop.checkpoint_every": 5,
    "loop.checkpoint_minutes": 60,
    "loop.n_checkpoints": 9,
}
EDITOR = {
    "data.batch_size": 2,
    "precision": '"fp32"',
    "generator.width": 8,
    "generator.n_residual": 1,
    "critic.width": 8,
    # Rates high enough that twelve steps are seen in the images.
    "optimizer.warmup_steps": 1,
    "optimizer.lr": 0.003,
}
# Name: command, data sets (of `Work.data`), preset, settings, the weights in the run folder (None: `legan export` writes them).
TRAININGS: dict[str, tuple[str, tuple[str, ...], str | None, dict[str, Any], str | None]] = {
    "lite": ("legan", ("renders",), "lite", EDITOR, None),
    "lite-unpaired": ("legan", ("renders",), "lite-unpaired", EDITOR, None),
    "fields-paired": ("legan", ("renders",), "fields-paired", EDITOR, None),
    "fields": ("legan", ("renders",), "fields", EDITOR, None),
    "stargan": ("stargan", ("renders",), "lite", {**EDITOR, "loss.quality": 0.1, "adversarial.n_critic": 2}, None),
    "starganv2": (
        "starganv2",
        ("renders",),
        "lite",
        {"data.batch_size": 2, "precision": '"fp32"', "network.width": 4, "network.max_width": 32, "optimizer.lr": 0.003},
        None,
    ),
    "identity": ("identity", ("renders",), "lite", {"data.batch_size": 2, "precision": '"fp32"'}, "identity.safetensors"),
    "expression": ("expression", ("renders",), "lite", {"data.batch_size": 2, "precision": '"fp32"'}, "expression.safetensors"),
    "quality": (
        "quality",
        ("rated",),
        "lite",
        {
            "data.batch_size": 4,
            "precision": '"fp32"',
            "network.width": 4,
            "rank": 0.5,
            "rank_ladders": 1,
            "optimizer.warmup_steps": 1,
        },
        "quality.safetensors",
    ),
    "landmarks": ("landmarks", ("wide",), None, {"data.batch_size": 2}, "landmarks.safetensors"),
}


# --- running commands ---------------------------------------------------------------------------------------------------------------


class CommandError(RuntimeError):
    """A command ended with another exit code than those it may have."""


def run(*words: object, cwd: Path, allowed: Iterable[int] = (0,)) -> str:
    """Run `python -m legan WORDS` in a folder and return its stdout; of `train landmarks ...` `python -m tools.landmarks ...`."""
    module, arguments = "legan", [str(word) for word in words]
    if arguments[:2] == ["train", "landmarks"]:
        module, arguments = "tools.landmarks", arguments[2:]

    def command() -> None:
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    return in_child(command, f"{module} {' '.join(arguments)}", cwd, allowed)


def in_child(work: Callable[[], None], what: str, cwd: Path, allowed: Iterable[int] = (0,)) -> str:
    """Call a function in a forked process and return what it printed.

    Imports are shared and quick, while random state, caches and threads of one command never reach the next.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _become(work, cwd, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        printed, told = out.read().decode(), err.read().decode()
    if code not in allowed:
        raise CommandError(f"{what} ended with {code}:\n{told[-3000:]}")
    return printed


def _become(work: Callable[[], None], cwd: Path, out: int, err: int) -> None:
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(cwd)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # the parent shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- hashes -------------------------------------------------------------------------------------------------------------------------


def digest(*parts: object) -> str:
    """A short digest of bytes, or of values as JSON."""
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()[:20]


def pixels(source: Path | bytes | Image.Image) -> str:
    """Digest of an image's decoded pixels."""
    image = (
        source if isinstance(source, Image.Image) else Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    )
    array = np.asarray(image)
    return digest([array.shape, str(array.dtype)], array.tobytes())


def folder_pixels(folder: Path) -> dict[str, str]:
    """Digest of each image in a folder, by its path there."""
    return {
        str(path.relative_to(folder)): pixels(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".jpg", ".webp")
    }


def tensors(named: Mapping[str, Any]) -> dict[str, Any]:
    """Digests of a nest of tensors and numbers: of the values, whatever they are called, and of the names."""
    found: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, torch.Tensor):
            array = value.detach().cpu().contiguous()
            found[path] = digest(
                [list(array.shape), str(array.dtype)],
                array.numpy().tobytes(),
            )
        elif isinstance(value, Mapping):
            for key, part in value.items():
                walk(part, f"{path}/{key}")
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                walk(part, f"{path}/{index}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[path] = digest(repr(value))

    walk(named, "")
    return {"values": digest(sorted(found.values())), "names": digest(sorted(found)), "n": len(found)}


def weights_file(path: Path) -> dict[str, Any]:
    """Digests of a safetensors file's tensors, and the keys of its metadata (its values hold commits and paths)."""
    with safe_open(path, "pt") as file:
        return {**tensors({key: file.get_tensor(key) for key in file.keys()}), "metadata": sorted(file.metadata() or {})}  # noqa: SIM118


def checkpoint(run_folder: Path, step: int = 12) -> dict[str, Any]:
    """Digests of a checkpoint's whole state."""
    path = run_folder / "checkpoints" / f"step_{step:06d}.pt"
    return tensors(torch.load(path, map_location="cpu", weights_only=True))


def logged(run_folder: Path) -> str:
    """Digest of all numbers of a run's log, whatever they are called, but times and speeds."""
    lines = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    return digest([sorted(repr(value) for key, value in line.items() if not _is_time(key)) for line in lines])


def _is_time(key: str) -> bool:
    return any(word in key.lower() for word in ("time", "second", "_per_", "hours", "speed"))


def data_set(folder: Path, identity: str | None = None) -> dict[str, Any]:
    """Digests of a data set: the pixels of all images, and the rows of its manifest but for places and sums of files."""
    frame = pd.read_parquet(folder / "manifest.parquet")
    if identity is not None:
        frame = frame[frame["identity"] == identity]
    images = []
    for row in frame.to_dict("records"):
        with (folder / row["path"]).open("rb") as file:
            if row.get("n_bytes") and row["n_bytes"] > 0:
                file.seek(int(row["offset"]))
                images.append(pixels(file.read(int(row["n_bytes"]))))
            else:
                images.append(pixels(file.read()))
    kept = [name for name in frame.columns if name not in ("path", "offset", "n_bytes", "sha256", "matte_offset")]
    rows = [[_plain(row[name]) for name in kept] for row in frame.to_dict("records")]
    return {
        "n": len(frame),
        "pixels": digest(images),
        "rows": digest(sorted(json.dumps(row) for row in rows)),
        "columns": list(frame.columns),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def without(value: Any, *words: str) -> Any:
    """A nest of values without what stands under keys with these words, and paths cut to their names."""
    if isinstance(value, Mapping):
        kept = {key: part for key, part in value.items() if not any(word in key.lower() for word in words)}
        return {without(key): without(part, *words) for key, part in kept.items()}
    if isinstance(value, (list, tuple)):
        return [without(part, *words) for part in value]
    return value.rsplit("/", 1)[-1] if isinstance(value, str) and value.startswith("/") else value


# --- what is made once and used by several entries ------------------------------------------------------------------------------------


class Work:
    """A folder of work, and what is made there on first use."""

    def __init__(self, folder: Path, renders: Path | None = None, photos: Path | None = None) -> None:
        self.folder, self.given_renders, self.photos = folder, renders, photos

    def run(self, *words: object, allowed: Iterable[int] = (0,)) -> str:
        """Run a command in the folder."""
        return run(*words, cwd=self.folder, allowed=allowed)

    def json(self, *words: object, allowed: Iterable[int] = (0,)) -> Any:
        """Run a command with `--json` and return what it printed."""
        return json.loads(self.run(*words, "--json", allowed=allowed))

    def asset(self, name: str) -> Path:
        """A file of the package, wherever it lies there."""
        return next(iter(sorted(Path(legan.__file__).parent.rglob(name))))

    def faces(self) -> list[Path]:
        """Packaged rendered faces."""
        return [self.asset(f"{name}.png") for name in FACES]

    def data(self, name: str) -> Path:
        """A data set, or a folder of images: made when it is first asked for."""
        folder = self.folder / name
        if not folder.exists():
            getattr(self, f"_make_{name}")(folder)
        return folder

    def _make_renders(self, folder: Path) -> None:
        """Three people, 120 crops each: two train, one val."""
        if self.given_renders:
            shutil.copytree(self.given_renders, folder)
        else:
            self.run("render", "--identities", 3, "--seed", 0, "--out", folder)

    def _make_wide(self, folder: Path) -> None:
        """Two people, the second val."""
        self.run("render", "--identities", 2, "--seed", 0, "--view", "wide", "--out", folder)

    def _make_rated(self, folder: Path) -> None:
        """A hundred fakes with labels from simulated raters."""
        editors = self.folder / "editors"
        editors.mkdir(exist_ok=True)
        shutil.copy(self.asset("editor.safetensors"), editors)
        self.run(
            "synthesize", "--renders", self.data("renders"), "--editors", editors, "--n", 100, "--seed", 0, "--out", folder
        )
        self.run("ratings", "simulate", folder, "--seed", 0, "--out", folder / "ratings.csv")
        self.run("ratings", "export", folder / "ratings.csv", "--data", folder, "--out", folder / "labels.csv")

    def _make_people(self, folder: Path) -> None:
        """Nine crops of each rendered person, a folder a person."""
        renders = self.data("renders")
        frame = pd.read_parquet(renders / "manifest.parquet")
        for identity, rows in frame.groupby("identity"):
            (folder / str(identity)).mkdir(parents=True)
            for number, row in enumerate(rows.iloc[::14].to_dict("records")):
                with tarfile.open(renders / row["path"]) as shard:
                    (folder / str(identity) / f"{number}.png").write_bytes(shard.extractfile(row["key"]).read())  # type: ignore[union-attr]


Entry = Callable[[Work], dict[str, Any]]
ENTRIES: dict[str, Entry] = {}


def entry(name: str) -> Callable[[Entry], Entry]:
    """Register what computes the values of one name."""

    def register(function: Entry) -> Entry:
        ENTRIES[name] = function
        return function

    return register


# --- entries ------------------------------------------------------------------------------------------------------------------------


@entry("help")
def help_(work: Work) -> dict[str, Any]:
    """Each command's arguments and options with their defaults; words may change."""
    from typer.main import get_command

    found: dict[str, Any] = {}

    def walk(command: Any, path: str) -> None:
        if hasattr(command, "commands"):
            for name, part in command.commands.items():
                walk(part, f"{path} {name}".strip())
            return
        found[path] = sorted(named(parameter) for parameter in command.params)

    def named(parameter: Any) -> str:
        name = " ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
        default = parameter.default if isinstance(parameter.default, (str, int, float, Path)) else None
        return f"{name} = {default}"

    walk(get_command(legan.cli.app), "")
    return found


@entry("api")
def api(work: Work) -> dict[str, Any]:
    """The public names, and what the main ones give."""
    return json.loads(in_child(lambda: print(json.dumps(_api(work))), "the public API", work.folder))


def _api(work: Work) -> dict[str, Any]:
    faces = work.faces()[:2]
    legan.load_editor()(faces[0], expression="smile", lighting=-45).save(work.folder / "api.png")
    crops = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in faces])
    x = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    loss = legan.QualityLoss()(x)
    loss.backward()
    assert x.grad is not None
    return {
        "names": sorted(legan.__all__),
        "edit": pixels(work.folder / "api.png"),
        "score": [float(value) for value in legan.score(list(faces))],
        "match": float(legan.match(*faces).score),
        "quality loss": loss.item(),
        "quality gradient": digest(x.grad.numpy().tobytes()),
        "classes": digest(list(legan.EXPRESSIONS), [str(one) for one in legan.LIGHTINGS]),
    }


@entry("edit")
def edit(work: Work) -> dict[str, Any]:
    """Three faces by four edits with both masks; then what else the command can do, on one face."""
    found = {}
    for name, options in EDITS.items():
        out = work.folder / "edit" / name
        work.run("edit", *work.faces(), *options, "--masks", "--out", out)
        found[name] = folder_pixels(out)
    face = work.faces()[0]
    out = work.folder / "edit-more"
    out.mkdir()
    light = ["--lighting", "-60 + 0.3*45,20", "--ambient", "0.2", "--softness", "30", "--light-color", "3200K"]
    work.run("edit", face, *light, "--out", out / "lamps.png")
    work.run("edit", face, "--grid", "--lighting", "left", "--lighting", "right", "--out", out / "grid.png")
    work.run("edit", face, "--face", "aligned", "-e", "squint", "--weights", "packaged", "--out", out / "aligned.png")
    # A face in a larger photo: detected, and pasted back.
    photo = Image.new("RGB", (500, 420), (96, 110, 120))
    photo.paste(Image.open(face).convert("RGB").resize((300, 300), Image.Resampling.LANCZOS), (110, 50))
    photo.save(work.folder / "photo.png")
    report = work.json(
        "edit", work.folder / "photo.png", "-e", "smile", "-l", "right", "--readings", "--force", "-o", out / "photo.png"
    )
    work.run("edit", work.folder / "photo.png", "-e", "smile", "--force", "--no-mark", "--out", out / "photo.jpg")
    mark = legan.read_mark(out / "photo.png")
    return {**found, "more": folder_pixels(out), "report": without(report), "mark": sorted(vars(mark)) if mark else None}


@entry("editors")
def editors(work: Work) -> dict[str, Any]:
    """An edit with a tiny editor of each kind, and the light of another photo, which asks an editor's critic."""
    out, (face, other) = work.folder / "edited", work.faces()[:2]
    for name in ("lite", "fields", "stargan", "starganv2"):
        editor = ["--face", "aligned", "--editor", exported(work, name)]
        work.run("edit", face, "-e", "smile", "-l", "left", *editor, "--out", out / f"{name}.png")
    work.run("edit", face, "--light-like", other, "--editor", exported(work, "fields"), "--out", out / "like.png")
    return folder_pixels(out)


@entry("score")
def score(work: Work) -> dict[str, Any]:
    """The table of three faces, and of the file."""
    table = work.json("score", *work.faces(), "--out", work.folder / "scores.csv")
    return {"table": without(table), "csv": [row[1:] for row in csv.reader((work.folder / "scores.csv").open())]}


@entry("match")
def match(work: Work) -> dict[str, Any]:
    """The match of two pairs with the packaged embedding, and of one with a tiny one."""
    a, b, c = work.faces()
    found = {f"{x.stem} {y.stem}": work.json("match", x, y)["score"] for x, y in ((a, b), (a, c))}
    return {**found, "tiny": work.json("match", a, b, "--identity", exported(work, "identity"))["score"]}


@entry("models")
def models(work: Work) -> dict[str, Any]:
    """The catalogue."""
    return {"catalogue": without(work.json("models"), "second", "time")}


@entry("render")
def render(work: Work) -> dict[str, Any]:
    """The crops of the first rendered person, and two people seen wide."""
    crops = work.data("renders")
    if work.given_renders:
        crops = work.folder / "one-person"
        work.run("render", "--identities", 1, "--seed", 0, "--out", crops)
    return {"crop": data_set(crops, "r000000"), "wide": data_set(work.data("wide"))}


@entry("synthesize")
def synthesize(work: Work) -> dict[str, Any]:
    """Fakes of every kind, and simulated ratings of them."""
    folder = work.data("rated")
    summary = work.json("ratings", "summary", folder / "ratings.csv", "--data", folder)
    cleaned = work.json("ratings", "clean", folder / "ratings.csv", "--out", work.folder / "clean.csv", "--data", folder)
    texts = {name: digest((folder / name).read_bytes()) for name in ("ratings.csv", "labels.csv")}
    return {"set": data_set(folder), "files": texts, "summary": without(summary), "cleaned": without(cleaned)}


@entry("photos")
def photos(work: Work) -> dict[str, Any]:
    """Two photos relit and re-expressed, and imported as crops: needs `--photos DIR` with files such as 001_neutral.jpg."""
    if work.photos is None:
        return {}
    folder = work.folder / "photos"
    folder.mkdir()
    for path in sorted(work.photos.glob("*.jpg"))[:2]:
        shutil.copy(path, folder)
    name = ["--identity-from-name", r"(?P<identity>\d+)_(?P<expression>[a-z]+)", "--source", "golden", "--licence", "test"]
    work.run("relight", folder, *name, "--out", work.folder / "relit")
    work.run("reexpress", folder, *name, "--even-only", "--out", work.folder / "reexpressed")
    work.run("import", f"photo={folder}", "--out", work.folder / "imported")
    return {kind: data_set(work.folder / kind) for kind in ("relit", "reexpressed", "imported")}


@entry("augment")
def augment(work: Work) -> dict[str, Any]:
    """A few edits of training people."""
    out = work.folder / "augmented"
    options = ["--policy", "both:1", "--ratio", 0.05, "--min-quality", 3, "--min-match", 0.2, "--seed", 0]
    done = work.json("augment", work.data("renders"), *options, "--out", out)
    return {"set": data_set(out), "report": without(done, "second", "time")}


@entry("filter")
def filter_(work: Work) -> dict[str, Any]:
    """Which of some crops are kept."""
    out = work.folder / "kept"
    work.run("filter", work.data("people"), "--keep", 0.5, "--duplicates", "--embedding", "packaged", "--out", out)
    return folder_pixels(out)


@entry("verify")
def verify(work: Work) -> dict[str, Any]:
    """Verification of the rendered people."""
    found = work.json("verify", "people", work.data("people"), "--pairs", 60, "--seed", 0)
    return {"figures": without(found, "second", "time")}


@entry("recognize")
def recognize(work: Work) -> dict[str, Any]:
    """A tiny classifier on packaged faces, and its figures on a data set."""
    weights = exported(work, "expression")
    found = work.json("recognize", *work.faces(), "--weights", weights)
    figures = work.json("recognize", "--data", work.data("renders"), "--split", "val", "--weights", weights)
    return {"faces": without(found), "figures": without(figures, "second", "time", "classifier")}


@entry("evaluate")
def evaluate(work: Work) -> dict[str, Any]:
    """The report on the packaged editor and a tiny one: all numbers but times."""
    return evaluation(work, work.data("renders"), exported(work, "lite"), work.folder / "report")


def evaluation(work: Work, data: Path, editor: Path, out: Path) -> dict[str, Any]:
    """The numbers of `legan evaluate`."""
    options = ["--split", "val", "--n", 16, "--seed", 0, "--resamples", 50]
    work.run("evaluate", "--data", data, "--editor", "packaged", "--editor", f"tiny={editor}", *options, "--out", out)
    report = json.loads((out / "report.json").read_text())
    files = {name: digest((out / name).read_bytes()) for name in ("table.md", "table.csv", "table.tex", "images.csv")}
    return {"report": without(report, "second", "time", "date", "commit", "version", "path", "sha256"), "files": files}


@entry("onnx")
def onnx(work: Work) -> dict[str, Any]:
    """What the packaged editor's ONNX file gives for seeded inputs."""
    path = work.folder / "editor.onnx"
    work.run("export", "packaged", "--out", path)
    return json.loads(in_child(lambda: print(json.dumps(_onnx(path))), "onnxruntime", work.folder))


def _onnx(path: Path) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    shapes = {i.name: [size if isinstance(size, int) else 1 for size in i.shape] for i in session.get_inputs()}
    given = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
    given = {name: value * 2 - 1 if value.ndim == 4 else value / value.sum() for name, value in given.items()}
    names = [o.name for o in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, given), strict=True))
    return {"inputs": shapes, "outputs": {name: digest(value.tobytes()) for name, value in outputs.items()}}


# --- trainings ----------------------------------------------------------------------------------------------------------------------


def train(work: Work, name: str, run_folder: Path) -> None:
    """Run, or go on with, a training of the table."""
    command, data, preset, settings, _ = TRAININGS[name]
    words: list[object] = ["train", command, "--run", run_folder]
    for one in data:
        words += ["--data", work.data(one)]
    if command == "quality":
        words += ["--ratings", work.data("rated") / "labels.csv"]
    words += ["--preset", preset] if preset else []
    for key, value in {**LOOP, **settings}.items():
        words += ["--set", f"{key}={value}"]
    work.run(*words)


def trained(work: Work, name: str) -> Path:
    """The run folder of a training of twelve steps."""
    folder = work.folder / "runs" / name
    if not folder.exists():
        train(work, name, folder)
    return folder


def only_step(source: Path, out: Path, step: int = 5) -> Path:
    """Copy a run as it was after some steps."""
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.safetensors", "events.*", "samples"))
    for path in (out / "checkpoints").glob("*.pt"):
        if path.name != f"step_{step:06d}.pt":
            path.unlink()
    return out


def exported(work: Work, name: str) -> Path:
    """The weights that a training gives: its own file, or that of `legan export`."""
    folder, own = trained(work, name), TRAININGS[name][4]
    if own:
        return folder / own
    out = work.folder / f"{name}.safetensors"
    if not out.exists():
        work.run("export", folder, "--out", out)
    return out


def training(name: str) -> Entry:
    """The entry of a training: twelve steps; five, a resume and seven more; what is exported."""

    def compute(work: Work) -> dict[str, Any]:
        folder = trained(work, name)
        resumed = only_step(folder, work.folder / "resumed" / name)
        train(work, name, resumed)
        state = checkpoint(folder)
        return {
            "state": state,
            "resumed is equal": checkpoint(resumed) == state,
            "log": logged(folder),
            "samples": folder_pixels(folder / "samples"),
            "weights": weights_file(exported(work, name)),
        }

    return compute


ENTRIES.update({f"train.{name}": training(name) for name in TRAININGS})


# --- studies ------------------------------------------------------------------------------------------------------------------------


def held_study(work: Work, kind: str, out: Path) -> Path:
    """A study in which three programs answer over HTTP: what they say depends on the pictures' pixels alone."""
    source = work.folder / f"study-source-{kind}"
    if kind == "rating":
        source.mkdir(exist_ok=True)
        for path in work.faces():
            shutil.copy(path, source)
    else:
        for model, options in (("a", EDITS["smile"]), ("b", EDITS["both-half"])):
            work.run("edit", *work.faces(), *options, "--out", source / model)
    work.run(
        "study",
        "create",
        "--from",
        source,
        "--kind",
        kind,
        "--n-practice",
        0,
        "--raters-per-item",
        3,
        "--seed",
        0,
        "--out",
        out,
    )
    settings = out / "study.toml"
    text = settings.read_text().replace("simulated = false", "simulated = true")
    text = text.replace("REPLACE THIS TEXT", "A test")
    text = re.sub(r"(?m)^repeats_per_rater = \d+", "repeats_per_rater = 0", text)
    settings.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "legan", "study", "serve", str(out), "--port", str(port)], stderr=subprocess.PIPE
    )
    try:
        for _ in range(3):
            _take_part(f"http://127.0.0.1:{port}", kind, server)
    finally:
        server.terminate()
        server.wait(30)
    return out


def _take_part(url: str, kind: str, server: subprocess.Popen[bytes]) -> None:
    """One rater, from consent to the end."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def ask(path: str, **form: str) -> bytes:
        body = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(url + path, body, {"x-study": "page", "origin": url})
        for _ in range(200):
            try:
                with opener.open(request, timeout=30) as answer:
                    return answer.read()
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:  # not started yet
                if server.poll() is not None:
                    raise CommandError(f"legan study serve ended: {server.stderr.read().decode()}") from None  # type: ignore[union-attr]
                time.sleep(0.1)
        raise CommandError("legan study serve does not answer")

    def field(page: str, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', page)
        if not found:
            raise CommandError(f"no field {name} in a page of the study: {page[:2000]}")
        return found[1]

    page = ask("/").decode()
    for path, more in (("/consent", {"agree": "yes"}), ("/start", {})):
        page = ask(path, token=field(page, "token"), **more).decode()
    while 'id="answer"' in page:
        codes = re.findall(r'class="judged" src="/picture/([^"]+)"', page)
        sums = [int(pixels(ask(f"/picture/{code}")), 16) for code in codes]
        form = {"token": field(page, "token"), "assignment": field(page, "assignment"), "seconds": "1.5"}
        answer = {"rating": str(sums[0] % 21 / 2)} if kind == "rating" else {"choice": codes[sums.index(max(sums))]}
        page = ask("/answer", **form, **answer).decode()


def study_files(work: Work, study: Path, out: Path) -> dict[str, Any]:
    """The content of what `legan study export` writes."""
    work.run("study", "export", study, "--out", out)
    return {path.name: path.read_text() for path in sorted(out.iterdir())}


@entry("study.rating")
def study_rating(work: Work) -> dict[str, Any]:
    """What each picture was rated; rater names and the order are random."""
    files = study_files(work, held_study(work, "rating", work.folder / "study-rating"), work.folder / "study-rating-out")
    rows = list(csv.DictReader(io.StringIO(files["ratings.csv"])))
    return {
        "files": sorted(files),
        "columns": list(csv.DictReader(io.StringIO(files["answers.csv"])).fieldnames or ()),
        "ratings": sorted([row["image"], row["rating"]] for row in rows),
    }


@entry("study.preference")
def study_preference(work: Work) -> dict[str, Any]:
    """Which model was preferred how often."""
    files = study_files(
        work, held_study(work, "preference", work.folder / "study-preference"), work.folder / "study-preference-out"
    )
    return {
        "files": sorted(files),
        "preference": without(json.loads(files["preference.json"]), "rater", "second", "date", "time"),
    }


# --- files that must still open -----------------------------------------------------------------------------------------------------

RUNS = ("lite", "fields", "stargan", "starganv2", "identity", "expression", "quality", "landmarks")
ROOT, EXPECTED = "root.txt", "expected.json"


def write_fixtures(work: Work, folder: Path) -> None:
    """Write files of today: data sets, runs after five of twelve steps, weights, studies; and what they give today."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty: choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("renders", "wide", "rated"):
        shutil.copytree(work.data(name), folder / name)
    (folder / "weights").mkdir()
    for name in RUNS:
        only_step(trained(work, name), folder / "runs" / name)
        shutil.copy(exported(work, name), folder / "weights" / f"{name}.safetensors")
    for kind in ("rating", "preference"):
        held_study(work, kind, folder / f"study-{kind}")
    # Runs name their data by full paths: those of the folder of work, which are replaced where the files are opened.
    (folder / ROOT).write_text(str(work.folder))
    (folder / EXPECTED).write_text(json.dumps(opened(folder), indent=1, sort_keys=True) + "\n")


def opened(folder: Path) -> dict[str, Any]:
    """Open each file of a folder of fixtures, in a copy, and return what it gives."""
    with tempfile.TemporaryDirectory(prefix="legan-golden-") as place:
        copy = Path(place) / "work"
        shutil.copytree(folder, copy)
        for path in copy.glob("runs/*/*.toml"):
            path.write_text(path.read_text().replace((folder / ROOT).read_text(), str(copy)))
        work = Work(copy)
        found: dict[str, Any] = {name: data_set(copy / name) for name in ("renders", "wide", "rated")}
        for name in RUNS:  # from step 5 to step 12
            train(work, name, copy / "runs" / name)
            found[f"run {name}"] = {
                "state": checkpoint(copy / "runs" / name), "weights": weights_file(exported(work, name))
            }  # fmt: skip
        weights, face = copy / "weights", work.faces()[0]
        for name in ("lite", "fields", "stargan", "starganv2"):
            out = copy / f"{name}.png"
            work.run(
                "edit",
                face,
                "-e",
                "smile",
                "-l",
                "left",
                "--face",
                "aligned",
                "--editor",
                weights / f"{name}.safetensors",
                "-o",
                out,
            )
            found[f"edit {name}"] = pixels(out)
        found["score"] = without(work.json("score", *work.faces(), "--quality", weights / "quality.safetensors"))
        found["match"] = work.json("match", *work.faces()[:2], "--identity", weights / "identity.safetensors")["score"]
        found["recognize"] = without(work.json("recognize", *work.faces(), "--weights", weights / "expression.safetensors"))
        found["evaluate"] = evaluation(work, copy / "renders", weights / "lite.safetensors", copy / "report")
        for kind in ("rating", "preference"):
            found[f"study {kind}"] = study_files(work, copy / f"study-{kind}", copy / f"exported-{kind}")
        return found


# --- comparing ----------------------------------------------------------------------------------------------------------------------


def differences(old: Any, new: Any, tolerance: float, path: str) -> list[str]:
    """The places in which two nests of values differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = [f"{path}/{key}: gone" for key in old.keys() - new.keys()] + [
            f"{path}/{key}: new" for key in new.keys() - old.keys()
        ]
        for key in old.keys() & new.keys():
            lines += differences(old[key], new[key], tolerance, f"{path}/{key}")
        return sorted(lines)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, tolerance, f"{path}/{i}")
        ]
    if isinstance(old, list) and isinstance(new, list):
        gone, more = [v for v in old if v not in new], [v for v in new if v not in old]
        return [f"{path}: without {gone}, with {more}"]
    is_near = isinstance(old, float) and isinstance(new, (int, float)) and abs(old - new) <= tolerance * max(1, abs(old))
    return [] if old == new or is_near else [f"{path}: {old!r} -> {new!r}"]


def machine() -> dict[str, str]:
    """What the values depend on beside the code."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def chosen(patterns: list[str] | None) -> list[str]:
    """Names of the entries that match the patterns; all without any."""
    found = [name for name in ENTRIES if not patterns or any(fnmatch.fnmatch(name, one) for one in patterns)]
    if not found:
        raise SystemExit(f"no entry is called {patterns}: {', '.join(ENTRIES)}")
    return found


def compute(names: Iterable[str], work: Work) -> dict[str, Any]:
    """The values of these entries; one that fails has its error as its value."""
    found = {}
    for name in names:
        start = time.perf_counter(), sum(os.times()[:4])
        try:
            # Through JSON: as they stand in the file.
            found[name] = json.loads(json.dumps(ENTRIES[name](work)))
        except Exception as error:  # noqa: BLE001  # one broken part must not hide what the others say
            found[name] = {"error": f"{type(error).__name__}: {error}"}
            print(f"{name}: {error}", file=sys.stderr)
        seconds = time.perf_counter() - start[0], sum(os.times()[:4]) - start[1]
        print(f"{name:20s} {seconds[0]:6.1f} s, {seconds[1]:6.1f} s of processor", file=sys.stderr)
    return found


def main() -> int:
    """Read the command line, and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE", help="compute the values and write them")
    action.add_argument("--check", type=Path, metavar="FILE", help="compute the values and compare them")
    action.add_argument("--fixtures", type=Path, metavar="DIR", help="write files of today")
    action.add_argument("--open", type=Path, metavar="DIR", help="open such files with the code at hand")
    action.add_argument("--list", action="store_true", help="names of the entries, and what is left out")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these entries; * and ? stand for letters")
    parser.add_argument("--tolerance", type=float, default=0.0, help="that figures may differ by, relative above 1")
    parser.add_argument("--renders", type=Path, help="a rendered set of an earlier --keep, in place of rendering it")
    parser.add_argument("--photos", type=Path, help="photos to relight and re-express, named as 001_neutral.jpg")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept; a temporary one by default")
    arguments = parser.parse_args()
    print(f"legan from {Path(legan.__file__).parent}", file=sys.stderr)
    if arguments.list:
        print("\n".join([*ENTRIES, "left out:", *LEFT_OUT]))
        return 0
    if arguments.open:
        return report(
            json.loads((arguments.open / EXPECTED).read_text()),
            json.loads(json.dumps(opened(arguments.open))),
            arguments.tolerance,
        )
    with tempfile.TemporaryDirectory(prefix="legan-golden-") as place:
        folder = (arguments.keep or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        resolved = [path and path.resolve() for path in (arguments.renders, arguments.photos)]
        work = Work(folder, *resolved)
        if arguments.fixtures:
            write_fixtures(work, arguments.fixtures.resolve())
            return 0
        names = chosen(arguments.only)
        if arguments.photos is None and "photos" in names:
            print("photos: left out, as no --photos are given", file=sys.stderr)
            names.remove("photos")
        return write_or_check(arguments, compute(names, work))


def write_or_check(arguments: argparse.Namespace, new: dict[str, Any]) -> int:
    """Write the values (of some entries: into the file that is there), or compare them."""
    path = arguments.write or arguments.check
    stored = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "values": {}}
    if arguments.write:
        values = {**stored["values"], **new} if arguments.only or arguments.photos is None else new
        path.write_text(json.dumps({"machine": machine(), "values": values}, indent=1, sort_keys=True) + "\n")
        return int(any("error" in value for value in new.values()))
    if stored["machine"] != machine():
        print(f"warning: the file was written on {stored['machine']}, this is {machine()}", file=sys.stderr)
    old = {name: value for name, value in stored["values"].items() if name in new or not arguments.only}
    if arguments.photos is None:
        old.pop("photos", None)
    return report(old, new, arguments.tolerance)


def report(old: dict[str, Any], new: dict[str, Any], tolerance: float) -> int:
    """Print what differs; the exit code."""
    lines = differences(old, new, tolerance, "")
    print("\n".join(line.removeprefix("/") for line in lines) if lines else f"{len(new)} entries: nothing differs")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
