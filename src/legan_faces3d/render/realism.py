"""Graded realism: what the renderer leaves out on purpose, so that a quality model sees renders from plain to full.

Low-poly faces come from vertex clustering (Rossignac and Borrel, "Multi-resolution 3D approximations", 1993): all vertices in one
cell of a grid on the canonical head become one, and triangles that collapse are never hit by a ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from legan.core.geometry import Array, normalize, smoothstep

if TYPE_CHECKING:
    from legan_faces3d.head.identity import Identity
    from legan_faces3d.render.surface import Surface


_SKIN_CONTRAST = 0.25, 0.55  # logarithmic: differences of colour below are evened out, above (lips, brows) they stay


@dataclass(frozen=True)
class Realism:
    """What the renderer does. The default is everything, and changes no byte of the rendered set.

    Args:
        shading: light depends on the surface's direction; without it each lighting is one even light.
        shadows: parts of the head keep light from each other, that of the room too.
        scattering: light spreads below the skin.
        highlights: skin, eyes and hair shine.
        strands: hair has strands; without them it is a painted cap.
        texture: skin has spots, pores and wrinkles, and hair a pattern.
        cell: metres; vertices of the body within one such cube are one. 0 is the whole mesh.
        facets: every triangle has one normal.
    """

    shading: bool = True
    shadows: bool = True
    scattering: bool = True
    highlights: bool = True
    strands: bool = True
    texture: bool = True
    cell: float = 0.0
    facets: bool = False


FULL = Realism()

# Setting -> realism and fault by design: 0 full, 1 the worst.
GRADES: dict[str, tuple[Realism, float]] = {
    "no-scattering": (Realism(scattering=False), 0.15),
    "no-highlights": (Realism(highlights=False), 0.25),
    "no-shadows": (Realism(shadows=False), 0.35),
    "plain-skin": (Realism(texture=False), 0.45),
    "plain-hair": (Realism(strands=False), 0.5),
    "lambert": (Realism(shadows=False, scattering=False, highlights=False), 0.55),
    "plain": (Realism(shadows=False, scattering=False, highlights=False, texture=False), 0.7),
    "low-poly": (Realism(cell=0.011), 0.75),
    "unlit": (Realism(shading=False, scattering=False, highlights=False), 0.85),
    "flat": (Realism(False, False, False, False, False, False), 0.9),
    "facets": (Realism(strands=False, texture=False, cell=0.011, facets=True), 0.95),
    "flat-low-poly": (Realism(True, False, False, False, False, False, cell=0.018, facets=True), 1.0),
}


def clustered(values: Array, cluster: Array) -> Array:
    """Values (n, 3) with the mean of its cluster in each row; `cluster` (n,) as `clusters` gives it."""
    counts = np.maximum(np.bincount(cluster), 1)
    means = np.stack([np.bincount(cluster, column) for column in values.T], axis=1) / counts[:, None]
    return means[cluster].astype(np.float32)


def clusters(canonical: Array, cell: float) -> Array:
    """Number of the cell (n,) that each canonical position (n, 3) lies in; `cell` in metres."""
    places = np.floor(canonical / cell).astype(np.int64)
    return np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)


def simplify(painted: Surface, normal: Array, identity: Identity, realism: Realism) -> Surface:
    """Takes texture and shine from a painted surface, in place, and returns it; `normal` (n, 3) are the normals without wrinkles."""
    if not realism.texture:
        on_skin = painted.skin > 0.5
        painted.albedo[on_skin] = _evened(painted.albedo[on_skin])
        painted.normal[on_skin] = normal[on_skin]
        on_hair = painted.hair > 0.5
        painted.albedo[on_hair] = identity.hair.colour
        painted.strands = np.zeros_like(painted.strands)
    if not realism.highlights:
        painted.specular = np.zeros_like(painted.specular)
    return painted


def _evened(albedo: Array) -> Array:
    """Colours (n, 3) with small differences from their median taken away."""
    if not len(albedo):
        return albedo
    median = np.median(albedo, axis=0)
    contrast = np.log(np.maximum(albedo, 1e-4) / median)
    keep = smoothstep(*_SKIN_CONTRAST, np.abs(contrast).mean(axis=1))[:, None]
    return (median * np.exp(contrast * keep)).astype(albedo.dtype)


def facet_normals(vertices: Array, corners: Array) -> Array:
    """Unit normals (k, 3) of the triangles with corners (k, 3) among vertices (n, 3)."""
    a, b, c = (vertices[corners[:, k]] for k in range(3))
    return normalize(np.cross(b - a, c - a)).astype(np.float32)
