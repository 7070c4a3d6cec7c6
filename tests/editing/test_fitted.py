"""The fitted editor on a rendered face: what changes, what stays bit for bit, what is refused, and how a folder goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from legan.core.conditions import LIGHTING_NAMES
from legan.core.errors import FaceError, ImageError
from legan.core.images import from_network, to_network
from legan.editing import editor as editing
from legan.editing.folders import edit_files
from legan.editing.loader import load_editor
from legan.editing.marks import read_mark
from legan.evaluation.measure import Candidate, Predictor
from legan.evaluation.tasks import EvaluationSet
from legan.faces.detect import Face
from legan.faces.landmarks import locate_in_crop
from legan.requests import EditRequest

SIDE = 240


@pytest.fixture(scope="module")
def editor():
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    return load_editor("fitted")


@pytest.fixture(scope="module")
def rendering(editor):
    from legan_faces3d.render.renderer import Renderer

    return Renderer(size=160, samples_per_axis=1).render(4, "neutral")


@pytest.fixture
def photo(rendering, monkeypatch) -> Image.Image:
    """A rendered face at rest, 160 pixels in a photo of 240, which the detector finds."""
    pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
    pixels[40:200, 40:200] = rendering.images[LIGHTING_NAMES.index("07")]
    points = rendering.landmarks + np.float32(40)
    monkeypatch.setattr(editing, "detect", lambda image, thorough=False: [Face((40, 40, 200, 200), points, 1.0)])
    return Image.fromarray(pixels)


def difference(a: Image.Image, b: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max(axis=2)


def test_an_expression_opens_the_mouth_and_leaves_the_rest(editor, photo) -> None:
    found = difference(editor(photo, expression="surprise").image, photo)
    assert found[145:185, 95:145].mean() > 15
    assert found[:8].max() == found[:, :8].max() == 0


def test_light_from_the_left_darkens_the_right_cheek(editor, photo) -> None:
    image = np.asarray(editor(photo, lighting=-75).image, float)
    left, right = image[125:140, 80:95].mean(), image[125:140, 145:160].mean()
    assert left > 1.5 * right


def test_fields_of_light_give_the_edit_again_and_an_expression_has_none(editor, photo) -> None:
    edit = editor(photo, lighting=-75, strength=0.5)
    (fields,) = edit.fields
    assert np.array_equal(fields.apply(np.asarray(photo)), np.asarray(edit.image))
    assert editor(photo, expression="surprise", lighting=-75).fields == ()


def test_the_steps_of_an_edit_give_it_again_with_16_bits(editor, photo) -> None:
    edit = editor(photo, expression="surprise", lighting=-75)
    pixels, deep = np.asarray(photo), np.asarray(photo).astype(np.uint16) * 257
    for step in edit.steps:
        pixels, deep = step.apply(pixels), step.apply(deep)
    assert np.array_equal(pixels, np.asarray(edit.image))
    assert np.abs(deep / 257 - pixels).mean() < 0.5, "rounding, which a gain enlarges in the dark"
    assert len(np.unique(deep)) > 1000 and np.array_equal(deep[:8], np.asarray(photo)[:8].astype(np.uint16) * 257)
    with pytest.raises(ImageError, match="uint8 or uint16"):
        edit.steps[0].apply(pixels[1:])


def test_strength_zero_is_the_photo_and_half_is_between(editor, photo) -> None:
    assert difference(editor(photo, expression="smile", lighting="left", strength=0).image, photo).max() == 0
    half, whole = (difference(editor(photo, expression="surprise", strength=s).image, photo).mean() for s in (0.5, 1.0))
    assert 0 < half < whole


def test_the_expression_shown_already_changes_nothing(editor, photo) -> None:
    assert difference(editor(photo, expression="neutral").image, photo).max() == 0


def test_a_second_edit_reuses_the_fit(editor, photo, monkeypatch) -> None:
    first = editor(photo, expression="smile").image
    monkeypatch.setattr(editor.networks.fitter, "fit", lambda *_: pytest.fail("fitted twice"))
    assert difference(editor(photo, expression="smile").image, first).max() == 0


def test_crops_are_edited_as_a_tensor(editor, photo) -> None:
    crop = editor.prepare(photo).crops[0].image
    x = torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1)[None].float() / 255
    edited = editor(x, lighting="left")
    assert edited.shape == x.shape and 0.02 < float((edited - x).abs().mean()) < 0.5
    assert len(editor(x[:0], lighting="left")) == 0


def test_a_turned_face_is_refused_with_its_reason_and_the_others_are_edited(
    editor, photo, rendering, monkeypatch, tmp_path: Path
) -> None:
    photo.save(tmp_path / "good.png")
    photo.resize((SIDE + 1, SIDE)).save(tmp_path / "wild.png")
    points = rendering.landmarks + np.float32(40)
    wild = points + np.random.default_rng(0).normal(0, 6, points.shape).astype(np.float32)
    crop = editor.prepare(photo).crops[0]
    found = iter([points @ crop.matrix[:, :2].T + crop.matrix[:, 2] for points in (points, wild)])
    monkeypatch.setattr("legan.editing.fitted.locate_in_crop", lambda crop: next(found))
    editor.networks._faces.clear()
    report = edit_files(editor, [tmp_path], tmp_path / "out", EditRequest(expression="smile"))
    assert [path.name for path in report.done] == ["good.png"]
    (message,) = report.failed.values()
    assert "wild.png cannot be edited with the fitted head: bad fit" in message
    mark = read_mark(tmp_path / "out" / "good.png")
    assert mark is not None and mark.weights == editor.networks.checksum
    editor.networks._faces.clear()


def test_what_only_the_edit_can_tell_is_refused_too(editor, photo, monkeypatch, tmp_path: Path) -> None:
    from legan_faces3d.photo.checks import UnusablePhotoError

    def refuse(*_):
        raise UnusablePhotoError("mouth too open", "lips cannot be closed")

    photo.save(tmp_path / "a.png")
    photo.rotate(0).save(tmp_path / "b.png")
    monkeypatch.setattr("legan.editing.fitted.FittedFace.express", refuse)
    with pytest.raises(FaceError, match="mouth too open"):
        editor(photo, expression="squint")
    report = edit_files(editor, [tmp_path], tmp_path / "out", EditRequest(expression="squint"))
    assert len(report.failed) == 2 and not report.done
    x = np.asarray(photo.resize((128, 128)))[None]
    codes = editor.networks.target_codes(to_network(x), "squint", None)
    image, refused = editor.networks.attempt(to_network(x), codes)
    assert refused.all() and np.array_equal(from_network(image), x)


def test_evaluation_measures_the_inputs_where_it_refuses(editor, photo, monkeypatch) -> None:
    good = np.asarray(editor.prepare(photo).crops[0].image)
    images, wild = np.stack([good, good[:, ::-1]]), np.random.default_rng(0).uniform(0, 128, (68, 2)).astype(np.float32)
    monkeypatch.setattr(
        "legan.editing.fitted.locate_in_crop", lambda crop: locate_in_crop(crop) if np.array_equal(crop, good) else wild
    )

    class Crops:
        person = np.array([0, 1])

        def images(self, indices: np.ndarray) -> np.ndarray:
            return images[indices]

    both, none = np.arange(2), np.zeros(0, int)
    target = np.array([[0, LIGHTING_NAMES.index("04")]] * 2)
    questions = EvaluationSet("two", "", Crops(), both, np.full(2, -1), none, both, target, ("good", "wild"))
    predictor = Predictor(Candidate("fitted", editor.networks.checksum, weights=Path("fitted")), questions, "cpu")
    edited, refused = predictor.predict(both)
    assert refused.tolist() == [False, True] and np.array_equal(edited[1], images[1])
    assert np.abs(edited[0].astype(int) - images[0]).mean() > 2
