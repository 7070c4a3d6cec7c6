"""Expressions and lightings: names, directions, and the codes that condition the networks.

Six expressions and twenty lightings as in Multi-PIE (Gross et al., "Multi-PIE", Image and Vision Computing 2010). A code is
one-hot, or soft where classes are mixed: half a smile, a light between two flashes.
"""

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from legan.core.errors import ConditionError, nearest

EXPRESSIONS = ("neutral", "smile", "surprise", "squint", "disgust", "scream")
# What people and other data sets (AffectNet, RaFD, KDEF, CK+, FER) call them.
EXPRESSION_WORDS = {
    **dict.fromkeys(("happy", "happiness", "joy", "joyful", "smiling", "smiled", "grin", "grinning"), "smile"),
    **dict.fromkeys(("surprised", "surprising", "astonished", "astonishment", "amazed"), "surprise"),
    **dict.fromkeys(("disgusted", "disgusting", "disgusts"), "disgust"),
    **dict.fromkeys(("squinting", "squinted"), "squint"),
    **dict.fromkeys(("screaming", "shout", "shouting", "yell", "yelling"), "scream"),
    **dict.fromkeys(("neutrality", "expressionless"), "neutral"),
}


@dataclass(frozen=True)
class Lighting:
    """One lighting class: room light alone, or room light and one flash.

    Args:
        name: two digits, "00" to "19".
        azimuth: degrees, negative where the light comes from the left edge of the image; None for room light.
        elevation: degrees above eye level; None for room light.
    """

    name: str
    azimuth: float | None
    elevation: float | None

    @property
    def direction(self) -> np.ndarray | None:
        """Unit vector (3,) from the face to the flash: x to the image's right, y up, z to the camera; None for room light."""
        if self.azimuth is None or self.elevation is None:
            return None
        return _direction(self.azimuth, self.elevation)


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])


LIGHTINGS: tuple[Lighting, ...] = (
    Lighting("00", None, None),
    *(Lighting(f"{1 + i:02d}", -90.0 + 15 * i, 3.0) for i in range(13)),
    *(Lighting(f"{14 + i:02d}", -60.0 + 30 * i, 38.0) for i in range(5)),
    Lighting("19", 0.0, 62.0),
)
LIGHTING_NAMES = tuple(lighting.name for lighting in LIGHTINGS)
# Words that a person would say first.
LIGHTING_WORDS = {"room": "00", "left": "03", "front": "07", "right": "11", "top": "19"}
MAX_AZIMUTH, MIN_ELEVATION, MAX_ELEVATION = 90.0, 0.0, 62.0


def expression_name(word: str, names: Sequence[str] = EXPRESSIONS) -> str | None:
    """Return which of `names` a word means: itself, or what `EXPRESSION_WORDS` says, whatever its case; None where none is meant."""
    word = word.strip().lower()
    meant = word if word in names else EXPRESSION_WORDS.get(word)
    return meant if meant in names else None


def unknown_expression(word: str, names: Sequence[str] = EXPRESSIONS) -> str:
    """Return the words of an error: which expressions there are, and the nearest."""
    return f"unknown expression '{word}': choose from {', '.join(names)}{nearest(word.lower(), (*names, *EXPRESSION_WORDS))}"


def expression_code(spec: str | Mapping[str, float], names: Sequence[str] = EXPRESSIONS) -> np.ndarray:
    """Return the code of an expression: float32 `(len(names),)`, non-negative, summing to 1.

    Args:
        spec: `"smile"`, `"smile:0.7"` (the rest is neutral), `"smile:0.5,squint:0.5"`, or a mapping of name to weight. Words of
            `EXPRESSION_WORDS` are understood too: `"happy"` is `"smile"`.
        names: the expressions of the model, `neutral` among them.

    Raises:
        ConditionError: an unknown name, or weights outside 0..1 or summing to more than 1.
    """
    weights = dict(spec) if isinstance(spec, Mapping) else _parse_expression(spec)
    code = np.zeros(len(names), np.float32)
    for name, weight in weights.items():
        meant = expression_name(name, names)
        if meant is None:
            raise ConditionError(unknown_expression(name, names))
        if not 0 <= weight <= 1:
            raise ConditionError(f"expression weight {name}:{weight:g} is out of range: give a number from 0 to 1")
        code[names.index(meant)] += weight
    total = float(code.sum())
    if total > 1 + 1e-5:
        raise ConditionError(f"expression weights sum to {total:g}: together they may be at most 1, the rest is neutral")
    if total < 1 - 1e-5:
        code[names.index("neutral")] += 1 - total
    return code / code.sum()


def _parse_expression(spec: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in spec.split(","):
        name, _, number = part.strip().partition(":")
        try:
            weights[name.strip().lower()] = float(number) if number else 1.0
        except ValueError:
            raise ConditionError(f"cannot read expression '{part.strip()}': write name:weight, such as smile:0.7") from None
    return weights


def lighting_code(spec: str | float | Sequence[float]) -> np.ndarray:
    """Return the code of a lighting: float32 `(20,)`, non-negative, summing to 1.

    Args:
        spec: a class name (`"07"`), a word (`"left"`, `"right"`, `"front"`, `"top"`, `"room"`), an azimuth in degrees (`-45`, `"-45"`),
            or azimuth and elevation (`(-45, 20)`, `"-45,20"`). Directions between the known flashes mix them. The texts `"10"` to `"19"`
            are classes: such degrees are written 15 or `"+15"`.

    Raises:
        ConditionError: an unknown name, an azimuth outside -90..90, or an elevation outside 0..62.
    """
    if isinstance(spec, str):
        text = spec.strip().lower()
        name = LIGHTING_WORDS.get(text, text)
        if name in LIGHTING_NAMES:
            return _one_hot(LIGHTING_NAMES.index(name))
        spec = _parse_angles(text)
    angles = [float(spec)] if isinstance(spec, (int, float, numbers.Real)) else [float(a) for a in spec]
    if len(angles) not in (1, 2) or not all(map(math.isfinite, angles)):
        raise ConditionError(f"cannot read lighting {spec!r}: give an azimuth, or azimuth,elevation in degrees")
    azimuth, elevation = angles[0], angles[1] if len(angles) == 2 else 3.0
    if abs(azimuth) > MAX_AZIMUTH:
        raise ConditionError(f"lighting azimuth {azimuth:g} is out of range: give degrees from -90 (left) to 90 (right)")
    if not MIN_ELEVATION <= elevation <= MAX_ELEVATION:
        raise ConditionError(f"lighting elevation {elevation:g} is out of range: give degrees from 0 to {MAX_ELEVATION:g}")
    return _mixed_flashes(azimuth, elevation)


def _parse_angles(text: str) -> list[float]:
    if not re.fullmatch(r"[+-]?[\d.]+(\s*,\s*[+-]?[\d.]+)?", text):
        names = (*LIGHTING_WORDS, *LIGHTING_NAMES)
        raise ConditionError(
            f"unknown lighting '{text}': give a class 00..19, one of {', '.join(LIGHTING_WORDS)}, or degrees such as -45 or "
            f"-45,20{nearest(text, names)}"
        )
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConditionError(f"cannot read lighting '{text}': give degrees such as -45 or -45,20") from None


def _one_hot(index: int) -> np.ndarray:
    code = np.zeros(len(LIGHTINGS), np.float32)
    code[index] = 1
    return code


def _row(elevation_row: float, azimuth: float) -> np.ndarray:
    """Mix the two flashes of one row (equal elevation) whose azimuths enclose `azimuth`; beyond the row's ends, its end."""
    members = [(i, lighting.azimuth) for i, lighting in enumerate(LIGHTINGS) if lighting.elevation == elevation_row]
    azimuths = np.array([a for _, a in members], float)
    weights = [np.interp(azimuth, azimuths, np.eye(len(members))[k]) for k in range(len(members))]
    code = np.zeros(len(LIGHTINGS), np.float32)
    code[[i for i, _ in members]] = weights
    return code


def _mixed_flashes(azimuth: float, elevation: float) -> np.ndarray:
    """Bilinear in azimuth and elevation: rows at 3, 38 and 62 degrees, the last a single flash."""
    rows = (3.0, 38.0, 62.0)
    code = np.zeros(len(LIGHTINGS), np.float32)
    for k, row in enumerate(rows):
        weight = float(np.interp(elevation, rows, np.eye(3)[k]))
        if weight > 0:
            code += weight * _row(row, azimuth)
    return code


def are_neighbours(a: int, b: int) -> bool:
    """Return whether two lightings are the same, or flashes next to each other: in one row, or one above the other."""
    one, other = LIGHTINGS[a], LIGHTINGS[b]
    if a == b:
        return True
    if one.azimuth is None or other.azimuth is None or one.elevation is None or other.elevation is None:
        return False  # room light is nobody's neighbour
    if one.elevation == other.elevation:
        return abs(one.azimuth - other.azimuth) <= (15 if one.elevation < 10 else 30)
    return one.azimuth == other.azimuth and abs(one.elevation - other.elevation) < 40


def mirrored_lighting(index: int) -> int:
    """Return the class that a lighting becomes when the image is flipped left to right."""
    lighting = LIGHTINGS[index]
    if lighting.azimuth is None:
        return index
    for i, other in enumerate(LIGHTINGS):
        if other.azimuth == -lighting.azimuth and other.elevation == lighting.elevation:
            return i
    raise AssertionError(f"lighting {lighting.name} has no mirror class")
