"""Verbs that read folders and data sets of a bucket: the same outputs, byte for byte, as of the same files on the disk."""

import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.conftest import landmarks_at, textured
from tests.evaluation.sets import make_set, tiny_choice, write_images
from tests.face_sets import make_face_set
from tests.quality.test_filter import FakeEmbedder, tinted
from tests.recognition_weights import write_tiny_identity
from tests.shard_jobs import make_shards_here

from legan import augmentation
from legan.augmentation import augment
from legan.core.errors import ConfigError, DataError, ImageError
from legan.data import import_faces as imports
from legan.data.faces import load_dataset
from legan.data.import_faces import import_faces
from legan.data.manifest import MANIFEST, read_manifest
from legan.evaluation.benchmark import evaluate
from legan.faces.detect import Face
from legan.quality.filter import DECISIONS, IMAGES, filter_images
from legan.requests import AugmentationRequest, EvaluationRequest, FilterRequest


def upload(bucket: Any, folder: Path, name: str) -> str:
    """Put a folder's files into the bucket and return their address."""
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.upload_file(str(path), "faces", f"{name}/{path.relative_to(folder).as_posix()}")
    return f"s3://faces/{name}"


def packed(folder: Path, shard: Path) -> Path:
    with tarfile.open(shard, "w") as tar:
        for path in sorted(folder.rglob("*.png")):
            tar.add(path, path.relative_to(folder).as_posix())
    return shard


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_filter(bucket: Any, tmp_path: Path, tiny_quality: Path) -> None:
    colours = {"ann": (150, 40, 40), "bob": (40, 40, 150)}
    for seed, (name, colour) in enumerate(colours.items()):
        for folder, n in (("new", 3), ("known", 1)):
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(n):
                tinted(10 * seed + i, colour).save(tmp_path / folder / name / f"{i}.png")
    tinted(99, colours["bob"]).save(tmp_path / "new" / "ann" / "wrong.png")
    new, known = upload(bucket, tmp_path / "new", "filter/new"), upload(bucket, tmp_path / "known", "filter/known")
    request = FilterRequest(min_match=0.5, duplicates=True)

    def filtered(images: str | Path, references: str | Path, out: str) -> tuple[pd.DataFrame, dict[str, bytes]]:
        result = filter_images(images, tmp_path / out, request, references, tiny_quality, embedder=FakeEmbedder())
        assert result.n_kept == 6 and result.left_out == {"below min-match": 1}
        table = pd.read_parquet(tmp_path / out / DECISIONS).drop(columns=["file_stamp", "reference"])
        return table, files_of(tmp_path / out / IMAGES)

    table, kept = filtered(tmp_path / "new", tmp_path / "known", "local")
    there = filtered(new, known, "there")
    pd.testing.assert_frame_equal(there[0], table)
    assert there[1] == kept and "ann/wrong.png" not in kept
    # An image that changes in the bucket is judged again, and its copy is made anew.
    tinted(7, colours["ann"]).save(tmp_path / "new" / "ann" / "0.png")
    upload(bucket, tmp_path / "new", "filter/new")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # as in another process
    assert filtered(new, known, "there")[1]["ann/0.png"] == (tmp_path / "new" / "ann" / "0.png").read_bytes()
    shard = packed(tmp_path / "new", tmp_path / "new.tar")
    result = filter_images(shard, tmp_path / "packed", FilterRequest(keep=1, duplicates=True), None, tiny_quality)
    assert result.n_kept == 7 and (tmp_path / "packed" / IMAGES / "new" / "ann" / "wrong.png").is_file()
    with pytest.raises(ConfigError, match="--link links files, and the images of s3://faces/filter/new are none"):
        filter_images(new, tmp_path / "linked", FilterRequest(keep=1, link=True), None, tiny_quality)
    for name in ("x", "y"):
        bucket.upload_file(str(shard), "faces", f"filter/{name}/new.tar")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ImageError, match=r"filter/x/new\.tar/.* and .*filter/y/new\.tar/.* would have the same name"):
        filter_images("s3://faces/filter/*/new.tar", tmp_path / "twice", FilterRequest(keep=1), None, tiny_quality)


def test_import(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(image: Any) -> list[Face]:
        return [Face((40, 30, 168, 158), landmarks_at(40, 30, 128), 1.0)] if image.width > 200 else []

    monkeypatch.setattr(imports, "detect_largest", detect)
    for seed, name in enumerate(("ann/1.png", "ann/deep/2.png", "bob/1.png", "3.png")):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        textured(seed=seed).save(tmp_path / "faces" / name)
    textured(100, 100).save(tmp_path / "faces" / "bob" / "small.png")
    address = upload(bucket, tmp_path / "faces", "import/faces")
    found = import_faces("photo", tmp_path / "faces", tmp_path / "local")
    assert found["n_images"] == 4 and found["left_out"] == {"no face found": 1}
    assert import_faces("photo", address, tmp_path / "there") | {"manifest": ""} == found | {"manifest": ""}
    assert {name: data for name, data in files_of(tmp_path / "there").items() if name != "settings.json"} == {
        name: data for name, data in files_of(tmp_path / "local").items() if name != "settings.json"
    }
    assert sorted(read_manifest(tmp_path / "there")["identity"]) == ["3", "ann", "ann", "bob"]
    monkeypatch.setattr(imports, "detect_largest", None)  # nothing is left to do
    assert import_faces("photo", address, tmp_path / "there")["n_images"] == 4
    shard = packed(tmp_path / "faces", tmp_path / "faces.tar")
    bucket.upload_file(str(shard), "faces", "import/shards/faces.tar")
    monkeypatch.setattr(imports, "detect_largest", detect)
    import_faces("expressions", "s3://faces/import/shards/*.tar", tmp_path / "labels")
    assert set(read_manifest(tmp_path / "labels")["expression"]) == {"faces", "ann", "deep", "bob"}, (
        "their folders in the shard"
    )
    with pytest.raises(DataError, match=r"the layout lfw is read from a folder of this machine: copy s3://faces/import"):
        import_faces("lfw", address, tmp_path / "lfw")


def test_augment(bucket: Any, tmp_path: Path, tiny_editor: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shards_here(monkeypatch)
    monkeypatch.setattr(augmentation, "N_SOURCES", 16)
    data = make_face_set(tmp_path / "set", n_identities=3, size=128, lightings=(0,))
    address = upload(bucket, data, "augment/set")
    identity = write_tiny_identity(tmp_path / "identity.safetensors")
    request = AugmentationRequest("relight:1", editor=tiny_editor, quality=tiny_quality, identity=str(identity))
    report, local = augment(address, tmp_path / "there", request), augment(data, tmp_path / "local", request)
    assert report.n_synthetic == 18 and report.after == local.after
    assert files_of(tmp_path / "there") | {"report.json": b""} == files_of(tmp_path / "local") | {"report.json": b""}
    with pytest.raises(DataError, match=r"s3://faces/augment is not a data set: it has no manifest\.parquet"):
        augment("s3://faces/augment", tmp_path / "none", request)


def test_evaluate(bucket: Any, tmp_path: Path, tiny_editor: Path, tiny_quality: Path) -> None:
    choice, data = tiny_choice(tmp_path, tiny_quality), make_set(tmp_path / "set")
    address = upload(bucket, data, "evaluate/set")
    asked = [EvaluationRequest((str(place),), (f"tiny={tiny_editor}",), n=16, n_resamples=0) for place in (data, address)]
    reports = [evaluate(one, tmp_path / name, choice) for one, name in zip(asked, ("local", "there"), strict=True)]
    assert reports[1]["models"] == reports[0]["models"] and reports[1]["models"][0]["n"] == 16
    assert reports[1]["networks"] == reports[0]["networks"], "the same training images of the classifier of edits"
    folders = {name: write_images(tmp_path / name, 16, change=i) for i, name in enumerate(("in", "made", "truth"))}
    places = {name: upload(bucket, folder, f"evaluate/{name}") for name, folder in folders.items()}
    rows: list[Any] = []
    for found in (folders, places):
        request = EvaluationRequest(
            (f"{found['in']}",), results=(f"m={found['made']}",), truth=str(found["truth"]), n_resamples=0
        )
        rows.append(evaluate(request, tmp_path / f"results-{len(rows)}", choice)["models"])
    assert rows[1] == rows[0] and rows[0][0]["metrics"]["ssim"]["value"] < 1


def test_data_sets(bucket: Any, tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "set", n_identities=2, lightings=(0,))
    address = upload(bucket, data, "sets/whole")
    there, local = load_dataset(address, size=32), load_dataset(data, size=32)
    assert (there.images(range(6)) == local.images(range(6))).all() and there.facts()[0]["name"] == "whole"
    for path in ("shards/d000.tar", MANIFEST):
        bucket.upload_file(str(data / path), "faces", f"sets/part/{path}")
    with pytest.raises(DataError, match=r"s3://faces/sets/part names a missing image: shards/d001\.tar"):
        read_manifest("s3://faces/sets/part")
    (data / "shards" / "d001.tar").write_bytes(b"short")
    upload(bucket, data, "sets/short")
    with pytest.raises(DataError, match=r"s3://faces/sets/short/shards/d001\.tar is truncated"):
        read_manifest("s3://faces/sets/short")
