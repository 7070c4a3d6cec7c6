"""The 68 landmarks on the mesh, and named points of the face that other parts are placed by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from legan.core.geometry import Array, bell, dot
from legan_faces3d.head.head import BODY, Anchors, Head

# The 68 landmarks of the iBUG scheme (300-W; Sagonas et al., "300 Faces in-the-Wild", Image and Vision Computing 2016) on the head.
#
# Each is a fixed point of the skin, so its true place is known under every shape, expression and pose. Points that photographs show on
# an outline (the jaw, 0..16) are the outline's points of a frontal face and stay on the skin when the head turns.
#
# The table holds one half of the face. It was read off frontal images of the mean head with its jaw open, where upper and lower lip
# lie apart and the nearest point of the surface is never in doubt: eyelid and lip points from the edge of the eye and mouth opening,
# the jaw from the outline of the closed mouth's face, the nose from landmarks detected on renders.


N_LANDMARKS = 68
_JAW_OPEN = 0.6  # of the face that the table was measured on
# metres from the middle of the eyes: x to the image's right, y backwards, z up
_TABLE: dict[int, tuple[float, float, float]] = {
    8: (0.0000, 0.0064, -0.1295),
    9: (0.0188, 0.0114, -0.1258),
    10: (0.0354, 0.0230, -0.1140),
    11: (0.0493, 0.0331, -0.0979),
    12: (0.0584, 0.0363, -0.0798),
    13: (0.0636, 0.0372, -0.0608),
    14: (0.0675, 0.0356, -0.0406),
    15: (0.0705, 0.0396, -0.0212),
    16: (0.0722, 0.0510, -0.0029),
    22: (0.0123, -0.0275, 0.0215),
    23: (0.0219, -0.0263, 0.0229),
    24: (0.0325, -0.0231, 0.0239),
    25: (0.0431, -0.0173, 0.0232),
    26: (0.0514, -0.0095, 0.0215),
    27: (0.0000, -0.0248, 0.0020),
    28: (0.0000, -0.0280, -0.0118),
    29: (0.0000, -0.0370, -0.0258),
    30: (0.0000, -0.0447, -0.0395),
    33: (0.0000, -0.0363, -0.0502),
    34: (0.0076, -0.0311, -0.0496),
    35: (0.0162, -0.0261, -0.0478),
    42: (0.0172, -0.0147, -0.0045),
    43: (0.0264, -0.0179, 0.0023),
    44: (0.0357, -0.0179, 0.0030),
    45: (0.0449, -0.0100, -0.0012),
    46: (0.0357, -0.0163, -0.0063),
    47: (0.0264, -0.0160, -0.0058),
    51: (0.0000, -0.0372, -0.0648),
    52: (0.0065, -0.0356, -0.0650),
    53: (0.0153, -0.0297, -0.0677),
    54: (0.0238, -0.0166, -0.0812),
    55: (0.0163, -0.0164, -0.0975),
    56: (0.0084, -0.0179, -0.1022),
    57: (0.0000, -0.0183, -0.1043),
    62: (0.0000, -0.0307, -0.0720),
    63: (0.0093, -0.0266, -0.0735),
    64: (0.0228, -0.0158, -0.0815),
    65: (0.0093, -0.0185, -0.0915),
    66: (0.0000, -0.0203, -0.0940),
}
# partners of the table's points across the middle of the face (the middle ones are their own)
MIRROR = {
    **{number: 16 - number for number in range(8, 17)},
    **{number: 43 - number for number in range(22, 27)},
    **dict(zip((34, 35), (32, 31), strict=True)),
    **dict(zip(range(42, 48), (39, 38, 37, 36, 41, 40), strict=True)),
    **dict(zip((52, 53, 54, 55, 56), (50, 49, 48, 59, 58), strict=True)),
    **dict(zip((63, 64, 65), (61, 60, 67), strict=True)),
}
_N_CANDIDATES = 24  # triangles looked at round each point


class Landmarks:
    """The landmarks of one head model: a triangle of the body and the weights of its corners for each."""

    def __init__(self, head: Head) -> None:
        body = head.parts[BODY]
        base = head.with_actions(head.canonical_base, {"jawOpen": _JAW_OPEN})
        vertices = head.part_vertices(BODY, base)
        corners, weights = _nearest_on_mesh(_positions() + head.anchors.eyes, vertices, body.triangles)
        # one small matrix from base vertices straight to landmarks
        self._matrix = sum(weights[:, k, None] * body.matrix[corners[:, k]].toarray() for k in range(3))
        self._used = np.flatnonzero(np.abs(self._matrix).sum(axis=0))
        self._matrix = self._matrix[:, self._used].astype(np.float32)

    def on_face(self, base_vertices: Array) -> Array:
        """Landmarks (68, 3) of the face with base vertices (19158, 3)."""
        return self._matrix @ base_vertices[self._used]

    def of_offsets(self, rows: Array, offsets: Array) -> Array:
        """How far (68, 3) the landmarks move when the base vertices `rows` (n,) move by `offsets` (n, 3)."""
        moved = np.zeros((int(max(self._used.max(), rows.max())) + 1, 3), np.float32)
        moved[rows] = offsets
        return self._matrix @ moved[self._used]


def _positions() -> Array:
    """(68, 3) from the table, both halves."""
    points = np.full((N_LANDMARKS, 3), np.nan)
    for number, place in _TABLE.items():
        points[number] = place
        if number in MIRROR:
            points[MIRROR[number]] = (-place[0], place[1], place[2])
    return points


def _nearest_on_mesh(points: Array, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """Corners (k, 3) and weights (k, 3) of the surface points nearest to `points` (k, 3)."""
    # Of the triangles whose centroids lie nearest, the one whose closest point is nearest.
    _, candidates = cKDTree(vertices[triangles].mean(axis=1)).query(points, k=_N_CANDIDATES)
    corners, weights = [], []
    for point, chosen in zip(points, candidates, strict=True):
        around = vertices[triangles[chosen]]
        shares = _clamped_barycentric(point, around)
        distance = np.linalg.norm((around * shares[..., None]).sum(axis=1) - point, axis=1)
        best = int(distance.argmin())
        corners.append(triangles[chosen[best]])
        weights.append(shares[best])
    return np.array(corners), np.array(weights)


def _clamped_barycentric(point: Array, corners: Array) -> Array:
    """Weights (m, 3) of the point's foot on each of m triangles (m, 3, 3), pulled back to the triangle where it lies outside."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # Barycentric coordinates of the orthogonal projection (Ericson, Real-Time Collision Detection, 2004, section 3.4).
    ap = point - a
    d00, d01, d11 = dot(ab, ab), dot(ab, ac), dot(ac, ac)
    d20, d21 = dot(ap, ab), dot(ap, ac)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-20)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    weights = np.clip(np.stack([1 - v - w, v, w], axis=1), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


# Canonical coordinates of samples relative to the eyes, in which skin, brows, beard and wrinkles are painted.


@dataclass(frozen=True)
class FacePoints:
    """n points; metres from the middle of the eyes."""

    canonical: Array  # (n, 3) as they are, for noise
    side: Array  # (n,) to the image's right
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
