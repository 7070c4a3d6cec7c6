"""Graded faults put on top of a face crop: what goes wrong in photos, in compression, and in what generators make.

Every one is a function of the image, its landmarks, a strength in 0..1 and a seed. What is drawn from the seed (places,
directions, grain) does not depend on the strength, so that five strengths of one seed are one fault that grows; 0 changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from legan.core.errors import ConfigError, no_such
from legan.core.geometry import CROP_SIZE, Array, smoothstep

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
# At full strength, for a crop of 128 pixels; lengths grow with the crop.
_BLUR = 3.2  # standard deviation in pixels
_N_BLOBS = (2, 5)
_BLOB_RADIUS = (5.0, 13.0)  # pixels
_BLOB_LIGHT, _BLOB_SHIFT = 0.55, 4.0  # share of the brightness; pixels of refraction
_CHECKERBOARD = 0.20  # amplitude, of the whole range
_COLOUR = 0.5  # logarithm of the gains
_SEAM_TONE, _SEAM_SHIFT = 0.42, 4.0  # logarithm of the gain; pixels
_EYE_SCALE, _EYE_SHIFT, _EYE_REACH = 0.65, 8.0, 0.17  # share, pixels, share of the side
_NOISE = 0.11  # standard deviation, of the whole range
_JPEG = (45, 5, 1.2)  # quality at strength 0, at 1, and the curve between
_EYES = (slice(36, 42), slice(42, 48))
_BROWS = slice(17, 27)


@dataclass(frozen=True)
class Fault:
    """One degradation of one image: landmarks (68, 2) in pixels, strength 0..1, and the random numbers it is drawn from."""

    points: Array
    strength: float
    random: np.random.Generator


def degrade(name: str, image: Array, points: Array, strength: float, seed: int) -> Array:
    """Put the degradation `name` on a crop.

    Args:
        name: one of `DEGRADATIONS`.
        image: RGB uint8 (size, size, 3).
        points: landmarks (68, 2) in pixels.
        strength: 0 (nothing) to 1.
        seed: equal seeds give one fault at several strengths.

    Returns:
        RGB uint8 (size, size, 3).

    Raises:
        ConfigError: an unknown name, or a strength out of range.
    """
    known_fault(name)
    if not 0 <= strength <= 1:
        raise ConfigError(f"a strength must lie in 0..1, not {strength:g}")
    if strength == 0:
        return image.copy()
    number = list(DEGRADATIONS).index(name)
    light = DEGRADATIONS[name](image.astype(np.float32) / 255, Fault(points, strength, np.random.default_rng([seed, number])))
    return (np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8)


def blur(image: Array, fault: Fault) -> Array:
    """Gaussian blur: out of focus, or an autoencoder's softness."""
    return cv2.GaussianBlur(image, (0, 0), _BLUR * fault.strength * _unit(image))


def blobs(image: Array, fault: Fault) -> Array:
    """Droplets as StyleGAN leaves them (Karras et al., CVPR 2020, figure 1): round spots that shine, refract and have a rim."""
    size, unit = image.shape[0], _unit(image)
    y, x = _grid(size)
    moved_x, moved_y, gain = x.copy(), y.copy(), np.ones((size, size), np.float32)
    for _ in range(int(fault.random.integers(*_N_BLOBS))):
        centre = fault.random.uniform(0.2, 0.8, 2) * size
        radius = fault.random.uniform(*_BLOB_RADIUS) * unit
        bright = fault.random.choice([-1.0, 1.0])
        dx, dy = x - centre[0], y - centre[1]
        distance = np.hypot(dx, dy) / radius
        inside = smoothstep(1.0, 0.55, distance)
        rim = np.exp(-(((distance - 0.9) / 0.18) ** 2))
        gain += fault.strength * _BLOB_LIGHT * (bright * inside - 0.6 * bright * rim)
        pull = fault.strength * _BLOB_SHIFT * unit * inside / np.maximum(distance * radius, 1)
        moved_x, moved_y = moved_x - pull * dx, moved_y - pull * dy
    return _sampled(image, moved_x, moved_y) * gain[..., None]


def checkerboard(image: Array, fault: Fault) -> Array:
    """The grid that transposed convolutions leave (Odena et al., Distill 2016), of two and four pixels, in patches."""
    size = image.shape[0]
    y, x = np.mgrid[:size, :size]
    fine, coarse = ((-1.0) ** (x + y), (-1.0) ** (x // 2 + y // 2))
    share = fault.random.uniform(0.2, 0.8)
    patches = _smooth_field(size, fault.random)
    colours = 1 + 0.3 * fault.random.standard_normal(3)
    pattern = (share * fine + (1 - share) * coarse) * (0.5 + 0.5 * patches)
    return image + fault.strength * _CHECKERBOARD * pattern[..., None] * colours


def colour(image: Array, fault: Fault) -> Array:
    """A cast that changes from one side of the image to the other."""
    size = image.shape[0]
    casts = fault.random.standard_normal((2, 3))
    casts -= casts.mean(axis=1, keepdims=True)
    casts /= np.linalg.norm(casts, axis=1, keepdims=True)
    across = _smooth_field(size, fault.random)[..., None]
    return image * np.exp(fault.strength * _COLOUR * (casts[0] + 0.5 * across * casts[1]))


def seam(image: Array, fault: Fault) -> Array:
    """The face as pasted in: another tone and a little off inside the line from brows to jaw, with a sharp edge."""
    size, unit = image.shape[0], _unit(image)
    mask = face_mask(size, fault.points)[..., None]
    direction = fault.random.uniform(0, 2 * np.pi)
    tone = fault.random.choice([-1.0, 1.0]) + 0.35 * fault.random.standard_normal(3)
    y, x = _grid(size)
    shift = fault.strength * _SEAM_SHIFT * unit
    face = _sampled(image, x - shift * np.cos(direction), y - shift * np.sin(direction))
    return image * (1 - mask) + face * np.exp(fault.strength * _SEAM_TONE * tone) * mask


def eyes(image: Array, fault: Fault) -> Array:
    """One eye larger or smaller than the other, and out of its place."""
    size, unit = image.shape[0], _unit(image)
    centre = fault.points[_EYES[int(fault.random.integers(2))]].mean(axis=0)
    grow = fault.random.choice([-1.0, 1.0]) * fault.random.uniform(0.6, 1.0)
    direction = fault.random.uniform(0, 2 * np.pi)
    y, x = _grid(size)
    near = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (_EYE_REACH * size * 0.6) ** 2)
    scale = 1 - fault.strength * _EYE_SCALE * grow * near * (1.0 if grow > 0 else 0.7)
    shift = fault.strength * _EYE_SHIFT * unit * near
    moved_x = centre[0] + (x - centre[0]) * scale - shift * np.cos(direction)
    moved_y = centre[1] + (y - centre[1]) * scale - shift * np.sin(direction)
    return _sampled(image, moved_x, moved_y)


def jpeg(image: Array, fault: Fault) -> Array:
    """JPEG compression with halved colours."""
    most, least, curve = _JPEG
    quality = round(least + (most - least) * (1 - fault.strength) ** curve)
    buffer = io.BytesIO()
    Image.fromarray((image * 255 + 0.5).astype(np.uint8)).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer, formats=["JPEG"]), np.float32) / 255


def noise(image: Array, fault: Fault) -> Array:
    """Grain, most of it in brightness."""
    size = image.shape[0]
    grain = fault.random.standard_normal((size, size, 1)) + 0.4 * fault.random.standard_normal((size, size, 3))
    return image + fault.strength * _NOISE * grain.astype(np.float32)


DEGRADATIONS: dict[str, Callable[[Array, Fault], Array]] = {
    "blur": blur,
    "blobs": blobs,
    "checkerboard": checkerboard,
    "colour": colour,
    "seam": seam,
    "eyes": eyes,
    "jpeg": jpeg,
    "noise": noise,
}


def known_fault(name: str) -> str:
    """Return `name`, one of `DEGRADATIONS`.

    Raises:
        ConfigError: it is none.
    """
    if name not in DEGRADATIONS:
        raise ConfigError(no_such("degradation", name, DEGRADATIONS))
    return name


def face_mask(size: int, points: Array, raise_brows: float = 0.05) -> Array:
    """1 inside the hull of the landmarks, the brows raised by a share of the side: float32 (size, size)."""
    outline = np.asarray(points, np.float32).copy()
    outline[_BROWS, 1] -= raise_brows * size
    hull = cv2.convexHull(np.round(outline - 0.5).astype(np.int32))
    mask = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    return mask


def _unit(image: Array) -> float:
    return image.shape[0] / CROP_SIZE


def _grid(size: int) -> tuple[Array, Array]:
    """Pixel positions y and x, centres at +0.5, float32 (size, size)."""
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    return y, x


def _sampled(image: Array, x: Array, y: Array) -> Array:
    """The image at positions with pixel centres at +0.5."""
    at_x, at_y = (np.asarray(place - 0.5, np.float32) for place in (x, y))
    return cv2.remap(image, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _smooth_field(size: int, random: np.random.Generator) -> Array:
    """A smooth random field (size, size) in -1..1."""
    coarse = random.uniform(-1, 1, (4, 4)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
