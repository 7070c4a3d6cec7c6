"""Scoring files: in order, NaN with a reason where there is no face, resumable, aligned crops taken as they are."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import landmarks_at, textured
from tests.quality_weights import write_tiny_quality
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError, FaceError, ImageError, LeganError
from legan.core.listing import find_images
from legan.faces import align as crops
from legan.faces.align import CUT_FACE, outside, prepare
from legan.faces.detect import Face
from legan.quality.scorer import as_csv, in_words, load_quality, score_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine crops, an image without a face, a broken file, a hidden one."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for i in range(8):
        textured(128, 128, seed=i).save(folder / f"{i}.png")
    textured(128, 128, seed=9).save(folder / "sub" / "9.jpg")
    Image.new("RGB", (200, 150), (90, 120, 160)).save(folder / "sky.png")
    (folder / "broken.png").write_text("no image")
    textured(128, 128).save(folder / ".hidden.png")
    return folder


def test_scores_in_order_with_reasons(folder: Path, tiny_quality: Path) -> None:
    found = score_images([folder], weights=tiny_quality)
    assert [Path(s.image).name for s in found] == [*(f"{i}.png" for i in range(8)), "broken.png", "sky.png", "9.jpg"]
    by_name = {Path(s.image).name: s for s in found}
    assert math.isnan(by_name["sky.png"].score) and by_name["sky.png"].reason.startswith("no face found")
    assert by_name["sky.png"].readable and not by_name["broken.png"].readable
    assert "is a text file" in by_name["broken.png"].reason
    good = [s for s in found if not s.reason]
    assert len(good) == 9 and all(0 <= s.score <= 10 and s.spread > 0 for s in good)
    again = score_images([folder / "3.png"], weights=tiny_quality)
    assert again[0].score == pytest.approx(by_name["3.png"].score, abs=0.02)


def test_a_face_that_the_photo_cuts_has_no_score(tmp_path: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, table = tmp_path / "photo.png", tmp_path / "scores.csv"
    textured(320, 200).save(path)

    def face_at(left: float) -> None:
        face = Face((left, 30, left + 128, 158), landmarks_at(left, 30, 128), 1.0)
        monkeypatch.setattr(crops, "detect_largest", lambda image: [face])

    face_at(-12)  # 9% of the crop is the photo's border, repeated
    assert not prepare(path).is_cut and not math.isnan(score_images([path], weights=tiny_quality)[0].score)
    face_at(-64)
    (cut,) = score_images([path], table, tiny_quality)
    assert math.isnan(cut.score) and math.isnan(cut.spread) and cut.reason == CUT_FACE and cut.readable
    assert "15%" in CUT_FACE and "no score, the photo cuts the face" in in_words([cut])
    with pytest.raises(FaceError, match=r"photo\.png: the photo cuts the face"):
        load_quality(tiny_quality)(path)
    face_at(40)  # it has been judged: a table that continues does not prepare it again
    assert score_images([path], table, tiny_quality)[0].reason == CUT_FACE


def test_the_share_of_a_crop_outside_the_photo() -> None:
    shifted = np.array([[1.0, 0, 32], [0, 1, 0]])  # a quarter of the crop lies left of the photo
    assert outside((400, 400), shifted, 128) == 0.25
    assert outside((400, 64), shifted, 128) == 1 - 0.75 * 0.5
    assert outside((400, 400), np.array([[1.0, 0, -20], [0, 1, -20]]), 128) == 0


def test_a_table_continues_where_it_stopped(
    folder: Path, tiny_quality: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.csv"
    whole = score_images([folder], out, tiny_quality)
    text = out.read_text()
    assert [row["image"] for row in csv.DictReader(text.splitlines())] == [s.image for s in whole]
    lines = text.splitlines(keepends=True)
    out.write_text("".join(lines[:5]) + lines[5][:9])  # killed in the middle of a line
    prepared: list[str] = []
    real = crops.prepare
    monkeypatch.setattr(crops, "prepare", lambda path, *rest: (prepared.append(Path(path).name), real(path, *rest))[1])
    again = score_images([folder], out, tiny_quality)
    assert as_csv(again) == as_csv(whole)
    assert sorted(prepared) == sorted(Path(s.image).name for s in whole[4:])
    with pytest.raises(LeganError, match="other weights"):
        score_images([folder], out, write_tiny_quality(tmp_path / "other.safetensors", seed=1))
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LeganError, match="not a table of this kind"):
        score_images([folder], tmp_path / "mine.csv", tiny_quality)


def test_unreadable_images_are_told_and_tried_again(folder: Path, tiny_quality: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    for _ in range(2):
        found = score_images([folder], out, tiny_quality)
        assert [Path(one.image).name for one in found if not one.readable] == ["broken.png"]
    textured(128, 128).save(folder / "broken.png")
    found = score_images([folder], out, tiny_quality)
    assert all(one.readable for one in found) and len(out.read_text().splitlines()) == 1 + len(found)


def test_the_plot_is_checked_before_the_work(folder: Path, tiny_quality: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give a name that ends in \.png"):
        score_images([folder], tmp_path / "scores.csv", tiny_quality, plot=tmp_path / "plot.pdf")
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("kind", ["folder", "binary"])
def test_a_table_that_is_none(folder: Path, tiny_quality: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "mine"
    out.mkdir() if kind == "folder" else out.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(LeganError, match="is there already and is not a table"):
        score_images([folder], out, tiny_quality)


def test_what_is_taken_for_a_crop(tmp_path: Path) -> None:
    crop, large = textured(128, 128), textured(256, 256)
    assert np.array_equal(prepare(crop).crop, np.asarray(crop))
    assert prepare(crop, faces="detect").crop is None
    assert prepare(large).crop is None and "no face" in prepare(large).reason
    assert prepare(large, faces="aligned").crop.shape == (128, 128, 3)  # type: ignore[union-attr]


def test_a_face_is_found_and_aligned(known_crop_photo: Path) -> None:
    assert prepare(known_crop_photo).crop.shape == (128, 128, 3)  # type: ignore[union-attr]


@pytest.fixture
def known_crop_photo(photo: Path, known_faces: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    from legan.editing import editor as edit

    monkeypatch.setattr("legan.faces.align.detect_largest", lambda image: edit.detect(image))
    return photo


def test_places(tmp_path: Path, folder: Path) -> None:
    assert len(find_images([folder, folder / "1.png"])) == 11
    (tmp_path / "empty").mkdir()
    for place in ("empty", "nowhere"):
        with pytest.raises(ImageError):
            find_images([tmp_path / place])


def test_output_forms(folder: Path, tiny_quality: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plots" / "scores.png"
    found = score_images([folder], weights=tiny_quality, plot=plot)
    with Image.open(plot) as image:
        assert image.width > 400 and np.asarray(image.convert("L")).std() > 5
    rows = list(csv.DictReader(as_csv(found).splitlines()))
    assert list(rows[0]) == ["image", "score", "spread", "reason"] and rows[-2]["score"] == "nan"
    words = in_words(found)
    assert "±" in words and "no score, no face found" in words
    with pytest.raises(ConfigError, match=r"\.png"):
        score_images([folder], weights=tiny_quality, plot=tmp_path / "plot.txt")
    with pytest.raises(ConfigError, match="did you mean 'aligned'"):
        score_images([folder], weights=tiny_quality, faces="align")  # type: ignore[arg-type]


def test_command(folder: Path, tiny_quality: Path) -> None:
    words = ["score", str(folder), "--weights", str(tiny_quality)]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 1 and result.stderr.count("error:") == 1  # the broken file
    found = json.loads(result.stdout)
    assert len(found) == 11 and found[-2]["score"] is None and found[0]["reason"] == ""
    (folder / "broken.png").unlink()
    assert CliRunner().invoke(app, [*words, "--csv"]).stdout.startswith("image,score,spread,reason\n")
    assert CliRunner().invoke(app, words).exit_code == 0


def test_threads_find_the_same_faces(tmp_path: Path) -> None:
    """With the real detector, which keeps state: threads that shared one would disturb each other."""
    faces = sorted((Path(crops.__file__).parent.parent / "assets" / "faces").glob("*.png"))[:6]
    paths = []
    for i, face in enumerate(faces):
        image = Image.new("RGB", (300, 300), (120, 125, 130))
        image.paste(Image.open(face).resize((200, 200)), (50, 50))
        paths.append(tmp_path / f"{i}.png")
        image.save(paths[-1])
    alone = [prepare(path).crop for path in paths]
    together = [one.crop for one in crops.prepare_many(paths * 2, n_threads=4)]
    for a, b in zip(alone * 2, together, strict=True):
        assert a is not None and b is not None and np.array_equal(a, b)
