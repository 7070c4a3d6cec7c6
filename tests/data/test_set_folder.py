"""The folder of a long run: begun once, continued with equal settings, and never mixed with something else."""

import json
from pathlib import Path

import pytest

from legan.core.errors import DataError, LeganError
from legan.data.shards import SETTINGS, SHARDS, check_set_folder, open_set_folder


def opened(out: Path, settings: dict[str, object], besides: tuple[str, ...] = (), derived: tuple[str, ...] = ()) -> None:
    with open_set_folder(out, settings, besides, derived):
        pass


def test_begins_and_continues(tmp_path: Path) -> None:
    out, settings = tmp_path / "new" / "set", {"seed": 0, "kinds": ("a", "b")}
    opened(out, settings)
    before = (out / SETTINGS).read_bytes()
    (out / SHARDS / "a.tar").write_bytes(b"made")
    for left_over in (out / ".manifest.x.tmp", out / SHARDS / ".b.tar.x.tmp"):
        left_over.write_bytes(b"half")
    with open_set_folder(out, settings):
        assert sorted(path.name for path in out.rglob("*")) == [".lock", "a.tar", SETTINGS, SHARDS]
    assert (out / SETTINGS).read_bytes() == before
    assert sorted(path.name for path in out.rglob("*")) == ["a.tar", SETTINGS, SHARDS]
    check_set_folder(out, {"seed": 0})


def test_refuses_other_settings(tmp_path: Path) -> None:
    opened(tmp_path / "set", {"seed": 0, "plan": "a" * 80})
    (tmp_path / "set" / SHARDS / "a.tar").write_bytes(b"made")
    with pytest.raises(DataError, match="was made with seed 0, not 1: ask for the same seed"):
        opened(tmp_path / "set", {"seed": 1, "plan": "a" * 80})
    with pytest.raises(DataError, match="was made with another plan: ask for the same plan"):
        opened(tmp_path / "set", {"seed": 0, "plan": "b" * 80})
    with pytest.raises(DataError, match="was made with version None, not 2"):
        check_set_folder(tmp_path / "set", {"version": 2})


def test_a_command_that_failed_before_its_first_shard_blocks_no_other(tmp_path: Path) -> None:
    opened(tmp_path, {"made by": "reexpress", "seed": 0}, derived=("plan",))
    (tmp_path / "plan").write_text("of seed 0")
    (tmp_path / SHARDS / ".a.tar.x.tmp").write_bytes(b"half")
    opened(tmp_path, {"made by": "reexpress", "seed": 0}, derived=("plan",))
    assert (tmp_path / "plan").exists(), "the same command goes on"
    opened(tmp_path, {"made by": "relight"}, derived=("plan",))
    assert json.loads((tmp_path / SETTINGS).read_text()) == {"made by": "relight"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [SETTINGS, SHARDS], "no plan of other settings"
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="was made with made by relight, not render"):
        opened(tmp_path, {"made by": "render"})


def test_refuses_what_is_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="holds other files"):
        opened(tmp_path, {"seed": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    opened(tmp_path, {"seed": 0}, besides=("photo.jpg",))
    (tmp_path / SETTINGS).write_text("{half")
    with pytest.raises(DataError, match="cannot be read: delete"):
        opened(tmp_path, {"seed": 0})


def test_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "set"
    with (
        open_set_folder(out, {"seed": 0}),
        pytest.raises(LeganError, match=r"another process is writing to .*set: wait for it"),
    ):
        opened(out, {"seed": 0})
    opened(out, {"seed": 0})


def test_a_lock_that_a_killed_process_left_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    opened(tmp_path, {"seed": 0})
    assert (tmp_path / SETTINGS).exists() and not (tmp_path / ".lock").exists()
