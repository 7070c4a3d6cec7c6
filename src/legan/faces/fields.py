"""What an editor did to a face crop, as fields that can be applied at any resolution.

An editor that moves, scales and shifts its input gives image = (warp(x, displacement) + 1) * exp(gain) - 1 + bias, x in [-1, 1]. The
three are smoother than the image, so they can be enlarged to a photo's own pixels where the image itself would come out blurred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class CropFields:
    """Fields of one edited crop, pixel by pixel.

    Args:
        displacement: float32 (size, size, 2), x and y in fractions of the crop's side: where in the crop each pixel comes from,
            seen from its own place.
        gain: float32 (size, size, 3), logarithm of the factor of each channel.
        bias: float32 (size, size, 3), what is added afterwards, for values in [-1, 1].
    """

    displacement: np.ndarray
    gain: np.ndarray
    bias: np.ndarray

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.gain.shape[0]

    def scaled(self, strength: float) -> "CropFields":
        """Return the fields of a part of the edit, 0 none, 1 the whole, more an exaggerated one.

        Everything moves a part of its way. The mean of the image before and the image after would show two mouths.
        """
        return CropFields(*(np.float32(strength) * field for field in (self.displacement, self.gain, self.bias)))

    @classmethod
    def from_planes(cls, displacement: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> "CropFields":
        """Return the fields of one row of a `GeneratorOutput`, channels first: (2, size, size), (3, size, size) twice."""
        planes = (displacement, gain, bias)
        return cls(*(np.ascontiguousarray(plane.transpose(1, 2, 0), dtype=np.float32) for plane in planes))


def fill(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Continue values smoothly from where they are known.

    Push-pull on an image pyramid (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4).

    Args:
        values: float32 (H, W, C).
        weight: float32 (H, W) in [0, 1], how far each value is known. Where it is 1 the value stays.

    Returns:
        float32 (H, W, C).
    """
    height, width = weight.shape
    weighted = values * weight[..., None]
    if min(height, width) <= 2:
        return np.broadcast_to(weighted.sum((0, 1)) / max(float(weight.sum()), 1e-6), values.shape).astype(np.float32)
    # Pull: means of what is known, at half the resolution. A half-known neighbourhood counts as known.
    known = cv2.pyrDown(weight)
    means = _channels(cv2.pyrDown(weighted), values.shape[2]) / np.maximum(known, 1e-6)[..., None]
    coarse = fill(means, np.minimum(2 * known, 1))
    # Push: the coarse values where nothing is known here.
    smooth = _channels(cv2.pyrUp(coarse, dstsize=(width, height)), values.shape[2])
    return weighted + (1 - weight)[..., None] * smooth


def resampled(planes: Sequence[np.ndarray], factor: int) -> list[np.ndarray]:
    """Enlarge planes (H, W, C) by a whole factor, smoothly."""
    if factor == 1:
        return list(planes)
    return [
        _channels(cv2.resize(plane, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), plane.shape[2])
        for plane in planes
    ]


def _channels(plane: np.ndarray, n: int) -> np.ndarray:
    # OpenCV drops a last axis of length one.
    return plane.reshape(*plane.shape[:2], n)
