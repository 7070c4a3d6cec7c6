"""The hairstyles, as numbers that `hair_strands` grows hair by. Tuned by eye on renders.

Lengths and heights are metres. Directions are weights of the six basis fields in SWEEPS; a style has one set for the top of the
head and one for its sides, and hair in between mixes them.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    width: float = 0.0008  # of a strand; real hair is finer, but a picture's sample is 0.5 mm
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
