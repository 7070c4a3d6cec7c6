"""How much of the tree a reader meets: files that each of four walks calls, and what the imports look like.

    python tools/walks.py                            # this tree
    python tools/walks.py --tree ../before --tree .  # two checkouts side by side, for instance of before and after a refactoring

Prints a Markdown table. A file counts for a walk when one of its functions is called; what runs while a module is imported does not.
The walks: `legan edit` of a packaged photograph; `updates` of one step of `legan train legan`; one POST of a rating; `legan evaluate` of
the packaged editor on 16 pairs. The data are packaged faces with a side brightened, since nothing here depends on what they show.
"""

import argparse
import collections
import graphlib
import hashlib
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WALKS = ("edit", "train", "rate", "evaluate")
STRUCTURE = "structure"
WORDS = {
    "edit": "files of `legan edit`",
    "train": "files of one GAN step",
    "rate": "files of one POST of a rating",
    "evaluate": "files of `legan evaluate`",
}
TINY = {
    "data.batch_size": 2,
    "precision": '"fp32"',
    "generator.width": 8,
    "generator.n_residual": 1,
    "critic.width": 8,
    "loop.n_steps": 1,
}


class Recorder:
    """Files under `source` whose functions are called while it is on; `within` a function's name: only below that function."""

    def __init__(self, source: Path, within: str | None = None) -> None:
        self.source, self.within, self.depth = f"{source}{os.sep}", within, 0
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        # Bodies of modules and classes are not functions; templates are no modules.
        if not (
            code.co_flags & inspect.CO_OPTIMIZED
            and code.co_filename.startswith(self.source)
            and code.co_filename.endswith(".py")
        ):
            return
        if code.co_name == self.within:
            self.depth += 1 if event == "call" else -1
        if event == "call" and (self.within is None or self.depth > 0):
            self.files.add(code.co_filename)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Record what this thread, and those that it starts, call."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # as the manual says


def packages(source: Path) -> list[str]:
    """The packages of a source folder."""
    return sorted(path.parent.name for path in source.glob("*/__init__.py"))


def import_all(source: Path) -> None:
    """Import every module, so that no import is left for the walks."""
    for package in packages(source):
        for module in pkgutil.walk_packages([str(source / package)], f"{package}."):
            if not module.name.endswith("__main__") and ".migrations." not in module.name:
                importlib.import_module(module.name)


def function(name: str) -> Callable[..., Any]:
    """The function that one of the imported modules defines under a name, wherever it lives."""
    homes = [module for key, module in sys.modules.items() if key.startswith("legan") and hasattr(module, name)]
    (found,) = {getattr(module, name) for module in homes if getattr(module, name).__module__ == module.__name__}
    return found


def command(*words: object) -> None:
    """Run a command of legan in this process.

    Raises:
        SystemExit: it did not end well.
    """
    from typer.testing import CliRunner

    from legan.cli import app

    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exit_code:
        raise SystemExit(
            f"legan {' '.join(map(str, words))} ended with {result.exit_code}:\n{result.output}\n{result.exception!r}"
        )


def make_data(folder: Path) -> Path:
    """Write a data set folder of six people, two of them in the split test, each with three expressions and four lightings."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    import legan

    folder.mkdir()
    rows = []
    faces = sorted((Path(legan.__file__).parent / "assets" / "faces").glob("r*.png"))[:6]
    for number, face in enumerate(faces):
        image = np.asarray(Image.open(face).convert("RGB"), float)
        side = np.linspace(-1, 1, image.shape[1])[None, :, None]
        for expression in legan.EXPRESSIONS[:3]:
            for lighting in ("03", "05", "09", "11"):
                lit = (image * (1 + 0.1 * (int(lighting) - 7) * side)).clip(0, 255).astype(np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(lit).save(buffer, "PNG")
                name, data = f"p{number}_{expression}_{lighting}.png", buffer.getvalue()
                (folder / name).write_bytes(data)
                rows.append(
                    {
                        "path": name, "offset": None, "n_bytes": None, "key": name, "identity": f"p{number}",
                        "expression": expression, "lighting": lighting, "domain": "render",
                        "split": ("test", "test", "val", "train", "train", "train")[number], "source": "packaged",
                        "licence": "CC0-1.0", "sha256": hashlib.sha256(data).hexdigest(), "alignment": None, "landmarks": None,
                    }
                )  # fmt: skip
    pd.DataFrame(rows).astype({"offset": float, "n_bytes": float}).to_parquet(folder / "manifest.parquet")
    return folder


def walk_edit(recorder: Recorder, folder: Path) -> None:
    """Edit a packaged photograph."""
    import legan

    photo = min((Path(legan.__file__).parent / "assets" / "faces").glob("london-*.jpg"))
    with recorder.on():
        command("edit", photo, "--expression", "smile", "--lighting", "-45", "-o", folder / "edited.png")


def walk_train(recorder: Recorder, folder: Path) -> None:
    """Train LEGAN for one step."""
    recorder.within = "updates"
    data = make_data(folder / "data")
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    with recorder.on():
        command("train", "legan", "--preset", "lite", "--data", data, "--run", folder / "run", *settings)


def walk_rate(recorder: Recorder, folder: Path) -> None:
    """Answer one item of a rating study."""
    from fastapi.testclient import TestClient

    data, study = make_data(folder / "data"), folder / "study"
    command("study", "create", "--from", data, "--kind", "rating", "--out", study)
    settings = study / "study.toml"
    text = re.sub(r'consent = """.*?"""', 'consent = "Do you agree?"', settings.read_text(), flags=re.DOTALL)
    settings.write_text(re.sub("(?m)^simulated = .*", "simulated = true", text))

    def field(page: Any, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
        if found is None:
            raise SystemExit(f"the page has no {name}:\n{page.text}")
        return found[1]

    with function("open_study")(study) as opened:
        client = TestClient(function("make_app")(opened), base_url="http://127.0.0.1")
        headers = {"x-study": "page"}
        page = client.get("/")
        page = client.post("/consent", data={"token": field(page, "token"), "agree": "yes"}, headers=headers)
        if "/start" in page.text:
            page = client.post("/start", data={"token": field(page, "token")}, headers=headers)
        answer = {"token": field(page, "token"), "assignment": field(page, "assignment"), "rating": "5", "seconds": "2.5"}
        with recorder.on():
            page = client.post("/answer", data=answer, headers=headers)
        if page.status_code != 200:
            raise SystemExit(f"the answer was refused: {page.text}")


def walk_evaluate(recorder: Recorder, folder: Path) -> None:
    """Evaluate the packaged editor."""
    data = make_data(folder / "data")
    with recorder.on():
        command(
            "evaluate",
            "--editor",
            "packaged",
            "--data",
            data,
            "-o",
            folder / "out",
            "--split",
            "train",
            "--n",
            16,
            "--resamples",
            0,
        )


def walked(source: Path, walk: str) -> list[str]:
    """The files that a walk calls, from the source folder."""
    import_all(source)
    recorder = Recorder(source)
    with tempfile.TemporaryDirectory() as folder:
        {"edit": walk_edit, "train": walk_train, "rate": walk_rate, "evaluate": walk_evaluate}[walk](recorder, Path(folder))
    return sorted(os.path.relpath(file, source) for file in recorder.files)


def structure(source: Path) -> dict[str, Any]:
    """What the imports and the files look like."""
    import grimp

    graph = grimp.build_graph(*packages(source), exclude_type_checking_imports=True, cache_dir=None)
    importers = {name: graph.find_modules_that_directly_import(name) for name in graph.modules}
    try:
        graphlib.TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
        circle = "none"
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1])
    files = [path for package in packages(source) for path in (source / package).rglob("*.py")]
    folders: collections.Counter[str] = collections.Counter()
    lines: collections.Counter[str] = collections.Counter()
    for path in files:
        parts = path.relative_to(source).parts
        folder = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        folders[folder] += 1
        lines[folder] += path.read_text().count("\n")
    names = collections.Counter(path.name for path in (source / "legan").rglob("*.py"))
    return {
        "circle": circle,
        "one importer": sum(len(found) == 1 for found in importers.values()),
        "twice": sorted(name for name, n in names.items() if n > 1 and name != "__init__.py"),
        "folders": {folder: (folders[folder], lines[folder]) for folder in sorted(folders)},
    }


def measured(tree: Path, show: bool) -> dict[str, str]:
    """The table's column for a tree."""
    source = tree.resolve() / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    rows = {}

    def in_process(what: str) -> Any:
        """Look at the tree in a process whose imports are the tree's own."""
        words = [sys.executable, __file__, "--tree", str(tree), "--walk", what]
        return json.loads(subprocess.check_output(words, env=environment, text=True).splitlines()[-1])

    for walk in WALKS:
        files = in_process(walk)
        rows[WORDS[walk]] = str(len(files))
        if show:
            print(f"{tree}, {WORDS[walk]}:", *files, sep="\n    ", file=sys.stderr)
    found = in_process(STRUCTURE)
    rows["modules with one importer"], rows["first circle of imports"] = str(found["one importer"]), found["circle"]
    rows["file names used twice in `legan`"] = str(len(found["twice"]))
    counts = {"together": tuple(map(sum, zip(*found["folders"].values(), strict=True))), **found["folders"]}
    return rows | {f"files, lines: {folder}": f"{n_files}, {n_lines:,}" for folder, (n_files, n_lines) in counts.items()}


def main() -> None:
    """Read the command line, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, action="append", help="checkout to look at; may be repeated: a column each")
    parser.add_argument("--show", action="store_true", help="name each walk's files on stderr")
    parser.add_argument("--walk", choices=(*WALKS, STRUCTURE), help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    trees = arguments.tree or [ROOT]
    if arguments.walk:
        source = trees[0].resolve() / "src"
        print(json.dumps(structure(source) if arguments.walk == STRUCTURE else walked(source, arguments.walk)))
        return
    columns = [measured(tree, arguments.show) for tree in trees]
    print("| |", *(f"{tree.resolve().name} |" for tree in trees))
    print("| --- |", *("--- |" for _ in trees))
    for row in dict.fromkeys(row for column in columns for row in column):
        print(f"| {row} |", *(f"{column.get(row, '')} |" for column in columns))


if __name__ == "__main__":
    main()
