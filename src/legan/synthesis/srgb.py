"""Between sRGB and linear light (IEC 61966-2-1)."""

import numpy as np

from legan.synthesis.vectors import Array

_levels = np.arange(256) / 255
_LINEAR = np.where(_levels < 0.04045, _levels / 12.92, ((_levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_linear(picture: Array) -> Array:
    """sRGB uint8 -> linear float32 in 0..1."""
    return _LINEAR[picture]


def to_srgb(light: Array) -> Array:
    """Linear light, cut off beyond 0..1 -> sRGB uint8."""
    srgb = np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return (np.clip(srgb, 0, 1) * 255 + 0.5).astype(np.uint8)
