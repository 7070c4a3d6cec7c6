"""Degradations: every one grows with its strength, leaves the clean image at 0, and is one fault at all strengths of a seed."""

import itertools

import numpy as np
import pytest
from PIL import Image
from tests.faces.face_images import frontal_landmarks, rendered_faces

from legan.core.errors import ConfigError
from legan.data.degradations import DEGRADATIONS, STRENGTHS, degrade, face_mask

POINTS = frontal_landmarks(41.6, (64.0, 52.5))


@pytest.fixture(scope="module")
def face():
    return np.asarray(Image.open(rendered_faces()[0]).convert("RGB"))


def distance(a, b):
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_distance_to_the_clean_image_grows_with_strength(face, name):
    for seed in range(3):
        found = [distance(degrade(name, face, POINTS, strength, seed), face) for strength in STRENGTHS]
        assert found[0] > 0.05 and all(a < b for a, b in itertools.pairwise(found)), found


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_equal_seeds_give_equal_images_and_others_do_not(face, name):
    first, again = (degrade(name, face, POINTS, 0.8, seed=7) for _ in range(2))
    assert first.dtype == np.uint8 and first.shape == face.shape
    np.testing.assert_array_equal(first, again)
    if name not in ("blur", "jpeg"):  # nothing is drawn for these
        assert distance(first, degrade(name, face, POINTS, 0.8, seed=8)) > 0.1


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_no_strength_changes_nothing(face, name):
    np.testing.assert_array_equal(degrade(name, face, POINTS, 0, 1), face)


def test_eyes_change_one_side_only(face):
    change = np.abs(degrade("eyes", face, POINTS, 1.0, 3).astype(int) - face).mean(axis=(0, 2))
    left, right = change[:64].mean(), change[64:].mean()
    assert max(left, right) > 4 * min(left, right)


def test_seam_leaves_what_lies_outside_the_face(face):
    outside = face_mask(128, POINTS) == 0
    np.testing.assert_array_equal(degrade("seam", face, POINTS, 1.0, 3)[outside], face[outside])


@pytest.mark.parametrize(("name", "strength", "message"), [("blurr", 0.5, "did you mean 'blur'"), ("blur", 1.5, "0..1")])
def test_wrong_arguments_are_named(face, name, strength, message):
    with pytest.raises(ConfigError, match=message):
        degrade(name, face, POINTS, strength, 0)
