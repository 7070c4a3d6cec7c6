"""Where the landmark network puts its points on photos, told from the head's own places (`landmarks`).

People who mark photos put brows, the bridge of the nose and the lips a little elsewhere than the head has them, and a network trained
on such photos follows them. The table was made by experiments/relight/landmark_places.py with
the packaged network: every second photo of the training people, 66 in all. Another network needs another table.
"""

from __future__ import annotations

import numpy as np

from legan.synthesis.landmarks import MIRROR, N_LANDMARKS
from legan.synthesis.vectors import Array

# millimetres to the picture's right and upwards, right half of the face
# fmt: off
PHOTO_PLACES: dict[int, tuple[float, float]] = {
    8: (0.0, -1.1), 9: (-1.5, -1.3), 10: (-2.5, -2.4), 11: (-2.8, -4.9), 12: (-1.3, -8.5), 13: (-0.4, -9.3),
    14: (0.0, -9.1), 15: (0.5, -9.2), 16: (0.9, -12.0), 22: (1.9, -7.5), 23: (4.2, -5.5), 24: (5.8, -4.5),
    25: (6.9, -6.2), 26: (7.5, -11.4), 27: (0.0, -5.8), 28: (0.0, -1.8), 29: (0.0, 2.0), 30: (0.0, 5.7),
    33: (0.0, 1.0), 34: (0.5, 0.8), 35: (-1.9, -0.6), 42: (0.0, 0.7), 43: (0.0, 0.1), 44: (0.5, -0.1),
    45: (-1.2, -0.5), 46: (0.6, 0.9), 47: (0.2, 0.6), 51: (0.0, -2.8), 52: (1.5, -1.6), 53: (1.9, -3.4),
    54: (0.0, -1.1), 55: (3.2, 3.1), 56: (2.8, 1.4), 57: (0.0, 0.9), 62: (0.0, 0.0), 63: (-1.2, 0.1),
    64: (-1.4, -0.8), 65: (-1.2, 1.1), 66: (0.0, 0.7),
}
# fmt: on


def photo_places() -> Array:
    """Offsets (68, 3) in metres from the head's landmarks at rest to those of photos."""
    offsets = np.zeros((N_LANDMARKS, 3))
    for number, (right, up) in PHOTO_PLACES.items():
        offsets[number] = right / 1000, 0, up / 1000
        if number in MIRROR:
            offsets[MIRROR[number]] = -right / 1000, 0, up / 1000
    return offsets
