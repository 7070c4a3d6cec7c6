"""Seeded hair, beard and brows of a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.synthesis.hair_styles import MEN_SHARES, STYLES, WOMEN_SHARES, HairStyle
from legan.synthesis.vectors import Array, smoothstep


@dataclass(frozen=True)
class HairTraits:
    """Lengths in metres."""

    style: HairStyle
    colour: Array  # (3,) linear RGB
    hairline: float  # added to the height of the hairline
    recess: float  # how far the hairline steps back at the sides
    roundness: float  # how far the hairline bends down towards the temples, 0 to 0.1
    sideburn: float  # how far sideburns reach over (positive) or below the eyes' height
    parting: float  # x of the parting; its sign is the parting's side
    fringe_sweep: float  # how far a fringe is combed to the side, -1 to 1
    curl: float  # 0 straight, 1 curly
    length: float  # factor of the style's lengths
    volume: float  # factor of the style's heights
    beard: float  # 0 shaved, 1 full
    moustache: float
    brow_density: float
    brow_thickness: float
    brow_arch: float
    brow_height: float


_OLD_AGE = 0.85  # on anny's scale
_BLACK, _BROWN, _FAIR_BROWN, _BLOND, _RED = (
    np.array(rgb)
    for rgb in ((0.012, 0.009, 0.007), (0.045, 0.024, 0.013), (0.12, 0.065, 0.03), (0.24, 0.155, 0.075), (0.14, 0.04, 0.015))
)
_GREY = np.array([0.28, 0.27, 0.26])
_AGED_STYLES = {"bald": 6.0, "quiff": 0.5, "full": 0.5, "fringe": 0.4}  # factors of the shares
_AFRICAN_STYLES = {"buzz": 2.0, "coily": 12.0, "short": 0.1, "crop": 0.1, "quiff": 0.1, "side": 0.1, "full": 0.2}
_AFRICAN_STYLES |= {"long": 0.5, "fringe": 0.5, "pixie": 0.3, "tied": 1.5}


def draw_hair(random: np.random.Generator, female: bool, age: float, ancestry: Array) -> HairTraits:
    """Hair traits; `age` on anny's scale (adults 0.63 to 0.97), `ancestry` (3,) african, asian, caucasian."""
    beard = 0.0 if female else float(random.choice([0.06, 0.3, 0.65, 1.0], p=[0.4, 0.3, 0.18, 0.12]))
    moustache = 0.0 if female else max(beard, 0.9 * (random.random() < 0.08))
    old_man = age > _OLD_AGE and not female
    return HairTraits(
        style=_draw_style(random, female, age, ancestry),
        colour=_draw_colour(random, age, ancestry),
        hairline=float(random.normal(-0.003 if female else 0.0, 0.005) + (0.008 if old_man else 0)),
        recess=float(max(0, random.normal(0.002 if female else 0.008, 0.006))),
        roundness=0.05 if female else 0.0,
        sideburn=float(random.uniform(-0.04, 0.005)),
        parting=float(random.choice([-1, 1]) * random.uniform(0.002 if female else 0.02, 0.035)),
        fringe_sweep=float(np.clip(random.normal(0, 0.35), -1, 1)),
        curl=float(np.clip(random.beta(1.2, 4) + 0.6 * ancestry[0], 0, 1)),
        length=float(random.uniform(0.85, 1.2)),
        volume=float(random.uniform(0.8, 1.25)),
        beard=beard,
        moustache=float(moustache),
        brow_density=float(random.uniform(0.55, 1.0) * (0.9 if female else 1.1)),
        brow_thickness=float((0.0033 if female else 0.0050) * random.uniform(0.75, 1.3)),
        brow_arch=float(random.normal(0.0008 if female else 0, 0.0013)),
        brow_height=float(random.normal(0.001 if female else 0, 0.001)),
    )


def _draw_style(random: np.random.Generator, female: bool, age: float, ancestry: Array) -> HairStyle:
    shares = dict(WOMEN_SHARES if female else MEN_SHARES)
    for factors, applies in ((_AGED_STYLES, age > _OLD_AGE), (_AFRICAN_STYLES, ancestry[0] > 0.55)):
        if applies:
            shares = {name: share * factors.get(name, 1.0) for name, share in shares.items()}
    probabilities = np.array(list(shares.values())) / sum(shares.values())
    return STYLES[str(random.choice(list(shares), p=probabilities))]


def _draw_colour(random: np.random.Generator, age: float, ancestry: Array) -> Array:
    kind = random.random()
    if ancestry[0] + ancestry[1] > 0.5 or kind < 0.35:
        colour = _BLACK * random.uniform(0.6, 1.6)
    elif kind < 0.65:
        colour = _BROWN * random.uniform(0.6, 1.5)
    elif kind < 0.8:
        colour = _FAIR_BROWN * random.uniform(0.6, 1.4)
    elif kind < 0.93:
        colour = _BLOND * random.uniform(0.7, 1.3)
    else:
        colour = _RED * random.uniform(0.8, 1.3)
    grey = smoothstep(0.84, 0.97, age) * random.uniform(0.2, 1)
    return (colour * (1 - grey) + grey * _GREY).astype(np.float32)
