"""Hair styles, and how they are drawn for an identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array, smoothstep

# The hairstyles, as numbers that `hair` grows strands by. Tuned by eye on renders.
#
# Lengths and heights are metres. Directions are weights of the six basis fields in SWEEPS; a style has one set for the top of the
# head and one for its sides, and hair in between mixes them.


SWEEPS = ("from the whorl", "from the parting", "across the parting", "backwards", "forwards", "down")
Sweep = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class HairStyle:
    """One way to wear hair."""

    name: str
    length: tuple[float, float]  # top, sides
    lift: tuple[float, float]  # height of the outermost hair over the skin: top, sides
    sweep_top: Sweep
    sweep_side: Sweep
    n_strands: int
    n_points: int  # of a strand
    width: float = 0.0008  # of a strand; real hair is finer, but an image's sample is 0.5 mm
    scalp_paint: float = 0.92  # opacity of the hair painted on the skin underneath
    gravity: float = 0.0  # how far a strand follows gravity once it has left the top, 0 to 1
    upright: float = 0.0  # how far a strand stands off the skin, 0 to 1
    mess: float = 0.25  # how far locks stray from the sweep
    wave: float = 0.0  # radius of the waves
    frame: float = 0.0  # how far from the middle of the face hanging hair stays; 0: no hair hangs
    loose: float = 0.0  # share of the strands at the temples that hang free
    ends_above: float | None = None  # canonical height over the eyes where hair is cut off
    fringe: float | None = None  # canonical height over the eyes where a fringe ends
    bare_crown: bool = False

    @property
    def is_long(self) -> bool:
        return min(self.length) > 0.1


_MEN = {  # share of men, style
    HairStyle(
        "bald", (0.006, 0.008), (0.001, 0.003), (1, 0, 0, 0, 0, 0), (0.3, 0, 0, 0.4, 0, 1), 2900, 4, 0.0006,
        scalp_paint=0.5, upright=0.25, bare_crown=True,
    ): 0.05,
    HairStyle(
        "buzz", (0.006, 0.005), (0.003, 0.002), (0.7, 0, 0, 0, 0.6, 0), (0.2, 0, 0, 0.2, 0.2, 1), 5800, 4, 0.0008,
        scalp_paint=0.8, upright=0.5,
    ): 0.11,
    HairStyle(
        "coily", (0.016, 0.010), (0.010, 0.006), (1, 0, 0, 0, 0.2, 0), (0.2, 0, 0, 0.2, 0, 1), 5000, 5, 0.0006,
        scalp_paint=0.75, upright=0.8, mess=0.9, wave=0.0022,
    ): 0.03,
    HairStyle(
        "short", (0.030, 0.014), (0.014, 0.005), (0.8, 0, 0.2, 0, 0.6, 0), (0.2, 0, 0, 0.4, 0.1, 1), 5000, 5,
        upright=0.4, mess=0.5,
    ): 0.27,
    HairStyle(
        "quiff", (0.055, 0.013), (0.024, 0.005), (0.1, 0, 0.3, 1, 0, 0), (0.1, 0, 0, 0.7, 0, 0.7), 4700, 5,
        upright=0.35, mess=0.35,
    ): 0.14,
    HairStyle(
        "side", (0.070, 0.018), (0.018, 0.006), (0.1, 0.25, 1, 0.25, 0.15, 0), (0.1, 0, 0, 0.6, 0, 0.8), 4700, 6,
        gravity=0.2,
    ): 0.18,
    HairStyle(
        "full", (0.065, 0.045), (0.024, 0.014), (0.4, 0.4, 0.4, 0.6, 0, 0), (0.2, 0.2, 0, 0.6, 0, 0.8), 4300, 6,
        gravity=0.3, mess=0.4, wave=0.0015,
    ): 0.11,
    HairStyle(
        "crop", (0.034, 0.014), (0.010, 0.005), (0.6, 0, 0.2, 0, 1, 0), (0.2, 0, 0, 0.3, 0.1, 1), 5000, 5,
        mess=0.35, fringe=0.046,
    ): 0.11,
}  # fmt: skip
_WOMEN = {
    HairStyle(
        "long", (0.30, 0.26), (0.010, 0.012), (0.1, 1, 0, 0.6, 0, 0), (0, 0.3, 0, 0.35, 0, 1), 3200, 9, 0.0012,
        gravity=0.97, mess=0.09, frame=0.062,
    ): 0.27,
    HairStyle(
        "wavy", (0.32, 0.28), (0.014, 0.018), (0.1, 1, 0, 0.6, 0, 0), (0, 0.3, 0, 0.35, 0, 1), 3200, 10, 0.0012,
        gravity=0.93, mess=0.2, wave=0.006, frame=0.064,
    ): 0.22,
    HairStyle(
        "bob", (0.21, 0.17), (0.014, 0.018), (0.1, 1, 0.1, 0.5, 0, 0), (0, 0.4, 0, 0.1, 0, 1), 3600, 8, 0.0011,
        gravity=0.95, mess=0.1, frame=0.060, ends_above=-0.095,
    ): 0.16,
    HairStyle(
        "fringe", (0.30, 0.26), (0.010, 0.013), (0.1, 1, 0, 0.5, 0, 0), (0, 0.3, 0, 0.2, 0, 1), 3600, 9, 0.0012,
        gravity=0.97, mess=0.1, frame=0.062, fringe=0.026,
    ): 0.12,
    HairStyle(
        "tied", (0.13, 0.11), (0.006, 0.005), (0.1, 0.25, 0, 1, 0, 0.05), (0, 0, 0, 1, 0, -0.25), 3600, 7, 0.0011,
        mess=0.06, frame=0.066, loose=0.2,
    ): 0.17,
    HairStyle(
        "pixie", (0.060, 0.034), (0.016, 0.009), (0.2, 0.1, 0.9, 0, 0.7, 0), (0.2, 0, 0, 0.25, 0.25, 1), 4300, 6,
        gravity=0.3, fringe=0.036,
    ): 0.06,
}  # fmt: skip

STYLES: dict[str, HairStyle] = {style.name: style for style in (*_MEN, *_WOMEN)}
MEN_SHARES = {style.name: share for style, share in _MEN.items()}
WOMEN_SHARES = {style.name: share for style, share in _WOMEN.items()}


# Seeded hair, beard and brows of a person.


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
