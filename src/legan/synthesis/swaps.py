"""Face swaps: the inner face of one person on the head of another, the classical deepfake recipe.

Align by landmarks, match the colours (Reinhard et al., "Color transfer between images", 2001), blend along the face's outline:
hard, feathered, or with Poisson's equation (Pérez et al., "Poisson image editing", SIGGRAPH 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.errors import ConfigError, no_such
from legan.synthesis.degradations import face_mask
from legan.synthesis.vectors import Array
from legan.synthesis.warps import warp

BLENDS = ("hard", "feather", "poisson")
_INNER = np.r_[17:68]  # landmarks within the face
_FEATHER = 4.0  # standard deviation of the soft edge at 128 pixels
_MARGIN = 8  # pixels round the picture for Poisson's equation
_JAW_INSET = 0.06  # the jaw's points are drawn in, so that the host's own outline stays


@dataclass(frozen=True)
class SwapRecipe:
    """How a swap is made.

    Args:
        blend: one of `BLENDS`.
        match: give the donor's face the host's colours (mean and spread in Lab).
        bend: bring every landmark of the donor to the host's; without it only turn, scale and shift.
        offset: error of the alignment, as a share of the side.
        detail: side in pixels that the donor's face is made at, as an autoencoder's output; 0 keeps it.
    """

    blend: str = "poisson"
    match: bool = True
    bend: bool = True
    offset: float = 0.0
    detail: int = 0


# Setting -> recipe and fault by design.
SWAPS: dict[str, tuple[SwapRecipe, float]] = {
    "poisson": (SwapRecipe(), 0.3),
    "feather-matched": (SwapRecipe(blend="feather"), 0.4),
    "poisson-rigid": (SwapRecipe(bend=False), 0.45),
    "autoencoder": (SwapRecipe(blend="feather", detail=40), 0.55),
    "poisson-unmatched": (SwapRecipe(match=False), 0.5),
    "feather-unmatched": (SwapRecipe(blend="feather", match=False), 0.65),
    "hard-matched": (SwapRecipe(blend="hard"), 0.7),
    "misaligned": (SwapRecipe(blend="feather", bend=False, offset=0.055), 0.85),
    "hard-unmatched": (SwapRecipe(blend="hard", match=False, bend=False), 1.0),
}


def swap_face(
    host: Array, host_points: Array, donor: Array, donor_points: Array, recipe: SwapRecipe, random: np.random.Generator
) -> Array:
    """Put the donor's face on the host.

    Args:
        host, donor: aligned crops, RGB uint8 (size, size, 3).
        host_points, donor_points: landmarks (68, 2) in pixels.
        recipe: how.
        random: of the misalignment.

    Returns:
        RGB uint8 (size, size, 3).

    Raises:
        ConfigError: an unknown way to blend.
    """
    if recipe.blend not in BLENDS:
        raise ConfigError(no_such("blend", recipe.blend, BLENDS))
    size = host.shape[0]
    direction = random.uniform(0, 2 * np.pi)
    offset = recipe.offset * size * np.array([np.cos(direction), np.sin(direction)])
    face = _placed(donor, donor_points, host_points, recipe.bend, offset)
    mask = _mask(size, host_points)
    if recipe.detail:
        face = cv2.resize(
            cv2.resize(face, (recipe.detail,) * 2, interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
        )
    if recipe.match:
        face = matched(face, host, mask)
    return _blended(host, face, mask, recipe.blend)


def _placed(donor: Array, points: Array, goal: Array, bend: bool, offset: Array) -> Array:
    """The donor's picture with its face where the host's is."""
    if bend:
        return warp(donor, points, goal + offset, "spline")
    matrix, _ = cv2.estimateAffinePartial2D(points[_INNER] - 0.5, goal[_INNER] - 0.5 + offset, method=cv2.LMEDS)
    if matrix is None:  # degenerate landmarks: the crops are aligned anyway
        matrix = np.column_stack([np.eye(2), offset])
    return cv2.warpAffine(donor, matrix, donor.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _mask(size: int, points: Array) -> Array:
    outline = points.copy()
    centre = points[_INNER].mean(axis=0)
    outline[:17] += _JAW_INSET * (centre - outline[:17]) * 2
    return face_mask(size, outline, raise_brows=0.03)


def matched(face: Array, goal: Array, mask: Array) -> Array:
    """`face` with the mean and the spread that `goal` has inside the mask, in Lab; all uint8 RGB."""
    inside = mask > 0.5
    if not inside.any():
        return face
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2LAB).astype(np.float32) for x in (face, goal))
    ours, theirs = a[inside], b[inside]
    scale = np.clip(theirs.std(axis=0) / np.maximum(ours.std(axis=0), 1), 0.5, 2)
    moved = (a - ours.mean(axis=0)) * scale + theirs.mean(axis=0)
    return cv2.cvtColor(np.clip(moved, 0, 255).round().astype(np.uint8), cv2.COLOR_LAB2RGB)


def _blended(host: Array, face: Array, mask: Array, blend: str) -> Array:
    if blend == "poisson":
        # Solved on a wider picture: the mask must not touch the border.
        wide_face, wide_host = (np.pad(x, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), "reflect") for x in (face, host))
        area = np.pad((mask * 255).astype(np.uint8), _MARGIN)
        x, y, width, height = cv2.boundingRect(area)
        cloned = cv2.seamlessClone(wide_face, wide_host, area, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
        return cloned[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    if blend == "feather":
        unit = host.shape[0] / 128
        reach = 2 * round(_FEATHER * unit) + 1
        inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        mask = cv2.GaussianBlur(inner, (0, 0), _FEATHER * unit)
    soft = mask[..., None]
    return (host * (1 - soft) + face * soft + 0.5).astype(np.uint8)
