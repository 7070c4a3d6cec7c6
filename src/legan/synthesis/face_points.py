"""Canonical coordinates of samples, told from the eyes: the drawing paper of skin, brows, beard and wrinkles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.synthesis.head import Anchors
from legan.synthesis.vectors import Array, bell


@dataclass(frozen=True)
class FacePoints:
    """n points; metres from the middle of the eyes."""

    canonical: Array  # (n, 3) as they are, for noise
    side: Array  # (n,) to the picture's right
    x: Array  # (n,) away from the middle plane, >= 0
    y: Array  # (n,) backwards
    z: Array  # (n,) upwards
    anchors: Anchors

    @classmethod
    def of(cls, canonical: Array, anchors: Anchors) -> FacePoints:
        offset = canonical - anchors.eyes
        return cls(canonical, offset[:, 0], np.abs(offset[:, 0]), offset[:, 1], offset[:, 2], anchors)

    def at(self, chosen: Array) -> FacePoints:
        """Only some of the points."""
        return FacePoints.of(self.canonical[chosen], self.anchors)

    @property
    def mouth_z(self) -> float:
        """Height of the mouth (negative)."""
        return float(self.anchors.mouth[2] - self.anchors.eyes[2])

    def spot(self, x: float, z: float, width: float, height: float) -> Array:
        """A soft spot (n,) with 1 in the middle, on both sides of the face."""
        return bell(self.x, x, width) * bell(self.z, z, height)
