"""Geometry that every part shares: the frame of a face crop, similarities between points, resampling, small vector functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Maps of the plane: similarities between points.


def fit_similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the similarity (2, 3) that maps source points (n, 2) nearest to target points (n, 2).

    Weighted least squares without reflection, Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns" (1991), in complex numbers.
    """
    weights = np.ones(len(source)) if weights is None else weights
    weights = weights / weights.sum()
    a, b = source.astype(np.float64) @ [1, 1j], target.astype(np.float64) @ [1, 1j]
    a_mean, b_mean = weights @ a, weights @ b
    spread = weights @ np.abs(a - a_mean) ** 2
    turn = (weights @ (np.conj(a - a_mean) * (b - b_mean))) / max(spread, 1e-12)
    shift = b_mean - turn * a_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


# The face crop: where the eyes and the mouth of an aligned face stand. Shared by the rendered set and by alignment.
#
# Positions are fractions of the crop's side, (x, y) from the top left corner, of a neutral face.


CROP_SIZE = 128
# Fractions of the side; at 128 pixels: eyes at y 52.5, 41 pixels apart; mouth at y 97.
EYES_Y = 0.410
EYE_DISTANCE = 0.325
MOUTH_Y = 0.755


# Resampling by a similarity, with antialiasing.
#
# A plain affine warp looks at four source pixels for each target pixel, whatever the scale, so that a large face made small would
# shimmer. Here the target is sampled on a finer grid, about one sample to a source pixel, and averaged.


Matrix = np.ndarray  # (2, 3) float64, pixel positions (x, y) with pixel centres at +0.5

_MAX_SAMPLES = 32  # a side of a target pixel; faces beyond that many times the target size are averaged first


def scale_of(matrix: Matrix) -> float:
    """Return the scale of a similarity: target pixels per source pixel."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def inverse(matrix: Matrix) -> Matrix:
    """Return the (2, 3) matrix of the opposite direction."""
    back = np.linalg.inv(matrix[:, :2])
    return np.concatenate([back, -back @ matrix[:, 2:]], axis=1)


def transform(matrix: Matrix, points: np.ndarray) -> np.ndarray:
    """Map points (..., 2); returns float32."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def warp(image: np.ndarray, matrix: Matrix, size: int) -> np.ndarray:
    """Cut a square out of an image.

    Args:
        image: uint8 or float32 (H, W) or (H, W, C).
        matrix: image pixels -> target pixels, a similarity. Beyond the image's edge its border pixels go on.
        size: side of the target in pixels.

    Returns:
        (size, size) or (size, size, C), the type of `image`.
    """
    import cv2

    while scale_of(matrix) * _MAX_SAMPLES < 1:
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        matrix = matrix * [2, 2, 1]
    n_samples = max(1, math.ceil(1 / scale_of(matrix) - 0.01))
    fine = indexed(matrix * n_samples)
    side = size * n_samples
    kernel = cv2.INTER_CUBIC if scale_of(matrix) > 1 else cv2.INTER_LINEAR
    # OpenCV samples bytes of four channels linearly in half the time that it takes for three, with the same result.
    is_quicker = kernel == cv2.INTER_LINEAR and image.dtype == np.uint8 and image.shape[2:] == (3,)
    source = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) if is_quicker else image
    target = cv2.warpAffine(source, fine, (side, side), flags=kernel, borderMode=cv2.BORDER_REPLICATE)
    target = target if n_samples == 1 else cv2.resize(target, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(target, cv2.COLOR_RGBA2RGB) if is_quicker else target


def cut(pixels: np.ndarray, matrix: Matrix, size: int) -> np.ndarray:
    """`warp` for photos far finer than the target: the part it needs is halved first, so that memory stays bounded."""
    import cv2

    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
    back = inverse(matrix)
    corners = corners @ back[:, :2].T + back[:, 2]
    height, width = pixels.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)) - 2, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 2, [left + 1, top + 1], [width, height]).astype(int)
    part = pixels[top:bottom, left:right]
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ [left, top]
    while scale_of(matrix) < 0.5 and min(part.shape[:2]) > 1:
        halved = cv2.resize(part, (-(-part.shape[1] // 2), -(-part.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        matrix = matrix * [part.shape[1] / halved.shape[1], part.shape[0] / halved.shape[0], 1]
        part = halved
    return warp(part, matrix, size)


def indexed(matrix: Matrix) -> Matrix:
    """Return the same map for OpenCV, whose pixel centres have whole numbers."""
    shifted = matrix.astype(np.float64).copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return shifted


# Small numeric helpers that every part of the renderer shares.


Array = np.ndarray[Any, np.dtype[Any]]
_TINY = 1e-9  # keeps a zero vector from dividing by zero


def normalize(vectors: Array) -> Array:
    """Vectors (..., 3) scaled to length 1; a zero vector stays zero."""
    return vectors / (np.sqrt(dot(vectors, vectors))[..., None] + _TINY)


def dot(a: Array, b: Array) -> Array:
    """Dot products along the last axis of two arrays (..., 3) -> (...)."""
    return np.einsum("...i,...i->...", a, b)  # three times as fast as multiplying and summing


def smoothstep(start: float, end: float, x: Any) -> Array:
    """0 at `start`, 1 at `end`, a smooth cubic between; `start > end` gives a falling step."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def bell(x: Any, centre: Any, width: float) -> Array:
    """exp(-((x - centre) / width)^2): 1 at `centre`, 0.37 one `width` away."""
    return np.exp(-(((x - centre) / width) ** 2))


def blend(below: Array, above: Any, opacity: Array) -> Array:
    """`above` over `below`: colours (n, 3), opacity (n,)."""
    weight = opacity[:, None]
    return below * (1 - weight) + above * weight
