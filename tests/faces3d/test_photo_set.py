"""The folder that photo sets share: manifest, dropped photos, resume, and errors that say what to do."""

import csv
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.photo_makers import build_plain, make_plain, write_photos
from tests.shard_jobs import make_shards_here

from legan.core.errors import ConfigError, DataError, LeganError
from legan.data.faces import FaceDataset
from legan.data.manifest import read_manifest
from legan.data.shards import write_shard
from legan_faces3d.photos import build_photo_set, list_photos, make_person

PATTERN = r"(?P<identity>[a-z]+)_(?P<expression>[a-z]+)"
NAMES = ["a_neutral.png", "a_smile.png", "b_neutral.png", "bad_neutral.png", "c_neutral.png", "d_smile.png"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", NAMES)


@pytest.fixture
def in_this_process(monkeypatch):
    """Makes shards without worker processes; gives the list of people made."""
    return make_shards_here(monkeypatch)


def make(photos: Path, out: Path, settings=None, **others):
    return build_photo_set(out, list_photos(photos, PATTERN, licence="mine"), settings or {"version": 1}, build_plain, **others)


def test_set_and_report(photos, tmp_path, in_this_process):
    steps = []
    report = make(photos, tmp_path / "set", progress=lambda n, total: steps.append((n, total)))
    frame = read_manifest(tmp_path / "set")
    assert report.crops == {"relit": 5, "photo": 5} and report.n_photos == 6 and len(frame) == 10
    assert steps == [(n, 5) for n in range(6)]
    assert [drop.file for drop in report.dropped] == ["bad_neutral.png"]
    assert "dropped 1: no face" in report.lines()
    rows = list(csv.DictReader((tmp_path / "set" / "dropped.csv").open()))
    assert rows[0]["identity"] == "bad" and rows[0]["reason"] == "no face" and rows[0]["detail"] == "there is none"
    assert report.as_json()["dropped"][0]["reason"] == "no face" and report.confidence == 0.5
    assert set(frame["confidence"]) == {0.5} and set(frame["licence"]) == {"mine"}
    assert frame["key"].is_unique and set(frame["split"]) == {"train", "val"}


def test_face_data_set_reads_it_and_gives_even_light_no_class(photos, tmp_path, in_this_process):
    make(photos, tmp_path / "set")
    data = FaceDataset([tmp_path / "set"], "train", size=16)
    frame = read_manifest(tmp_path / "set")
    assert len(data) == (frame["split"] == "train").sum() > 0
    assert sorted(set(data.lighting)) == [-1, 7]
    is_even = (frame["lighting"] == "even")[frame["split"] == "train"].to_numpy()
    assert (data.lighting[is_even] == -1).all() and not np.isin(np.flatnonzero(is_even), data.truth).any()


def test_run_again_makes_only_what_is_missing_or_has_changed(photos, tmp_path, in_this_process):
    first = make(photos, tmp_path / "set")
    before = (tmp_path / "set" / "manifest.parquet").read_bytes()
    (tmp_path / "set" / "shards" / "b.tar").unlink()
    (tmp_path / "set" / "shards" / ".c.tar.x.tmp").write_bytes(b"half")
    in_this_process.clear()
    again = make(photos, tmp_path / "set")
    assert in_this_process == ["b"] and again.crops == first.crops
    assert (tmp_path / "set" / "manifest.parquet").read_bytes() == before
    assert not list((tmp_path / "set" / "shards").glob(".*.tmp"))
    write_photos(photos, ["d_neutral.png"])
    in_this_process.clear()
    assert make(photos, tmp_path / "set").n_photos == 7 and in_this_process == ["d"]
    in_this_process.clear()
    assert make(photos, tmp_path / "set").seconds_per_photo is None and in_this_process == []


def test_a_shard_of_photos_gives_what_their_folder_does(photos, tmp_path, in_this_process):
    make(photos, tmp_path / "folder")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for path in sorted(photos.iterdir()):
            tar.add(path, path.name)
    make(tmp_path / "photos.tar", tmp_path / "shard")
    in_this_process.clear()
    make(tmp_path / "photos.tar", tmp_path / "shard")
    folder, shard = (read_manifest(tmp_path / name) for name in ("folder", "shard"))
    assert folder.drop(columns="source").equals(shard.drop(columns="source")) and in_this_process == []
    assert set(shard["source"]) == {"photos.tar"}
    with pytest.raises(DataError, match="a manifest lists photos of a folder"):
        list_photos(tmp_path / "photos.tar", manifest=tmp_path / "faces.csv")


def test_worker_processes_give_the_same(photos, tmp_path, in_this_process, monkeypatch):
    make(photos, tmp_path / "one")
    monkeypatch.undo()
    make(photos, tmp_path / "two", n_workers=2)
    one, two = (read_manifest(tmp_path / name) for name in ("one", "two"))
    assert one["sha256"].tolist() == two["sha256"].tolist() and one["offset"].tolist() == two["offset"].tolist()


def test_other_settings_and_other_folders_are_refused(photos, tmp_path, in_this_process):
    make(photos, tmp_path / "set")
    with pytest.raises(DataError, match="was made with version 1, not 2"):
        make(photos, tmp_path / "set", {"version": 2})
    with pytest.raises(DataError, match="holds other files"):
        make(photos, photos)
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        make(photos, tmp_path / "new", n_workers=0)
    (tmp_path / "set" / "shards" / "a.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"a\.tar is damaged"):
        make(photos, tmp_path / "set")


def lacks_its_extra():
    raise LeganError('rendering needs the head model anny: pip install "legan[render]"')


def test_what_fails_without_its_extra_blocks_no_other_verb(photos, tmp_path):
    entries = list_photos(photos, PATTERN, licence="mine")
    with pytest.raises(LeganError, match="needs the head model"):
        build_photo_set(tmp_path / "set", entries, {"made by": "reexpress"}, lacks_its_extra)
    report = build_photo_set(tmp_path / "set", entries, {"made by": "relight"}, build_plain)
    assert len(read_manifest(tmp_path / "set")) == 10 and report.n_photos == 6


def test_a_photo_that_fails_leaves_no_shard(photos, tmp_path):
    def fails(photo):
        if photo.expression == "smile":
            raise RuntimeError("a fault of the software")
        return make_plain(photo)

    entries = [entry for entry in list_photos(photos, PATTERN) if entry.identity == "a"]
    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "a.tar", partial(make_person, fails), entries)
    assert not list(tmp_path.glob("*.tar")) and not list(tmp_path.glob(".*"))
