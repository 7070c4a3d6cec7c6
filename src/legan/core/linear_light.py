"""Between sRGB values and linear light (IEC 61966-2-1), and the tone curve of the rendered set's sensor (`synthesis.sensor`).

Light adds up in linear light alone, before the tone curve. Arrays of any shape; float32 stays float32.
"""

import numpy as np

SHOULDER = 0.7  # above this the tone curve bends towards 1
_STEEPEST = 0.985  # share of the way from the bend to white where the way back ends: white is light without bound


def to_linear(values: np.ndarray) -> np.ndarray:
    """SRGB values, white at 1 -> linear light. Below 0 the straight part goes on."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light -> sRGB values, white at 1, not cut off."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def with_tone(light: np.ndarray) -> np.ndarray:
    """Apply the tone curve to linear light: as it is up to the bend, then towards 1."""
    room = 1 - SHOULDER
    return np.where(light < SHOULDER, light, SHOULDER + room * (1 - np.exp(-(np.maximum(light, SHOULDER) - SHOULDER) / room)))


def without_tone(light: np.ndarray) -> np.ndarray:
    """Undo the tone curve; at most 1.96, since white is light without bound."""
    room = 1 - SHOULDER
    share = np.clip((light - SHOULDER) / room, 0, _STEEPEST)
    return np.where(light < SHOULDER, light, SHOULDER - room * np.log(1 - share))
