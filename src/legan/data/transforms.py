"""Augmentation of face crops: what a change of the picture does to its conditions."""

import numpy as np

from legan.core.conditions import LIGHTINGS, mirrored_lighting

# Lighting class -> class after a flip left to right: the flash changes sides (01 <-> 13, 14 <-> 18), room light stays.
MIRRORED = np.array([mirrored_lighting(index) for index in range(len(LIGHTINGS))])


def flip_images(images: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return images (B, H, W, 3) with those of `flipped` (B,) bool mirrored left to right."""
    images = images.copy()
    images[flipped] = images[flipped, :, ::-1]
    return images


def flip_lightings(lightings: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return lighting classes (B,) int with those of `flipped` (B,) bool replaced by their mirror class."""
    return np.where(flipped, MIRRORED[lightings], lightings)
