"""Hair of the head, as the rest of the renderer sees it: strands over a thin painted cap.

The strands (`hair_strands`) are grown once per person on the head at rest and turn with the head. Below them the scalp is painted
in the hair's colour and pushed out a little, so that no skin shows between strands. Highlights need the direction of the hair
(Kajiya and Kay, SIGGRAPH 1989): a strand knows its own, the painted cap takes the one away from the crown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.synthesis import mesh
from legan.synthesis.hair_strands import Ribbons, Scalp, cover, grow, to_ribbons
from legan.synthesis.hair_traits import HairTraits
from legan.synthesis.head import BODY, Anchors, Head
from legan.synthesis.identity import Identity
from legan.synthesis.noise import fractal_noise, noise
from legan.synthesis.seeds import Stream, generator
from legan.synthesis.vectors import Array, dot, normalize, smoothstep

_CAP_SHARE = 0.2  # the cap's thickness, as a share of the hair's height
_CAP_DARKNESS = 0.6  # it lies in the shadow of the strands
_STRANDS = 1  # the sub-stream of Stream.HAIR that strands are drawn from; traits use the stream itself


@dataclass(frozen=True)
class HairLayout:
    """The hair of one person at rest, unposed."""

    cover: Array  # (n_body,) metres inside the hairline, negative outside
    cap: Array  # (n_body,) metres that the scalp is pushed out
    ribbons: Ribbons  # `local` counts from the canonical eyes


def lay_out(head: Head, identity: Identity, neutral: Array) -> HairLayout:
    """Grows the hair of one person, once per identity; `neutral` (19158, 3) are the base vertices at rest."""
    traits = identity.hair
    body = head.parts[BODY]
    local = body.canonical - head.anchors.eyes
    rough = 0.0025 * fractal_noise(body.canonical, 180, identity.seed + 3, 3)
    covered = cover(local, traits) + rough
    on_top = smoothstep(0.050, 0.085, local[:, 2])
    height = traits.style.lift[1] + (traits.style.lift[0] - traits.style.lift[1]) * on_top
    cap = _CAP_SHARE * traits.volume * height * smoothstep(0.002, 0.020, covered) * (1 - head.ear)

    vertices = head.part_vertices(BODY, neutral)
    scalp = Scalp(
        vertices=vertices,
        normals=mesh.vertex_normals(vertices, body.triangles),
        local=local,
        triangles=body.triangles,
        ear=head.ear,
        eyes=head.eye_centres(neutral).mean(axis=0),
    )
    random = generator(identity.seed, Stream.HAIR, _STRANDS)
    return HairLayout(covered, cap, to_ribbons(grow(scalp, traits, random), random))


def strand_pattern(canonical: Array, identity: Identity, anchors: Anchors) -> Array:
    """Light and dark along the painted hair (n,), about unit variance: noise in angle and distance round the crown."""
    hair, seed = identity.hair, identity.seed
    offset = canonical - _crown(hair, anchors)
    angle = np.arctan2(offset[:, 0], -offset[:, 1])
    angle = angle + fractal_noise(canonical, 30 + 60 * hair.curl, seed + 60, 2) * (0.10 + 0.5 * hair.curl)
    distance = np.linalg.norm(offset, axis=1) * (22 + 90 * hair.curl)
    polar = np.stack([np.cos(angle) * 38, np.sin(angle) * 38, distance], axis=1)
    return 0.75 * noise(polar, 1.0, seed + 61) + 0.5 * noise(polar * 2.3, 1.0, seed + 62)


def _crown(hair: HairTraits, anchors: Anchors) -> Array:
    return np.array([hair.parting, anchors.eyes[1] + 0.085, anchors.top - 0.02])


def opacity(covered: Array, ear: Array, strands: Array, identity: Identity) -> Array:
    """How much painted hair hides the skin (n,), 0..1, soft at the hairline."""
    hides = smoothstep(-0.001, 0.007, covered + 0.0025 * strands) * (1 - ear) * (1 - smoothstep(0.5, 0.9, ear))
    return np.clip(hides * identity.hair.style.scalp_paint, 0, 1)


def cap_colour(canonical: Array, strands: Array, identity: Identity) -> Array:
    """Colour (n, 3) of painted hair, linear RGB."""
    shades = np.clip(1 + 0.33 * strands + 0.2 * fractal_noise(canonical, 70, identity.seed + 30, 2), 0.25, 2.2)
    return _CAP_DARKNESS * identity.hair.colour * shades[:, None]


def cap_tangents(
    canonical: Array, normals: Array, strands: Array, rotation: Array, identity: Identity, anchors: Anchors
) -> Array:
    """Unit direction (n, 3) along painted hair, away from the crown."""
    away = normalize(canonical - _crown(identity.hair, anchors)) @ rotation.T
    along = away - normals * dot(away, normals)[:, None] + 0.25 * strands[:, None] * normals
    return normalize(along)
