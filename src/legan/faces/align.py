"""Alignment: the similarity that brings a photo's face to the pixels where a rendered face crop has it, and the crop itself.

The map fits eye centres, base of the nose and upper lip to their places in rendered crops by weighted least squares. These stay
where they are when a mouth opens: an expression must not change the face's scale. Of the anchors and weights tried these left
the least variance of scale over 60 rendered people with 6 expressions (2.1%, of which 1.3% between the expressions of a person;
with the mouth's corners 2.9%): experiments/landmarks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from legan.core.crop import CROP_SIZE
from legan.faces.landmarks import fit_similarity
from legan.faces.resample import Matrix, inverse, warp

# Anchors, as landmarks: eye on the left of the picture, eye on its right, base of the nose, upper lip.
_ANCHORS = (slice(36, 42), slice(42, 48), slice(31, 36), slice(50, 53))
_WEIGHTS = np.array([1.0, 1.0, 0.25, 0.25])
# Their places, as fractions of the side, in rendered neutral crops. The renderer frames by the eyeballs' centres
# (`legan.core.crop`), which lie 1.3 pixels above the landmarks' and 0.7 farther from the middle, at 128.
_PLACES = np.array([[0.3430, 0.4203], [0.6570, 0.4203], [0.5, 0.6547], [0.5, 0.7330]])


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
    """Cut out the face with these landmarks (68, 2, photo pixels), upright, eyes and mouth where rendered crops have them.

    Where the photo ends inside the crop, its border pixels go on.
    """
    matrix = alignment(landmarks, size)
    pixels = np.asarray(image.convert("RGB"))
    return AlignedCrop(Image.fromarray(warp(pixels, matrix, size)), matrix)


def alignment(landmarks: np.ndarray, size: int = CROP_SIZE) -> Matrix:
    """Return the similarity (2, 3) from photo pixels to the pixels of a crop with side `size`."""
    return fit_similarity(anchors(landmarks), size * _PLACES, _WEIGHTS)


def anchors(landmarks: np.ndarray) -> np.ndarray:
    """Return the points (4, 2) that alignment goes by: both eye centres, the base of the nose, the upper lip."""
    return np.stack([landmarks[part].mean(axis=0) for part in _ANCHORS])
