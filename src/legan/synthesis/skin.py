"""Skin colour from two pigments, melanin and haemoglobin, each absorbing as an exponential (Beer-Lambert), and skin shine.

The regional pattern (red cheeks, nose and ears, darker lower lids) and the mottling over it follow photographs; see Donner et al.,
"A layered, heterogeneous reflectance model for acquiring and rendering human skin" (SIGGRAPH Asia 2008) for the pigments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.synthesis.face_points import FacePoints
from legan.synthesis.identity import Identity
from legan.synthesis.noise import fractal_noise, noise
from legan.synthesis.seeds import Stream, generator
from legan.synthesis.vectors import Array, blend, smoothstep

_BLOODLESS = np.array([0.74, 0.545, 0.44])  # colour of skin without pigment
_MELANIN_ABSORBS = [1.0, 1.28, 1.52]  # RGB
_HAEMOGLOBIN_ABSORBS = [0.13, 0.78, 0.66]
_YELLOW_ABSORBS = [0.0, 0.18, 1.0]
_MOUTH_INSIDE = np.array([0.22, 0.05, 0.045])
_SPECULAR = 0.028  # reflectance of skin at normal incidence


@dataclass(frozen=True)
class Regions:
    """How much of each region every point is, (n,) in 0..1."""

    lips: Array
    lids: Array
    mouth: Array  # inside
    ear: Array


def albedo(points: FacePoints, identity: Identity, regions: Regions) -> Array:
    """Skin colour (n, 3), linear RGB, without hair."""
    melanin = _melanin(points, identity, regions)
    haemoglobin = np.maximum(_haemoglobin(points, identity, regions), 0)
    absorbed = np.outer(melanin, _MELANIN_ABSORBS) + np.outer(haemoglobin, _HAEMOGLOBIN_ABSORBS)
    return blend(_BLOODLESS * np.exp(-absorbed), _MOUTH_INSIDE, regions.mouth)


def tint(colour: Array, identity: Identity, amount: Array) -> Array:
    """Adds the person's yellowness where `amount` (n,) says."""
    return colour * np.exp(-np.outer(identity.skin.yellow * amount, _YELLOW_ABSORBS))


def _cheek(points: FacePoints) -> Array:
    return points.spot(0.036, -0.038, 0.018, 0.016)


def _nose(points: FacePoints) -> Array:
    return points.spot(0, -0.040, 0.013, 0.012)


def _visibility_of_mottling(identity: Identity) -> float:
    return 1 / (1 + 1.6 * identity.skin.melanin)  # melanin hides what lies below


def _haemoglobin(points: FacePoints, identity: Identity, regions: Regions) -> Array:
    skin, seed, at = identity.skin, identity.seed, points.canonical
    chin = points.spot(0, points.mouth_z - 0.03, 0.015, 0.01)
    blotches = skin.blotches * _visibility_of_mottling(identity) * 0.24 * fractal_noise(at, 55, seed + 1, 4)
    pores = 0.13 * noise(at, 430, seed + 2) + 0.10 * noise(at, 230, seed + 4)
    regional = 0.55 * _cheek(points) + 0.75 * _nose(points) + 0.7 * regions.ear + 0.18 * chin
    blood = skin.haemoglobin * (1 + regional + blotches + pores)
    lip_strength = 1.7 if skin.lipstick else 0.9
    return blood + regions.lips * skin.lip_colour * lip_strength + 0.25 * regions.lids


def _melanin(points: FacePoints, identity: Identity, regions: Regions) -> Array:
    skin, seed, at = identity.skin, identity.seed, points.canonical
    visible = _visibility_of_mottling(identity)
    mottling = visible * (0.10 * fractal_noise(at, 40, seed + 5, 3) + 0.07 * noise(at, 380, seed + 7))
    tan = 0.20 * points.spot(0.03, -0.012, 0.014, 0.008) + 0.08 * smoothstep(0.03, 0.09, points.z)
    under_eyes = 0.03 * points.spot(0.028, -0.014, 0.013, 0.006) * (1 + identity.shape.age)
    melanin = skin.melanin * (1 + mottling + tan) + under_eyes
    if skin.freckles > 0.05:
        where = _cheek(points) + _nose(points) + 0.25 * smoothstep(-0.08, 0, points.z)
        melanin = melanin + 0.55 * skin.freckles * smoothstep(1.0, 1.9, noise(at, 640, seed + 6)) * where
    melanin = melanin + _moles(points, identity)
    return melanin + regions.lips * (0.12 * skin.melanin + 0.06) + 0.06 * regions.lids


def _moles(points: FacePoints, identity: Identity) -> Array:
    random = generator(identity.seed, Stream.MOLES)
    total = np.zeros(len(points.x))
    for _ in range(identity.skin.n_moles):
        side, z = random.uniform(-0.055, 0.055), random.uniform(-0.09, 0.05)
        distance = np.hypot(points.side - side, points.z - z)
        total = total + 0.8 * smoothstep(0.0013, 0.0006, distance) * (points.y < 0.05)
    return total


def shine(points: FacePoints, identity: Identity, lips: Array) -> tuple[Array, Array]:
    """Specular reflectance (n,) and roughness (n,): oily nose and forehead, smooth lips."""
    oil = identity.skin.oil
    nose_ridge = points.spot(0, -0.03, 0.016, 0.03)
    forehead = points.spot(0, 0.045, 0.035, 0.02)
    specular = _SPECULAR * (1 + 0.5 * oil * (nose_ridge + forehead + 0.4 * _cheek(points)))
    roughness = identity.skin.roughness - 0.08 * oil * nose_ridge
    return specular * (1 + 0.6 * lips), roughness * (1 - 0.28 * lips)
