"""What happens between steps, in the first process alone: logs, progress, sample images, checkpoints."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from legan.core.config import parse_json
from legan.core.files import atomic_write, make_folder
from legan.core.images import save_photo
from legan.train.config import LoopConfig
from legan.train.run_folder import save_checkpoint
from legan.train.task import Task

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


LOG = "log.jsonl"
FIGURES = {"right": "accuracy", "val/right": "val/accuracy"}  # names in logs of earlier versions -> names of today


@dataclass
class Progress:
    """Where a training stands; the loop updates it after each step, before it calls the hooks.

    `batch_size` counts the images of a step over all processes; `logs` holds the means since the last log, and only at
    logging steps.
    """

    task: Task
    n_steps_done: int
    n_steps: int
    batch_size: int
    logs: dict[str, float] | None = None
    stopped: bool = False

    @property
    def is_last(self) -> bool:
        """Whether no further step follows: the training is finished or stopped."""
        return self.stopped or self.n_steps_done >= self.n_steps


class Hook:
    """Base of all hooks; each method does nothing until it is overridden."""

    def on_start(self, progress: Progress) -> None:
        """Called once, before the first step."""

    def after_step(self, progress: Progress) -> None:
        """Called after each step."""

    def close(self) -> None:
        """Called at the end, after an error too."""


def standard_hooks(run: Path, loop: LoopConfig) -> list[Hook]:
    """The hooks of every training. Checkpoints come before samples: a fault in drawing must not cost the steps."""
    logs = Logs(run)
    checkpoints = Checkpoints(run, loop.checkpoint_every, loop.checkpoint_minutes, loop.n_checkpoints)
    return [ProgressLine(), logs, checkpoints, Samples(run, loop.sample_every, logs)]


class Logs(Hook):
    """Writes `log.jsonl`, one line at each logging step, and the same scalars for TensorBoard."""

    def __init__(self, run: Path) -> None:
        self.run = Path(run)
        self._writer: SummaryWriter | None = None

    def on_start(self, progress: Progress) -> None:
        """Open both logs, without the lines that an interrupted run wrote after its last checkpoint."""
        from torch.utils.tensorboard import SummaryWriter

        path = self.run / LOG
        kept = [line for line in _lines(path) if line["step"] <= progress.n_steps_done]
        with atomic_write(path, "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
        self._writer = SummaryWriter(str(self.run), purge_step=progress.n_steps_done + 1)
        self._speed = Speed(progress)

    def after_step(self, progress: Progress) -> None:
        if progress.logs is not None:
            speed = {"images_per_second": self._speed.measure(progress) * progress.batch_size}
            self.write(progress.n_steps_done, progress.logs | speed)

    def write(self, n_steps_done: int, values: Mapping[str, float]) -> None:
        """Write one line of named scalars."""
        with open(self.run / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": n_steps_done, "time": round(time.time(), 1), **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, n_steps_done)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a log; the last one may be cut off where the process was killed."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = parse_json(text)
            if not isinstance(line, dict) or not isinstance(line.get("step"), int):
                raise ValueError("no line of a log")
            lines.append({FIGURES.get(str(name), str(name)): value for name, value in line.items()})
        except ValueError:
            print(f"dropping an incomplete line of {path}", file=sys.stderr)
    return lines


class Speed:
    """Steps a second since the last measurement."""

    def __init__(self, progress: Progress) -> None:
        self._n_steps_done, self._time = progress.n_steps_done, time.perf_counter()

    def measure(self, progress: Progress) -> float:
        """Return the speed since the last call, and start anew."""
        now = time.perf_counter()
        speed = (progress.n_steps_done - self._n_steps_done) / max(now - self._time, 1e-9)
        self._n_steps_done, self._time = progress.n_steps_done, now
        return speed


class ProgressLine(Hook):
    """A bar on stderr with steps/s, images/s and the time left; plain lines at logging steps where stderr is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bar: Bar | None = None

    def on_start(self, progress: Progress) -> None:
        self._speed = Speed(progress)
        if self.console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
            self._bar = Bar(TextColumn("training"), *columns, console=self.console)
            self._line = self._bar.add_task("", total=progress.n_steps, completed=progress.n_steps_done, speed="")
            self._bar.start()

    def after_step(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.update(self._line, completed=progress.n_steps_done)
            speed = self._bar.tasks[self._line].speed  # rich's mean over the last half minute
            if speed:
                words = f"{speed:.2f} steps/s, {speed * progress.batch_size:.1f} images/s"
                self._bar.update(self._line, speed=words)
        elif progress.logs is not None:
            self._print(progress)

    def _print(self, progress: Progress) -> None:
        speed = self._speed.measure(progress)
        left = (progress.n_steps - progress.n_steps_done) / speed
        losses = ", ".join(f"{name} {value:.3f}" for name, value in (progress.logs or {}).items() if "norm" not in name)
        print(
            f"step {progress.n_steps_done}/{progress.n_steps}: {losses}; {speed:.2f} steps/s, "
            f"{speed * progress.batch_size:.1f} images/s, {left / 3600:.1f} h left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class Checkpoints(Hook):
    """Saves a checkpoint every so many steps, whenever the last one is too old, and at the end (Ctrl-C too)."""

    def __init__(self, run: Path, every: int, minutes: float, n_kept: int = 2) -> None:
        self.run, self.every, self.minutes, self.n_kept = Path(run), every, minutes, n_kept

    def on_start(self, progress: Progress) -> None:
        self._time = time.monotonic()

    def after_step(self, progress: Progress) -> None:
        is_old = time.monotonic() - self._time >= 60 * self.minutes
        if progress.is_last or is_old or progress.n_steps_done % self.every == 0:
            save_checkpoint(progress.task, self.run, progress.n_steps_done, self.n_kept)
            self._time = time.monotonic()


class Samples(Hook):
    """Draws the task's fixed samples to `samples/step_000500.png` and logs its figures on held-out data."""

    def __init__(self, run: Path, every: int, logs: Logs) -> None:
        self.run, self.every, self.logs = Path(run), every, logs

    def after_step(self, progress: Progress) -> None:
        was_stopped = progress.stopped and progress.n_steps_done < progress.n_steps
        if was_stopped or not (progress.is_last or progress.n_steps_done % self.every == 0):
            return
        image = progress.task.samples(progress.n_steps_done)
        if image is not None:
            folder = make_folder(self.run / "samples")
            save_photo(Image.fromarray(image), folder / f"step_{progress.n_steps_done:06d}.png")
        figures = progress.task.evaluate(progress.n_steps_done)
        if figures:
            self.logs.write(progress.n_steps_done, figures)
