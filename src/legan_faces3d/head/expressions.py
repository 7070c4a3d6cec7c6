"""Facial actions of the six expressions (names as in ARKit's blendshapes, which anny follows).

A coefficient is a number, a range (a, b) to draw from, or a list of choices. Every image scales all of them by a common strength
and each by a little of its own, so that no two smiles are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConditionError, nearest
from legan_faces3d.head.noise import Stream, generator

Coefficient = float | tuple[float, float] | list[float]

ACTIONS: dict[str, dict[str, Coefficient]] = {
    # the inner brows go up a little, as heads at rest look angry otherwise
    "neutral": {"eyeWide": (0.05, 0.2), "mouthPress": (0.0, 0.12), "mouthSmile": (0.0, 0.1), "browInnerUp": (0.0, 0.15)},
    "smile": {
        "mouthSmile": 0.95,
        "cheekSquint": 0.6,
        "eyeSquint": 0.2,
        "mouthUpperUp": (0.3, 0.7),
        "jawOpen": (0.06, 0.18),
        "mouthDimple": 0.3,
        "mouthLowerDown": (0.0, 0.3),
        "browInnerUp": (0.0, 0.15),
    },
    "surprise": {
        "jawOpen": (0.35, 0.65),
        "browInnerUp": 1.0,
        "browOuterUp": 0.9,
        "eyeWide": 1.0,
        "mouthFunnel": (0.0, 0.3),
        "mouthUpperUp": (0.0, 0.2),
    },
    # the eyes narrow but stay open, the mouth stays closed
    "squint": {
        "eyeSquint": 0.95,
        "eyeBlink": (0.0, 0.06),
        "cheekSquint": 0.9,
        "browDown": 0.45,
        "noseSneer": 0.1,
        "mouthStretch": 0.12,
        "mouthPress": 0.3,
    },
    # nose and upper lip do the work, the eyes stay open
    "disgust": {
        "noseSneer": 1.3,
        "mouthUpperUp": 0.9,
        "browDown": 0.8,
        "eyeSquint": 0.3,
        "cheekSquint": 0.5,
        "mouthFrown": 0.6,
        "mouthShrugLower": 0.5,
        "mouthShrugUpper": 0.2,
    },
    "scream": {
        "jawOpen": (0.85, 1.0),
        "mouthStretch": 0.6,
        "mouthLowerDown": 0.6,
        "mouthUpperUp": 0.75,
        "noseSneer": 0.5,
        "cheekSquint": 0.8,
        "eyeSquint": 0.6,
        "browDown": 0.45,
        "eyeBlink": [0.5, 0.95, 0.95],
    },
}

# These come once, all others as a pair with the suffixes Left and Right.
_SINGLE = {
    "jawOpen",
    "browInnerUp",
    "mouthFunnel",
    "mouthShrugLower",
    "mouthShrugUpper",
}
_PAIR_MAXIMUM = 1.3  # actions are linear beyond 1
_ASYMMETRY = 0.06


@dataclass(frozen=True)
class Furrows:
    """How deep the skin folds, 0..1 and a little above; drives the wrinkles painted into the normals."""

    forehead: float
    glabella: float  # the upright lines between the brows
    crow: float  # outer eye corners and lower lids
    nasal: float  # across the bridge of the nose


def draw_actions(seed: int, expression: str) -> dict[str, float]:
    """Facial action coefficients of one image, by anny's names.

    Raises:
        ConditionError: unknown expression.
    """
    if expression not in ACTIONS:
        raise ConditionError(f"unknown expression '{expression}'{nearest(expression, ACTIONS)}")
    random = generator(seed, Stream.EXPRESSION, EXPRESSIONS.index(expression))
    strength = random.uniform(0.8, 1.05)
    actions: dict[str, float] = {}
    for name, coefficient in ACTIONS[expression].items():
        value = _draw(random, coefficient) * strength * random.uniform(0.85, 1.12)
        if name in _SINGLE:
            actions[name] = float(np.clip(value, 0, 1))
        else:
            difference = random.normal(0, _ASYMMETRY)
            actions[name + "Left"] = float(np.clip(value * (1 + difference), 0, _PAIR_MAXIMUM))
            actions[name + "Right"] = float(np.clip(value * (1 - difference), 0, _PAIR_MAXIMUM))
    return actions


def usual_actions(expression: str) -> dict[str, float]:
    """Mean facial action coefficients of an expression, by anny's names.

    Raises:
        ConditionError: unknown expression.
    """
    if expression not in ACTIONS:
        raise ConditionError(f"unknown expression '{expression}'{nearest(expression, ACTIONS)}")
    means = {name: float(np.mean(coefficient)) for name, coefficient in ACTIONS[expression].items()}
    return {side: value for name, value in means.items() for side in _sides(name)}


def action_names() -> tuple[str, ...]:
    """Every facial action that some expression uses, by anny's names."""
    return tuple(sorted({side for name in EXPRESSIONS for side in usual_actions(name)}))


def _sides(name: str) -> tuple[str, ...]:
    return (name,) if name in _SINGLE else (name + "Left", name + "Right")


def _draw(random: np.random.Generator, coefficient: Coefficient) -> float:
    if isinstance(coefficient, tuple):
        return float(random.uniform(*coefficient))
    if isinstance(coefficient, list):
        return float(random.choice(coefficient))
    return coefficient


def furrows(actions: dict[str, float]) -> Furrows:
    """The folds that facial actions cause."""

    def both(name: str) -> float:
        return 0.5 * (actions.get(name + "Left", 0.0) + actions.get(name + "Right", 0.0))

    return Furrows(
        forehead=max(actions.get("browInnerUp", 0.0), both("browOuterUp")),
        glabella=both("browDown"),
        crow=max(both("cheekSquint"), 0.6 * both("mouthSmile")),
        nasal=both("noseSneer"),
    )
