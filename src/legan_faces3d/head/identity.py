"""Seeded people: shape of the head, skin, eyes, glasses, room. The numbers were tuned by eye on renders.

Each group of traits draws from its own random stream (`seeds`), so that changing one leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array
from legan_faces3d.head.hair_styles import HairTraits, draw_hair
from legan_faces3d.head.noise import Stream, generator

# anny's local changes in the middle plane and those that come as a pair l-, r-
# fmt: off
_MIDDLE_CHANGES = (
    "chin-jaw-drop-incr", "chin-height-incr", "chin-prominent-incr", "chin-bones-incr", "chin-width-incr", "chin-cleft-incr",
    "chin-prognathism-incr", "eyebrows-angle-up", "eyebrows-trans-up", "eyebrows-trans-forward", "forehead-temple-incr",
    "forehead-trans-forward", "forehead-scale-vert-incr", "forehead-nubian-incr", "head-fat-incr", "head-age-incr",
    "head-scale-horiz-incr", "head-scale-depth-incr", "head-scale-vert-incr", "head-angle-out", "mouth-lowerlip-height-incr",
    "mouth-scale-horiz-incr", "mouth-cupidsbow-incr", "mouth-laugh-lines-out", "mouth-lowerlip-volume-incr",
    "mouth-angles-up", "mouth-upperlip-height-incr", "mouth-upperlip-volume-incr", "mouth-scale-vert-incr", "mouth-trans-up",
    "mouth-philtrum-volume-incr", "mouth-dimples-out", "nose-nostrils-angle-up", "nose-flaring-incr", "nose-curve-convex",
    "nose-scale-depth-incr", "nose-scale-vert-incr", "nose-point-width-incr", "nose-scale-horiz-incr", "nose-width1-incr",
    "nose-trans-up", "nose-hump-incr", "nose-nostrils-width-incr", "nose-greek-incr", "nose-point-up", "nose-width2-incr",
    "nose-width3-incr", "nose-septumangle-incr", "nose-base-up", "nose-volume-incr", "neck-double-incr",
    "neck-scale-horiz-incr",
)
_PAIRED_CHANGES = (
    "cheek-volume-incr", "cheek-inner-incr", "cheek-bones-incr", "cheek-trans-up", "eye-corner1-up", "eye-height1-incr",
    "eye-scale-incr", "eye-push1-out", "eye-eyefold-up", "eye-height3-incr", "eye-height2-incr", "eye-bag-incr",
    "eye-push2-out", "eye-trans-up", "eye-bag-height-incr", "eye-epicanthus-out", "eye-eyefold-angle-up", "eye-bag-out",
    "eye-corner2-up", "eye-trans-out", "ear-scale-incr", "ear-wing-incr", "ear-flap-incr", "ear-lobe-incr", "ear-trans-up",
    "ear-shape-round",
)
_HEAVY_FEATURES = (
    "nose-volume-incr", "nose-scale-horiz-incr", "nose-hump-incr", "nose-scale-vert-incr", "nose-scale-depth-incr",
    "nose-width1-incr", "nose-width2-incr", "nose-width3-incr", "nose-point-width-incr", "nose-flaring-incr",
    "chin-width-incr", "chin-bones-incr", "chin-prominent-incr", "chin-height-incr", "chin-prognathism-incr", "head-fat-incr",
    "forehead-nubian-incr",
)
# fmt: on
_MIDDLE_SIGMA, _MIDDLE_LIMIT = 0.27, 0.75  # larger turns grotesque
_PAIRED_SIGMA, _EYE_SIGMA, _PAIRED_LIMIT = 0.3, 0.2, 0.7
_ASYMMETRY = 0.04


@dataclass(frozen=True)
class Shape:
    """What anny needs for the head at rest, and what the other traits depend on."""

    female: bool
    age: float  # anny's scale: adults 0.63 to 0.97
    ancestry: Array  # (3,) african, asian, caucasian; sums to 1
    phenotype: dict[str, float]
    local_changes: dict[str, float]


@dataclass(frozen=True)
class Skin:
    """Pigments and surface. Melanin 0.03 (fair) to 1.6 (dark)."""

    melanin: float
    haemoglobin: float
    yellow: float
    freckles: float  # 0..1
    blotches: float  # strength of uneven colour
    oil: float  # strength of shine
    roughness: float
    n_moles: int
    lip_colour: float  # additional haemoglobin of the lips
    lipstick: bool


@dataclass(frozen=True)
class Eyes:
    iris: Array  # (3,) linear RGB
    lashes: float  # opacity
    teeth: Array  # (3,) linear RGB


@dataclass(frozen=True)
class GlassesTraits:
    """A pair of glasses, metres."""

    half_width: float
    half_height: float
    squareness: float  # exponent of the superellipse: 2 an ellipse, 4.5 nearly a rectangle
    bar_radius: float
    colour: Array  # (3,) linear RGB


@dataclass(frozen=True)
class Room:
    """Ambient light and backdrop."""

    base: Array  # (3,) light from all round
    window: Array  # (3,) light of one broad source
    window_direction: Array  # (3,) unit vector
    backdrop: Array  # (3,) linear RGB
    shirt: Array  # (3,) linear RGB


@dataclass(frozen=True)
class Identity:
    """Everything that stays the same over a person's expressions and lightings."""

    seed: int
    shape: Shape
    skin: Skin
    hair: HairTraits
    eyes: Eyes
    glasses: GlassesTraits | None
    room: Room


def draw_identity(seed: int, attempt: int = 0) -> Identity:
    """The person of this seed (>= 0); equal arguments give equal people, another attempt a person of another shape."""
    shape = _draw_shape(generator(seed, Stream.SHAPE, attempt))
    return Identity(
        seed=seed,
        shape=shape,
        skin=_draw_skin(generator(seed, Stream.SKIN), shape),
        hair=draw_hair(generator(seed, Stream.HAIR), shape.female, shape.age, shape.ancestry),
        eyes=_draw_eyes(generator(seed, Stream.EYES), shape),
        glasses=_draw_glasses(generator(seed, Stream.GLASSES)),
        room=_draw_room(generator(seed, Stream.SCENE)),
    )


def _draw_shape(random: np.random.Generator) -> Shape:
    ancestry = random.dirichlet([0.4, 0.4, 0.6])
    female = bool(random.random() < 0.4)
    age = float(np.clip(random.beta(1.6, 3) * 0.34 + 0.63, 0.62, 0.97))
    phenotype = {
        "gender": float(np.clip(random.normal(0.95 if female else 0.05, 0.07), 0, 1)),
        "age": age,
        "muscle": float(random.uniform(0.3, 0.8)),
        "weight": float(np.clip(random.normal(0.5, 0.2), 0.1, 1)),
        "african": float(ancestry[0]),
        "asian": float(ancestry[1]),
        "caucasian": float(ancestry[2]),
        "height": 0.5,
        "proportions": float(random.uniform(0.3, 0.9)),
    }
    return Shape(female, age, ancestry, phenotype, _draw_local_changes(random, age, female))


def _draw_local_changes(random: np.random.Generator, age: float, female: bool) -> dict[str, float]:
    changes = {name: float(np.clip(random.normal(0, _MIDDLE_SIGMA), -_MIDDLE_LIMIT, _MIDDLE_LIMIT)) for name in _MIDDLE_CHANGES}
    changes["head-age-incr"] = float(np.clip((age - 0.75) * 2 + random.normal(0, 0.15), -0.3, 0.9))
    changes["nose-septumangle-incr"] *= 0.5
    changes["chin-cleft-incr"] = abs(changes["chin-cleft-incr"])
    for name in _PAIRED_CHANGES:
        sigma = _EYE_SIGMA if name.startswith("eye") else _PAIRED_SIGMA
        both = np.clip(random.normal(0, sigma), -_PAIRED_LIMIT, _PAIRED_LIMIT)
        difference = random.normal(0, _ASYMMETRY)
        changes["l-" + name], changes["r-" + name] = float(both + difference), float(both - difference)
    # the mean head looks sullen and narrow-eyed; these offsets make it neutral
    changes["mouth-angles-up"] = float(np.clip(random.normal(0.12, 0.15), -0.3, 0.5))
    changes["eyebrows-angle-up"] = float(np.clip(random.normal(0.14, 0.18), -0.15, 0.5))  # below -0.2 looks angry
    changes["eyebrows-trans-up"] = float(np.clip(random.normal(0.1, 0.2), -0.3, 0.6))
    changes["eyebrows-trans-forward"] = float(np.clip(random.normal(-0.1, 0.2), -0.5, 0.3))
    changes["l-eye-height2-incr"] += 0.12
    changes["r-eye-height2-incr"] += 0.12
    changes["forehead-scale-vert-incr"] -= 0.1
    if female:
        _soften(changes)
    for name in ("mouth-trans-out", "nose-trans-out"):  # sideways: a little asymmetry
        changes[name] = float(random.normal(0, 0.06))
    return changes


def _soften(changes: dict[str, float]) -> None:
    """Narrows a woman's spread of features that read as a man's: nose, jaw and brow bone; larger eyes, fuller lips."""
    for name in _HEAVY_FEATURES:
        changes[name] = 0.6 * changes[name] - 0.12
    changes["eyebrows-trans-forward"] -= 0.2
    changes["chin-cleft-incr"] = 0.0
    changes["head-age-incr"] = min(changes["head-age-incr"], 0.3) - 0.15
    for name in ("mouth-upperlip-volume-incr", "mouth-lowerlip-volume-incr"):
        changes[name] += 0.12
    for name in ("l-eye-scale-incr", "r-eye-scale-incr"):
        changes[name] += 0.12


def _draw_skin(random: np.random.Generator, shape: Shape) -> Skin:
    african_asian_caucasian = [random.normal(1.05, 0.25), random.normal(0.28, 0.10), random.normal(0.13, 0.08)]
    melanin = float(np.clip(shape.ancestry @ african_asian_caucasian, 0.03, 1.6))
    lips = random.uniform(0.35, 0.8)
    if shape.female and random.random() < 0.35:
        lips += 0.5
    return Skin(
        melanin=melanin,
        haemoglobin=float(random.uniform(0.17, 0.36) * (1 - 0.25 * min(melanin, 1))),
        yellow=float(np.clip(random.normal(0.05 + 0.10 * shape.ancestry[1], 0.06), -0.05, 0.3)),
        freckles=float(random.random() ** 5 * (melanin < 0.35)),
        blotches=float(random.uniform(0.4, 1.2)),
        oil=float(random.uniform(0.6, 1.6)),
        roughness=float(random.uniform(0.36, 0.50)),
        n_moles=int(random.integers(0, 5)),
        lip_colour=float(lips),
        lipstick=bool(shape.female and random.random() < 0.25),
    )


def _draw_eyes(random: np.random.Generator, shape: Shape) -> Eyes:
    kind = random.random()
    if shape.ancestry[0] + shape.ancestry[1] > 0.45 or kind < 0.45:
        iris = np.array([0.06, 0.028, 0.012]) * random.uniform(0.5, 1.8)  # brown
    elif kind < 0.75:
        iris = np.array([0.075, 0.115, 0.15]) * random.uniform(0.6, 1.2)  # blue
    else:
        iris = np.array([0.085, 0.095, 0.045]) * random.uniform(0.6, 1.1)  # green
    lashes = random.uniform(0.75, 1) if shape.female else random.uniform(0.35, 0.65)
    teeth = np.array([0.72, 0.68, 0.58]) * random.uniform(0.8, 1.05)
    return Eyes(iris.astype(np.float32), float(lashes), teeth.astype(np.float32))


def _draw_glasses(random: np.random.Generator) -> GlassesTraits | None:
    if random.random() >= 0.22:
        return None
    return GlassesTraits(
        half_width=float(random.uniform(0.020, 0.025)),
        half_height=float(random.uniform(0.014, 0.021)),
        squareness=float(random.uniform(2.2, 4.5)),
        bar_radius=float(random.uniform(0.0007, 0.0018)),
        colour=np.full(3, 0.02) if random.random() < 0.6 else random.uniform(0.03, 0.25, 3),
    )


def _draw_room(random: np.random.Generator) -> Room:
    direction = np.array([random.normal(0, 0.7), -0.6, 1.0])
    return Room(
        base=np.array([0.34, 0.315, 0.285]) * random.uniform(0.8, 1.25),
        window=np.array([0.30, 0.30, 0.32]) * random.uniform(0.2, 1.0),
        window_direction=direction / np.linalg.norm(direction),
        backdrop=random.uniform(0.1, 0.55) * (1 + random.normal(0, 0.06, 3)),
        shirt=random.uniform(0.02, 0.6) * np.clip(1 + random.normal(0, 0.35, 3), 0.2, 2),
    )
