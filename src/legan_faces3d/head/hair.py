"""Hair: strands grown from the scalp, as ribbons for the renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from legan.core.geometry import Array, bell, dot, normalize, smoothstep
from legan_faces3d.head import mesh
from legan_faces3d.head.hair_styles import HairStyle, HairTraits
from legan_faces3d.head.head import BODY, Anchors, Head
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.noise import Stream, fractal_noise, generator, noise

# Strands of hair that grow over a head, and the ribbons they are drawn as.
#
# A strand starts at a random root on the scalp and walks over the head in steps. Each step follows the style's sweep, projected onto
# the surface, until gravity takes over; the nearest vertex of the head gives the strand's distance from the skin and keeps it at the
# height of its layer. Ribbons of 0.5 to 1 mm are wide enough for a few thousand strands to cover the scalp, and narrow enough to read
# as hair in a crop of 128 pixels; their own geometry casts the shadows.
#
# Lengths are metres. *Local* coordinates here are canonical ones counted from the point between the eyes: x to the image's right,
# y to the back, z up.


_WHORL = np.array([0.008, 0.125, 0.105])  # where the hair turns at the crown, on the parting's side
_DOWN = np.array([0.0, 0.0, -1.0])
_HAIRLINE = 0.064  # over the eyes, in the middle of the forehead
_FLYAWAY_SHARE = 0.025
_RISE = 0.012  # a strand reaches the height of its layer this far from its root
_EAR_MARGIN = 0.007
_INERTIA = 0.35  # how much of its direction a strand keeps from step to step


@dataclass(frozen=True)
class Scalp:
    """The head at rest that hair grows on (n vertices)."""

    vertices: Array  # (n, 3)
    normals: Array  # (n, 3)
    local: Array  # (n, 3)
    triangles: Array  # (m, 3)
    ear: Array  # (n,) 0..1
    eyes: Array  # (3,) the point between this person's eyes


@dataclass(frozen=True)
class Strands:
    """Polylines of n strands, k points each."""

    points: Array  # (n, k, 3)
    widths: Array  # (n, k)
    normals: Array  # (n, k, 3) of the head below
    local: Array  # (n, k, 3)
    shade: Array  # (n,) factor of the hair's colour, about 1


@dataclass(frozen=True)
class Ribbons:
    """Strands as flat strips; everything per vertex."""

    vertices: Array  # (v, 3)
    triangles: Array  # (t, 3) int32
    normals: Array  # (v, 3) of the head below, which shade softer than the strips' own
    local: Array  # (v, 3)
    tangents: Array  # (v, 3) along the hair
    shade: Array  # (v,)


@dataclass(frozen=True)
class _Plan:
    """What each of n strands sets out to do."""

    root: Array  # (n, 3)
    normal: Array  # (n, 3)
    local: Array  # (n, 3)
    length: Array  # (n,)
    lift: Array  # (n,) height over the skin
    layer: Array  # (n,) 0 innermost, 1 outermost
    side: Array  # (n,) -1 or 1: side of the parting
    sweep: Array  # (n, 6) weights of hair_styles.SWEEPS
    gravity: Array  # (n,) 0..1
    stray: Array  # (n, 3) constant deviation from the sweep
    in_fringe: Array  # (n,) bool


class _Ripple:
    """A smooth random function of space with mean 0 and deviation 1: a few sines, cheap where there are few points."""

    def __init__(self, random: np.random.Generator, wavelength: float, n_waves: int = 7) -> None:
        self._vectors = random.normal(0, 2 * np.pi / wavelength / np.sqrt(3), (n_waves, 3))
        self._phases = random.uniform(0, 2 * np.pi, n_waves)

    def __call__(self, points: Array) -> Array:
        return np.sin(points @ self._vectors.T + self._phases).sum(axis=-1) * np.sqrt(2 / len(self._phases))


def cover(local: Array, traits: HairTraits) -> Array:
    """How far points (n, 3) lie inside the hairline, metres: (n,), negative on the face and the neck."""
    x, y, z = np.abs(local[:, 0]), local[:, 1], local[:, 2]
    # Height of the hairline: over the forehead, lower at the temples, and round the neck behind.
    front = _HAIRLINE + traits.hairline + traits.recess * smoothstep(0.018, 0.045, x) - 40 * traits.roundness * x**2
    front = front - 1.5 * np.maximum(0, x - 0.043 - 0.25 * traits.recess)  # the temples
    behind = smoothstep(0.03, 0.10, y)
    edge = front * (1 - behind) - (0.055 + 0.02 * smoothstep(0.1, 0.15, y)) * behind
    # before the ear hair ends in a sideburn, and further forwards it stays over the eyes
    sideburn = smoothstep(0.058, 0.066, y - 0.004 * np.sin(60 * z))
    edge = np.maximum(edge, (1 - sideburn) * np.maximum(0, 0.012 - 0.3 * (y - 0.05)) - 0.5 * sideburn)
    edge = np.maximum(edge, np.where(y < 0.08, traits.sideburn, -1.0))
    # Distance above that line; styles with a bare crown also end at a ring round it.
    inside = z - edge
    if traits.style.bare_crown:
        inside = np.minimum(inside, 0.040 - z + 0.25 * np.maximum(0, y - 0.09))
    return inside


def grow(scalp: Scalp, traits: HairTraits, random: np.random.Generator) -> Strands:
    """The strands of one person; the same random generator grows the same hair."""
    style = traits.style
    plan, locks = _make_plan(scalp, traits, random)
    points, normals, local = _walk(scalp, traits, plan)
    points = _curl(points, traits, plan, locks, random)
    n = len(points)

    # Widths taper to the tip.
    along = _along(style)
    widths = style.width * random.uniform(0.7, 1.3, (n, 1)) * (0.85 + 0.3 * along) * (1 - 0.75 * along**4)
    if style.is_long:  # a few broad strands at the back, against gaps that show the backdrop
        behind = (plan.layer < 0.3) & (plan.local[:, 1] > 0.08)
        widths[behind] *= 4
    if style.ends_above is not None:
        end = scalp.eyes[2] + style.ends_above + random.normal(0, 0.004, n)
        widths = np.where(points[..., 2] < end[:, None], 0, widths)
    # Locks share a shade, and outer layers are lighter.
    shade = (1 + 0.22 * locks(3 * plan.root) + random.normal(0, 0.16, n)) * (0.72 + 0.4 * plan.layer)
    arrays = (points, widths, normals, local, np.clip(shade, 0.3, 1.9))
    return Strands(*(array.astype(np.float32) for array in arrays))


def _along(style: HairStyle) -> Array:
    """Where a strand's points lie from root 0 to tip 1, (k,): closer at the root, where it bends over the head."""
    return np.linspace(0, 1, style.n_points) ** 1.35


def _make_plan(scalp: Scalp, traits: HairTraits, random: np.random.Generator) -> tuple[_Plan, _Ripple]:
    style = traits.style
    n = style.n_strands
    root, normal, local = _draw_roots(scalp, traits, n, random)
    inside = cover(local, traits)
    top = smoothstep(0.050, 0.085, local[:, 2] + 0.25 * np.maximum(0, local[:, 1] - 0.12))
    layer = random.random(n) ** 0.8
    flies = (random.random(n) < _FLYAWAY_SHARE) & (local[:, 1] > 0.04)  # single hairs across the face look like scratches

    # Length and height over the skin, blended between the sides and the top of the head.
    length = (style.length[1] + (style.length[0] - style.length[1]) * top) * traits.length * random.uniform(0.8, 1.1, n)
    if not style.is_long:  # a soft hairline: short hair gets shorter towards it
        length *= 0.35 + 0.65 * smoothstep(0, 0.010, inside)
    lift = (style.lift[1] + (style.lift[0] - style.lift[1]) * top) * traits.volume * (0.25 + 0.75 * layer)
    lift *= 0.2 + 0.8 * smoothstep(0, 0.016, inside)
    lift = np.where(flies, 1.35 * lift + 0.002, lift)
    sweep = top[:, None] * np.array(style.sweep_top) + (1 - top)[:, None] * np.array(style.sweep_side)

    in_fringe = np.zeros(n, bool)
    if style.fringe is not None:
        in_fringe = (local[:, 1] < 0.055) & (np.abs(local[:, 0]) < 0.050) & (local[:, 2] > 0.055)
        sweep[in_fringe] = (0, 0, traits.fringe_sweep, 0, 1.0, 1.2)
        drop = (local[:, 2] - style.fringe) * (1.12 + 0.1 * abs(traits.fringe_sweep)) + random.normal(0.004, 0.0025, n)
        length = np.where(in_fringe, drop, length)
        lift = np.where(in_fringe, 0.003 + 0.006 * layer, lift)

    # Gravity, and loose strands at the temples.
    gravity = np.where(in_fringe, 0.35 * style.gravity, style.gravity)
    at_temple = (np.abs(local[:, 0]) > 0.045) & (local[:, 1] < 0.065)
    loose = at_temple & (random.random(n) < style.loose)
    sweep[loose], gravity[loose] = (0, 0.6, 0, 0.2, 0, 1), 0.95

    # Deviation from the sweep: smooth over space for locks, random for single strands.
    ripples = [_Ripple(random, 0.022) for _ in range(3)]
    stray = 0.75 * np.stack([ripple(root) for ripple in ripples], axis=1)
    stray += random.normal(0, 1, (n, 3)) * (0.25 + 0.9 * flies[:, None])
    stray *= (style.mess * np.where(in_fringe, 0.4, 1.0))[:, None]
    side = np.where(local[:, 0] >= traits.parting, 1.0, -1.0)
    return _Plan(root, normal, local, length, lift, layer, side, sweep, gravity, stray, in_fringe), ripples[0]


def _draw_roots(scalp: Scalp, traits: HairTraits, n: int, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Positions, normals and local coordinates (n, 3) of random roots: fewer at the hairline and on the back of the head."""
    triangles = scalp.triangles
    centre = scalp.local[triangles].mean(axis=1)
    inside = cover(centre, traits) + 0.0022 * _Ripple(random, 0.010)(centre)
    a, b, c = (scalp.vertices[triangles[:, i]] for i in range(3))
    # Roots are drawn by area, within the hairline, more densely where they are seen.
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    in_view = 0.12 + 0.88 * smoothstep(0.16, 0.07, centre[:, 1])
    if traits.style.frame:  # hair flows away from a parting, which would stay thin
        in_view = in_view * (1 + 4 * bell(centre[:, 0], traits.parting, 0.012))
    weight = area * smoothstep(-0.001, 0.006, inside) * (scalp.ear[triangles].max(axis=1) < 0.3) * in_view
    corners = triangles[random.choice(len(triangles), n, p=weight / weight.sum())]
    # Uniform points of a triangle (Osada et al., "Shape distributions", ACM Transactions on Graphics 2002).
    u = np.sqrt(random.random((n, 1)))
    v = random.random((n, 1))
    barycentric = np.concatenate([1 - u, u * (1 - v), u * v], axis=1)[:, :, None]
    root, normal, local = (
        (values[corners] * barycentric).sum(axis=1) for values in (scalp.vertices, scalp.normals, scalp.local)
    )
    return root, normalize(normal), local


def _walk(scalp: Scalp, traits: HairTraits, plan: _Plan) -> tuple[Array, Array, Array]:
    """Follows the sweep from every root: points, normals of the head below and local coordinates, each (n, k, 3)."""
    style = traits.style
    # hair hides the ears rather than climbs them, so their roots are left out as well
    from_ear = cKDTree(scalp.local[scalp.ear > 0.5]).query(scalp.local, distance_upper_bound=_EAR_MARGIN)[0]
    solid = np.flatnonzero(np.isinf(from_ear) & (scalp.local[:, 2] > -0.25))
    surface, surface_normals, surface_local = scalp.vertices[solid], scalp.normals[solid], scalp.local[solid]
    tree = cKDTree(surface)
    # All strands take their i-th step together.
    point, direction = plan.root, plan.normal
    along = _along(style)
    steps = plan.length[:, None] * np.diff(along)  # (n, k - 1)
    points, normals, locals_ = [point], [plan.normal], [plan.local]
    for i in range(1, style.n_points):
        progress = float(along[i])
        nearest = tree.query(point, eps=0.3)[1]
        below, out = surface[nearest], surface_normals[nearest]
        local = surface_local[nearest] + point - below
        height = dot(point - below, out)
        hanging = _hanging(plan, local, height, progress)
        wanted = _wanted_direction(traits, plan, local, out, height, hanging, progress)
        direction = normalize(_INERTIA * direction + (1 - _INERTIA) * wanted)
        point = point + direction * steps[:, i - 1 : i]
        # up to the layer's height at once, down to it slowly, and not at all for what stands or hangs
        missing = plan.lift * np.minimum(1.0, plan.length * progress / _RISE) - dot(point - below, out)
        correction = missing * np.where(missing > 0, 1.0, 0.8 * (1 - hanging) * (1 - style.upright))
        point = point + out * np.clip(correction, -0.010, 0.02)[:, None]
        if style.frame:
            point = _keep_off_face(point, scalp.eyes, style.frame, plan)
        points.append(point)
        normals.append(out)
        locals_.append(local)
    return np.stack(points, axis=1), np.stack(normals, axis=1), np.stack(locals_, axis=1)


def _hanging(plan: _Plan, local: Array, height: Array, progress: float) -> Array:
    """How far gravity leads, (n,): nowhere at the root, nor on top of the head unless a strand has left it."""
    beside_head = smoothstep(0.055, 0.0, local[:, 2] - 0.03 * progress)
    in_the_air = smoothstep(0.004, 0.016, height - plan.lift)
    return plan.gravity * np.maximum(beside_head, in_the_air) * smoothstep(0.0, 0.25, progress)


def _wanted_direction(
    traits: HairTraits, plan: _Plan, local: Array, out: Array, height: Array, hanging: Array, progress: float
) -> Array:
    """Unit directions (n, 3): sweep and stray locks, then gravity, along the skin where it is near, lifted in upright styles."""
    flow = normalize((_basis(local, plan.side, traits.parting) * plan.sweep[:, :, None]).sum(axis=1))
    flow = flow + (0.5 + progress) * plan.stray
    # hair of the parted styles turns back where it would leave the hairline over the forehead
    if traits.style.frame:
        leaving = smoothstep(0.010, -0.004, cover(local, traits)) * smoothstep(0.05, 0.02, local[:, 1]) * ~plan.in_fringe
        flow = flow + leaving[:, None] * np.array([0, 1.5, 0.5])
    flow = flow * (1 - hanging)[:, None] + _DOWN * hanging[:, None]
    near_skin = smoothstep(0.045, 0.010, height - plan.lift) * (1 - 0.5 * hanging)
    flow = normalize(flow - out * (near_skin * dot(flow, out))[:, None])
    standing = traits.style.upright * (1 - 0.6 * progress)
    return normalize(flow * (1 - standing) + out * standing)


def _basis(local: Array, side: Array, parting: float) -> Array:
    """The directions of hair_styles.SWEEPS at points (n, 3): (n, 6, 3)."""
    mirror = np.sign(parting)
    fields = np.zeros((len(local), 6, 3))
    fields[:, 0] = normalize(local - _WHORL * (mirror, 1, 1))
    fields[:, 1, 0] = side
    fields[:, 2, 0] = -mirror
    fields[:, 3, 1] = 1
    fields[:, 4, 1] = -1
    fields[:, 5, 2] = -1
    return fields


def _keep_off_face(point: Array, eyes: Array, frame: float, plan: _Plan) -> Array:
    """Pushes hanging hair (n, 3) in front of the ears outwards to `frame` from the middle of the face."""
    offset = point - eyes
    limit = (frame + 0.012 * plan.layer) * smoothstep(0.080, 0.015, offset[:, 2])
    distance = np.abs(offset[:, 0])
    too_near = (offset[:, 1] < 0.075) & (distance < limit) & ~plan.in_fringe
    moved = eyes[0] + np.sign(offset[:, 0]) * (0.6 * limit + 0.4 * distance)
    point = point.copy()
    point[:, 0] = np.where(too_near, moved, point[:, 0])
    return point


def _curl(points: Array, traits: HairTraits, plan: _Plan, locks: _Ripple, random: np.random.Generator) -> Array:
    """Bends strands (n, k, 3) into waves; neighbours share their phase, so that locks form, and curl makes them tighter."""
    radius = traits.style.wave * (0.6 + 0.8 * traits.curl) + 0.0022 * traits.curl
    along = plan.length[:, None] * _along(traits.style)
    if traits.style.is_long:
        pitch, ramp = 0.055 - 0.04 * traits.curl, smoothstep(0.03, 0.12, along)
    else:
        pitch, ramp = 0.020 - 0.008 * traits.curl, smoothstep(0.0, 0.01, along)
    # A helix round the strand: neighbours share the phase of their lock.
    phase = 2.5 * locks(points[:, 0])[:, None] + random.normal(0, 0.35, (len(points), 1)) + 2 * np.pi * along / pitch
    tangent = normalize(np.gradient(points, axis=1))
    across = normalize(np.cross(tangent, np.array([0.3, 1.0, 0.2])))
    bend = np.sin(phase)[..., None] * across + 0.7 * np.cos(phase)[..., None] * np.cross(tangent, across)
    return points + radius * ramp[..., None] * bend


def to_ribbons(strands: Strands, random: np.random.Generator) -> Ribbons:
    """Strips that face the front, each with a roll of its own, so that light from the side meets width as well."""
    points = strands.points
    n, k = points.shape[:2]
    tangent = normalize(np.gradient(points, axis=1)).astype(np.float32)
    across = normalize(np.cross(tangent, np.array([0, -1, 0], np.float32)) + 1e-4)
    # A roll of each strip about its tangent.
    roll = random.normal(0, 0.6, (n, 1, 1)).astype(np.float32)
    across = np.cos(roll) * across + np.sin(roll) * np.cross(tangent, across)
    half = across * strands.widths[..., None] / 2
    # Two triangles between each pair of neighbouring points.
    start = (np.arange(n)[:, None] * k + np.arange(k - 1)) * 2
    corners = np.stack([start, start + 1, start + 2, start + 3], axis=-1).reshape(-1, 4)

    def twice(values: Array) -> Array:
        return np.repeat(values.reshape(n * k, -1), 2, axis=0).astype(np.float32)

    return Ribbons(
        vertices=np.stack([points - half, points + half], axis=2).reshape(-1, 3).astype(np.float32),
        triangles=np.concatenate([corners[:, [0, 1, 2]], corners[:, [1, 3, 2]]]).astype(np.int32),
        normals=twice(strands.normals),
        local=twice(strands.local),
        tangents=twice(tangent),
        shade=np.repeat(strands.shade, 2 * k).astype(np.float32),
    )


# Hair of the head, as the rest of the renderer sees it: strands over a thin painted cap.
#
# The strands are grown once per person on the head at rest and turn with the head. Below them the scalp is painted
# in the hair's colour and pushed out a little, so that no skin shows between strands. Highlights need the direction of the hair
# (Kajiya and Kay, SIGGRAPH 1989): a strand has its own; the painted cap takes the one away from the crown.


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
    # The painted cap: a share of the hair's height, none at the hairline and on the ears.
    on_top = smoothstep(0.050, 0.085, local[:, 2])
    height = traits.style.lift[1] + (traits.style.lift[0] - traits.style.lift[1]) * on_top
    cap = _CAP_SHARE * traits.volume * height * smoothstep(0.002, 0.020, covered) * (1 - head.ear)

    # Strands grow on this person's head at rest.
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
