"""The way from raw folders to a filled table, in stages: what each needs, the command it runs, what it leaves, what it costs.

A table's script gives its raw data and its stages to `run`. Without `--dry-run` they run in order, each by a command that continues where
it stopped; a stage whose result exists is left out. `--dry-run` reads the raw folders, says what is missing where, and prints every command
with its size and its hours (`results/steps.json`, from `measure.py`), and runs none.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from legan.core.errors import LeganError
from legan.train.recipes import RECIPES

HERE = Path(__file__).parent
STEPS = HERE / "results" / "steps.json"


@dataclass(frozen=True)
class Raw:
    """A raw folder: `read` gives its number of images (raises LeganError where it cannot be used); `paper` is that of the paper."""

    name: str
    folder: Path | None
    read: Callable[[Path], int]
    paper: str

    def check(self) -> tuple[bool, str]:
        """Whether it can be used, in a line."""
        if self.folder is None:
            return False, f"{self.name}: missing, name its folder with --{self.name} ({self.paper})"
        if not self.folder.is_dir():
            return False, f"{self.name}: missing, {self.folder} is not a folder ({self.paper})"
        try:
            return True, f"{self.name}: {self.read(self.folder):,} images in {self.folder} ({self.paper})"
        except LeganError as error:
            return False, f"{self.name}: {error} ({self.paper})"


@dataclass(frozen=True)
class Stage:
    """One command of `legan`, the file that is there when it is done, and the training that it is, for its costs."""

    words: Sequence[str]
    result: Path
    training: str = ""

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return self.result.exists()

    def cost(self) -> str:
        """Steps, images seen, and hours on the machine of steps.json; nothing where it is not a training."""
        if not self.training:
            return ""
        recipe, preset = TRAININGS[self.training][:2]
        config = RECIPES[recipe].presets[preset]
        n_images = config.loop.n_steps * config.data.batch_size
        text = f"{config.loop.n_steps:,} steps of {config.data.batch_size}: {n_images / 1e6:.1f} M images"
        measured = json.loads(STEPS.read_text()).get(self.training) if STEPS.exists() else None
        if measured:
            hours = n_images * measured["seconds_per_image"] / 3600
            text += f", {hours:,.0f} h, {measured['gb']:.1f} GB with a batch of {measured['batch']} ({measured['device']})"
        return text


# Name: recipe, preset, settings. As published; the weights of identity and quality, which the poster does not give, as in the comparison.
TRAININGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "stargan": ("stargan", "paper", ()),
    "stargan-qual": ("stargan", "paper", ("loss.quality=0.1",)),
    "starganv2": ("starganv2", "paper", ()),
    "legan": ("legan", "paper", ("loss.identity=1.0", "loss.quality=0.1")),
    "lightcnn29": ("identity", "lightcnn29", ()),
    "expression": ("expression", "paper", ()),
}


def training(name: str, data: Path, run: Path, settings: Sequence[str] = ()) -> Stage:
    """The stage that trains, into a run folder; its result is the checkpoint of the last step, or the weights beside it."""
    recipe, preset, own = TRAININGS[name]
    words = ["train", recipe, "--preset", preset, "--data", str(data), "--run", str(run)]
    for setting in (*own, *settings):
        words += ["--set", setting]
    n_steps = RECIPES[recipe].presets[preset].loop.n_steps
    weights = RECIPES[recipe].weights
    result = run / weights if weights else run / "checkpoints" / f"step_{n_steps:06d}.pt"
    return Stage(words, result, name)


def arguments(description: str, raw: Sequence[str]) -> argparse.ArgumentParser:
    """The options that all tables have: the raw folders, where to work, `--dry-run`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in raw:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry-run", action="store_true")
    return parser


def run(raw: Sequence[Raw], stages: Sequence[Stage], table: Callable[[], str], out: Path, dry_run: bool) -> int:
    """Run all stages and write `out`, or say what would be run and what is missing; 1 where something is."""
    checks = [one.check() for one in raw]
    for is_there, line in checks:
        print(f"{'found' if is_there else 'MISSING'}  {line}")
    if dry_run:
        for stage in stages:
            state = "done" if stage.is_done else "to do"
            print(f"{state:8} legan {shlex.join(stage.words)}{f'   # {stage.cost()}' if stage.cost() else ''}")
        return 0 if all(is_there for is_there, _ in checks) else 1
    if not all(is_there for is_there, _ in checks):
        print("error: raw data is missing, as above", file=sys.stderr)
        return 1
    for stage in stages:
        if not stage.is_done:
            print(f"legan {shlex.join(stage.words)}", file=sys.stderr, flush=True)
            with subprocess.Popen([sys.executable, "-m", "legan", *stage.words], stdout=subprocess.PIPE, text=True) as process:
                text = process.communicate()[0]
            if process.returncode:
                print(
                    f"error: legan {stage.words[0]} ended with {process.returncode}: the same command continues",
                    file=sys.stderr,
                )
                return 1
            if stage.words[-1] == "--json":
                stage.result.parent.mkdir(parents=True, exist_ok=True)
                stage.result.write_text(text)
    out.write_text(table())
    print(out.read_text())
    return 0
