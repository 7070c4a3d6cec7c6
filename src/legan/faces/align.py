"""Alignment: the similarity that brings a photo's face to the pixels where a rendered face crop has it, and the crop itself.

The map fits eye centres, nose and mouth to their places in `legan.core.crop` by weighted least squares. Nose and eyes carry most of
the scale: they stay where they are when a mouth opens, and a scream must not shrink the face.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from legan.core.crop import CROP_SIZE, EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.faces.landmarks import fit_similarity
from legan.faces.resample import Matrix, inverse, warp

_EYE_LEFT, _EYE_RIGHT = slice(36, 42), slice(42, 48)  # left and right in the picture
_NOSE_BASE = slice(31, 36)
_MOUTH_CORNERS = (48, 54)
_NOSE_Y = 0.635  # of the base of the nose, as EYES_Y: mean over rendered crops, experiments/landmarks
_WEIGHTS = np.array([1.0, 1.0, 1.0, 0.3])  # of the anchors


@dataclass(frozen=True, eq=False)
class AlignedCrop:
    """A face cut out of a photo.

    Args:
        image: RGB, square.
        matrix: (2, 3), photo pixels -> crop pixels, pixel centres at +0.5.
    """

    image: Image.Image
    matrix: Matrix

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.image.width

    @cached_property
    def inverse(self) -> Matrix:
        """(2, 3), crop pixels -> photo pixels."""
        return inverse(self.matrix)


def align(image: Image.Image, landmarks: np.ndarray, size: int = CROP_SIZE) -> AlignedCrop:
    """Cut out the face with these landmarks (68, 2, photo pixels), upright, eyes and mouth on the crop's fixed places.

    Where the photo ends inside the crop, its border pixels go on.
    """
    matrix = alignment(landmarks, size)
    pixels = np.asarray(image.convert("RGB"))
    return AlignedCrop(Image.fromarray(warp(pixels, matrix, size)), matrix)


def alignment(landmarks: np.ndarray, size: int = CROP_SIZE) -> Matrix:
    """Return the similarity (2, 3) from photo pixels to the pixels of a crop with side `size`."""
    places = size * np.array(
        [[0.5 - EYE_DISTANCE / 2, EYES_Y], [0.5 + EYE_DISTANCE / 2, EYES_Y], [0.5, _NOSE_Y], [0.5, MOUTH_Y]]
    )
    return fit_similarity(anchors(landmarks), places, _WEIGHTS)


def anchors(landmarks: np.ndarray) -> np.ndarray:
    """Return the points (4, 2) that alignment goes by: both eye centres, the base of the nose, the middle of the mouth's corners."""
    parts = (_EYE_LEFT, _EYE_RIGHT, _NOSE_BASE, list(_MOUTH_CORNERS))
    return np.stack([landmarks[part].mean(axis=0) for part in parts])
