"""Pores and wrinkles as a height field over the canonical head; its gradient bends the normals (bump mapping, Blinn 1978)."""

from __future__ import annotations

import numpy as np

from legan.synthesis.expressions import Furrows
from legan.synthesis.face_points import FacePoints
from legan.synthesis.identity import Identity
from legan.synthesis.noise import fractal_noise, noise
from legan.synthesis.vectors import Array, bell, dot, normalize, smoothstep

_STEP = 0.0004  # metres, for the finite differences


def bend_normals(
    points: FacePoints, normals: Array, strength: Array, rotation: Array, identity: Identity, furrows: Furrows
) -> Array:
    """Unit normals (n, 3) with relief; `strength` (n,) 0..1 and `rotation` (3, 3) of the head."""
    flat = height(points, identity, furrows)
    slopes = []
    for axis in np.eye(3, dtype=np.float32):
        moved = FacePoints.of(points.canonical + _STEP * axis, points.anchors)
        slopes.append((height(moved, identity, furrows) - flat) / _STEP)
    gradient = np.stack(slopes, axis=1) @ rotation.T
    gradient -= normals * dot(gradient, normals)[:, None]
    return normalize(normals - strength[:, None] * gradient).astype(np.float32)


def height(points: FacePoints, identity: Identity, furrows: Furrows) -> Array:
    """Metres (n,) above the smooth skin."""
    seed, at = identity.seed, points.canonical
    age = float(smoothstep(0.68, 0.95, identity.shape.age))
    waver = 0.0016 * fractal_noise(at, 45, seed + 72, 2)  # no fold is straight
    pores = (0.00007 * noise(at, 750, seed + 70) + 0.00003 * noise(at, 330, seed + 71)) * (1 + age)
    return (
        pores
        - _forehead_lines(points, waver, 0.15 * age + furrows.forehead * (0.45 + 0.75 * age))
        - _frown_lines(points, 0.1 * age + 0.9 * furrows.glabella)
        - _nose_lines(points, waver, furrows.nasal)
        - _crows_feet(points, waver, 0.15 * age + furrows.crow * (0.4 + 0.7 * age))
        - _eye_bags(points, 0.7 * age + 0.35 * furrows.crow)
    )


def _waves(phase: Array) -> Array:
    return np.maximum(0, np.cos(phase))


def _forehead_lines(points: FacePoints, waver: Array, depth: float) -> Array:
    where = bell(points.z, 0.050, 0.016) * np.exp(-((points.x / 0.042) ** 4))
    curve = points.z + waver + 0.06 * points.x**2 / 0.04
    return 0.00060 * depth * where * _waves(curve * 2 * np.pi / 0.0098) ** 2


def _frown_lines(points: FacePoints, depth: float) -> Array:
    return 0.0008 * depth * points.spot(0.0075, 0.024, 0.0022, 0.010)


def _nose_lines(points: FacePoints, waver: Array, depth: float) -> Array:
    where = bell(points.z, -0.006, 0.011) * np.exp(-((points.x / 0.014) ** 4))
    return 0.0007 * depth * where * _waves((points.z + waver + 0.5 * points.x) * 2 * np.pi / 0.0062)


def _crows_feet(points: FacePoints, waver: Array, depth: float) -> Array:
    outwards = points.x - (points.anchors.eye_x + 0.020) + 0.006
    distance, turn = np.hypot(outwards, points.z), np.arctan2(points.z, outwards)
    where = smoothstep(0.006, 0.010, distance) * smoothstep(0.026, 0.014, distance) * smoothstep(1.1, 0.6, np.abs(turn))
    return 0.0006 * depth * where * _waves(turn * 7 + 40 * waver)


def _eye_bags(points: FacePoints, depth: float) -> Array:
    x = points.x
    edge = -0.0185 - 0.15 * np.maximum(0, 0.03 - x) ** 2 / 0.03 + 0.10 * (x - 0.03) ** 2 / 0.03
    return 0.0005 * depth * bell(points.z, edge, 0.0018) * np.exp(-(((x - 0.028) / 0.016) ** 4))
