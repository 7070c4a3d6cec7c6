"""Augmentations: what they change, and what they leave."""

import numpy as np

from legan.data.transforms import apply_tones, draw_tones


def test_no_strength_changes_nothing() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(apply_tones(images, draw_tones(np.random.default_rng(1), 2, 0.0)), images)


def test_tones_are_monotone_and_looked_up_by_image_and_channel() -> None:
    tones = draw_tones(np.random.default_rng(1), 3, 1.0)
    assert (np.diff(tones.astype(int), axis=2) >= 0).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    changed = apply_tones(images, tones)
    for b, y, x, c in ((0, 1, 2, 0), (2, 3, 4, 2), (1, 0, 0, 1)):
        assert changed[b, y, x, c] == tones[b, c, images[b, y, x, c]]
    assert len({t.tobytes() for t in tones.reshape(9, 256)}) == 9
