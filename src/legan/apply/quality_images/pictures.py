"""One picture to make for a set of images to rate, and the kinds and settings that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from legan.synthesis.eigenfaces import SAMPLES
from legan.synthesis.light_faults import LIGHT_FAULTS
from legan.synthesis.realism import GRADES
from legan.synthesis.swaps import SWAPS

# Shares of a set. What is left, and what a kind cannot fill, becomes degraded pictures.
SHARES = {
    "photo": 0.03, "render": 0.10, "graded": 0.09, "relit": 0.11, "warp": 0.08, "swap": 0.08, "edit": 0.10, "sample": 0.06,
}  # fmt: skip
FAKES = ("graded", "relit", "warp", "swap", "edit", "sample")
RIGHT = "right"  # relit photos as they are
GENERATED = "generated"  # domain of all that was made from faces of other domains
_HELD_OUT = 0.25  # of a kind's settings

# Setting -> way to warp, size of the movement, and fault by design.
WARPS: dict[str, tuple[str, float, float]] = {
    "squares": ("squares", 1.0, 0.35),
    "spline": ("spline", 1.0, 0.4),
    "affine": ("affine", 1.0, 0.5),
    "squares-strong": ("squares", 1.7, 0.65),
    "spline-strong": ("spline", 1.7, 0.7),
    "affine-strong": ("affine", 1.7, 0.8),
    "spline-shaky": ("spline", 1.0, 0.85),
    "affine-shaky": ("affine", 1.0, 1.0),
}


@dataclass(frozen=True)
class Picture:
    """One picture to make.

    Args:
        name: its file, the name by which ratings speak of it.
        kind, setting, fault, reference, degradation, strength: as the manifest has them.
        sources: rows of the catalogue; what they are for depends on the kind.
        seed: of everything random in it.
        facts: identity, expression, lighting, domain, split, source, licence.
    """

    name: str
    kind: str
    setting: str
    fault: float
    sources: tuple[int, ...]
    seed: int
    facts: Mapping[str, str]
    reference: str = ""
    degradation: str = "none"
    strength: float = 0.0


@dataclass(frozen=True)
class EditorFile:
    """An editor to make GAN edits with: `setting` such as step0400, and its fault by design."""

    path: str
    setting: str
    fault: float


def settings_of_kinds(editors: Sequence[EditorFile]) -> dict[str, dict[str, float]]:
    """Kind -> its settings with their faults; kinds that have but one are not named."""
    return {
        "graded": {name: fault for name, (_, fault) in GRADES.items()},
        "relit": {RIGHT: 0.0, **{name: fault for name, (_, fault) in LIGHT_FAULTS.items()}},
        "warp": {name: fault for name, (_, _, fault) in WARPS.items()},
        "swap": {name: fault for name, (_, fault) in SWAPS.items()},
        "edit": {editor.setting: editor.fault for editor in editors},
        "sample": {name: fault for name, (_, fault) in SAMPLES.items()},
    }


def held_out(settings: Sequence[str], seed: int, kind: str) -> set[str]:
    """A quarter of the settings; the clean one never."""
    faulty = [name for name in settings if name != RIGHT]
    random = np.random.default_rng([seed, list(SHARES).index(kind), 1])
    return {faulty[i] for i in random.permutation(len(faulty))[: round(_HELD_OUT * len(faulty))]}
