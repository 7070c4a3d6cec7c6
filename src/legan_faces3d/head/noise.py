"""Noise on surfaces, and seeds of its parts."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from legan.core.geometry import Array

# Smooth random fields over space, for skin blotches, hair strands and every other texture.
#
# A periodic 64^3 volume of lightly blurred white noise is looked up with trilinear interpolation; octaves of it make fractal noise
# (Perlin, SIGGRAPH 1985, with interpolated values in place of gradients). The fields live in the head's canonical coordinates, so
# that they stick to the skin.


_PERIOD = 64
_BLUR = 0.7  # in cells; less shows the lattice, more flattens the finest octave
_SEED_STEP = np.array([7.31, 3.77, 9.13])  # where in the volume each seed starts


@lru_cache(maxsize=1)
def _volume() -> Array:
    white = np.random.default_rng(0).standard_normal((_PERIOD,) * 3).astype(np.float32)
    smooth = gaussian_filter(white, _BLUR, mode="wrap")
    return smooth / smooth.std()


def noise(points: Array, frequency: float, seed: int = 0) -> Array:
    """Noise of about unit variance at `points` (n, 3) -> (n,) float32; one cell is 1 / `frequency` units long."""
    offset = (seed * _SEED_STEP) % _PERIOD
    return map_coordinates(_volume(), (points * frequency + offset).T, order=1, mode="grid-wrap", output=np.float32)


def fractal_noise(points: Array, frequency: float, seed: int = 0, n_octaves: int = 4, gain: float = 0.5) -> Array:
    """Sum of octaves, each twice as fine and `gain` times as strong, scaled to about unit variance: (n, 3) -> (n,)."""
    total: Array = np.zeros(len(points), np.float32)
    amplitude, power = 1.0, 0.0
    for octave in range(n_octaves):
        total = total + amplitude * noise(points, frequency * 2**octave, seed + octave * 11)
        power += amplitude * amplitude
        amplitude *= gain
    return total / np.sqrt(power)


# Random streams of the renderer.
#
# Every random decision draws from a generator that depends only on the identity's seed and a stream number, so a change in one
# part (more moles, say) leaves every other part of every face as it was.


class Stream(IntEnum):
    """What the numbers are drawn for. Values are part of the data set's definition: never renumber."""

    SHAPE = 1
    SKIN = 2
    HAIR = 3
    EYES = 4
    GLASSES = 5
    SCENE = 6
    EXPRESSION = 7
    POSE = 8
    MOLES = 9
    GAZE = 10
    RAYS = 11
    BACKDROP = 12
    SENSOR = 13
    LIGHTS = 14
    COLLAR = 15


def generator(seed: int, stream: Stream, *more: int) -> np.random.Generator:
    """The generator of one stream of one identity; `more` separates expressions and the like (non-negative numbers)."""
    return np.random.default_rng([seed, int(stream), *more])
