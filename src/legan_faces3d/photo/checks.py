"""Which photos can be relit, and how far to trust the result.

Limits and slopes were set on the photos of experiments/relight: wrong images there had a large fit error or a turned head.
"""

from __future__ import annotations

import numpy as np

from legan.core.conditions import LIGHTINGS
from legan.core.errors import FaceError
from legan.core.geometry import Array
from legan_faces3d.photo.fit import HeadFit

MIN_EYE_DISTANCE = 30.0  # pixels of the photo; a crop has 41
MAX_YAW, MAX_PITCH = 15.0, 22.0  # degrees
MAX_RMS = 2.5  # millimetres
MAX_UNEVENNESS = 1.0  # log2 of one half's light over the other's
MAX_OUTSIDE = 0.04  # of the crop may lie beyond the photo
MIN_SKIN_SAMPLES = 50
_SURE_YAW, _SURE_RMS, _SURE_EYE_DISTANCE = 5.0, 1.4, 60.0
_LEAST = 0.2  # what one doubt leaves of the confidence at the limit


class UnusablePhotoError(FaceError):
    """A photo that cannot be relit; `reason` is one of a few short names, for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def eye_distance(points: Array) -> float:
    """Distance in pixels between the middles of the eyes of 68 landmarks."""
    return float(np.linalg.norm(points[42:48].mean(axis=0) - points[36:42].mean(axis=0)))


def check_size(points: Array) -> None:
    """Raises UnusablePhotoError for a face too small to fill a crop; `points` (68, 2) in photo pixels."""
    if eye_distance(points) < MIN_EYE_DISTANCE:
        raise UnusablePhotoError(
            "face too small", f"eyes {eye_distance(points):.0f} pixels apart, at least {MIN_EYE_DISTANCE:.0f} needed"
        )


def check_fit(fit: HeadFit, inside: Array) -> None:
    """Raises UnusablePhotoError for a head turned too far, a bad fit, or a face that the photo cuts off (`inside`: see `relight`)."""
    if abs(fit.yaw) > MAX_YAW:
        raise UnusablePhotoError("head turned", f"{abs(fit.yaw):.0f} degrees to the side, at most {MAX_YAW:.0f} allowed")
    if abs(fit.pitch) > MAX_PITCH:
        raise UnusablePhotoError("head tilted", f"{abs(fit.pitch):.0f} degrees up or down, at most {MAX_PITCH:.0f} allowed")
    if fit.rms > MAX_RMS:
        raise UnusablePhotoError("bad fit", f"landmarks {fit.rms:.1f} mm off the fitted head, at most {MAX_RMS:.1f} allowed")
    side, margin = inside.shape[0], (inside.shape[0] - inside.shape[0] * 2 // 3) // 2
    outside = 1 - float(inside[margin : side - margin, margin : side - margin].mean())
    if outside > MAX_OUTSIDE:
        raise UnusablePhotoError(
            "cut off", f"{100 * outside:.0f}% of the crop lie beyond the photo, at most {100 * MAX_OUTSIDE:.0f}% allowed"
        )


def check_light(unevenness: float) -> None:
    """Raises UnusablePhotoError for a face lit from one side; `unevenness` as `even_light` estimates it."""
    if abs(unevenness) > MAX_UNEVENNESS:
        side = "right" if unevenness > 0 else "left"
        raise UnusablePhotoError(
            "uneven light", f"the {side} half of the face is {2 ** abs(unevenness):.1f} times as bright as the other"
        )


def check_exposure(n_seen: int) -> None:
    """Raises UnusablePhotoError where too few samples of plain skin, `n_seen`, are neither white nor black."""
    if n_seen < MIN_SKIN_SAMPLES:
        raise UnusablePhotoError(
            "overexposed", f"{n_seen} samples of the skin show its colour, at least {MIN_SKIN_SAMPLES} needed"
        )


def confidence(fit: HeadFit, photo_eye_distance: float, unevenness: float) -> Array:
    """Confidence (20,) in 0..1 of each lighting: falls with turn, fit error, small faces, uneven light and grazing flashes."""
    doubts = [
        _between(abs(fit.yaw), _SURE_YAW, MAX_YAW),
        _between(fit.rms, _SURE_RMS, MAX_RMS),
        _between(-photo_eye_distance, -_SURE_EYE_DISTANCE, -MIN_EYE_DISTANCE),
        _between(abs(unevenness), 0.25, MAX_UNEVENNESS),
    ]
    whole = float(np.prod([1 - (1 - _LEAST) * doubt for doubt in doubts]))
    grazing = [_between(abs(lighting.azimuth or 0.0), 60.0, 90.0) for lighting in LIGHTINGS]
    return np.array([whole * (1 - 0.25 * graze) for graze in grazing], np.float32)


def _between(value: float, start: float, end: float) -> float:
    return float(np.clip((value - start) / (end - start), 0, 1))
