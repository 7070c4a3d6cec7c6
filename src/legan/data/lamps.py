"""Face crops under mixtures of lamps, made from crops of one take under the twenty lightings.

Light adds up: a class's crop less the crop under room light, in linear light, is what its flash alone gives, so any sum of flashes
of any colour, with any share of the room's light, is an image of the same face. The tone curve of the rendered set is undone before
and applied again after (`legan_faces3d` renders, relights and re-expresses with one sensor).
"""

import cv2
import numpy as np

from legan.core.conditions import LIGHTINGS
from legan.core.lamps import ROOM, Lamps
from legan.core.linear_light import to_linear, to_srgb, with_tone, without_tone

__all__ = ["ROOM", "Lamps", "developed", "draw_lamps", "mixed"]

_MAX_LIGHT = 2.0  # linear light that the way back to 8 bits covers
_N_LEVELS = 4096


def draw_lamps(rng: np.random.Generator) -> Lamps:
    """Draw a mixture: a key light with a fill, a lamp in a dark room, a broad window or sky, or a lit room alone."""
    kind = rng.choice(4, p=[0.45, 0.15, 0.25, 0.15])
    if kind == 3:
        return Lamps(_tint(rng, 0.12) * rng.uniform(0.7, 2.2), np.zeros(0, np.int64), np.zeros((0, 3)))
    if kind == 2:  # the flashes round a direction together: a source of many degrees
        centre = LIGHTINGS[1 + rng.integers(len(LIGHTINGS) - 1)].direction
        nearness = np.array([0 if light.direction is None else light.direction @ centre for light in LIGHTINGS])
        classes = np.argsort(-nearness)[: rng.integers(3, 7)]
        weights = rng.uniform(0.5, 1.0, (len(classes), 1)) * rng.uniform(0.4, 1.1) / len(classes) * 1.5
        return Lamps(_tint(rng, 0.1) * rng.uniform(0.3, 1.3), classes, weights * _tint(rng, 0.12))
    n = rng.integers(1, 4) if kind == 0 else 1
    classes = rng.choice(np.arange(1, len(LIGHTINGS)), n, replace=False)
    weights = np.sort(rng.uniform(0.1, 1.0, n))[::-1] * (rng.uniform(0.5, 1.1) if kind == 0 else rng.uniform(0.5, 1.3))
    room = rng.uniform(0.4, 1.3) if kind == 0 else rng.uniform(0.0, 0.3)
    tints = np.stack([_tint(rng, 0.15) for _ in range(n)])
    return Lamps(_tint(rng, 0.1) * room, classes, weights[:, None] * tints)


def _tint(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Colour (3,) of a lamp: warmer or colder, a little greener or pinker, of mean 1."""
    warmth, green = rng.normal(0, strength), rng.normal(0, strength / 3)
    colour = np.exp(np.array([warmth, green, -warmth]))
    return colour / colour.mean()


def mixed(room: np.ndarray, flashes: np.ndarray, lamps: Lamps) -> np.ndarray:
    """Return the crop under a mixture of lamps.

    Args:
        room: uint8 (H, W, 3), the crop under room light.
        flashes: uint8 (n, H, W, 3), the crops under the classes of `lamps`.
        lamps: the mixture.

    Returns:
        uint8 (H, W, 3).
    """
    base = cv2.LUT(room, _LINEAR)
    # sum over flashes of w (flash - room), plus a room
    light = base * (lamps.room - lamps.flashes.sum(axis=0)).astype(np.float32)
    for image, weight in zip(flashes, lamps.flashes.astype(np.float32), strict=True):
        light += cv2.LUT(image, _LINEAR) * weight
    return developed(light)


def developed(light: np.ndarray) -> np.ndarray:
    """Linear light (H, W, 3) float32 -> uint8, through the tone curve and sRGB."""
    root = np.sqrt(np.clip(light, 0, _MAX_LIGHT), dtype=np.float32)
    return _ENCODED[(root * ((_N_LEVELS - 1) / np.sqrt(_MAX_LIGHT)) + 0.5).astype(np.uint16)]


def _linear_table() -> np.ndarray:
    """sRGB level -> linear light before the tone curve, float32 (256, 1)."""
    return without_tone(to_linear(np.arange(256) / 255)).astype(np.float32)


def _encoded_table() -> np.ndarray:
    """Level of the square root of linear light -> sRGB uint8, (4096,)."""
    light = (np.arange(_N_LEVELS) / (_N_LEVELS - 1)) ** 2 * _MAX_LIGHT
    v = to_srgb(with_tone(light))
    return np.rint(255 * v).clip(0, 255).astype(np.uint8)


_LINEAR, _ENCODED = _linear_table(), _encoded_table()
