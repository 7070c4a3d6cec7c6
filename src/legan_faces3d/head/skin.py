"""Skin: colour, wrinkles of expressions, and facial hair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array, bell, blend, dot, normalize, smoothstep
from legan_faces3d.head.expressions import Furrows
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.landmarks import FacePoints
from legan_faces3d.head.noise import Stream, fractal_noise, generator, noise

# Skin colour from two pigments, melanin and haemoglobin, each absorbing as an exponential (Beer-Lambert), and skin shine.
#
# The regional pattern (red cheeks, nose and ears, darker lower lids) and the mottling over it follow photographs; see Donner et al.,
# "A layered, heterogeneous reflectance model for acquiring and rendering human skin" (SIGGRAPH Asia 2008) for the pigments.


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
    # Freckles and moles stand on the pigment of the skin; lips and lids have their own.
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


# Pores and wrinkles as a height field over the canonical head; its gradient bends the normals (bump mapping, Blinn 1978).


_STEP = 0.0004  # metres, for the finite differences


def bend_normals(
    points: FacePoints, normals: Array, strength: Array, rotation: Array, identity: Identity, furrows: Furrows
) -> Array:
    """Unit normals (n, 3) with relief; `strength` (n,) 0..1 and `rotation` (3, 3) of the head."""
    # Gradient of the height by finite differences, turned with the head and projected onto the surface.
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


def folds(points: FacePoints, identity: Identity, furrows: Furrows) -> Array:
    """Metres (n,) of depth that an expression's folds add: by so much `height` falls."""
    age = float(smoothstep(0.68, 0.95, identity.shape.age))
    waver = 0.0016 * fractal_noise(points.canonical, 45, identity.seed + 72, 2)
    depth = np.zeros(len(points.canonical), np.float32)
    if furrows.forehead:
        depth += _forehead_lines(points, waver, furrows.forehead * (0.45 + 0.75 * age))
    if furrows.glabella:
        depth += _frown_lines(points, 0.9 * furrows.glabella)
    if furrows.nasal:
        depth += _nose_lines(points, waver, furrows.nasal)
    if furrows.crow:
        depth += _crows_feet(points, waver, furrows.crow * (0.4 + 0.7 * age)) + _eye_bags(points, 0.35 * furrows.crow)
    return depth


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


# Brows, moustache and beard, painted on the skin in canonical coordinates.


_BROW_HEIGHT = 0.0205  # metres above the eyes
_BROW_INNER, _BROW_OUTER = 0.0105, 0.0545  # metres from the middle


def brows(points: FacePoints, identity: Identity) -> Array:
    """Opacity (n,) of the brows: an arc that thins outwards, broken into hairs."""
    hair, seed = identity.hair, identity.seed
    # The brow's centre line and thickness, from its inner end (0) to its outer end (1).
    along = np.clip((points.x - _BROW_INNER) / (_BROW_OUTER - _BROW_INNER), -0.2, 1.2)
    on_brow = np.clip(along, 0, 1)
    height = _BROW_HEIGHT + hair.brow_height + 0.0042 * np.sin(on_brow * np.pi * 0.80) ** 1.2 - 0.0028 * along
    height = height + hair.brow_arch * np.sin(on_brow * np.pi)
    thickness = hair.brow_thickness * (1.05 - 0.65 * along**2)
    thickness = thickness * smoothstep(-0.12, 0.08, along) * smoothstep(1.12, 0.72, along)

    # Opacity by the distance from the centre line, broken up by slanted hairs.
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
