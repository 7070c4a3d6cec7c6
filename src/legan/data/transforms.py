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
    """Return lighting classes (B,) int with those of `flipped` (B,) bool replaced by their mirror class; -1 stays."""
    return np.where(flipped & (lightings >= 0), MIRRORED[lightings], lightings)


def flip_points(points: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return points (B, n, 2), fractions of the side, as `flip_images` moves them; each keeps its number."""
    points = points.copy()
    points[flipped, :, 0] = 1 - points[flipped, :, 0]
    return points


def draw_tones(rng: np.random.Generator, n: int, strength: float) -> np.ndarray:
    """Return look-up tables (n, 3, 256) uint8 that change exposure, contrast and white balance; `strength` 0 changes nothing.

    Each image gets a gamma and a gain, each channel a little of its own on top: what cameras and rooms do to a face.
    """
    gamma = np.exp(strength * rng.normal(0, [0.2, 0.03, 0.03, 0.03], (n, 4)))
    gain = np.exp(strength * rng.normal(0, [0.12, 0.06, 0.06, 0.06], (n, 4)))
    gamma, gain = gamma[:, :1] * gamma[:, 1:], gain[:, :1] * gain[:, 1:]  # (n, 3)
    levels = (np.arange(256) / 255) ** gamma[..., None] * gain[..., None]
    return np.rint(255 * levels).clip(0, 255).astype(np.uint8)


def apply_tones(images: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """Return images (B, H, W, 3) uint8 with each channel sent through its table of `tones` (B, 3, 256)."""
    b, c = np.arange(len(images))[:, None, None, None], np.arange(3)
    return tones[b, c, images]
