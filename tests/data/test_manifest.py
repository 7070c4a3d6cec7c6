"""The data set folder: what is written is read back; what is broken is named."""

import tarfile
from pathlib import Path

import pytest

from legan.core.errors import DataError
from legan.data.manifest import ManifestRow, read_bytes, read_manifest, split_of, write_manifest
from legan.data.shards import ShardWriter, read_record


def _row(**changes: object) -> ManifestRow:
    row = ManifestRow(
        path="shards/a.tar", offset=None, n_bytes=None, key="", identity="a", expression="smile", lighting="07",
        domain="render", split="train", source="test", licence="CC0-1.0", sha256="", alignment=None, landmarks=None,
    )  # fmt: skip
    return row | changes  # type: ignore[return-value, operator]


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    rows = []
    with ShardWriter(tmp_path / "shards" / "a.tar") as shard:
        for k in range(3):
            offset, n = shard.add(f"{k}.png", bytes([k]) * (600 * k + 1))
            rows.append(_row(offset=offset, n_bytes=n, key=f"{k}.png", landmarks=[1.0, 2.5]))
    (tmp_path / "plain.png").write_bytes(b"plain")
    rows.append(_row(path="plain.png", identity="b", split="test"))
    write_manifest(rows, tmp_path)
    return tmp_path


def test_round_trip_with_tar_as_oracle(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    rows = read_manifest(folder).to_dict("records")
    with tarfile.open(folder / "shards" / "a.tar") as tar:
        for row in rows[:3]:
            member = tar.extractfile(row["key"])
            assert member is not None and read_bytes(folder, row) == member.read()
    assert read_bytes(folder, rows[3]) == b"plain"
    assert list(rows[0]["landmarks"]) == [1.0, 2.5] and rows[3]["landmarks"] is None


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "plain.png").unlink()
    with pytest.raises(DataError, match=r"missing image: plain\.png"):
        read_manifest(folder)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    shard = folder / "shards" / "a.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(DataError, match=r"a\.tar is truncated"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "name",
    ["../out.png", "in/../../out.png", "in/../plain.png", "/etc/hostname", "link.png", "linked/out.png", "loop/../../out.png"],
)
def test_what_lies_outside_of_the_folder_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "out.png").write_bytes(b"secret")
    (tmp_path / "set" / "in").mkdir(parents=True)
    folder = _folder(tmp_path / "set")
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder)
    write_manifest([_row(path=name)], folder)
    with pytest.raises(DataError, match="outside of it"):
        read_manifest(folder)
    with pytest.raises(DataError, match="outside of it"):
        read_bytes(folder, _row(path=name))


def test_links_within_the_folder_and_a_linked_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    folder = _folder(tmp_path / "set")
    (folder / "link.png").symlink_to("plain.png")
    write_manifest([_row(path="link.png")], folder)
    (tmp_path / "elsewhere").symlink_to(folder)
    assert read_bytes(tmp_path / "elsewhere", read_manifest(tmp_path / "elsewhere").to_dict("records")[0]) == b"plain"


@pytest.mark.parametrize("changes", [{"split": "dev"}, {"domain": "painting"}, {"split": "val"}])
def test_wrong_values_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    (tmp_path / "plain.png").write_bytes(b"")
    write_manifest([_row(path="plain.png"), _row(path="plain.png", **changes)], tmp_path)
    with pytest.raises(DataError):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a data set"):
        read_manifest(tmp_path)


def test_a_failed_shard_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "a.tar") as shard:
        shard.add("x", b"1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_shards_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with ShardWriter(tmp_path / name) as shard:
            shard.add("x", b"1")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_larger_sets_keep_splits() -> None:
    splits = [split_of(i) for i in range(250)]
    assert {s: splits.count(s) for s in set(splits)} == {"train": 200, "val": 25, "test": 25}


def test_small_sets_have_somebody_to_validate_on() -> None:
    for n in range(2, 12):
        splits = [split_of(i, n) for i in range(n)]
        assert splits.count("val") == 1 and splits[min(n - 1, 8)] == "val" and splits[0] == "train"
    assert split_of(0, 1) == "train"
    assert [split_of(i, 250) for i in range(250)] == [split_of(i) for i in range(250)]


def test_many_rows_are_written_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legan.data.manifest._ROWS_AT_ONCE", 3)
    rows = [_row(identity=f"p{i}", path=f"{i}.png", landmarks=[float(i)] * 136) for i in range(8)]
    write_manifest((one for one in rows), tmp_path)
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(b"")
    frame = read_manifest(tmp_path)
    assert list(frame["identity"]) == [f"p{i}" for i in range(8)] and frame["landmarks"].iloc[7][0] == 7
    write_manifest(iter(()), tmp_path)
    assert len(read_manifest(tmp_path)) == 0


def test_a_record_is_read_back_and_a_damaged_shard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with ShardWriter(path) as shard:
        shard.add("0.png", b"\0" * 600)
        shard.add("rows.json", b'[{"key": "0.png"}]')
        shard.add("half.json", b'[{"key": ')
    assert read_record(path, "rows.json") == [{"key": "0.png"}]
    for key in ("half.json", "none.json"):
        with pytest.raises(DataError, match=r"a\.tar is damaged: delete it"):
            read_record(path, key)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"a\.tar is damaged: delete it"):
        read_record(path, "rows.json")


def test_names_of_any_length(tmp_path: Path) -> None:
    keys = ["a.png", f"{'長' * 40}.png", f"{'b' * 300}.png", "c.png"]
    with ShardWriter(tmp_path / "a.tar") as shard:
        places = [shard.add(key, key.encode() * 20) for key in keys]
    data = (tmp_path / "a.tar").read_bytes()
    assert [data[offset : offset + n] for offset, n in places] == [key.encode() * 20 for key in keys]
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == keys
