"""A T-shirt: the body below a round neckline takes the shirt's colour and its thickness."""

from __future__ import annotations

import numpy as np

from legan.synthesis.head import Head
from legan.synthesis.identity import Identity
from legan.synthesis.noise import fractal_noise, noise
from legan.synthesis.seeds import Stream, generator
from legan.synthesis.vectors import Array, smoothstep

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
