"""Ray casting with Embree (the only file that imports embreex)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.errors import LeganError
from legan.synthesis.vectors import Array


@dataclass(frozen=True)
class Hits:
    """First hits of n rays. `triangle` is -1 where a ray met nothing; the hit is (1 - u - v) a + u b + v c."""

    triangle: Array  # (n,) int64
    u: Array  # (n,) float32
    v: Array  # (n,) float32
    distance: Array  # (n,) float32, in units of the ray's direction

    @property
    def found(self) -> Array:
        return self.triangle >= 0

    def weights(self, rays: Array | slice) -> Array:
        """Weights (k, 3) of the corners of the triangles that some rays hit."""
        u, v = self.u[rays], self.v[rays]
        return np.stack([1 - u - v, u, v], axis=1)


class RayScene:
    """Triangles that rays can be cast against."""

    def __init__(self, vertices: Array, triangles: Array) -> None:
        """Args: vertices (n, 3), triangles (m, 3) of vertex numbers. Raises LeganError when embreex is not installed."""
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise LeganError('rendering needs embreex: pip install "legan[render]"') from error
        self._scene = EmbreeScene()
        # Embree reads float32 and int32 only, and the mesh must outlive the scene
        self._mesh = TriangleMesh(self._scene, vertices.astype(np.float32), triangles.astype(np.int32))

    def first_hits(self, origins: Array, directions: Array) -> Hits:
        """Nearest triangle along each of n rays; both arguments (n, 3)."""
        found = self._scene.run(_rays(origins), _rays(directions), query="INTERSECT", output=True)
        return Hits(
            triangle=found["primID"].astype(np.int64),
            u=np.array(found["u"]),
            v=np.array(found["v"]),
            distance=np.array(found["tfar"]),
        )

    def visible(self, origins: Array, directions: Array) -> Array:
        """True (n,) where nothing lies along the ray; cheaper than `first_hits`."""
        return self._scene.run(_rays(origins), _rays(directions), query="OCCLUDED") < 0  # Embree: -1 is a miss


def _rays(vectors: Array) -> Array:
    return np.ascontiguousarray(vectors, dtype=np.float32)
