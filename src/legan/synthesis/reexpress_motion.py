"""From which place of the photo each pixel of a re-expressed picture comes.

Skin follows the mesh. Lips that lay hidden in a closed mouth are drawn on from the lip that is seen, as in a mirror. Iris and
white are round: what a lid hid is taken from as far from the middle of the iris, but beside it. Round the face the motion
fades away, so that hair and background bend a little where a cheek or a chin goes, and nothing tears.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from legan.synthesis.face_view import places_in
from legan.synthesis.reexpress_parts import Parts
from legan.synthesis.vectors import Array, smoothstep

# Lengths in pixels of a 128-pixel crop.
_MOUTH_REACH = 9.0  # from the line between the lips
_SEAM = 0.8  # the dark line between closed lips, half its width: it must not come along when they part
_LASHES = 1.7  # under the lid's edge: what lashes and their shadow darken
_FADE = 10.0  # reach of the motion beyond the face
_FLAT = 0.42  # sine of the steepest angle at which the iris is surely seen
_IRIS_RADIUS_MM = 6.2
_HALF_WAY = 0.6  # how firmly the iris is held half way between the lids


@dataclass(frozen=True)
class Motion:
    """Pictures (N, N)."""

    places: Array  # (N, N, 2) float32: pixels of the photo, centres at +0.5
    revealed: Array  # float32 0..1: parts of the eye that a lid had hidden
    stretched: Array  # float32 0..1: skin of the upper lids that the photo hardly shows


def motion(light: Array, old: Parts, new: Parts, unit: float, pixels_per_mm: float) -> Motion:
    """Finds the places.

    Args:
        light: (N, N, 3) the photo, linear.
        old, new: the parts of its face as it is and as it shall be.
        unit: samples to a pixel of a 128-pixel crop.
        pixels_per_mm: samples to a millimetre.
    """
    found = places_in(new.view, old.view)
    n = new.view.resolution
    grid = np.stack(np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5), axis=-1).astype(np.float32)
    places = new.view.picture(found.places)
    skin = new.body & new.front & ~new.view.picture(found.hidden, True)
    places, lips = _with_lips(places, skin, old, new, unit)
    skin |= lips
    places = _extended(places, grid, skin, new, unit)
    stretched = _stretched(places, skin, new, unit)
    places[new.eyes] = grid[new.eyes]
    places, revealed = _with_eyes(places, grid, light, old, new, unit, pixels_per_mm)
    return Motion(places, revealed, stretched)


def sample(picture: Array, places: Array, kernel: int = cv2.INTER_LINEAR) -> Array:
    """A picture (N, N) or (N, N, k) at places (M, M, 2)."""
    x, y = places[..., 0] - 0.5, places[..., 1] - 0.5
    return cv2.remap(picture, x, y, kernel, borderMode=cv2.BORDER_REPLICATE)


def gap(parts: Parts) -> float:
    """Height in pixels of the opening between the lips."""
    return float(parts.opening.sum(axis=0).max())


def _with_lips(places: Array, skin: Array, old: Parts, new: Parts, unit: float) -> tuple[Array, Array]:
    """Places with the lips' hidden skin, and where these are."""
    near = new.body & (new.beyond_seam < _MOUTH_REACH * unit)
    if not near.any():
        return places, near
    margin = _SEAM * unit * float(smoothstep(0, 2 * unit, abs(gap(new) - gap(old))))
    distance = np.minimum(old.beyond_seam, 1e6).astype(np.float32)
    good = near & skin & (sample(distance, places) >= margin)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result, drawn = places.copy(), np.zeros_like(near)
    for side in (new.lower > 0.5, new.lower <= 0.5):
        sound, wanted = (good & side)[box], (near & ~good & side)[box]
        if not sound.any() or not wanted.any():
            continue
        _, edge = distance_transform_edt(~sound, return_indices=True)
        at = np.argwhere(wanted)
        on_edge = edge[:, wanted].T
        mirrored = np.clip(2 * on_edge - at, 0, np.array(sound.shape) - 1)
        mirrored = np.where(sound[tuple(mirrored.T)][:, None], mirrored, on_edge)
        result[box][wanted] = places[box][tuple(mirrored.T)]
        drawn[box] |= wanted
    return result, drawn


def _extended(places: Array, grid: Array, skin: Array, new: Parts, unit: float) -> Array:
    """Places everywhere: from the nearest skin within the face, fading beyond it."""
    nearest = distance_transform_edt(~skin, return_distances=False, return_indices=True)
    move = (places - grid)[tuple(nearest)]
    within = (new.body | new.eyes | new.cavity) & new.front
    beyond = distance_transform_edt(~within).astype(np.float32)
    smooth = cv2.GaussianBlur(move, (0, 0), 2.0 * unit)
    share = smoothstep(0, 3 * unit, beyond)[..., None]
    fade = np.exp(-((beyond / (_FADE * unit)) ** 2))[..., None]
    moved = grid + (move * (1 - share) + smooth * share) * fade
    return np.where(skin[..., None], places, moved).astype(np.float32)


def _stretched(places: Array, skin: Array, new: Parts, unit: float) -> Array:
    """Where the upper lids' skin comes from a narrow strip of the photo or from none."""
    growth = np.gradient(cv2.GaussianBlur(places[..., 1], (0, 0), 0.5 * unit), axis=0)
    lid = (new.lid > 0.1) & new.body
    thin = lid & ((growth < 0.55) | ~skin)
    thin = cv2.morphologyEx(thin.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(thin.astype(np.float32), (0, 0), 0.5 * unit)


def _with_eyes(
    places: Array, grid: Array, light: Array, old: Parts, new: Parts, unit: float, pixels_per_mm: float
) -> tuple[Array, Array]:
    """Places with the parts of the eyes that lids or lashes had hidden, and how much of each pixel is such a part."""
    result, revealed = places.copy(), np.zeros(new.eyes.shape, np.float32)
    inside_old = distance_transform_edt(old.eyes).astype(np.float32)
    inside_new = distance_transform_edt(new.eyes).astype(np.float32)
    share = smoothstep(1.3 * _LASHES * unit, 0.7 * _LASHES * unit, inside_old) * new.eyes
    share = share * smoothstep(0.2 * unit, 0.7 * unit, inside_new - inside_old)
    middle = new.eyes.shape[1] // 2
    for half in (np.s_[:, :middle], np.s_[:, middle:]):
        if share[half].max(initial=0) < 0.05:
            continue
        seen = inside_old[half] > 0.5 * _LASHES * unit
        iris = find_iris(light[half].mean(axis=2), seen, _IRIS_RADIUS_MM * pixels_per_mm)
        if iris is None:
            continue
        centre = iris + grid[half][0, 0] - 0.5
        offset = grid[half] - centre
        radius = np.linalg.norm(offset, axis=2) + 1e-6
        sine = np.clip(offset[..., 1] / radius, -_FLAT, _FLAT)
        side = np.where(offset[..., 0] < 0, -1, 1) * np.sqrt(1 - sine**2)
        beside = centre + np.stack([side, sine], axis=2) * radius[..., None]
        part = share[half][..., None]
        result[half] = result[half] * (1 - part) + beside * part
        revealed[half] = share[half]
    return result.astype(np.float32), revealed


def find_iris(luminance: Array, seen: Array, radius: float) -> Array | None:
    """Centre (x, y) in pixels, centres at +0.5, of the darkest disc of this radius; None where too little of an eye is seen.

    Args:
        luminance: (H, W).
        seen: (H, W) bool, the eyeball.
        radius: in pixels.
    """
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) < 0.4 * radius or len(columns) < radius:
        return None
    pad = int(1.6 * radius) + 1
    top, left = max(rows[0] - pad, 0), max(columns[0] - pad, 0)
    box = np.s_[top : rows[-1] + pad, left : columns[-1] + pad]
    weight = seen[box].astype(np.float32)
    values = np.minimum(luminance[box], np.percentile(luminance[seen], 75)).astype(np.float32) * weight  # spares glints
    y, x = np.mgrid[-pad : pad + 1, -pad : pad + 1]
    distance = np.hypot(x, y)
    disc = (distance <= radius).astype(np.float32)
    ring = ((distance > 1.1 * radius) & (distance < 1.6 * radius) & (np.abs(y) < 0.8 * radius)).astype(np.float32)

    def mean(kernel: Array) -> tuple[Array, Array]:
        amount = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        return cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_CONSTANT) / np.maximum(amount, 1), amount

    dark, covered = mean(disc)
    pale, around = mean(ring)
    middle = (weight * np.arange(len(weight))[:, None]).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    off_middle = (np.arange(len(weight))[:, None] - middle) / radius  # the iris stands about half way between the lids
    score = (pale - dark) / max(float(values.max()), 1e-4) - _HALF_WAY * off_middle**2
    score = np.where((covered > 0.4 * disc.sum()) & (around > 0.1 * ring.sum()) & (weight.max(axis=0) > 0), score, -np.inf)
    row, column = np.unravel_index(score.argmax(), score.shape)
    return np.array([column + left + 0.5, row + top + 0.5], np.float32) if np.isfinite(score[row, column]) else None
