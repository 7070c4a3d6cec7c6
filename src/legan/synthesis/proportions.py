"""Proportions of a face from its landmarks, to turn away the few drawn heads that look grotesque."""

from __future__ import annotations

import numpy as np

from legan.synthesis.vectors import Array

MAX_EXTREMENESS = 2.5  # standard deviations; about one head in four is beyond and is drawn again

# median and standard deviation of each proportion over 400 drawn heads; lengths are in eye distances
_USUAL = {
    "face height": (1.921, 0.186),
    "jaw width": (1.607, 0.079),
    "nose length": (0.818, 0.081),
    "nose width": (0.485, 0.063),
    "nose depth": (0.155, 0.042),
    "upper lip": (0.232, 0.051),
    "lips": (0.348, 0.055),
    "chin": (0.533, 0.101),
    "mouth width": (0.788, 0.054),
    "mouth drop": (1.189, 0.125),
    "eye opening": (0.153, 0.021),
    "eye width": (0.446, 0.033),
    "brow height": (0.328, 0.038),
    "brow tilt": (0.023, 0.022),
}


def measure(landmarks: Array, eyes: Array) -> dict[str, float]:
    """Proportions of a face at rest from its landmarks (68, 3) and eye centres (2, 3), in eye distances."""
    x, y, z = landmarks.T
    unit = eyes[1, 0] - eyes[0, 0]
    lengths = {
        "face height": z[27] - z[8],
        "jaw width": x[11] - x[5],
        "nose length": z[27] - z[33],
        "nose width": x[35] - x[31],
        "nose depth": y[33] - y[30],
        "upper lip": z[33] - z[51],
        "lips": z[51] - z[57],
        "chin": z[57] - z[8],
        "mouth width": x[54] - x[48],
        "mouth drop": eyes[:, 2].mean() - (z[48] + z[54]) / 2,
        "eye opening": (z[37] - z[41] + z[44] - z[46]) / 2,
        "eye width": (x[39] - x[36] + x[45] - x[42]) / 2,
        "brow height": (z[19] - z[37] + z[24] - z[44]) / 2,
        "brow tilt": (z[18] - z[21] + z[25] - z[22]) / 2,
    }
    return {name: float(length / unit) for name, length in lengths.items()}


def extremeness(landmarks: Array, eyes: Array) -> float:
    """How far the least usual proportion is from its median, in standard deviations."""
    found = measure(landmarks, eyes)
    return float(np.max([abs(found[name] - median) / deviation for name, (median, deviation) in _USUAL.items()]))
