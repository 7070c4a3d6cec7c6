"""Expressions and lightings: names, directions, and the codes that condition the networks.

Six expressions and twenty lightings as in Multi-PIE (Gross et al., "Multi-PIE", Image and Vision Computing 2010), or the classes that
a data set declares instead (`Classes`). A code is one-hot, or soft where classes are mixed: half a smile, a light between two flashes.
"""

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from legan.core.errors import ConditionError, ConfigError, nearest

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
        name: two digits, "00" to "19", or the data set's own name.
        azimuth: degrees, negative where the light comes from the left edge of the image; None for room light, and where it is not
            declared.
        elevation: degrees above eye level; None likewise.
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
    synonyms = (synonym for synonym, meant in EXPRESSION_WORDS.items() if meant in names)
    return f"unknown expression '{word}': choose from {', '.join(names)}{nearest(word.lower(), (*names, *synonyms))}"


def expression_code(spec: str | Mapping[str, float], names: Sequence[str] = EXPRESSIONS) -> np.ndarray:
    """Return the code of an expression: float32 `(len(names),)`, non-negative, summing to 1.

    Args:
        spec: `"smile"`, `"smile:0.7"` (the rest is neutral), `"smile:0.5,squint:0.5"`, or a mapping of name to weight. Words of
            `EXPRESSION_WORDS` are understood too: `"happy"` is `"smile"`.
        names: the expressions of the model.

    Raises:
        ConditionError: an unknown name, weights outside 0..1 or summing to more than 1, or to less where `neutral` is none of `names`.
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
        if "neutral" not in names:
            raise ConditionError(
                f"expression weights sum to {total:g}, and there is no neutral for the rest ({', '.join(names)}): let them sum to 1"
            )
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


def lighting_code(spec: str | float | Sequence[float], lightings: Sequence[Lighting] = LIGHTINGS) -> np.ndarray:
    """Return the code of a lighting: float32 `(len(lightings),)`, non-negative, summing to 1.

    Args:
        spec: a class name (`"07"`), a word (`"left"`, `"right"`, `"front"`, `"top"`, `"room"`), an azimuth in degrees (`-45`, `"-45"`),
            or azimuth and elevation (`(-45, 20)`, `"-45,20"`). Directions between the known flashes mix them. The texts `"10"` to `"19"`
            are classes: such degrees are written 15 or `"+15"`.
        lightings: the classes of the model. Words are of the twenty alone; directions are those that these declare.

    Raises:
        ConditionError: an unknown name, an azimuth or an elevation beyond the classes' (-90..90 and 0..62), or a direction where no class
            has one.
    """
    if isinstance(spec, str):
        text, names = spec.strip().lower(), [lighting.name for lighting in lightings]
        name = _words_of(lightings).get(text, text)
        if name in names:
            return _one_hot(names.index(name), len(lightings))
        spec = _parse_angles(text, lightings)
    angles = [float(spec)] if isinstance(spec, (int, float, numbers.Real)) else [float(a) for a in spec]
    if len(angles) not in (1, 2) or not all(map(math.isfinite, angles)):
        raise ConditionError(f"cannot read lighting {spec!r}: give an azimuth, or azimuth,elevation in degrees")
    rows = _elevations(lightings)
    if not rows:
        raise ConditionError(
            f"lighting {','.join(f'{angle:g}' for angle in angles)} is a direction, and no directions are declared for "
            f"{', '.join(lighting.name for lighting in lightings)}: choose one of these"
        )
    azimuth, elevation = angles[0], angles[1] if len(angles) == 2 else rows[0]
    azimuths = [lighting.azimuth for lighting in lightings if lighting.azimuth is not None]
    if not min(azimuths) <= azimuth <= max(azimuths):
        raise ConditionError(
            f"lighting azimuth {azimuth:g} is out of range: give degrees from {min(azimuths):g} (left) to {max(azimuths):g} (right)"
        )
    if not min(MIN_ELEVATION, rows[0]) <= elevation <= rows[-1]:
        raise ConditionError(
            f"lighting elevation {elevation:g} is out of range: give degrees from {min(MIN_ELEVATION, rows[0]):g} to {rows[-1]:g}"
        )
    return _mixed_flashes(azimuth, elevation, lightings)


def _words_of(lightings: Sequence[Lighting]) -> Mapping[str, str]:
    """The words that mean one of the classes: of the twenty alone."""
    return LIGHTING_WORDS if lightings == LIGHTINGS else {}


def _parse_angles(text: str, lightings: Sequence[Lighting]) -> list[float]:
    if not re.fullmatch(r"[+-]?[\d.]+(\s*,\s*[+-]?[\d.]+)?", text):
        names, words = [lighting.name for lighting in lightings], _words_of(lightings)
        classes = f"give a class 00..19, one of {', '.join(words)}" if words else f"choose from {', '.join(names)}"
        degrees = ", or degrees such as -45 or -45,20" if _elevations(lightings) else ""
        raise ConditionError(f"unknown lighting '{text}': {classes}{degrees}{nearest(text, (*words, *names))}")
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConditionError(f"cannot read lighting '{text}': give degrees such as -45 or -45,20") from None


def _one_hot(index: int, n: int) -> np.ndarray:
    code = np.zeros(n, np.float32)
    code[index] = 1
    return code


def _elevations(lightings: Sequence[Lighting]) -> tuple[float, ...]:
    """The elevations of the classes that have a direction, each once, the lowest first: rows of flashes."""
    return tuple(sorted({lighting.elevation for lighting in lightings if lighting.elevation is not None}))


def _row(elevation_row: float, azimuth: float, lightings: Sequence[Lighting]) -> np.ndarray:
    """Mix the two flashes of one row (equal elevation) whose azimuths enclose `azimuth`; beyond the row's ends, its end."""
    members = sorted(
        (lighting.azimuth, i)
        for i, lighting in enumerate(lightings)
        if lighting.azimuth is not None and lighting.elevation == elevation_row
    )
    azimuths = np.array([a for a, _ in members], float)
    weights = [np.interp(azimuth, azimuths, np.eye(len(members))[k]) for k in range(len(members))]
    code = np.zeros(len(lightings), np.float32)
    code[[i for _, i in members]] = weights
    return code


def _mixed_flashes(azimuth: float, elevation: float, lightings: Sequence[Lighting]) -> np.ndarray:
    """Bilinear in azimuth and elevation: of the twenty, rows at 3, 38 and 62 degrees, the last a single flash."""
    rows = _elevations(lightings)
    code = np.zeros(len(lightings), np.float32)
    for k, row in enumerate(rows):
        weight = float(np.interp(elevation, rows, np.eye(len(rows))[k]))
        if weight > 0:
            code += weight * _row(row, azimuth, lightings)
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


def mirrored_lighting(index: int, lightings: Sequence[Lighting] = LIGHTINGS) -> int:
    """Return the class that a lighting becomes when the image is flipped left to right.

    A class without a direction is even light and stays what it is, unless none has one: then directions are not declared.

    Raises:
        ConditionError: no class is its mirror image, or it is not known which.
    """
    lighting = lightings[index]
    if lighting.azimuth is None:
        if len(lightings) > 1 and all(other.azimuth is None for other in lightings):
            raise ConditionError(f"it is not declared where the light '{lighting.name}' comes from")
        return index
    for i, other in enumerate(lightings):
        if other.azimuth == -lighting.azimuth and other.elevation == lighting.elevation:
            return i
    raise ConditionError(f"no class is the mirror image of the light '{lighting.name}'")


# The classes of a data set, and of the editors that are trained on it: the six and the twenty, or its own.


_NAME = re.compile(r"[^\W_][\w-]*")


@dataclass(frozen=True)
class Classes:
    """The expressions and lightings that a data set has and its editors know; by default the six and the twenty.

    Example:
        >>> own = Classes.parse(["calm", "angry"], ["room", "window=-60,10"])
        >>> own.expression_code("angry"), own.lighting_code("window")
        (array([0., 1.], dtype=float32), array([0., 1.], dtype=float32))
    """

    expressions: tuple[str, ...] = EXPRESSIONS
    lightings: tuple[Lighting, ...] = LIGHTINGS

    @classmethod
    def parse(cls, expressions: Sequence[str], lightings: Sequence[str]) -> "Classes":
        """Read two lists of words; an empty one stands for the six, or for the twenty.

        Args:
            expressions: names: letters, digits, `-` and `_`, whatever their case.
            lightings: names likewise, each with its direction where that is known: `lamp=-45,20`, azimuth and elevation in degrees, or
                `lamp=-45` at eye level. Names of the twenty without one have their own.

        Raises:
            ConfigError: a name of another form or given twice, a direction that cannot be read, is out of range or given twice.
        """
        names = _checked_names(expressions, "expression")
        own = tuple(map(_parse_lighting, lightings))
        _checked_names([lighting.name for lighting in own], "lighting")
        directions = [(one.azimuth, one.elevation) for one in own if one.azimuth is not None]
        if len(set(directions)) < len(directions):
            raise ConfigError(f"two of the lightings {', '.join(lightings)} have the same direction: give each its own")
        return cls(names or EXPRESSIONS, own or LIGHTINGS)

    @property
    def is_standard(self) -> bool:
        """Whether these are the six and the twenty."""
        return self == STANDARD

    @property
    def lighting_names(self) -> tuple[str, ...]:
        """The names of the lightings."""
        return tuple(lighting.name for lighting in self.lightings)

    def __str__(self) -> str:
        return f"the expressions {', '.join(self.expressions)} and the lightings {', '.join(self.lighting_names)}"

    def expression_code(self, spec: str | Mapping[str, float]) -> np.ndarray:
        """Return the code of an expression, as the function of this name."""
        return expression_code(spec, self.expressions)

    def lighting_code(self, spec: str | float | Sequence[float]) -> np.ndarray:
        """Return the code of a lighting, as the function of this name."""
        return lighting_code(spec, self.lightings)

    def check_standard(self, what: str) -> None:
        """Check that these are the six and the twenty, which `what` relies on.

        Raises:
            ConditionError: they are others.
        """
        if not self.is_standard:
            raise ConditionError(
                f"{what} is made for the {len(EXPRESSIONS)} expressions and {len(LIGHTINGS)} lightings of legan, and this editor knows "
                f"{self} instead: name one of these"
            )

    def as_words(self) -> dict[str, list[str]]:
        """What metadata hold of classes that are not the standard ones, as `parse` reads it; {} for those."""
        if self.is_standard:
            return {}
        return {"expressions": list(self.expressions), "lightings": [_lighting_words(lighting) for lighting in self.lightings]}


STANDARD = Classes()


def _checked_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    lower = tuple(name.strip().lower() for name in names)
    for name in lower:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"cannot use the {what} name '{name}': take letters, digits, - and _")
        if lower.count(name) > 1:
            raise ConfigError(f"the {what} '{name}' is declared twice: name it once")
    return lower


def _parse_lighting(word: str) -> Lighting:
    name, equals, text = word.partition("=")
    name = name.strip().lower()
    if not equals:
        return LIGHTINGS[LIGHTING_NAMES.index(name)] if name in LIGHTING_NAMES else Lighting(name, None, None)
    try:
        angles = [float(part) for part in text.split(",")]
    except ValueError:
        angles = []
    if len(angles) not in (1, 2) or not all(map(math.isfinite, angles)):
        raise ConfigError(f"cannot read the lighting '{word}': write its name, or with its direction name=azimuth,elevation")
    azimuth, elevation = angles[0], angles[1] if len(angles) == 2 else 0.0
    if not (-180 <= azimuth <= 180 and -90 <= elevation <= 90):
        raise ConfigError(f"the direction of '{word}' is out of range: azimuth -180 to 180 degrees, elevation -90 to 90")
    return Lighting(name, azimuth, elevation)


def _lighting_words(lighting: Lighting) -> str:
    """A lighting as `Classes.parse` reads it."""
    if lighting.azimuth is None:
        return lighting.name
    return f"{lighting.name}={lighting.azimuth:.12g},{lighting.elevation:.12g}"
