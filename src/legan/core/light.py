"""Light: linear light and sRGB, and any light as a mixture of the lighting classes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from legan.core.conditions import LIGHTING_WORDS, LIGHTINGS, MAX_AZIMUTH, MAX_ELEVATION, MIN_ELEVATION, lighting_code
from legan.core.errors import ConditionError, ImageError

# Between sRGB values and linear light (IEC 61966-2-1), and the tone curve of the rendered set's sensor (`legan_faces3d.render.camera`).
#
# Light adds up in linear light alone, before the tone curve. Arrays of any shape; float32 stays float32.


SHOULDER = 0.7  # above this the tone curve bends towards 1
_STEEPEST = 0.985  # share of the way from the bend to white where the way back ends: white is light without bound


def to_linear(values: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB values, white at 1; below 0 the straight part goes on."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Return the sRGB values of linear light, white at 1, not cut off."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


_LINEAR = to_linear(np.arange(256) / 255).astype(np.float32)


def pixels_to_linear(image: np.ndarray) -> np.ndarray:
    """Return the linear light, float32 in 0..1, of sRGB pixels, uint8."""
    return _LINEAR[image]


def linear_to_pixels(light: np.ndarray) -> np.ndarray:
    """Return the sRGB pixels, uint8, of linear light, cut off beyond 0..1."""
    return (np.clip(to_srgb(light), 0, 1) * 255 + 0.5).astype(np.uint8)


def with_tone(light: np.ndarray) -> np.ndarray:
    """Apply the tone curve to linear light: as it is up to the bend, then towards 1."""
    room = 1 - SHOULDER
    return np.where(light < SHOULDER, light, SHOULDER + room * (1 - np.exp(-(np.maximum(light, SHOULDER) - SHOULDER) / room)))


def without_tone(light: np.ndarray) -> np.ndarray:
    """Undo the tone curve; at most 1.96, since white is light without bound."""
    room = 1 - SHOULDER
    share = np.clip((light - SHOULDER) / room, 0, _STEEPEST)
    return np.where(light < SHOULDER, light, SHOULDER - room * np.log(1 - share))


# Any light, as a mixture of the lighting classes.
#
# Light adds up: what a class shows less what room light shows, in linear light, is its flash alone. So a light from anywhere, of any
# colour and size, and several together, are a weighted sum of what the classes show:
#
#     light = ambient * room + sum over lamps of factor * colour * (class - room)
#
# A lamp between the flashes is their mixture, bilinear in azimuth and elevation (`core.conditions.lighting_code`); a soft lamp is the mean
# over the directions that it fills.


ROOM = 0  # number of the class without a flash
MAX_FACTOR = 4.0  # of a lamp: as bright as four flashes
MAX_SOFTNESS = 120.0  # degrees
MIN_KELVIN, MAX_KELVIN = 1700.0, 25000.0  # range of the fit below
WHITE_KELVIN = 6500.0
_N_DIRECTIONS = 64  # of a soft lamp
_ROOM_NAMES = ("room", LIGHTING_WORDS["room"])

Colour = str | tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)


class Lamps(NamedTuple):
    """A mixture: `room` (3,) is the factor of the room's light, `flashes` (n, 3) those of the flashes of `classes` (n,), RGB."""

    room: np.ndarray
    classes: np.ndarray
    flashes: np.ndarray


@dataclass(frozen=True)
class Lamp:
    """One lamp.

    Args:
        direction: as `lighting_code` takes it: a class (`"09"`), a word (`"left"`), an azimuth, or azimuth and elevation in degrees.
        factor: brightness, over 0 to 4; 1 is the flash of a class.
        softness: angular diameter in degrees, 0 to 120. What lies beyond the directions of the classes counts as their nearest.
        colour: `"3200K"` (6500K is white), `"#ffd0a0"` (sRGB), both at the brightness of white in the mean of the channels; or three
            factors of linear light, RGB.

    Raises:
        ConditionError: one of these out of range, or room light, which is not a lamp.

    Example:
        >>> warm = legan.Lamp(-45, factor=0.5, softness=30, colour="3200K")
        >>> edited = legan.edit("photo.jpg", lighting=legan.LightSetup((warm, legan.Lamp("right")), ambient=0.2))
    """

    direction: str | float | Sequence[float]
    factor: float = 1.0
    softness: float = 0.0
    colour: Colour = WHITE

    def __post_init__(self) -> None:
        if is_room(self.direction):
            raise ConditionError("room light is not a lamp: name its share as ambient, 0 to 1")
        if not 0 < self.factor <= MAX_FACTOR:
            raise ConditionError(
                f"the factor {self.factor:g} of a lamp is out of range: give more than 0, up to {MAX_FACTOR:g}"
            )
        if not 0 <= self.softness <= MAX_SOFTNESS:
            raise ConditionError(f"softness {self.softness:g} is out of range: give degrees from 0 to {MAX_SOFTNESS:g}")
        lighting_code(self.direction)
        colour_factors(self.colour)

    @property
    def is_class_light(self) -> bool:
        """Whether it is as the flash of a class, or of the classes beside its direction: white, small, of factor 1."""
        return self.factor == 1 and self.softness == 0 and tuple(colour_factors(self.colour)) == (1, 1, 1)

    def weights(self) -> np.ndarray:
        """Factors of the flash of each class (20, 3), RGB."""
        code = lighting_code(self.direction).astype(np.float64)
        if self.softness:
            code = _soft_code(_centre(code, self.direction), self.softness)
        return self.factor * code[:, None] * colour_factors(self.colour)


@dataclass(frozen=True)
class LightSetup:
    """Lamps together, and how much of the room's light is left.

    Args:
        lamps: any number; without one there is the room's light alone.
        ambient: share of the room's light, 0 (the lamps alone, in the dark) to 1; or three factors from 0 to 4, RGB.
        words: what marks and messages say instead of its parts, such as where it was read from.

    Raises:
        ConditionError: ambient out of range, or no light at all.

    Example:
        >>> light = legan.LightSetup.parse("-45 + 0.5*60,20", ambient=0.2)
        >>> [lamp.factor for lamp in light.lamps]
        [1.0, 0.5]
    """

    lamps: tuple[Lamp, ...] = ()
    ambient: float | tuple[float, float, float] = 1.0
    words: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lamps", tuple(self.lamps))
        shares = np.atleast_1d(np.asarray(self.ambient, float))
        largest = 1.0 if np.ndim(self.ambient) == 0 else MAX_FACTOR
        if shares.shape not in ((1,), (3,)) or not ((shares >= 0) & (shares <= largest)).all():
            raise ConditionError(
                f"ambient {self.ambient} is out of range: give a number from 0 (the lamps alone) to 1 (a lit room)"
            )
        if not self.lamps and not shares.any():
            raise ConditionError("no light: name a lamp, or ambient above 0")

    @classmethod
    def parse(cls, text: str, ambient: float = 1.0, softness: float = 0.0, colour: Colour = WHITE) -> "LightSetup":
        """Read lamps such as `"-45 + 0.5*60,20"`: directions as `lighting_code` reads them, each with a factor or without.

        A plus directly before degrees is their sign: `"left + +15"`. `"room"` alone is not a lamp. Softness and colour are for all of them.

        Raises:
            ConditionError: what cannot be read or is out of range.
        """
        terms = _terms(text)
        if len(terms) == 1 and is_room(terms[0]):
            if softness or colour != WHITE:
                raise ConditionError("softness and colour are for lamps, and room light is none: name a direction, such as -45")
            return cls((), ambient)
        lamps = []
        for term in terms:
            factor, star, direction = term.rpartition("*")
            lamps.append(Lamp(direction.strip().lower(), _factor(factor, term) if star else 1.0, softness, colour))
        return cls(tuple(lamps), ambient)

    @property
    def plain(self) -> str | float | Sequence[float] | None:
        """The lighting of a class or a direction where it is just that, in a room that is fully lit; else None."""
        if not np.all(np.asarray(self.ambient) == 1):
            return None
        if not self.lamps:
            return "room"
        return self.lamps[0].direction if len(self.lamps) == 1 and self.lamps[0].is_class_light else None

    def in_classes(self) -> Lamps:
        """Return it as factors of the room's light and of the flashes of the classes that it needs."""
        weights = sum((lamp.weights() for lamp in self.lamps), np.zeros((len(LIGHTINGS), 3)))
        classes = np.flatnonzero(weights.any(1))
        return Lamps(np.broadcast_to(np.asarray(self.ambient, float), (3,)), classes, weights[classes])

    def __str__(self) -> str:
        if self.words:
            return self.words
        words = [" + ".join(_lamp_words(lamp) for lamp in self.lamps) or "room"]
        if np.any(np.asarray(self.ambient) != 1):
            words.append(f"ambient={_numbers(self.ambient)}")
        return " ".join(words)


def is_room(direction: object) -> bool:
    """Whether a lighting is the class of room light alone."""
    return isinstance(direction, str) and direction.strip().lower() in _ROOM_NAMES


def is_setup(lighting: object) -> bool:
    """Whether a lighting is made of lamps: a `LightSetup`, or a text such as `"-45 + 0.5*60"`."""
    return isinstance(lighting, LightSetup) or (isinstance(lighting, str) and ("*" in lighting or len(_terms(lighting)) > 1))


def plain_and_mixed(
    lighting: "str | float | Sequence[float] | LightSetup",
) -> tuple[str | float | Sequence[float], Lamps | None]:
    """Return a lighting as `lighting_code` takes it; and, where no code can be it, room light with the mixture of the classes.

    Texts such as `"-45 + 0.5*60"` are read.
    """
    if isinstance(lighting, str) and is_setup(lighting):
        lighting = LightSetup.parse(lighting)
    if not isinstance(lighting, LightSetup):
        return lighting, None
    plain = lighting.plain
    return ("room", lighting.in_classes()) if plain is None else (plain, None)


def from_weights(weights: np.ndarray, ambient: float | tuple[float, float, float], words: str) -> LightSetup:
    """Return the setup of flashes whose factors are known, class by class.

    Args:
        weights: (20, 3), non-negative, RGB; room light's row is not used.
        ambient, words: as of `LightSetup`.
    """
    rows = [(k, float(red), float(green), float(blue)) for k, (red, green, blue) in enumerate(weights) if k != ROOM]
    lamps = tuple(Lamp(LIGHTINGS[k].name, colour=(red, green, blue)) for k, red, green, blue in rows if red + green + blue > 0)
    return LightSetup(lamps, ambient, words)


def colour_factors(colour: Colour) -> np.ndarray:
    """Return a colour as factors of linear light (3,), RGB.

    Raises:
        ConditionError: a text that is neither like `3200K` nor like `#ffd0a0`, black, a temperature out of range, or factors below 0.
    """
    if not isinstance(colour, str):
        factors = np.asarray(colour, float)
        if factors.shape != (3,) or not np.isfinite(factors).all() or (factors < 0).any() or not factors.any():
            raise ConditionError(f"cannot use the colour {colour}: give three factors from 0 on, not all 0")
        return factors
    text = colour.strip().lower()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*k", text):
        return _of_temperature(float(match[1]))
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        light = to_linear(np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255)
        if not light.any():
            raise ConditionError(f"the light colour {colour} is black: name a colour, and dim a lamp by its factor, 0.5*-45")
        return light / light.mean()
    raise ConditionError(f"cannot read the light colour '{colour}': give a temperature such as 3200K, or sRGB such as #ffd0a0")


def _of_temperature(kelvin: float) -> np.ndarray:
    """Colour of a black body (3,), of mean 1, seen by a camera whose white is one of 6500 K.

    Kim et al., "Design of advanced color temperature control system for HDTV applications", Journal of the Korean Physical Society
    2002: the locus in CIE 1931 xy.
    """
    if not MIN_KELVIN <= kelvin <= MAX_KELVIN:
        raise ConditionError(
            f"light colour {kelvin:g}K is out of range: give {MIN_KELVIN:g}K (candle) to {MAX_KELVIN:g}K (blue sky)"
        )
    light = np.maximum(_black_body(kelvin) / _black_body(WHITE_KELVIN), 0)
    return light / light.mean()


def _black_body(kelvin: float) -> np.ndarray:
    """Linear sRGB (3,) of luminance 1."""
    t = 1000 / kelvin
    if kelvin < 4000:
        x = np.polyval([-0.2661239, -0.2343589, 0.8776956, 0.179910], t)
    else:
        x = np.polyval([-3.0258469, 2.1070379, 0.2226347, 0.240390], t)
    if kelvin < 2222:
        y = np.polyval([-1.1063814, -1.34811020, 2.18555832, -0.20219683], x)
    elif kelvin < 4000:
        y = np.polyval([-0.9549476, -1.37418593, 2.09137015, -0.16748867], x)
    else:
        y = np.polyval([3.0817580, -5.87338670, 3.75112997, -0.37001483], x)
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    return np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]) @ xyz


@lru_cache(maxsize=64)  # checked, then used: an edit asks for it several times
def _soft_code(centre: tuple[float, float], softness: float) -> np.ndarray:
    """The mean code (20,) over the disc of a lamp: a spiral of directions, each of the same solid angle. Read only."""
    turn = math.pi * (3 - math.sqrt(5))
    azimuth, elevation = np.radians(centre)
    forward = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    right = np.array([np.cos(azimuth), 0, -np.sin(azimuth)])
    up = np.cross(forward, right)
    code = np.zeros(len(LIGHTINGS))
    for i in range(_N_DIRECTIONS):
        cosine = 1 - (i + 0.5) / _N_DIRECTIONS * (1 - math.cos(math.radians(softness / 2)))
        sine = math.sqrt(1 - cosine**2)
        direction = cosine * forward + sine * (math.cos(i * turn) * right + math.sin(i * turn) * up)
        code += direction_code(direction)
    code /= _N_DIRECTIONS
    code.flags.writeable = False
    return code


def direction_code(direction: np.ndarray) -> np.ndarray:
    """Return the code (20,) of a unit vector (x to the image's right, y up, z to the camera); beyond the classes their nearest."""
    azimuth = math.degrees(math.atan2(direction[0], direction[2]))
    elevation = math.degrees(math.asin(min(max(float(direction[1]), -1), 1)))
    return lighting_code(
        (min(max(azimuth, -MAX_AZIMUTH), MAX_AZIMUTH), min(max(elevation, MIN_ELEVATION), MAX_ELEVATION))
    ).astype(np.float64)


def _centre(code: np.ndarray, direction: str | float | Sequence[float]) -> tuple[float, float]:
    """Azimuth and elevation of a lamp's middle."""
    if code.max() == 1:  # a class, or its own direction
        lighting = LIGHTINGS[int(code.argmax())]
        assert lighting.azimuth is not None and lighting.elevation is not None
        return lighting.azimuth, lighting.elevation
    angles = direction.split(",") if isinstance(direction, str) else direction
    numbers = [float(a) for a in (angles if isinstance(angles, Sequence) else (angles,))]
    return numbers[0], numbers[1] if len(numbers) == 2 else LIGHTINGS[1].elevation or 0.0


def _terms(text: str) -> list[str]:
    """The parts between the pluses; one before degrees is their sign."""
    return [term.strip() for term in re.split(r"(?<=[\w.])\s*\+\s*", text)]


def _factor(text: str, term: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConditionError(f"cannot read the lamp '{term}': write factor*direction, such as 0.5*-45,20") from None


def _lamp_words(lamp: Lamp) -> str:
    direction = lamp.direction
    words = [direction if isinstance(direction, str) else _numbers(direction)]
    if lamp.factor != 1:
        words[0] = f"{lamp.factor:g}*{words[0]}"
    if lamp.softness:
        words.append(f"softness={lamp.softness:g}")
    if tuple(colour_factors(lamp.colour)) != (1, 1, 1):
        words.append(f"colour={lamp.colour if isinstance(lamp.colour, str) else _numbers(lamp.colour)}")
    return " ".join(words)


def _numbers(values: float | Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in np.atleast_1d(np.asarray(values, float)))


# The light of an environment map (`core.images.load_environment`), as a mixture of the classes.


_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_MAP_WIDTH = 144  # pixels to which an environment map is brought: 2.5 degrees each


def environment_light(light: np.ndarray, words: str = "environment") -> LightSetup:
    """Return the light of an environment map, with a brightness of one flash or of the room's light in all.

    Light from directions that the classes cover goes to their flashes; the rest, from behind, below and far above, is taken for the
    room's even light, the more of it the larger its share.

    Args:
        light: linear light (H, 2 H, 3), RGB, equirectangular, seen from the face. Its middle is where the face looks, at the camera;
            what is right of the middle lies to the person's right, which is the left of the photo.
        words: what marks say.

    Raises:
        ImageError: no light in it, or values that are no light.
    """
    import cv2

    light = np.asarray(light, np.float32)
    if not np.isfinite(light).all() or (light < 0).any() or not light.any():
        raise ImageError(f"{words}: the map holds no light, or values that are no light (below 0 or not finite)")
    if light.shape[1] > _MAP_WIDTH:
        light = cv2.resize(light, (_MAP_WIDTH, _MAP_WIDTH // 2), interpolation=cv2.INTER_AREA)
    height, width = light.shape[:2]
    weights, room = np.zeros((len(LIGHTINGS), 3)), np.zeros(3)
    for row in range(height):
        elevation = 90 - (row + 0.5) / height * 180
        area = math.cos(math.radians(elevation))
        for column in range(width):
            azimuth = 180 - (column + 0.5) / width * 360
            arriving = area * light[row, column].astype(np.float64)
            if abs(azimuth) <= MAX_AZIMUTH and MIN_ELEVATION <= elevation <= MAX_ELEVATION:
                weights += lighting_code((azimuth, elevation))[:, None] * arriving
            else:
                room += arriving
    total = (weights.sum(0) + room) @ _LUMINANCE
    weights, room = weights / total, room / total
    red, green, blue = map(float, room)
    return from_weights(weights, (red, green, blue), words)
