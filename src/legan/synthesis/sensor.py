"""From linear light to an 8-bit picture: blur, glare, noise, tone curve, sRGB."""

from __future__ import annotations

import cv2
import numpy as np

from legan.core.linear_light import with_tone
from legan.synthesis.srgb import to_srgb
from legan.synthesis.vectors import Array

_EXPOSURE = 1.3
_OPTICS_BLUR = 0.42  # in pixels of the result
_GLARE, _GLARE_BLUR = 0.015, 6.0
_SHOT_NOISE, _READ_NOISE = 0.00035, 0.0000075  # variances: a part of the signal, and a constant


def develop(pictures: Array, size: int, random: np.random.Generator) -> Array:
    """Linear pictures (k, resolution, resolution, 3) -> uint8 (k, size, size, 3)."""
    samples_per_axis = pictures.shape[1] // size
    return np.stack([_develop_one(picture, size, samples_per_axis, random) for picture in pictures])


def develop_matte(covered: Array, size: int) -> Array:
    """Shares of the samples (resolution, resolution) in 0..1 -> uint8 (size, size), as sharp as the optics are."""
    light = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), covered.shape[0] // size * _OPTICS_BLUR)
    return (255 * cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA) + 0.5).astype(np.uint8)


def _develop_one(picture: Array, size: int, samples_per_axis: int, random: np.random.Generator) -> Array:
    light = cv2.GaussianBlur(picture, (0, 0), samples_per_axis * _OPTICS_BLUR)
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA) * _EXPOSURE
    light = light + _GLARE * cv2.GaussianBlur(light, (0, 0), _GLARE_BLUR)
    deviation = np.sqrt(np.maximum(light, 0) * _SHOT_NOISE + _READ_NOISE)
    light = np.maximum(light + random.normal(0, 1, light.shape) * deviation, 0)
    return to_srgb(with_tone(light))
