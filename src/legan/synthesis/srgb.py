"""Pictures of 8 bits to linear light and back (`core.linear_light`)."""

import numpy as np

from legan.core import linear_light
from legan.synthesis.vectors import Array

_LINEAR = linear_light.to_linear(np.arange(256) / 255).astype(np.float32)


def to_linear(picture: Array) -> Array:
    """sRGB uint8 -> linear float32 in 0..1."""
    return _LINEAR[picture]


def to_srgb(light: Array) -> Array:
    """Linear light, cut off beyond 0..1 -> sRGB uint8."""
    return (np.clip(linear_light.to_srgb(light), 0, 1) * 255 + 0.5).astype(np.uint8)
