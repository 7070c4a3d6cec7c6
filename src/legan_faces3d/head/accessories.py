"""What people wear: collars and glasses."""

from __future__ import annotations

import numpy as np

from legan.core.geometry import Array, smoothstep
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.head.identity import GlassesTraits, Identity
from legan_faces3d.head.mesh import TriangleMesh, join, tube
from legan_faces3d.head.noise import Stream, fractal_noise, generator, noise

# A T-shirt: the body below a round neckline takes the shirt's colour and its thickness.


_NECKLINE_FRONT = -0.158  # canonical height over the eyes, at the throat ...
_NECKLINE_BACK = -0.118  # ... and at the nape
_FRONT_Y, _BACK_Y = 0.02, 0.16  # canonical distance behind the eyes of throat and nape
_LOW, _HIGH = -0.018, 0.016  # how far necklines differ from person to person
_RIM = 0.010  # width of the ribbed band
_CLOTH, _RIM_CLOTH = 0.003, 0.004  # how far cloth and band stand off the skin


def cover(canonical: Array, head: Head, identity: Identity) -> Array:
    """How far points (n, 3) lie below the neckline, metres: (n,), negative on bare skin."""
    local = canonical - head.anchors.eyes
    back = smoothstep(_FRONT_Y, _BACK_Y, local[:, 1])
    shift = generator(identity.seed, Stream.COLLAR).uniform(_LOW, _HIGH)
    return _NECKLINE_FRONT + shift + (_NECKLINE_BACK - _NECKLINE_FRONT) * back - local[:, 2]


def thickness(canonical: Array, head: Head, identity: Identity) -> Array:
    """How far the shirt stands off the body at points (n, 3), metres: (n,)."""
    inside = cover(canonical, head, identity)
    folds = 1 + 0.3 * fractal_noise(canonical, 25, identity.seed + 95, 2)
    band = smoothstep(_RIM, 0.7 * _RIM, inside)
    return smoothstep(0.0, 0.006, inside) * (_CLOTH * folds * (1 - band) + _RIM_CLOTH * band)


def opacity(canonical: Array, head: Head, identity: Identity) -> Array:
    """How much the shirt hides the skin at points (n, 3): (n,), 0..1."""
    return smoothstep(0.0, 0.0012, cover(canonical, head, identity))


def colour(canonical: Array, head: Head, identity: Identity) -> Array:
    """The shirt's colour (n, 3), linear RGB, with a weave and a darker seam below the band."""
    inside = cover(canonical, head, identity)
    seam = np.exp(-(((inside - _RIM) / 0.0012) ** 2))
    weave = 1 + 0.06 * noise(canonical, 900, identity.seed + 96)
    return identity.room.shirt * (weave * (1 - 0.35 * seam))[:, None]


# Spectacle frames, bent from round bars to the person's own face.


_DROP = 0.004  # the rims hang this much below the eyes
_OUTWARD = 0.002  # and this much further apart
_BEND = 0.004  # the rims' outer ends bend back
_CLEARANCE = 0.009  # from the eyeball's front to the rims
_TEMPLE_STATIONS = np.array([0.018, 0.036, 0.054, 0.072])  # metres behind the eyes where the bars follow the head
_TEMPLE_CLEARANCE = 0.0008


def build_glasses(head: Head, glasses: GlassesTraits, neutral: Array) -> TriangleMesh:
    """Rims, temples and bridge for the face at rest with base vertices `neutral` (19158, 3)."""
    centres = head.eye_centres(neutral)
    body = head.part_vertices(BODY, neutral)
    offset = body - centres.mean(axis=0)
    plane_y = _plane_of_rims(head, centres, body, offset)
    sides = _sides_of_head(head, body, offset) + np.array([0, centres[0, 1]])
    bars = []
    for centre in centres:
        bars.append(_rim(glasses, centre, plane_y))
        bars.append(_temple(glasses, centre, plane_y, sides))
    bars.append(_bridge(glasses, centres, plane_y))
    return join(bars)


def _plane_of_rims(head: Head, centres: Array, body: Array, offset: Array) -> float:
    """y in front of the eyeballs and of the brows."""
    brow = (np.abs(offset[:, 0]) > 0.012) & (np.abs(offset[:, 0]) < 0.055) & (offset[:, 2] > 0) & (offset[:, 2] < 0.03)
    before_eyes = centres[:, 1].min() - head.anchors.eye_radius - _CLEARANCE
    return float(min(before_eyes, body[brow, 1].min() - 0.006))


def _sides_of_head(head: Head, body: Array, offset: Array) -> Array:
    """How far out the head reaches at the height of the temples, rows of (x, y behind the eyes) from front to back."""
    at_height = (np.abs(offset[:, 2] - 0.008) < 0.008) & (head.ear < 0.1)
    widths = [np.abs(body[at_height & (np.abs(offset[:, 1] - y) < 0.008), 0]).max() for y in _TEMPLE_STATIONS]
    return np.stack([np.array(widths) + _TEMPLE_CLEARANCE, _TEMPLE_STATIONS], axis=1)


def _rim(glasses: GlassesTraits, centre: Array, plane_y: float) -> TriangleMesh:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    across, up = (_superellipse(curve, glasses.squareness) for curve in (np.cos(angle), np.sin(angle)))
    outer = np.sign(centre[0])
    bend = _BEND * np.abs(across) * (np.sign(np.cos(angle)) * outer > 0)
    path = np.stack(
        [
            centre[0] + outer * _OUTWARD + glasses.half_width * across,
            plane_y + bend,
            centre[2] - _DROP + glasses.half_height * up,
        ],
        axis=1,
    )
    return tube(path, glasses.bar_radius, closed=True)


def _superellipse(curve: Array, exponent: float) -> Array:
    return np.sign(curve) * np.abs(curve) ** (2 / exponent)


def _temple(glasses: GlassesTraits, centre: Array, plane_y: float, sides: Array) -> TriangleMesh:
    """From the hinge along the side of the head to the ear."""
    outer = np.sign(centre[0])
    hinge_x = np.abs(centre[0]) + _OUTWARD + glasses.half_width
    z = centre[2] - _DROP + 0.4 * glasses.half_height
    x = np.maximum.accumulate(np.concatenate([[hinge_x], sides[:, 0]]))  # a bar does not bend inwards
    y = np.concatenate([[plane_y + _BEND], sides[:, 1]])
    path = np.stack([outer * x, y, np.full_like(x, z)], axis=1)
    return tube(path, glasses.bar_radius, closed=False)


def _bridge(glasses: GlassesTraits, centres: Array, plane_y: float) -> TriangleMesh:
    half = float(centres[1, 0]) + _OUTWARD - glasses.half_width
    x = np.linspace(-half, half, 7)
    arch = 1 - (x / half) ** 2
    z = centres[1, 2] - _DROP + 0.25 * glasses.half_height
    return tube(np.stack([x, plane_y - 0.002 * arch, z + 0.004 * arch], axis=1), glasses.bar_radius, closed=False)
