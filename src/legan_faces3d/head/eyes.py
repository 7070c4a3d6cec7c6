"""Eyeballs: iris, pupil, veins, the red inner corner, and the bulge of the cornea, all in angles about the direction of gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array, dot, normalize, smoothstep
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.noise import Stream, generator, noise

SHINE = (0.045, 0.10)  # specular, roughness
_IRIS_ANGLE = 0.425  # radians from the middle of the pupil
_SCLERA = np.array([0.60, 0.565, 0.53])
_CARUNCLE = np.array([0.45, 0.2, 0.17])
_VEINS_TAKE = [0.05, 0.28, 0.28]  # of red, green and blue
_CORNEA_BULGE = 0.55
_GAZE_DOWN = -0.05  # the camera lies a little below the eyes, and the model's lids are set low on the eyeball


@dataclass(frozen=True)
class Gaze:
    direction: Array  # (3,) unit vector, in the world: people look into the camera, not where the head points
    pupil: float  # its radius as a part of the iris's


def draw_gaze(seed: int, take: int) -> Gaze:
    """The gaze in one take (`camera.take`)."""
    random = generator(seed, Stream.GAZE, take)
    direction = normalize(np.array([random.normal(0, 0.03), -1, random.normal(_GAZE_DOWN, 0.02)]))
    return Gaze(direction.astype(np.float32), float(random.uniform(0.33, 0.48)))


def paint(position: Array, centres: Array, side: int, gaze: Gaze, identity: Identity) -> tuple[Array, Array]:
    """Colour (n, 3) and normals (n, 3) of points on one eyeball.

    Args:
        position: (n, 3) in the world.
        centres: (2, 3) of both eyes, the image's left one first.
        side: 0 for the image's left eye, 1 for the right one.
    """
    outward = normalize(position - centres[side])
    cosine = dot(outward, gaze.direction)
    angle = np.arccos(np.clip(cosine, -1, 1))
    iris = _iris(outward, angle, gaze, identity)
    inner = 1 if side == 0 else -1  # towards the nose, along x
    sclera = _sclera(outward, angle, inner, identity)
    in_iris = smoothstep(_IRIS_ANGLE * 1.06, _IRIS_ANGLE * 0.95, angle)[:, None]
    colour = sclera * (1 - in_iris) + iris * in_iris
    sideways = outward - cosine[:, None] * gaze.direction
    bulge = _CORNEA_BULGE * smoothstep(_IRIS_ANGLE * 1.25, _IRIS_ANGLE * 0.9, angle)
    return colour, normalize(outward + bulge[:, None] * sideways)


def _iris(outward: Array, angle: Array, gaze: Gaze, identity: Identity) -> Array:
    pupil = _IRIS_ANGLE * gaze.pupil
    right = normalize(np.cross(gaze.direction, [0, 0, 1.0]))
    up = np.cross(right, gaze.direction)
    turn = np.arctan2(outward @ up, outward @ right)
    coarse = np.stack([np.cos(turn) * 7, np.sin(turn) * 7, angle * 6], axis=1)
    fine = np.stack([np.cos(turn) * 18, np.sin(turn) * 18, angle * 3], axis=1)
    fibres = noise(coarse, 1.0, identity.seed + 40) + 0.6 * noise(fine, 1.0, identity.seed + 41)
    shade = np.clip(1 + 0.35 * fibres, 0.3, 2)
    shade = shade * (1 + 0.5 * smoothstep(pupil * 1.7, pupil, angle))  # light ring round the pupil
    shade = shade * (1 - 0.75 * smoothstep(_IRIS_ANGLE * 0.78, _IRIS_ANGLE * 1.02, angle))  # dark outer ring
    shade = shade * (1 - 0.96 * smoothstep(pupil * 1.1, pupil * 0.9, angle))
    return identity.eyes.iris * shade[:, None]


def _sclera(outward: Array, angle: Array, inner: int, identity: Identity) -> Array:
    ridges = np.abs(noise(outward, 14, identity.seed + 50)) * 1.3
    veins = smoothstep(0.9, 2.2, ridges) * smoothstep(0.5, 1.1, angle)
    white = _SCLERA * (1 - 0.1 * smoothstep(0.6, 1.1, angle))[:, None] * (1 - np.outer(veins, _VEINS_TAKE))
    corner = smoothstep(0.62, 0.85, inner * outward[:, 0])[:, None]
    return white * (1 - corner) + corner * _CARUNCLE
