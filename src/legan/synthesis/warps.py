"""Pictures moved by landmarks: the classical way to change an expression, without any model of what comes into view.

Three kinds of field, all going exactly or nearly through the landmarks, the picture's border held: piecewise affine on Delaunay
triangles; thin-plate splines (Bookstein, PAMI 1989); moving least squares with similarities (Schaefer et al., SIGGRAPH 2006).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from legan.core.errors import ConfigError, no_such
from legan.synthesis.vectors import Array

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
    """Where each pixel of the warped picture comes from: float32 (size, size, 2), x and y, pixel centres at +0.5."""
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
