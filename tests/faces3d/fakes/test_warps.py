"""Warps by landmarks: points come to their places, the border stays, and what does not move stays as it was."""

import numpy as np
import pytest
from tests.faces.face_images import frontal_landmarks

from legan.core.errors import ConfigError
from legan_faces3d.fakes.warps_and_swaps import METHODS, backward_field, warp

POINTS = frontal_landmarks(41.6, (64.0, 52.5))
# What a method may miss a landmark by, pixels: the others bend smoothly.
TOLERANCE = {"affine": 0.3, "spline": 0.8, "squares": 2.0}


def smiling(points):
    moved = points.copy()
    moved[[48, 54]] += [[-4, -3], [4, -3]]
    return moved


@pytest.mark.parametrize("method", METHODS)
def test_points_that_stay_leave_the_image(method):
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    assert np.abs(warp(image, POINTS, POINTS, method).astype(int) - image).mean() < 4


@pytest.mark.parametrize("method", METHODS)
def test_landmarks_come_from_where_they_were(method):
    goal = smiling(POINTS)
    field = backward_field(128, POINTS, goal, method)
    for number in (48, 54, 30, 36, 45):
        x, y = goal[number]
        found = field[int(y), int(x)] + (goal[number] - np.floor(goal[number]) - 0.5)
        assert np.abs(found - POINTS[number]).max() < TOLERANCE[method] + 0.6, number


@pytest.mark.parametrize("method", METHODS)
def test_border_stays(method):
    field = backward_field(128, POINTS, smiling(POINTS), method)
    x = np.arange(128) + 0.5
    assert np.abs(field[0, :, 0] - x).max() < 1.5 and np.abs(field[:, 127, 1] - x).max() < 1.5


@pytest.mark.parametrize("method", METHODS)
def test_closed_lips_can_be_opened_without_folds_elsewhere(method):
    closed, opened = POINTS.copy(), POINTS.copy()
    closed[60:68, 1] = closed[62, 1]
    opened[55:60, 1] += 9
    opened[65:68, 1] += 9
    field = backward_field(128, closed, opened, method)
    assert np.isfinite(field).all() and np.abs(field - backward_field(128, closed, closed, method)).max() < 25


def test_points_outside_the_image_are_left_out():
    goal = POINTS.copy()
    goal[5:12, 1] += 60
    assert np.isfinite(backward_field(128, POINTS, goal, "spline")).all()


def test_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'spline'"):
        warp(np.zeros((128, 128, 3), np.uint8), POINTS, POINTS, "splin")
