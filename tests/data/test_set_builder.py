"""What all makers of sets share: shards in jobs, records, progress, and a maker that is built once a process."""

import hashlib
from functools import partial
from pathlib import Path

import pytest

from legan.core.errors import DataError, LeganError
from legan.data.manifest import COLUMNS, read_bytes
from legan.data.shards import SHARDS, ShardJob, ShardWriter, open_set_folder, read_record, write_shard

JOBS = [ShardJob("b", "bb", 2), ShardJob("a", "a", 1), ShardJob("c", "", 0)]


def write_letters(folder: Path, letters: str, shard: ShardWriter) -> dict[str, object]:
    for number, letter in enumerate(letters):
        shard.add_image(f"{number}.png", letter.encode(), {"identity": letter, "kind": "letter"})
    return {"n_left_out": 0}


def build_letters(folder: Path) -> partial[dict[str, object]]:
    """A maker that leaves a file behind each time that it is built."""
    (folder / f"built-{len(list(folder.glob('built-*')))}").touch()
    return partial(write_letters, folder)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_missing_shards_are_made_and_counted(tmp_path: Path, n_workers: int) -> None:
    steps: list[tuple[int, int]] = []
    with open_set_folder(tmp_path / "set", {"seed": 0}) as builder:
        write_shard(builder.path("a"), partial(write_letters, tmp_path), "a")
        progress = lambda n_done, n: steps.append((n_done, n))  # noqa: E731
        made = builder.make(JOBS, partial(build_letters, tmp_path), n_workers, progress)
        assert made == [JOBS[0], JOBS[2]] and steps[0] == (1, 3) and steps[-1] == (3, 3) and len(steps) == 3
        record = builder.record("b")
        assert record.facts == {"n_left_out": 0} and [row["identity"] for row in record.rows] == ["b", "b"]
        assert builder.record("c").rows == []
    assert 1 <= len(list(tmp_path.glob("built-*"))) <= n_workers, "once a process"


def test_a_row_says_where_its_image_lies(tmp_path: Path) -> None:
    with open_set_folder(tmp_path / "set", {}) as builder:
        builder.make(JOBS[:1], partial(build_letters, tmp_path), 1)
        row = builder.record("b").rows[1]
    assert tuple(row) == (*COLUMNS, "kind"), "the manifest's columns in their order, then the set's own"
    assert row["path"] == f"{SHARDS}/b.tar" and row["key"] == "1.png" and row["alignment"] is None
    assert read_bytes(tmp_path / "set", row) == b"b" and row["sha256"] == hashlib.sha256(b"b").hexdigest()


def test_shards_that_are_not_current_are_made_again(tmp_path: Path) -> None:
    with open_set_folder(tmp_path / "set", {}) as builder:
        make = partial(builder.make, JOBS, partial(build_letters, tmp_path), 1)
        assert make() == JOBS and make() == []
        assert make(is_current=lambda job: len(builder.record(job.name).rows) < 2) == [JOBS[0]]


def add_plain(content: str, shard: ShardWriter) -> None:
    shard.add_image("0.png", b"", {})


def test_a_record_of_rows_alone_is_a_list(tmp_path: Path) -> None:
    with open_set_folder(tmp_path, {}, record="own.json") as builder:
        write_shard(builder.path("a"), add_plain, "", "own.json")
        assert len(read_record(builder.path("a"), "own.json")) == 1
        assert len(builder.record("a").rows) == 1 and builder.record("a").facts == {}


def refuse() -> None:
    raise LeganError("the networks are missing")


def test_an_error_of_loading_reaches_the_caller_from_a_process(tmp_path: Path) -> None:
    with (
        pytest.raises(LeganError, match="the networks are missing"),
        open_set_folder(tmp_path / "set", {}) as builder,
    ):
        builder.make(JOBS, refuse, 2)  # type: ignore[arg-type]
    assert list((tmp_path / "set" / SHARDS).iterdir()) == []


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    with open_set_folder(tmp_path, {}) as builder:
        builder.path("a").write_bytes(b"no tar")
        with pytest.raises(DataError, match=r"a\.tar is damaged: delete it"):
            builder.record("a")
