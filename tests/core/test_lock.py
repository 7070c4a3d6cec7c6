"""Locks: one holder at a time, whoever it is; a killed holder holds nobody up."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from legan.core.errors import LeganError
from legan.core.files import held_file


def hold(path: Path, ready: Path) -> None:
    with held_file(path):
        ready.touch()
        time.sleep(60)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with held_file(tmp_path / "t.csv"):
        with (
            pytest.raises(LeganError, match=r"another process is writing .*t\.csv: wait for it, or name another file"),
            held_file(tmp_path / "t.csv"),
        ):
            pass
        with held_file(tmp_path / "other.csv"):
            pass
    with held_file(tmp_path / "t.csv"):
        assert [path.name for path in tmp_path.iterdir()] == [".t.csv.lock"]
    assert not list(tmp_path.iterdir())


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path / "t.csv", tmp_path / "ready"))
    process.start()
    while not (tmp_path / "ready").exists():
        assert process.is_alive()
        time.sleep(0.01)
    with pytest.raises(LeganError, match="another process"), held_file(tmp_path / "t.csv"):
        pass
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with held_file(tmp_path / "t.csv"):
        pass
