"""What commands take as images: folders, tar shards, manifests, and all of these at addresses: bytes, names, outputs."""

import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.conftest import textured

from legan.core.errors import DataError, ImageError, LeganError
from legan.core.files import sha256_of
from legan.core.images import load_photo
from legan.core.inputs import find_inputs, is_folder
from legan.core.places import Place
from legan.data.shards import ShardWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("b.png", "a.png", "sub/c.png")):
        textured(32, 32, seed=seed).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def shard(folder: Path) -> Path:
    path = folder.parent / "000.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("b.png", "notes.txt", "sub/c.png"):
            tar.add(folder / name, name)
    return path


def found(*given: str | Path) -> dict[str, Path | Place]:
    return {inside: place for place, inside in find_inputs(given)}


def pixels(place: Path | Place) -> np.ndarray:
    return np.asarray(load_photo(place).image)


def test_folders_and_files_are_paths(folder: Path) -> None:
    assert found(folder) == {name: folder / name for name in ("a.png", "b.png", "sub/c.png")}
    assert found(folder.as_uri()) == found(folder), "file:// is a path"
    assert found(folder / "a.png") == {"a.png": folder / "a.png"}
    assert not is_folder(folder / "a.png") and is_folder(folder) and is_folder("s3://bucket/a.png")
    with pytest.raises(ImageError, match="does not exist: check the name"):
        found(folder / "z.png")


def test_a_shard_is_read_in_place(folder: Path, shard: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = found(shard)
    assert list(images) == ["000/b.png", "000/sub/c.png"], "in the order of the shard"
    assert "left out, not of a format that is read: 1 .txt" in caplog.text
    place = images["000/sub/c.png"]
    assert str(place) == f"{shard}/sub/c.png" and sha256_of(place) == sha256_of(folder / "sub" / "c.png")
    assert np.array_equal(pixels(place), pixels(folder / "sub" / "c.png"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ImageError, match="shorter than it was when it was listed"):
        place.read_bytes()


def test_names_that_lead_out_of_a_shard_are_refused(folder: Path, shard: Path) -> None:
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "a.png", "../a.png")
    with pytest.raises(DataError, match=r"names '\.\./a.png', which lies outside of it"):
        found(shard)
    shard.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="not an uncompressed tar shard"):
        found(shard)


def test_manifests_name_files_and_parts_of_shards(folder: Path, tmp_path: Path) -> None:
    pd.DataFrame({"path": ["sub/c.png", "b.png"]}).to_parquet(folder / "list.parquet")
    assert found(folder / "list.parquet") == {name: folder / name for name in ("sub/c.png", "b.png")}, "in its own order"
    with ShardWriter(tmp_path / "shards" / "r1.tar") as shard:
        row = shard.add_image("x.png", (folder / "a.png").read_bytes(), {})
    pd.DataFrame([row])[["path", "offset", "n_bytes", "key"]].to_parquet(tmp_path / "manifest.parquet")
    ((inside, place),) = found(tmp_path / "manifest.parquet").items()
    assert inside == "shards/r1/x.png" and str(place) == f"{tmp_path}/shards/r1/x.png"
    assert place.read_bytes() == (folder / "a.png").read_bytes()
    (folder / "link.png").symlink_to(tmp_path / "manifest.parquet")
    for name, error in (
        ("link.png", "lies outside of it"),
        ("../b.png", "lies outside of it"),
        ("file:///etc/hosts", "relative to the manifest's folder"),
    ):
        pd.DataFrame({"path": [name]}).to_parquet(folder / "list.parquet")
        with pytest.raises(DataError, match=error):
            found(folder / "list.parquet")


def test_addresses_hold_all_of_these(folder: Path, shard: Path, bucket: Any) -> None:
    for name in ("a.png", "sub/c.png", "notes.txt"):
        bucket.upload_file(str(folder / name), "faces", f"set/{name}")
    bucket.upload_file(str(shard), "faces", "shards/000.tar")
    manifest = folder / "manifest.parquet"
    pd.DataFrame({"path": ["set/sub/c.png", "s3://faces/set/a.png"]}).to_parquet(manifest)
    bucket.upload_file(str(manifest), "faces", "manifest.parquet")
    images = found("s3://faces/set")
    assert {inside: str(place) for inside, place in images.items()} == {
        "a.png": "s3://faces/set/a.png",
        "sub/c.png": "s3://faces/set/sub/c.png",
    }
    assert sha256_of(images["sub/c.png"]) == sha256_of(folder / "sub" / "c.png")
    assert images["a.png"].stamp, "by which a changed image is known"
    assert list(found("s3://faces/set/a.png")) == ["a.png"] and list(found("s3://faces/set/*.png")) == ["a.png"]
    shards = found("s3://faces/shards/*.tar")
    assert list(shards) == ["000/b.png", "000/sub/c.png"]
    assert np.array_equal(pixels(shards["000/b.png"]), pixels(folder / "b.png"))
    listed = found("s3://faces/manifest.parquet")
    assert [str(place) for place in listed.values()] == ["s3://faces/set/sub/c.png", "s3://faces/set/a.png"]
    assert sha256_of(listed["set/sub/c.png"]) == sha256_of(folder / "sub" / "c.png")
    with pytest.raises(DataError, match="s3://faces/nothing does not exist"):
        found("s3://faces/nothing")
    with pytest.raises(ImageError, match=r"s3://faces/gone\.png cannot be read"):
        Place("s3://faces/gone.png", "s3://faces/gone.png").read_bytes()


def test_a_missing_library_of_a_file_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="addresses need fsspec: pip install 'legan[bulk]'")
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as if it were not installed
    with pytest.raises(LeganError, match=r"gs://faces/a\.png needs the package gcsfs, .*: run `pip install gcsfs`"):
        found("gs://faces/a.png")
    with pytest.raises(LeganError, match=r"xyz://faces cannot be opened \(Protocol not known: xyz\)"):
        found("xyz://faces")


def test_hdfs_without_java_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="addresses need fsspec: pip install 'legan[bulk]'")

    def no_java(*arguments: Any, **options: Any) -> None:
        raise OSError("Unable to load libjvm\ndlopen(/usr/lib/jvm/libjvm.so) failed")

    monkeypatch.setattr("pyarrow.fs.HadoopFileSystem", no_java)
    with pytest.raises(LeganError) as caught:
        found("hdfs://namenode/faces")
    assert "Unable to load libjvm; hdfs:// needs Java and Hadoop's client: set JAVA_HOME" in str(caught.value)
    assert "\n" not in str(caught.value)
