"""Atomic writes: an interrupted or failed write leaves the old file and no litter."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from legan.core.errors import LeganError
from legan.core.files import atomic_write, make_folder, write_atomic


def test_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one")
    write_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_failure_in_the_body_keeps_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_full_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LeganError, match="no space left"):
        write_atomic(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_made_and_one_in_the_way_is_explained(tmp_path: Path) -> None:
    write_atomic(tmp_path / "new" / "deep" / "a", b"x")
    assert (tmp_path / "new" / "deep" / "a").read_bytes() == b"x"
    with pytest.raises(LeganError, match="it is a folder; name a file in it"):
        write_atomic(tmp_path / "new", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    (tmp_path / "file").write_text("")
    with pytest.raises(LeganError, match="in the way"):
        make_folder(tmp_path / "file")


def test_kill_during_a_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"old")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom legan.core.files import atomic_write\n"
        f"with atomic_write(Path({str(target)!r})) as f:\n    f.write(b'half'); f.flush(); print('go', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    assert target.read_bytes() == b"old"
