"""The matte: person against background, the same each time, harmless where it cannot tell."""

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.faces.face_images import rendered_faces

from legan.faces.paste import matte_of


def head(background: tuple[int, int, int], size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A drawn head with hair and neck, and its true outline."""
    random = np.random.default_rng(0)
    crop = np.full((size, size, 3), background, np.uint8)
    person = np.zeros((size, size), np.uint8)
    for ellipse, colour in (
        ((64, 128, 26, 30), (190, 140, 120)),
        ((64, 50, 46, 46), (60, 40, 30)),
        ((64, 74, 38, 50), (200, 150, 130)),
    ):
        x, y, half_width, half_height = (value * size // 128 for value in ellipse)
        cv2.ellipse(crop, (x, y), (half_width, half_height), 0, 0, 360, colour, -1)
        cv2.ellipse(person, (x, y), (half_width, half_height), 0, 0, 360, 1, -1)
    noisy = crop + random.normal(0, 4, crop.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), person.astype(np.float32)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("background", [(210, 215, 220), (40, 90, 160)])
def test_person_is_told_from_the_background(background: tuple[int, int, int], size: int) -> None:
    crop, person = head(background, size)
    matte = matte_of(crop)
    assert matte.shape == (size, size)
    assert matte.dtype == np.float32
    assert np.abs(matte - person).mean() < 0.03


def test_same_crop_same_matte() -> None:
    crop = np.asarray(Image.open(rendered_faces()[0]).convert("RGB"))
    first = matte_of(crop)
    matte_of(crop[:, ::-1].copy())
    assert np.array_equal(matte_of(crop), first)


def test_the_middle_of_the_face_is_always_the_persons() -> None:
    for path in rendered_faces():
        matte = matte_of(np.asarray(Image.open(path).convert("RGB")))
        assert matte[50:105, 42:86].min() > 0.99
        assert 0.3 < matte.mean() < 1


def test_a_plain_crop_is_the_persons() -> None:
    assert matte_of(np.full((128, 128, 3), 77, np.uint8)).min() == 1
