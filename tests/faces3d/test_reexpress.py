"""Re-expressing files: a neutral photo gives five expressions, any other one neutral; bad photos a reason; a run continues."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.conftest import textured
from tests.shard_jobs import make_shards_here

from legan.core.conditions import LIGHTING_NAMES
from legan.core.errors import DataError
from legan.data.manifest import read_manifest
from legan.faces.detect import Face
from legan_faces3d import photos as reexpress
from legan_faces3d import photos as relight
from legan_faces3d.photos import DroppedPhotoError, PhotoReexpresser, list_photos, reexpress_folder, targets

NAMES = r"(?P<identity>[a-z]+)_(?P<expression>[a-z]+)"


@pytest.fixture(scope="module")
def world():
    """A maker for even light, a rendered photo of 200 x 240 pixels and its true landmarks."""
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    from legan_faces3d.render.renderer import Renderer

    renderer = Renderer(size=160, samples_per_axis=1)
    rendering = renderer.render(4, "neutral")
    photo = np.full((240, 200, 3), 128, np.uint8)
    photo[40:200, 20:180] = rendering.images[LIGHTING_NAMES.index("07")]
    maker = PhotoReexpresser(renderer.head, even_only=True)
    maker.fitter.photo_offsets = np.zeros((68, 3))  # the landmarks are the head's own
    return maker, Image.fromarray(photo), rendering.landmarks + np.float32([20, 40])


@pytest.fixture
def folder(world, tmp_path, monkeypatch) -> Path:
    """Photos and what the detector finds in them, told by their size."""
    _, photo, points = world
    place = tmp_path / "photos"
    place.mkdir()
    photo.save(place / "anna_neutral.png")
    photo.save(place / "anna_smile.png")
    photo.resize((201, 240)).save(place / "berta_neutral.png")
    textured().save(place / "carl_neutral.png")
    wild = points + np.random.default_rng(0).normal(0, 6, points.shape).astype(np.float32)
    known = {200: points, 201: wild}

    def find(image):
        return [Face((0, 0, 9, 9), known[image.width], 1.0)] if image.width in known else []

    monkeypatch.setattr(relight, "detect_largest", find)
    return place


def entries(folder: Path) -> dict:
    return {photo.name: photo for photo in list_photos(folder, NAMES, licence="CC0-1.0")}


def test_targets():
    assert targets("neutral") == ("smile", "surprise", "squint", "disgust", "scream")
    assert targets("smile") == targets("scream") == ("neutral",)


def test_neutral_photo_gives_five_expressions(world, folder):
    crops = world[0].make(entries(folder)["anna_neutral"])
    assert list(crops) == [f"{name}_even" for name in targets("neutral")]
    for name, crop in crops.items():
        assert crop.image.shape == (128, 128, 3) and crop.image.dtype == np.uint8
        assert (crop.domain, crop.expression, crop.lighting) == ("reexpressed", name.split("_")[0], "even")
        assert 0 < crop.confidence < 1
    # one take: all have the alignment of the photo
    assert len({tuple(crop.alignment) for crop in crops.values()}) == 1
    closed, opened = (np.reshape(crops[name].landmarks, (68, 2)) for name in ("squint_even", "scream_even"))
    assert (opened[66] - opened[62])[1] > (closed[66] - closed[62])[1] + 10


def test_smiling_photo_gives_neutral_only(world, folder):
    crops = world[0].make(entries(folder)["anna_smile"])
    assert list(crops) == ["neutral_even"] and crops["neutral_even"].expression == "neutral"


def test_every_lighting_and_even_light(world, folder, monkeypatch):
    maker, *_ = world
    monkeypatch.setattr(maker, "even_only", False)
    monkeypatch.setattr(reexpress, "targets", lambda expression: ("surprise",))
    crops = maker.make(entries(folder)["anna_neutral"])
    assert list(crops) == [f"surprise_{name}" for name in (*LIGHTING_NAMES, "even")]
    left, right = (crops[f"surprise_{name}"].image[60:90].astype(float).mean(axis=(0, 2)) for name in ("03", "11"))
    assert left[30:50].mean() > 1.2 * left[78:98].mean() and right[78:98].mean() > 1.2 * right[30:50].mean()


@pytest.mark.parametrize(("name", "reason"), [("berta_neutral", "bad fit"), ("carl_neutral", "no face")])
def test_bad_photos_are_dropped_with_the_reason(world, folder, name, reason):
    with pytest.raises(DroppedPhotoError) as caught:
        world[0].make(entries(folder)[name])
    assert caught.value.reason == reason


def test_folder_run_makes_a_set_counts_what_it_drops_and_continues(world, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(reexpress, "targets", lambda expression: ("smile",) if expression == "neutral" else ("neutral",))
    monkeypatch.setattr(reexpress, "build_reexpress", lambda even_only, broad_smiles: world[0].make)
    made = make_shards_here(monkeypatch)
    out = tmp_path / "set"
    report = reexpress_folder(folder, out, NAMES, licence="CC0-1.0", even_only=True)
    frame = read_manifest(out)
    assert made == ["anna", "berta", "carl"]
    assert report.crops == {"reexpressed": 2} and {drop.reason for drop in report.dropped} == {"bad fit", "no face"}
    assert set(frame["expression"]) == {"neutral", "smile"} and set(frame["licence"]) == {"CC0-1.0"}
    (out / "shards" / "anna.tar").unlink()
    before = (out / "shards" / "berta.tar").stat().st_mtime_ns
    again = reexpress_folder(folder, out, NAMES, licence="CC0-1.0", even_only=True)
    assert made[3:] == ["anna"] and again.crops == report.crops
    assert (out / "shards" / "berta.tar").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="lightings"):
        reexpress_folder(folder, out, NAMES, licence="CC0-1.0")
    with pytest.raises(DataError, match="version 2, not 2 with broad smiles"):
        reexpress_folder(folder, out, NAMES, licence="CC0-1.0", even_only=True, broad_smiles=True)


def test_broad_smiles_change_smiles_alone(world, monkeypatch):
    maker, subject = world[0], SimpleNamespace(fit=SimpleNamespace(actions={}), expression="neutral")
    modest = {target: maker.actions(subject, target, 0) for target in ("smile", "surprise")}
    monkeypatch.setattr(maker, "broad_smiles", True)
    assert maker.actions(subject, "surprise", 0) == modest["surprise"]
    assert maker.actions(subject, "smile", 0)["mouthUpperUpLeft"] >= 0.6 > modest["smile"]["mouthUpperUpLeft"]


def test_photo_of_unknown_expression_must_be_at_rest(world, folder, monkeypatch):
    from dataclasses import replace

    maker, *_ = world
    photo = replace(entries(folder)["anna_neutral"], expression_known=False)
    monkeypatch.setattr(reexpress, "targets", lambda expression: ("smile",))
    assert list(maker.make(photo)) == ["smile_even"]
    fit = maker.fitter.fit
    monkeypatch.setattr(
        maker.fitter, "fit", lambda *given: replace(found := fit(*given), actions=found.actions | {"jawOpen": 0.9})
    )
    with pytest.raises(DroppedPhotoError) as caught:
        maker.make(photo)
    assert caught.value.reason == "not at rest"
