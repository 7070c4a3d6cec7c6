"""Teeth and tongue. The model's teeth are plain arches: gaps and gums are painted."""

from __future__ import annotations

import numpy as np

from legan.core.geometry import Array, blend, smoothstep
from legan_faces3d.head.head import LOWER_TEETH, UPPER_TEETH, Head
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.noise import noise

TEETH_SHINE = (0.04, 0.22)  # specular, roughness
TONGUE_SHINE = (0.04, 0.3)
_GUM = np.array([0.36, 0.13, 0.12])
_TONGUE = np.array([0.42, 0.15, 0.14])
_TEETH_PER_RADIAN = 6.2 / 1.25
_UPPER_WIDTH = 0.92  # upper teeth are wider, so fewer fit


def teeth(canonical: Array, head: Head, identity: Identity, upper: bool) -> Array:
    """Colour (n, 3) of points on one row of teeth."""
    arch = head.parts[UPPER_TEETH if upper else LOWER_TEETH].canonical
    angle = np.arctan2(canonical[:, 0], arch[:, 1].max() - canonical[:, 1])
    count = angle * _TEETH_PER_RADIAN  # which tooth, from the middle
    from_middle = np.abs((count * (_UPPER_WIDTH if upper else 1.0)) % 1.0 - 0.5)  # 0.5 at a gap
    height = (canonical[:, 2] - arch[:, 2].min()) / np.ptp(arch[:, 2])
    from_edge = height if upper else 1 - height  # 0 at the biting edge
    gum = smoothstep(0.52, 0.64, from_edge + 0.10 * (from_middle / 0.5) ** 2)
    gap = smoothstep(0.40, 0.49, from_middle) * 0.55 * (1 - 0.3 * from_edge)
    in_the_dark = 1 - 0.35 * smoothstep(3, 6, np.abs(count))
    colour = blend(identity.eyes.teeth * ((1 - gap) * in_the_dark)[:, None], _GUM, gum)
    return colour * (1.0 if upper else 0.85)


def tongue(canonical: Array, identity: Identity) -> Array:
    """Colour (n, 3) of points on the tongue."""
    return _TONGUE * (1 + 0.12 * noise(canonical, 900, identity.seed))[:, None]
