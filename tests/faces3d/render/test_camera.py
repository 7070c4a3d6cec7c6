"""Rays and projection agree, and the crop holds the eyes where alignment puts them."""

import numpy as np
import pytest

from legan.core.geometry import CROP_SIZE, EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan_faces3d.render.camera import SETTINGS, Camera, View, draw_camera, draw_pose

EYES = np.array([[-0.031, -0.2, 0.745], [0.031, -0.2, 0.745]])


def mouth_below(eyes: np.ndarray) -> np.ndarray:
    """A mouth whose distance suits the crop exactly."""
    drop = (eyes[1, 0] - eyes[0, 0]) * (MOUTH_Y - EYES_Y) / EYE_DISTANCE
    return eyes.mean(axis=0) - [0, 0, drop]


def test_projection_inverts_the_rays():
    camera = Camera(np.array([0.1, -1.5, 0.7]), 1.25, 0.2)
    origins, directions = camera.rays(16)
    pixels = camera.project(origins + directions * 1.7, 16)
    rows, columns = np.divmod(np.arange(256), 16)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1) + 0.5, atol=2e-3)


def test_image_axes_are_x_right_and_z_up():
    camera = Camera(np.array([0, -1.25, 0.0]), 1.25, 0.2)
    right, up = camera.project(np.array([[0.05, 0, 0], [0, 0, 0.05]]), 100)
    assert right[0] > 50 and right[1] == pytest.approx(50)
    assert up[1] < 50 and up[0] == pytest.approx(50)


@pytest.mark.parametrize("seed", range(5))
def test_crop_puts_eyes_and_mouth_near_their_places(seed):
    pose = draw_pose(seed, "smile", View.CROP, EYES)
    mouth = mouth_below(EYES)
    camera = draw_camera(seed, "smile", View.CROP, EYES, mouth, pose.apply(EYES))
    points = camera.project(pose.apply(np.vstack([EYES, mouth])), CROP_SIZE)
    assert points[:2, 1].mean() == pytest.approx(EYES_Y * CROP_SIZE, abs=2)
    assert points[1, 0] - points[0, 0] == pytest.approx(EYE_DISTANCE * CROP_SIZE, abs=1)
    assert points[2, 1] == pytest.approx(MOUTH_Y * CROP_SIZE, abs=5)


def test_crops_of_a_person_share_a_pose_and_wide_images_are_turned_more():
    def angle(seed: int, expression: str, view: View) -> float:
        rotation = draw_pose(seed, expression, view, EYES).rotation
        return float(np.degrees(np.arccos((np.trace(rotation) - 1) / 2)))

    assert angle(1, "smile", View.CROP) == angle(1, "scream", View.CROP) != angle(2, "smile", View.CROP)
    assert angle(1, "smile", View.WIDE) != angle(1, "scream", View.WIDE)
    crop, wide = (np.mean([angle(seed, "smile", view) for seed in range(60)]) for view in (View.CROP, View.WIDE))
    assert crop < 5 < 9 < wide < 20


def test_turned_heads_turn_up_to_30_degrees_and_share_a_pose():
    def yaw(seed: int, expression: str) -> float:
        rotation = draw_pose(seed, expression, View.TURNED, EYES).rotation
        return float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0])))

    yaws = np.array([yaw(seed, "smile") for seed in range(200)])
    assert yaw(1, "smile") == yaw(1, "scream")
    assert 10 < yaws.std() < 16 and 24 < np.abs(yaws).max() < 36


def test_wide_frames_are_wider():
    heights = {}
    for view in View:
        cameras = [draw_camera(seed, "neutral", view, EYES, mouth_below(EYES), EYES) for seed in range(20)]
        heights[view] = np.array([camera.height for camera in cameras])
    least, most = SETTINGS[View.WIDE].frame
    assert np.ptp(heights[View.CROP]) == 0
    ratio = heights[View.WIDE] / heights[View.CROP]
    assert least <= ratio.min() and ratio.max() <= most and np.ptp(ratio) > 0.1
