"""Where an error shows most: soft windows around the eyes and the mouth of an aligned crop."""

import torch
from torch import Tensor

from legan.core.crop import EYE_DISTANCE, EYES_Y, MOUTH_Y

# Half widths (standard deviations, x and y) in fractions of the side; the mouth's reaches to where an open mouth's lip goes.
EYE_SIGMA, MOUTH_SIGMA = (0.08, 0.05), (0.12, 0.08)
MOUTH_DROP = 0.02


def region_weights(size: int, eyes: float, mouth: float) -> Tensor:
    """Return weights (1, 1, size, size) of mean 1: `1 + eyes` in the middle of an eye to 1 far from all, before scaling."""
    left, right = 0.5 - EYE_DISTANCE / 2, 0.5 + EYE_DISTANCE / 2
    weights = torch.ones(size, size)
    for x in (left, right):
        weights += eyes * window(size, (x, EYES_Y), EYE_SIGMA)
    weights += mouth * mouth_window(size)
    return (weights / weights.mean())[None, None]


def mouth_window(size: int) -> Tensor:
    """Return the mouth's window (size, size), 1 in its middle."""
    return window(size, (0.5, MOUTH_Y + MOUTH_DROP), MOUTH_SIGMA)


def window(size: int, centre: tuple[float, float], sigma: tuple[float, float]) -> Tensor:
    """Return a Gaussian window (size, size) with peak 1; centre and standard deviations are (x, y) in fractions of the side."""
    places = (torch.arange(size) + 0.5) / size
    x = torch.exp(-0.5 * ((places - centre[0]) / sigma[0]) ** 2)
    y = torch.exp(-0.5 * ((places - centre[1]) / sigma[1]) ** 2)
    return y[:, None] * x[None, :]
