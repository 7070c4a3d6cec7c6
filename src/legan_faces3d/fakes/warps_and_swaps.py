"""Warped and swapped faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.errors import ConfigError, no_such
from legan.core.geometry import CROP_SIZE, Array
from legan.data.degradations import face_mask

# Images moved by landmarks: the classical way to change an expression, without any model of what comes into view.
#
# Three kinds of field, all going exactly or nearly through the landmarks, the image's border held: piecewise affine on Delaunay
# triangles; thin-plate splines (Bookstein, PAMI 1989); moving least squares with similarities (Schaefer et al., SIGGRAPH 2006).


_N_BORDER = 5  # fixed points along each side
_COARSE = 4  # smooth fields are computed for every fourth pixel
_STIFFNESS = 0.004  # of the thin plate: it may miss points a little, where closed lips open between points on top of each other
_MARGIN = 2.0  # pixels; points nearer to the border, or beyond it, would pull at the points that hold it


def warp(image: Array, source: Array, target: Array, method: str = "spline") -> Array:
    """Move what lies at `source` to `target`.

    Args:
        image: uint8 or float32 (size, size, c).
        source, target: points (n, 2) in pixels, centres at +0.5.
        method: one of `METHODS`.

    Returns:
        an array of the image's type and shape.

    Raises:
        ConfigError: an unknown method.
    """
    field = backward_field(image.shape[0], source, target, method)
    return cv2.remap(
        image,
        field[..., 0] - np.float32(0.5),
        field[..., 1] - np.float32(0.5),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def backward_field(size: int, source: Array, target: Array, method: str) -> Array:
    """Where each pixel of the warped image comes from: float32 (size, size, 2), x and y, pixel centres at +0.5."""
    if method not in METHODS:
        raise ConfigError(no_such("warp", method, METHODS))
    border = _border(size)
    both = np.stack([source, target]).astype(np.float64)
    inside = ((both > _MARGIN) & (both < size - _MARGIN)).all(axis=(0, 2))
    apart = np.arange(inside.sum())[:, None] * 1e-4  # no two points are one
    source = np.concatenate([both[0, inside], border])
    target = np.concatenate([both[1, inside] + apart, border])
    return METHODS[method](size, source, target).astype(np.float32)


def _border(size: int) -> Array:
    steps = np.linspace(0, size, _N_BORDER)
    zero, full = np.zeros_like(steps), np.full_like(steps, size)
    sides = [np.stack(side, axis=1) for side in ((steps, zero), (steps, full), (zero, steps), (full, steps))]
    return np.unique(np.concatenate(sides), axis=0)


def affine_field(size: int, source: Array, target: Array) -> Array:
    """One affine map a triangle: creases show along its edges."""
    plane = cv2.Subdiv2D((-1, -1, size + 2, size + 2))
    for x, y in target:
        plane.insert((float(x), float(y)))
    field = _grid(size).astype(np.float64)
    for corners in np.asarray(plane.getTriangleList(), np.float64).reshape(-1, 3, 2):
        if corners.min() < -0.5 or corners.max() > size + 0.5:
            continue  # reaches to the points at infinity
        chosen = [int(np.argmin(((target - corner) ** 2).sum(axis=1))) for corner in corners]
        inside = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(inside, np.round((corners - 0.5) * 16).astype(np.int32), 1, shift=4)
        system = np.column_stack([corners, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-6:
            continue
        y, x = np.nonzero(inside)
        places = np.column_stack([x + 0.5, y + 0.5, np.ones(len(x))])
        field[y, x] = places @ np.linalg.solve(system, source[chosen])
    return field


def spline_field(size: int, source: Array, target: Array) -> Array:
    """A thin plate bent through the points."""

    def bending(a: Array, b: Array) -> Array:
        squared = ((a[:, None] - b[None]) ** 2).sum(axis=2) / size**2
        return squared * np.log(squared + 1e-12)

    n = len(target)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = bending(target, target) + _STIFFNESS * np.eye(n)
    system[:n, n:] = np.column_stack([np.ones(n), target / size])
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.concatenate([source - target, np.zeros((3, 2))]))
    places = _coarse_grid(size)
    moved = bending(places, target) @ weights[:n] + np.column_stack([np.ones(len(places)), places / size]) @ weights[n:]
    return _fine(size, moved)


def squares_field(size: int, source: Array, target: Array) -> Array:
    """The similarity that fits the nearest points best, found anew at each place."""
    places = _coarse_grid(size)
    weights = 1 / (((places[:, None] - target[None]) ** 2).sum(axis=2) + 4.0)
    weights /= weights.sum(axis=1, keepdims=True)
    a, b = target @ [1, 1j], source @ [1, 1j]  # complex numbers: a similarity is one product and one sum
    a_mean, b_mean = weights @ a, weights @ b
    from_mean = a[None] - a_mean[:, None]
    turn = (weights * from_mean.conj() * (b[None] - b_mean[:, None])).sum(axis=1) / (weights * np.abs(from_mean) ** 2).sum(
        axis=1
    )
    here = places @ [1, 1j]
    moved = turn * (here - a_mean) + b_mean - here
    return _fine(size, np.column_stack([moved.real, moved.imag]))


METHODS: dict[str, Callable[[int, Array, Array], Array]] = {
    "affine": affine_field,
    "spline": spline_field,
    "squares": squares_field,
}


def _grid(size: int) -> Array:
    y, x = np.mgrid[:size, :size] + 0.5
    return np.stack([x, y], axis=2)


def _coarse_grid(size: int) -> Array:
    steps = (np.arange(size // _COARSE) + 0.5) * _COARSE
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.column_stack([x.ravel(), y.ravel()])


def _fine(size: int, moved: Array) -> Array:
    """A field of every pixel from displacements (n, 2) at the coarse grid."""
    side = size // _COARSE
    displacement = cv2.resize(moved.reshape(side, side, 2).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return _grid(size) + displacement


# Face swaps: the inner face of one person on the head of another, the classical deepfake recipe.
#
# Align by landmarks, match the colours (Reinhard et al., "Color transfer between images", 2001), blend along the face's outline:
# hard, feathered, or with Poisson's equation (Pérez et al., "Poisson image editing", SIGGRAPH 2003).


BLENDS = ("hard", "feather", "poisson")
_INNER = np.r_[17:68]  # landmarks within the face
_FEATHER = 4.0  # standard deviation of the soft edge at 128 pixels
_POISSON_MARGIN = 8  # pixels round the image for Poisson's equation
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
    """The donor's image with its face where the host's is."""
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
        # Solved on a wider image: the mask must not touch the border.
        wide_face, wide_host = (
            np.pad(x, ((_POISSON_MARGIN, _POISSON_MARGIN), (_POISSON_MARGIN, _POISSON_MARGIN), (0, 0)), "reflect")
            for x in (face, host)
        )
        area = np.pad((mask * 255).astype(np.uint8), _POISSON_MARGIN)
        x, y, width, height = cv2.boundingRect(area)
        cloned = cv2.seamlessClone(wide_face, wide_host, area, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
        return cloned[_POISSON_MARGIN:-_POISSON_MARGIN, _POISSON_MARGIN:-_POISSON_MARGIN]
    if blend == "feather":
        unit = host.shape[0] / CROP_SIZE
        reach = 2 * round(_FEATHER * unit) + 1
        inner = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        mask = cv2.GaussianBlur(inner, (0, 0), _FEATHER * unit)
    soft = mask[..., None]
    return (host * (1 - soft) + face * soft + 0.5).astype(np.uint8)
