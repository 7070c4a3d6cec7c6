"""Brows, moustache and beard, painted on the skin in canonical coordinates."""

from __future__ import annotations

import numpy as np

from legan.synthesis.face_points import FacePoints
from legan.synthesis.identity import Identity
from legan.synthesis.noise import fractal_noise, noise
from legan.synthesis.vectors import Array, blend, smoothstep

_BROW_HEIGHT = 0.0205  # metres above the eyes
_BROW_INNER, _BROW_OUTER = 0.0105, 0.0545  # metres from the middle


def brows(points: FacePoints, identity: Identity) -> Array:
    """Opacity (n,) of the brows: an arc that thins outwards, broken into hairs."""
    hair, seed = identity.hair, identity.seed
    along = np.clip((points.x - _BROW_INNER) / (_BROW_OUTER - _BROW_INNER), -0.2, 1.2)
    on_brow = np.clip(along, 0, 1)
    height = _BROW_HEIGHT + hair.brow_height + 0.0042 * np.sin(on_brow * np.pi * 0.80) ** 1.2 - 0.0028 * along
    height = height + hair.brow_arch * np.sin(on_brow * np.pi)
    thickness = hair.brow_thickness * (1.05 - 0.65 * along**2)
    thickness = thickness * smoothstep(-0.12, 0.08, along) * smoothstep(1.12, 0.72, along)

    above = points.z - height
    slanted = np.stack([points.side * 900 + above * 600 * np.sign(points.side), above * 250, 0 * above], axis=1)
    hairs = noise(slanted, 1.0, seed + 8)
    distance = np.abs(above) / np.maximum(thickness, 1e-5)
    shape = smoothstep(1.25, 0.35, distance + 0.22 * hairs + 0.1 * noise(points.canonical, 900, seed + 12))
    shape = shape * (thickness > 2e-4) * (points.y < 0.055)
    return np.clip(shape * hair.brow_density * (0.80 + 0.18 * hairs), 0, 1)


def beard(points: FacePoints, identity: Identity, lips: Array, mouth: Array) -> Array:
    """Opacity (n,) of beard and moustache; `lips` and `mouth` (n,) stay bare."""
    hair, seed = identity.hair, identity.seed
    region = np.maximum(_beard_region(points) * hair.beard, _moustache_region(points) * hair.moustache)
    region = region * (1 - lips) * (1 - mouth)
    patches = 0.68 + 0.18 * noise(points.canonical, 700, seed + 20) + 0.12 * fractal_noise(points.canonical, 60, seed + 21, 2)
    return np.clip(region * patches, 0, 1) * smoothstep(0, 0.1, region)


def _beard_region(points: FacePoints) -> Array:
    x, y, z, mouth_z = points.x, points.y, points.z, points.mouth_z
    below_cheek_line = smoothstep(0.004, -0.006, z - (mouth_z + 0.012 + 0.85 * np.maximum(0, x - 0.028)))
    above_throat = smoothstep(-0.150, -0.128, z)
    beside_soul_patch = 1 - 0.65 * points.spot(0.014, mouth_z - 0.013, 0.006, 0.005)
    below_mouth = smoothstep(mouth_z + 0.010, mouth_z + 0.002, z - 0.6 * np.maximum(0, x - 0.024))
    return below_cheek_line * above_throat * (y < 0.085) * beside_soul_patch * below_mouth


def _moustache_region(points: FacePoints) -> Array:
    x, z, mouth_z = points.x, points.z, points.mouth_z
    below_nose = smoothstep(mouth_z + 0.0215, mouth_z + 0.0150, z)
    return smoothstep(0.0295, 0.022, x) * below_nose * smoothstep(mouth_z + 0.001, mouth_z + 0.004, z)


def apply(albedo: Array, identity: Identity, brow: Array, beard: Array) -> Array:
    """Skin colour (n, 3) with brows and beard over it."""
    colour = identity.hair.colour
    albedo = blend(albedo, colour * 0.605, np.clip(brow * 1.05, 0, 0.96))
    return blend(albedo, colour * 0.9 + albedo * 0.06, beard * 0.9)
