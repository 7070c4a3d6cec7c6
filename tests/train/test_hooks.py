"""Hooks: what is written when, and what a resumed run makes of an older log."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.train.tasks import FakeConfig, FakeTask, build

from legan.train.config import LoopConfig
from legan.train.hooks import Checkpoints, Logs, Progress, ProgressLine, Samples
from legan.train.loop import run_task


class DrawingTask(FakeTask):
    def samples(self, step: int) -> np.ndarray:
        return np.full((4, 6, 3), step, np.uint8)

    def evaluate(self, step: int) -> dict[str, float]:
        return {"val/l1": step / 10}


def build_drawing(config: FakeConfig, device: torch.device):
    return DrawingTask(config), build(config, device)[1]


def progress(n_steps_done: int, n_steps: int = 100, **others: object) -> Progress:
    return Progress(DrawingTask(FakeConfig()), n_steps_done, n_steps, 4, **others)  # type: ignore[arg-type]


def test_samples_and_figures_at_their_steps(tmp_path: Path) -> None:
    config = FakeConfig(loop=LoopConfig(n_steps=7, log_every=2, sample_every=3))
    run_task(build_drawing, config, tmp_path)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [f"step_{n:06d}.png" for n in (3, 6, 7)]
    assert (np.asarray(Image.open(tmp_path / "samples" / "step_000006.png")) == 6).all()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "a/loss" in line] == [2, 4, 6, 7]
    assert {line["step"]: line["val/l1"] for line in lines if "val/l1" in line} == {3: 0.3, 6: 0.6, 7: 0.7}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("a/loss")] == [2, 4, 6, 7]


def test_logged_values_are_means_since_the_last_line(tmp_path: Path) -> None:
    for name, every in (("each", 1), ("third", 3)):
        run_task(build, FakeConfig(loop=LoopConfig(n_steps=6, log_every=every)), tmp_path / name)
    each, third = (
        [json.loads(line)["size"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("each", "third")
    )
    assert third == pytest.approx([np.mean(each[:3]), np.mean(each[3:])])


def test_a_resumed_log_forgets_what_came_after_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, lost = ('{"step": 4, "a/loss": 1.0}', '{"step": 6, "a/loss": 2.0}')
    (tmp_path / "log.jsonl").write_text(f'{kept}\n{lost}\n{{"step": 7, "a/l')
    logs = Logs(tmp_path)
    logs.on_start(progress(4))
    logs.write(5, {"a/loss": 3.0})
    logs.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["a/loss"]) for line in lines] == [(4, 1.0), (5, 3.0)]
    assert "incomplete line" in capsys.readouterr().err


def test_checkpoints_by_step_by_age_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    clock = [0.0]
    monkeypatch.setattr("legan.train.hooks.save_checkpoint", lambda task, run, n, n_kept: saved.append(n))
    monkeypatch.setattr("legan.train.hooks.time.monotonic", lambda: clock[0])
    hook = Checkpoints(tmp_path, every=10, minutes=1.0)
    hook.on_start(progress(0))
    for n in range(1, 31):
        clock[0] += 10 if n <= 16 else 1  # seconds a step: old after six steps at first
        hook.after_step(progress(n))
    hook.after_step(progress(33, stopped=True))
    hook.after_step(progress(100))
    assert saved == [6, 10, 16, 20, 30, 33, 100]


def test_no_samples_after_ctrl_c(tmp_path: Path) -> None:
    Samples(tmp_path, 3, Logs(tmp_path)).after_step(progress(3, stopped=True))
    assert not list(tmp_path.iterdir())


def test_progress_lines_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine()
    line.on_start(progress(0))
    line.after_step(progress(1))
    line.after_step(replace(progress(2), logs={"a/loss": 0.5, "a/gradient_norm": 9.0}))
    line.close()
    captured = capsys.readouterr()
    assert captured.out == "" and "step 2/100: a/loss 0.500; " in captured.err
    assert "steps/s" in captured.err and "images/s" in captured.err and "left" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    bar = ProgressLine()
    bar.on_start(progress(0, 2))
    bar.after_step(progress(1, 2))
    bar.after_step(progress(2, 2))
    bar.close()
    captured = capsys.readouterr()
    assert captured.out == "" and "2/2" in captured.err and "images/s" in captured.err
