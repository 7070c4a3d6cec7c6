"""Maps of the plane: similarities between points."""

import numpy as np


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
