"""Checkpoints survive what happens to a machine: kill -9 while one is written, a full disk, damaged files, Ctrl-C."""

import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.train.tasks import FakeConfig, FakeTask, build, fresh_state, same

from legan.core.errors import LeganError, WeightsError
from legan.train import run_folder as checkpoint
from legan.train.loop import run_task
from legan.train.run_folder import (
    list_checkpoints,
    load_task_state,
    newest_checkpoint,
    remove_leftovers,
    save_checkpoint,
    task_state,
)

ROOT = Path(__file__).parents[2]
# Trains the fake task; `slow_from`: the checkpoint from which on each written piece takes long.
SCRIPT = """
import sys, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tests.train.tasks import FakeConfig
from tests.train.tasks import build
from legan.train import run_folder as checkpoint
from legan.train.loop import run_task

run, n_steps, slow_from = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
original = checkpoint.atomic_write

class Slow:
    def __init__(self, file):
        self.file = file
    def write(self, data):
        self.file.write(data[:200])
        self.file.flush()
        print("writing", flush=True)
        time.sleep(100_000)  # until it is killed

@contextmanager
def atomic_write(path):
    with original(path) as file:
        yield Slow(file) if int(path.stem[5:]) >= slow_from else file

checkpoint.atomic_write = atomic_write
config = FakeConfig(loop=replace(FakeConfig().loop, n_steps=n_steps))
print("start", flush=True)
print(run_task(build, config, run))
"""


def start(run: Path, n_steps: int, slow_from: int = 1_000_000) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(run), str(n_steps), str(slow_from)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for(line: str, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None and process.stderr is not None
    for text in process.stdout:
        if text.strip() == line:
            return
    raise AssertionError(process.stderr.read())


def fake_at(n_steps: int) -> FakeTask:
    task = FakeTask(FakeConfig())
    load_task_state(task, fresh_state(FakeConfig()))
    task.count = n_steps
    return task


def test_kill_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    process = start(tmp_path, n_steps=12, slow_from=8)
    try:
        wait_for("writing", process)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000004.pt"]
    assert list((tmp_path / "checkpoints").glob(".step_000008.pt.*")), "the half-written file is there, under another name"

    outcome = run_task(build, FakeConfig(), tmp_path)  # the same command again
    assert outcome.finished and not list((tmp_path / "checkpoints").glob(".*"))
    whole = tmp_path / "whole"
    run_task(build, FakeConfig(), whole)
    assert same(newest_checkpoint(tmp_path), newest_checkpoint(whole))


def test_ctrl_c_saves_and_says_how_to_continue(tmp_path: Path) -> None:
    process = start(tmp_path, n_steps=1_000_000)
    wait_for("start", process)
    while not list_checkpoints(tmp_path) and process.poll() is None:  # as long as it takes on a busy machine
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    state = newest_checkpoint(tmp_path)
    assert f"stopped after step {state['n_steps_done']} of 1000000" in out and "the same command again continues" in out
    assert "Traceback" not in err


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(fake_at(4), tmp_path, 4)
    good = list_checkpoints(tmp_path)[0].read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow beyond 1,000 bytes
    try:
        with pytest.raises(LeganError, match=r"cannot write .*step_000008\.pt.*last good checkpoint is .*step_000004\.pt"):
            save_checkpoint(fake_at(8), tmp_path, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000004.pt"]
    assert list_checkpoints(tmp_path)[0].read_bytes() == good


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for n_steps in (2, 9, 10, 100):
        save_checkpoint(fake_at(n_steps), tmp_path, n_steps)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000010.pt", "step_000100.pt"]


def test_a_run_that_went_back_keeps_its_own(tmp_path: Path) -> None:
    """A damaged checkpoint of a later step does not push the new ones out."""
    for n_steps in (4, 8):
        save_checkpoint(fake_at(n_steps), tmp_path, n_steps, n_kept=2)
    list_checkpoints(tmp_path)[1].write_bytes(b"damaged")
    save_checkpoint(fake_at(5), tmp_path, 5, n_kept=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000005.pt"]


def test_a_checkpoint_that_may_be_whole_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(fake_at(4), tmp_path, 4)

    def refuse(*words: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(LeganError, match=r"cannot read .*step_000004\.pt \(Permission denied\): make it readable"):
        newest_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "overwritten", "text"])
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(fake_at(4), tmp_path, 4)
    path = save_checkpoint(fake_at(8), tmp_path, 8)
    data = path.read_bytes()
    middle = data.index(b"networks")
    changed = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "overwritten": data[:middle] + b"\x00" * 400 + data[middle + 400 :],
        "text": b"not a checkpoint",
    }
    path.write_bytes(changed[damage])
    assert newest_checkpoint(tmp_path)["n_steps_done"] == 4
    assert f"skipping damaged checkpoint {path}" in capsys.readouterr().err
    list_checkpoints(tmp_path)[0].write_bytes(b"")
    with pytest.raises(WeightsError, match=r"no checkpoint in .* can be read"):
        newest_checkpoint(tmp_path)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_two_hundred_zeroes_anywhere_are_found(tmp_path: Path, is_sealed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    state = task_state(fake_at(8), 8) | {"noise": torch.randn(5000)}
    save_checkpoint(fake_at(4), tmp_path, 4)
    path = tmp_path / "checkpoints" / "step_000008.pt"
    buffer = io.BytesIO()
    torch.save(state, buffer)  # as versions without seals wrote it
    if is_sealed:
        checkpoint._seal(buffer)
    whole = buffer.getvalue()
    path.write_bytes(whole)
    assert newest_checkpoint(tmp_path)["n_steps_done"] == 8
    assert torch.load(path, weights_only=True)["n_steps_done"] == 8, "others read it as ever"
    for start in [*range(0, len(whole) - 200, len(whole) // 60), len(whole) - 200]:
        damaged = whole[:start] + bytes(200) + whole[start + 200 :]
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        found = newest_checkpoint(tmp_path)
        # Without a seal what stands between the archive's entries is not summed: there the state is the same all the same.
        assert found["n_steps_done"] == 4 or (not is_sealed and same(found, state)), start
    assert f"skipping damaged checkpoint {path}" in capsys.readouterr().err


def test_a_checkpoint_that_was_cut_anywhere_gives_way_to_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(fake_at(4), tmp_path, 4)
    path = save_checkpoint(fake_at(8), tmp_path, 8)
    whole = path.read_bytes()
    for n in (0, 1, 100, len(whole) // 3, len(whole) // 2, len(whole) - 77, len(whole) - 78, len(whole) - 99, len(whole) - 1):
        path.write_bytes(whole[:n])
        assert newest_checkpoint(tmp_path)["n_steps_done"] == 4, n


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {os.environ['LEGAN_TEST_FILE']}",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGAN_TEST_FILE", str(tmp_path / "ran"))
    (tmp_path / "checkpoints").mkdir()
    torch.save({"format": 1, "n_steps_done": 1, "x": Harmful()}, tmp_path / "checkpoints" / "step_000001.pt")
    with pytest.raises(WeightsError):
        newest_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Harmful()))  # the same object does harm where it is unpickled
    assert (tmp_path / "ran").exists()


def test_a_checkpoint_of_other_networks_is_refused(tmp_path: Path) -> None:
    state = fresh_state(FakeConfig())
    task = FakeTask(FakeConfig())
    task.networks["a"] = torch.nn.Linear(5, 5)
    with pytest.raises(WeightsError, match="does not fit these networks"):
        load_task_state(task, state)


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = save_checkpoint(fake_at(1), tmp_path, 1)
    leftover = path.parent / ".step_000002.pt.abc.tmp"
    leftover.write_bytes(b"half")
    remove_leftovers(tmp_path)
    assert list(path.parent.iterdir()) == [path]
