r"""File names that are not UTF-8, as old Latin-1 archives have: every command goes on, and tables hold them as `b\xe9b\xe9.png`."""

import csv
import os
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select
from tests.face_sets import draw_face

from legan.data.manifest import read_manifest, write_manifest
from legan.data.public.folder import read_expressions, read_folder
from legan.quality.filter import filter_images
from legan.quality.scorer import score_images
from legan.requests import FilterRequest, StudyRequest
from legan_faces3d.photos import list_photos
from legan_study import store as tables
from legan_study.create import create_study
from legan_study.study import open_study

NAME = r"b\xe9b\xe9.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose own name, one file and one subfolder are not UTF-8."""
    place = tmp_path / os.fsdecode(b"Fotos \xe4lter")
    (place / os.fsdecode(b"Ren\xe9")).mkdir(parents=True)
    for number, name in enumerate((b"b\xe9b\xe9.png", b"plain.png", b"Ren\xe9/a.png", b"Ren\xe9/b.png")):
        Image.fromarray(draw_face(number, number, 0, 128)).save(place / os.fsdecode(name))
    return place


def test_scores(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    for _ in range(2):  # the second time from the table
        found = score_images([folder], tmp_path / "s.csv", tiny_quality, faces="aligned")
        assert len(found) == 4 and not any(scored.reason for scored in found)
        with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
            names = [row["image"] for row in csv.DictReader(file)]
        assert [Path(name).name for name in names] == [r"a.png", r"b.png", NAME, "plain.png"]
    (folder / os.fsdecode(b"torn\xe9.png")).write_bytes(b"\x89PNG")
    found = score_images([folder], tmp_path / "s.csv", tiny_quality, faces="aligned")
    assert [Path(scored.image).name for scored in found if scored.reason] == [r"torn\xe9.png"]


def test_filter(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    done = filter_images(
        folder, tmp_path / "out", FilterRequest(keep=1.0, duplicates=True, faces="aligned"), weights=tiny_quality
    )
    kept = {os.fsencode(path.name) for path in (tmp_path / "out" / "images").rglob("*.png")}
    assert done.n_kept == 4 and kept == {b"b\xe9b\xe9.png", b"plain.png", b"a.png", b"b.png"}


def test_study(folder: Path, tmp_path: Path) -> None:
    create_study(StudyRequest(folder, tmp_path / "study", "rating", n_practice=0))
    with open_study(tmp_path / "study") as study, study.store.reading() as connection:
        names = set(connection.execute(select(tables.item.c.name)).scalars())
    assert names == {NAME, "plain.png", r"Ren\xe9/a.png", r"Ren\xe9/b.png"}


def test_what_importers_say_fits_into_a_manifest(folder: Path, tmp_path: Path) -> None:
    images = read_folder(folder)
    assert {image.identity for image in images} == {r"b\xe9b\xe9", "plain", r"Ren\xe9"}
    assert all(image.path.is_file() for image in images)
    (folder / os.fsdecode(b"b\xe9b\xe9.png")).unlink()
    (folder / "plain.png").unlink()
    (image, _) = read_expressions(folder)
    row = {"path": "", "identity": image.identity, "expression": image.expression, "domain": "photo", "split": "train"}
    others = dict.fromkeys(("key", "lighting", "source", "licence", "sha256"), "")
    write_manifest([{**others, **row, "path": "manifest.parquet"}], tmp_path)
    assert read_manifest(tmp_path)["expression"].tolist() == [r"Ren\xe9"]


def test_people_of_photo_lists(folder: Path) -> None:
    entries = list_photos(folder)
    assert [(entry.identity, entry.name) for entry in entries] == [
        ("Ren_xe9", "a"), ("Ren_xe9", "b"), ("b_xe9b_xe9", r"b\xe9b\xe9"), ("plain", "plain"),
    ]  # fmt: skip
    assert all(entry.source == r"Fotos \xe4lter" for entry in entries)
