"""Pasting back: nothing edited changes nothing, nothing outside changes, light is carried over, detail stays."""

import numpy as np
import pytest
from PIL import Image
from tests.faces.face_images import frontal_landmarks

from legan.core.errors import ImageError
from legan.faces.align import AlignedCrop, align
from legan.faces.paste import detail_kept, fade_mask, paste


def textured(width: int = 640, height: int = 512, seed: int = 0) -> Image.Image:
    """Noise at every scale, so that a shift or a loss of any size shows."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slow = 110 + 50 * np.sin(x / 70)[..., None] * np.cos(y / 50)[..., None]
    return Image.fromarray(np.clip(slow + random.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8))


def turned_crop(photo: Image.Image, size: int = 128) -> AlignedCrop:
    points = frontal_landmarks(eye_distance=90, centre=(0.0, 0.0)) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) + [330, 220]
    return align(photo, points, size)


@pytest.mark.parametrize("size", [64, 128])
def test_without_an_edit_the_photo_is_the_same_bit_for_bit(size: int) -> None:
    photo = textured()
    crop = turned_crop(photo, size)
    assert np.array_equal(np.asarray(paste(photo, crop, crop.image)), np.asarray(photo))


def test_nothing_outside_the_mask_changes() -> None:
    photo = textured()
    crop = turned_crop(photo)
    edited = np.asarray(paste(photo, crop, np.zeros((128, 128, 3), np.uint8)))
    changed = np.argwhere((edited != np.asarray(photo)).any(axis=2))[:, ::-1] + 0.5
    places = changed @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert len(changed) > 10_000
    assert places.min() > 0
    assert places.max() < 128
    assert (edited[0] == np.asarray(photo)[0]).all()


def test_the_photo_itself_stays_as_it_was() -> None:
    photo = textured()
    before = np.array(photo)
    crop = turned_crop(photo)
    paste(photo, crop, np.zeros((128, 128, 3), np.uint8))
    assert np.array_equal(np.asarray(photo), before)


def test_dimming_the_crop_dims_the_photo_and_keeps_its_detail() -> None:
    photo = textured()
    crop = turned_crop(photo)
    dimmed = (np.asarray(crop.image) * 0.5).round().astype(np.uint8)
    result = np.asarray(paste(photo, crop, dimmed)).astype(float)
    x, y = (crop.inverse @ [64, 64, 1]).astype(int)
    window = np.s_[y - 60 : y + 60, x - 60 : x + 60]
    before, after = np.asarray(photo).astype(float)[window], result[window]
    assert after.mean() == pytest.approx(0.5 * before.mean(), rel=0.02)
    slope = np.polyfit(before.ravel(), after.ravel(), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.97


def test_structure_that_the_edit_removed_does_not_shine_through() -> None:
    """A dark line in the photo, gone in the edited crop: it must be gone in the photo too."""
    pixels = np.full((512, 640, 3), 170, np.uint8)
    photo = Image.fromarray(pixels)
    crop = turned_crop(photo)
    x, y = (crop.inverse @ [64, 90, 1]).astype(int)
    pixels[y - 3 : y + 4, x - 80 : x + 80] = 30
    photo = Image.fromarray(pixels)
    crop = turned_crop(photo)
    result = np.asarray(paste(photo, crop, np.full((128, 128, 3), 170, np.uint8))).astype(float)
    assert pixels[y, x, 0] == 30
    assert np.abs(result[y - 12 : y + 13, x - 30 : x + 30] - 170).max() < 35


def test_crop_that_reaches_beyond_the_photo() -> None:
    photo = textured(160, 140)
    crop = align(photo, frontal_landmarks(eye_distance=80, centre=(20.0, 30.0)))
    assert np.array_equal(np.asarray(paste(photo, crop, crop.image)), np.asarray(photo))
    assert np.asarray(paste(photo, crop, np.zeros((128, 128, 3), np.uint8))).mean() < np.asarray(photo).mean() - 5


def test_crop_outside_the_photo_changes_nothing() -> None:
    photo = textured(160, 140)
    crop = align(photo, frontal_landmarks(eye_distance=20, centre=(900.0, 900.0)))
    assert np.array_equal(np.asarray(paste(photo, crop, np.zeros((128, 128, 3), np.uint8))), np.asarray(photo))


def test_another_size_is_refused() -> None:
    photo = textured()
    crop = turned_crop(photo)
    with pytest.raises(ImageError, match="uint8"):
        paste(photo, crop, np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ImageError, match="float"):
        paste(photo, crop, np.zeros((128, 128, 3)))


def test_mask_is_whole_inside_and_zero_at_the_border() -> None:
    mask = fade_mask(128)
    assert mask[40:100, 40:88].min() == 1
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() < 0.02
    assert np.abs(np.diff(mask, axis=0)).max() < 0.2
    assert np.array_equal(mask, mask[:, ::-1])


def test_detail_kept_is_the_change_of_brightness_in_flat_parts_and_one_without_an_edit() -> None:
    random = np.random.default_rng(0)
    crop = random.uniform(0, 1, (64, 64, 3)).astype(np.float32)
    assert np.allclose(detail_kept(crop, crop), 1, atol=1e-4)
    flat = np.full((64, 64, 3), 0.6, np.float32)
    assert np.allclose(detail_kept(flat, 0.5 * flat), 0.5, atol=0.05)
    assert detail_kept(crop, flat).max() < 0.2
