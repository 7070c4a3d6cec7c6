"""Editing one photo: faces are chosen, edited, put back and marked; what stays the same stays the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import legan
from legan.core.errors import ConditionError, FaceError, ImageError
from legan.core.images import load_photo
from legan.core.weights import asset
from legan.editing.editor import Editor, edit_words
from legan.editing.loader import load_editor
from legan.editing.marks import read_mark

Know = Callable[..., None]


@pytest.fixture
def editor(tiny_editor: Path) -> Editor:
    return load_editor(tiny_editor)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def changed_box(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.abs(array(before) - array(after)).max(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_edit_changes_the_face_and_nothing_else(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128))
    before = load_photo(photo).image
    result = editor(photo, expression="smile", lighting=-45)
    assert result.image.size == before.size and result.image.mode == "RGB"
    left, top, right, bottom = changed_box(before, result.image)
    # The crop, and the margin of 0.3 of its side in which the edit fades; this photo shows no person to stop at.
    assert 0 <= left < 40 and 0 <= top < 30 and 168 < right <= 207 and 158 < bottom <= 197
    assert len(result.crops) == len(result.sources) == 1 and result.crops[0].size == (128, 128)
    assert np.abs(array(result.crops[0]) - array(result.sources[0])).mean() > 2


@pytest.mark.parametrize("face", ["largest", "all"])
def test_strength_zero_is_the_photo_bit_for_bit(editor: Editor, photo: Path, known_faces: Know, face: str) -> None:
    result = editor(photo, expression="smile", lighting=-45, strength=0, face=face)
    assert np.array_equal(array(result.image), array(load_photo(photo).image))


def test_path_image_and_photo_give_the_same(editor: Editor, tiny_editor: Path, photo: Path, known_faces: Know) -> None:
    with Image.open(photo) as image:
        results = [editor(source, "smile", "left") for source in (photo, str(photo), image, load_photo(photo))]
    for result in results[1:]:
        assert np.array_equal(array(result.image), array(results[0].image))
    again = legan.edit(photo, "smile", "left", weights=tiny_editor)
    assert np.array_equal(array(again.image), array(results[0].image))


def test_faces_by_size_number_and_all(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces((150, 20, 160), (10, 60, 100))
    before = load_photo(photo).image
    boxes = {
        face: changed_box(before, editor(photo, "scream", "right", face=face).image) for face in ("largest", 1, "2", "all")
    }
    assert boxes["largest"] == boxes[1] and boxes[1][0] > 100
    assert boxes["2"][2] < 142
    assert boxes["all"][0] == boxes["2"][0] and boxes["all"][2] == boxes["largest"][2]
    assert len(editor(photo, "scream", "right", face="all").crops) == 2


@pytest.mark.parametrize("face", [0, 3, -1, "3", "second"])
def test_no_such_face(editor: Editor, photo: Path, known_faces: Know, face: int | str) -> None:
    known_faces((150, 20, 160), (10, 60, 100))
    with pytest.raises(FaceError, match=rf"there is no face {face} in .*: 2 found, choose 1 \(the largest\) to 2"):
        editor(photo, "smile", "left", face=face)


def test_photo_without_a_face(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces()
    with pytest.raises(FaceError, match=r"no face found in .*photo.png: give a photo with a face seen from the front"):
        editor(photo, "smile", "left")


def test_aligned_crop_needs_no_face(editor: Editor, known_faces: Know) -> None:
    known_faces()
    result = editor(Image.new("RGB", (256, 256), (200, 150, 120)), "smile", "left", face="aligned")
    assert result.image.size == (128, 128) and result.crops[0] is result.image


def test_crops_of_another_size_are_refused(editor: Editor) -> None:
    with pytest.raises(ImageError, match="the crops are 64x64 pixels, and this editor edits 128x128"):
        editor(torch.rand(1, 3, 64, 64), "smile", "left")


def test_tensor_of_crops(editor: Editor) -> None:
    x = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    y = editor(x, "smile", -45)
    assert isinstance(y, torch.Tensor) and y.shape == x.shape and y.min() >= 0 and y.max() <= 1
    image = Image.fromarray((x[1] * 255).round().byte().permute(1, 2, 0).numpy())
    crop = editor(image, "smile", -45, face="aligned").crops[0]
    assert np.abs(array(crop) - (y[1] * 255).permute(1, 2, 0).numpy()).mean() < 1.5
    assert torch.allclose(editor(x, "smile", -45, strength=0), x, atol=1e-6)
    with pytest.raises(ImageError, match=r"must lie in \[0, 1\]"):
        editor(x * 255, "smile", -45)


def test_many_photos_are_as_each_alone(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128), (200, 80, 90))
    other = tmp_path / "other.png"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    paths = [photo, other, photo, other, photo]
    results = list(editor.edit_many(paths, "surprise", None, strength=0.7, face="all", batch_size=2))
    assert [r.photo.path for r in results] == paths
    for result, path in zip(results[:2], paths, strict=False):
        alone = editor(path, "surprise", None, strength=0.7, face="all")
        assert np.abs(array(result.image) - array(alone.image)).max() <= 1
    assert np.array_equal(array(results[0].image), array(results[4].image))


def test_a_wrong_wish_is_told_before_any_photo_is_read(editor: Editor) -> None:
    with pytest.raises(ConditionError, match=r"unknown expression 'smlie'.*did you mean 'smile'"):
        editor.edit_many(["missing.jpg"], expression="smlie")
    with pytest.raises(ConditionError, match="out of range"):
        editor("missing.jpg", lighting=120)
    with pytest.raises(ConditionError, match="strength 3 is out of range"):
        editor("missing.jpg", "smile", strength=3)


def test_saving_marks_and_not(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    result = editor(photo, {"smile": 0.5, "squint": 0.25}, (-45, 20), strength=0.9)
    result.save(tmp_path / "a.jpg")
    result.save(tmp_path / "b.jpg", mark=False)
    mark = read_mark(tmp_path / "a.jpg")
    assert mark is not None and mark.weights == editor.networks.checksum
    assert mark.edit == "expression=smile:0.5,squint:0.25 lighting=-45,20 strength=0.9"
    assert read_mark(tmp_path / "b.jpg") is None
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
        assert np.array_equal(array(a), array(b))


def test_fields_give_the_edit_again_and_in_16_bits(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128), (200, 80, 90))
    result = editor(photo, "smile", "left", face="all", strength=0.8)
    assert len(result.fields) == 2
    eight = np.array(result.photo.image)
    sixteen = eight.astype(np.uint16) * 257
    for own in result.fields:
        eight, sixteen = own.apply(eight), own.apply(sixteen)
    assert np.array_equal(eight, array(result.image))
    assert sixteen.dtype == np.uint16 and len(np.unique(sixteen)) > 1000
    assert np.abs(sixteen / 257 - eight).max() < 2
    first = result.fields[0]
    left, top, right, bottom = first.box
    assert first.displacement.shape == (bottom - top, right - left, 2) and np.abs(first.displacement).max() > 0.1
    assert first.gain.shape == first.bias.shape == (bottom - top, right - left, 3) and first.matte.shape == first.gain.shape[:2]


def test_an_aligned_crop_has_no_fields_of_a_photo(editor: Editor) -> None:
    assert editor(Image.new("RGB", (128, 128), (200, 150, 120)), "smile", "left", face="aligned").fields == ()


def test_words_of_an_edit() -> None:
    assert edit_words("smile:0.7", "left", 1) == "expression=smile:0.7 lighting=left strength=1"
    assert edit_words(None, -45, 0.5) == "expression=kept lighting=-45 strength=0.5"
    assert edit_words("smile", None, 1) == "expression=smile lighting=kept strength=1"


def test_mask_images(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128), (200, 80, 90))
    result = editor(photo, "smile", "left", face="all")
    assert result.expression_mask.shape == (2, 2, 64, 64) and np.abs(result.lighting_mask).max() <= 1
    for image in result.mask_images():
        assert image.size == (256, 128) and image.mode == "RGB"
        values = array(image)
        assert values.max() > 200 and values.min() < 60


def test_editing_a_packaged_face_found_by_the_detector(editor: Editor) -> None:
    face = Image.open(sorted(asset("faces").glob("*.png"))[0]).convert("RGB").resize((300, 300))
    scene = Image.new("RGB", (500, 420), (120, 125, 130))
    scene.paste(face, (100, 60))
    result = editor(scene, "smile", "left")
    left, top, right, bottom = changed_box(scene, result.image)
    assert 60 < left < right < 440 and 20 < top < bottom < 400
