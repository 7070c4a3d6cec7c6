"""Wrong light: the true ratio would give the true planned_image, every fault gives another one, in its own way."""

import numpy as np
import pytest
from tests.face_sets import draw_face
from tests.faces.face_images import frontal_landmarks

from legan_faces3d.fakes.light_faults import LIGHT_FAULTS, LightChange, relight_wrongly

POINTS = frontal_landmarks(41.6, (64.0, 52.5))
LEFT, RIGHT = 1, 13


def change(other=2):
    return LightChange(*(draw_face(i, 0, light, 128) for i in (1, other) for light in (LEFT, RIGHT)), points=POINTS)


def made(setting, seed=0, other=2):
    return relight_wrongly(change(other), setting, np.random.default_rng(seed))


def sides(image):
    return image[60:90, 10:50].mean(), image[60:90, 78:118].mean()


def test_the_own_ratio_gives_the_true_image():
    """Another face that is the same face has no fault."""
    assert np.abs(made("other-face", other=1).astype(int) - change().after)[8:-8, 8:-8].mean() < 4


@pytest.mark.parametrize("setting", LIGHT_FAULTS)
def test_every_fault_gives_a_wrong_image_again_for_the_same_seed(setting):
    # The drawn faces' light is smooth and symmetric: faults that displace it are seen where the image has edges.
    result = made(setting)
    assert result.dtype == np.uint8 and result.shape == (128, 128, 3)
    assert np.abs(result.astype(int) - change().after).mean() > 0.5
    np.testing.assert_array_equal(result, made(setting))


def test_mirrored_light_comes_from_the_other_side():
    (left, right), (mirrored_left, mirrored_right) = sides(change().after), sides(made("mirrored"))
    assert right > left and mirrored_left > mirrored_right


def test_half_is_right_on_one_side_only():
    error = np.abs(made("half").astype(int) - change().after).mean(axis=(0, 2))
    halves = error[8:60].mean(), error[68:120].mean()
    assert max(halves) > 3 * min(halves)


def test_cut_out_leaves_what_lies_outside_the_face():
    np.testing.assert_allclose(made("cut-out")[:8].astype(int), change().before[:8], atol=1)
