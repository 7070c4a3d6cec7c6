"""Relighting files: good photos give 21 crops, the others a reason, and the run goes on."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import textured

from legan.core.conditions import LIGHTING_NAMES
from legan.data.shards import write_shard
from legan.faces.detect import Face
from legan_faces3d import photos as relight
from legan_faces3d.photos import DroppedPhotoError, PhotoRelighter, cut_window, list_photos, make_person


@pytest.fixture(scope="module")
def world():
    """A relighter, a rendered photo of 200 x 240 pixels and its true landmarks; and landmarks of a head turned by 35 degrees."""
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    from legan_faces3d.render import camera as cameras
    from legan_faces3d.render.renderer import Renderer

    renderer = Renderer(size=160, samples_per_axis=1)
    rendering = renderer.render(4, "neutral")
    photo = np.full((240, 200, 3), 128, np.uint8)
    photo[40:200, 20:180] = rendering.images[LIGHTING_NAMES.index("07")]
    neutral = renderer.person(4).neutral
    eyes = renderer.head.eye_centres(neutral)
    turned = cameras.turned_pose(np.radians(35), 0, 0, eyes)
    camera = cameras.exact_crop_camera(0.2, turned.apply(eyes))
    profile = camera.project(turned.apply(renderer.landmarks.on_face(neutral)), 200)
    relighter = PhotoRelighter(renderer.head)
    relighter.fitter.photo_offsets[:] = 0  # the landmarks are the head's own, not a photo's
    return relighter, Image.fromarray(photo), rendering.landmarks + np.float32([20, 40]), profile


@pytest.fixture
def folder(world, tmp_path, monkeypatch) -> Path:
    """Photos and what the detector finds in them, told by their size."""
    _, photo, points, profile = world
    photo.save(tmp_path / "good_smile.png")
    photo.resize((202, 240)).save(tmp_path / "turned_neutral.png")
    photo.resize((203, 240)).save(tmp_path / "tiny_neutral.png")
    textured().save(tmp_path / "wall_neutral.png")
    (tmp_path / "broken_neutral.png").write_bytes(b"no image")
    known = {200: points, 202: profile, 203: points * 0.2}

    def find(image):
        return [Face((0, 0, 9, 9), known[image.width], 1.0)] if image.width in known else []

    monkeypatch.setattr(relight, "detect_largest", find)
    return tmp_path


def entries(folder: Path) -> dict:
    photos = list_photos(folder, r"(?P<identity>[a-z]+)_(?P<expression>[a-z]+)", licence="CC0-1.0")
    return {photo.identity: photo for photo in photos}


def test_good_photo_gives_every_lighting_and_itself(world, folder):
    crops = world[0].make(entries(folder)["good"])
    assert list(crops) == [*LIGHTING_NAMES, "even"]
    assert all(crop.image.shape == (128, 128, 3) and crop.image.dtype == np.uint8 for crop in crops.values())
    assert {crop.domain for name, crop in crops.items() if name != "even"} == {"relit"} and crops["even"].domain == "photo"
    assert {crop.expression for crop in crops.values()} == {"smile"}
    assert all(0 < crop.confidence <= 1 and len(crop.landmarks) == 136 and len(crop.alignment) == 6 for crop in crops.values())
    # one matte for all: the face is the person's, the corners above it are not
    matte = crops["07"].matte
    assert all(np.array_equal(crop.matte, matte) for crop in crops.values())
    assert matte.shape == (128, 128) and matte[60:110, 45:83].min() > 250 and matte[0, [0, -1]].max() < 100
    # the crop as photographed is the photo, at the places that alignment and landmarks say
    matrix = np.reshape(crops["even"].alignment, (2, 3))
    np.testing.assert_allclose(
        world[2] @ matrix[:, :2].T + matrix[:, 2], np.reshape(crops["even"].landmarks, (68, 2)), atol=0.01
    )
    x, y = np.reshape(crops["even"].landmarks, (68, 2))[30].astype(int)
    there = np.asarray(world[1])[tuple(world[2][30].astype(int)[::-1])]
    assert np.abs(crops["even"].image[y, x].astype(int) - there).max() < 40


@pytest.mark.parametrize(
    ("identity", "reason", "detail"),
    [
        ("turned", "head turned", "degrees to the side"),
        ("tiny", "face too small", "pixels apart, at least 30 needed"),
        ("wall", "no face", "no frontal face"),
        ("broken", "unreadable", "PNG"),
    ],
)
def test_bad_photos_are_dropped_with_the_reason(world, folder, identity, reason, detail):
    with pytest.raises(DroppedPhotoError) as caught:
        world[0].make(entries(folder)[identity])
    assert caught.value.reason == reason
    assert detail in caught.value.detail or identity == "broken"


def test_shard_keeps_good_and_dropped_photos_of_a_person(world, folder, tmp_path):
    import json
    import tarfile

    photos = [entries(folder)[name] for name in ("wall", "good")]
    write_shard(tmp_path / "someone.tar", partial(make_person, world[0].make), photos, "record.json")
    with tarfile.open(tmp_path / "someone.tar") as shard:
        record = json.load(shard.extractfile("record.json"))
    assert len(record["rows"]) == 21 and [drop["reason"] for drop in record["dropped"]] == ["no face"]
    assert {row["lighting"] for row in record["rows"]} == {*LIGHTING_NAMES, "even"}
    assert all(row["key"].startswith("good_smile_") and row["licence"] == "CC0-1.0" for row in record["rows"])


def test_window_knows_where_the_photo_ends():
    pixels = np.full((40, 60, 3), 200, np.uint8)
    window, inside = cut_window(pixels, np.array([[1.0, 0, 10], [0, 1.0, -5]]), 80)
    assert window.shape == (80, 80, 3) and inside.shape == (80, 80)
    assert inside[:35, 10:70].all() and not inside[:, :10].any() and not inside[35:].any() and not inside[:, 70:].any()


def test_people_have_one_room_and_seed(folder):
    found = entries(folder)
    assert relight.seed_of(found["good"]) != relight.seed_of(found["wall"])
