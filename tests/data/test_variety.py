"""What photographs bring: the same is done to an image and its truth, and landmarks go along."""

import cv2
import numpy as np
import pytest

from legan.data import edits as variety


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_backdrops_differ_and_repeat_by_seed() -> None:
    drawn = [variety.draw_backdrop(np.random.default_rng(seed)) for seed in range(12)]
    assert all(one.shape == (192, 192, 3) and one.dtype == np.uint8 for one in drawn)
    assert np.array_equal(drawn[3], variety.draw_backdrop(np.random.default_rng(3)))
    assert len({one.tobytes() for one in drawn}) == 12
    piece = variety.cut_backdrop(drawn[0], variety.draw_cut(np.random.default_rng(0), 64), 64)
    assert piece.shape == (64, 64, 3)


def test_a_backdrop_replaces_what_the_matte_leaves_out(image: np.ndarray) -> None:
    matte = np.zeros((64, 64), np.uint8)
    matte[16:48, 16:48] = 255
    backdrop = np.full((64, 64, 3), 7, np.uint8)
    (found,) = variety.before_backdrop([image], [matte], backdrop)
    assert np.array_equal(found[16:48, 16:48], image[16:48, 16:48])
    assert (found[:16] == 7).all() and (found[:, 48:] == 7).all()


def test_landmarks_move_with_the_pixels() -> None:
    image, random = np.zeros((128, 128, 3), np.uint8), np.random.default_rng(1)
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.75]], np.float32)
    for x, y in points * 128:
        cv2.circle(image, (round(x - 0.5), round(y - 0.5)), 3, (255, 255, 255), -1)
    matrix = variety.draw_jitter(random, 128)
    (moved,) = variety.jittered([image], matrix)
    for x, y in variety.moved_points(points, matrix, 128) * 128:
        ys, xs = np.mgrid[:128, :128] + 0.5
        near = (np.hypot(xs - x, ys - y) < 8) * moved[..., 0].astype(float)
        centre = (near * xs).sum() / near.sum(), (near * ys).sum() / near.sum()
        assert np.hypot(centre[0] - x, centre[1] - y) < 0.8


def test_grey_images_have_one_value_a_pixel(image: np.ndarray) -> None:
    (found,) = variety.grey([image])
    assert (found[..., 0] == found[..., 1]).all() and (found[..., 1] == found[..., 2]).all()


def test_a_poor_camera_does_the_same_to_an_image_and_its_truth(image: np.ndarray) -> None:
    changed = 0
    for seed in range(30):
        a, b = variety.degraded([image, image], variety.draw_camera(np.random.default_rng(seed), 64))
        assert np.array_equal(a, b) and a.shape == image.shape and a.dtype == np.uint8
        changed += not np.array_equal(a, image)
    assert 15 < changed < 30
