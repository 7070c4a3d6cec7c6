"""Wrong light: a face relit as if its shape had been misjudged.

Relighting multiplies an image by the ratio of two lights. Two aligned images of one face give the true ratio; what a wrong fit
would give is that ratio displaced, mirrored, flattened, another face's, or valid on one half only. All in linear light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.geometry import CROP_SIZE, Array
from legan.core.light import linear_to_pixels, pixels_to_linear
from legan.data.degradations import face_mask

_DARK = 0.012  # linear: keeps the ratio finite in shadow
_MAX_RATIO = 12.0
_SOFT = 0.6  # blur of the ratio at 128 pixels: hides the noise of two images


@dataclass(frozen=True)
class LightChange:
    """One face before and after a change of light, and another face under the same two lights.

    Images are RGB uint8 (size, size, 3) and aligned pixel by pixel within each pair; `points` (68, 2) are the face's landmarks.
    """

    before: Array
    after: Array
    other_before: Array
    other_after: Array
    points: Array


def relight_wrongly(change: LightChange, setting: str, random: np.random.Generator) -> Array:
    """The face before, lit as after, by a ratio with a fault: uint8 (size, size, 3).

    Args:
        change: the images.
        setting: one of `LIGHT_FAULTS`.
        random: of directions and sides.
    """
    make, _ = LIGHT_FAULTS[setting]
    log_ratio = np.clip(make(change, random), -np.log(_MAX_RATIO), np.log(_MAX_RATIO))
    return linear_to_pixels(pixels_to_linear(change.before) * np.exp(log_ratio))


def _true(change: LightChange) -> Array:
    return _log_ratio(change.before, change.after)


def _overdone(change: LightChange, random: np.random.Generator) -> Array:
    return _true(change) * 1.9


def _other_face(change: LightChange, random: np.random.Generator) -> Array:
    return _log_ratio(change.other_before, change.other_after)


def _resized(change: LightChange, random: np.random.Generator) -> Array:
    size = change.before.shape[0]
    scale = float(random.choice([0.78, 1.28]))
    middle = change.points[27:48].mean(axis=0) - 0.5
    matrix = np.array([[scale, 0, middle[0] * (1 - scale)], [0, scale, middle[1] * (1 - scale)]])
    return cv2.warpAffine(_true(change), matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)


def _shifted(change: LightChange, random: np.random.Generator) -> Array:
    size = change.before.shape[0]
    direction, length = random.uniform(0, 2 * np.pi), random.uniform(0.06, 0.10) * size
    matrix = np.array([[1, 0, length * np.cos(direction)], [0, 1, length * np.sin(direction)]])
    return cv2.warpAffine(_true(change), matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)


def _flat_normals(change: LightChange, random: np.random.Generator) -> Array:
    """The face as a flat board: light that grows evenly from one side to the other, and ends at its outline."""
    size = change.before.shape[0]
    mask = face_mask(size, change.points, raise_brows=0.16)
    y, x = np.mgrid[:size, :size] / size - 0.5
    plane = np.stack([np.ones_like(x), x, y], axis=-1)
    inside = mask > 0.5
    ratio = _true(change)
    slopes, *_ = np.linalg.lstsq(plane[inside], ratio[inside], rcond=None)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5 * size / CROP_SIZE)[..., None]
    return soft * (plane @ slopes) + (1 - soft) * cv2.GaussianBlur(ratio, (0, 0), 8 * size / CROP_SIZE)


def _cut_out(change: LightChange, random: np.random.Generator) -> Array:
    """Only the inner face was lit."""
    mask = face_mask(change.before.shape[0], change.points, raise_brows=0.02)
    return _true(change) * cv2.GaussianBlur(mask, (0, 0), 1.0)[..., None]


def _mirrored(change: LightChange, random: np.random.Generator) -> Array:
    return np.ascontiguousarray(_true(change)[:, ::-1])


def _half(change: LightChange, random: np.random.Generator) -> Array:
    """The light of the other side on one half of the face."""
    ratio = _true(change)
    size = ratio.shape[0]
    middle = change.points[27:31, 0].mean()
    side = random.choice([-1.0, 1.0])
    x = np.arange(size) + 0.5
    wrong = 1 / (1 + np.exp(-np.clip(side * (x - middle) * CROP_SIZE / size / 0.8, -30, 30)))
    return ratio * (1 - wrong[None, :, None]) - ratio * wrong[None, :, None]


LightFault = Callable[[LightChange, np.random.Generator], Array]
# Setting -> logarithm of the faulty ratio (size, size, 3), and fault by design.
LIGHT_FAULTS: dict[str, tuple[LightFault, float]] = {
    "mirrored": (_mirrored, 0.4),
    "flat-normals": (_flat_normals, 0.45),
    "overdone": (_overdone, 0.5),
    "cut-out": (_cut_out, 0.6),
    "other-face": (_other_face, 0.7),
    "resized": (_resized, 0.8),
    "shifted": (_shifted, 0.85),
    "half": (_half, 1.0),
}


def _log_ratio(before: Array, after: Array) -> Array:
    ratio = np.log((pixels_to_linear(after) + _DARK) / (pixels_to_linear(before) + _DARK))
    return cv2.GaussianBlur(ratio, (0, 0), _SOFT * before.shape[0] / CROP_SIZE)
