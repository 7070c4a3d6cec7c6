"""Augmentations: what they change, and what they leave."""

import numpy as np

from legan.data.batches import apply_tones, draw_tones, flip_images, flip_points


def test_no_strength_changes_nothing() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(apply_tones(images, draw_tones(np.random.default_rng(1), 2, 0.0)), images)


def test_points_follow_flipped_images() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[:, 2, 1] = 255
    points = np.full((2, 1, 2), [1.5 / 8, 2.5 / 8], np.float32)
    flipped = np.array([False, True])
    for image, (x, y) in zip(flip_images(images, flipped), flip_points(points, flipped)[:, 0] * 8, strict=True):
        assert image[int(y), int(x), 0] == 255


def test_tones_are_monotone_and_looked_up_by_image_and_channel() -> None:
    tones = draw_tones(np.random.default_rng(1), 3, 1.0)
    assert (np.diff(tones.astype(int), axis=2) >= 0).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    changed = apply_tones(images, tones)
    for b, y, x, c in ((0, 1, 2, 0), (2, 3, 4, 2), (1, 0, 0, 1)):
        assert changed[b, y, x, c] == tones[b, c, images[b, y, x, c]]
    assert len({t.tobytes() for t in tones.reshape(9, 256)}) == 9
