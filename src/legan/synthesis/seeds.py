"""Random streams of the renderer.

Every random decision draws from a generator that depends only on the identity's seed and a stream number, so a change in one
part (more moles, say) leaves every other part of every face as it was.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


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
    """The generator of one stream of one identity; `more` tells apart expressions and the like (non-negative numbers)."""
    return np.random.default_rng([seed, int(stream), *more])
