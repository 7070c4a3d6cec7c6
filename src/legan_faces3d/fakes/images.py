"""Images that fakes are made from and those planned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.errors import DataError
from legan.core.geometry import CROP_SIZE
from legan.data.manifest import read_crop, read_manifest
from legan_faces3d.fakes.eigenfaces import SAMPLES
from legan_faces3d.fakes.light_faults import LIGHT_FAULTS
from legan_faces3d.fakes.warps_and_swaps import SWAPS
from legan_faces3d.render.realism import GRADES

if TYPE_CHECKING:
    import pandas as pd


# One image to make for a set of images to rate, and the kinds and settings that there are.


# Shares of a set. What is left, and what a kind cannot fill, becomes degraded images.
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
class PlannedImage:
    """One image to make.

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


# The faces that images to rate are made from: the crops of several data set folders, with landmarks.


CLEAN_DOMAINS = ("photo", "render", "relit")
_FACTS = ("identity", "expression", "lighting", "domain", "split", "source", "licence")
_MIN_CONFIDENCE = 0.3  # of relit photos, where the manifest has it: below, an image does not count as clean
_N_KEPT = 512  # decoded crops in memory


class Catalogue:
    """All clean crops of some folders, by row number.

    Attributes: `rows` manifest entries with `folder` (its index); `takes` {(folder, identity, expression): {lighting: row}} of
    the domains whose images differ in nothing else.

    Args:
        folders: data set folders. Fakes and relit photos of little confidence are left out. In a folder without a split `test` every
            other person of `val` is given to it.

    Raises:
        DataError: no folder, one that cannot be used, one without faces, or a person in different splits of two folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [Path(folder) for folder in folders]
        self.rows: list[dict[str, Any]] = []
        for index, folder in enumerate(self.folders):
            frame = read_manifest(folder)
            frame = frame[frame["domain"].isin(CLEAN_DOMAINS)]
            if "confidence" in frame:
                frame = frame[frame["confidence"].fillna(1) >= _MIN_CONFIDENCE]
            if frame.empty:
                raise DataError(
                    f"{folder} holds no face of the domains {', '.join(CLEAN_DOMAINS)}: name a set of photos or renders"
                )
            frame = _with_test(frame)
            self.rows += [
                {str(name): value for name, value in row.items()} | {"folder": index} for row in frame.to_dict("records")
            ]
        _check_splits(self.rows)
        self.takes: dict[tuple[int, str, str], dict[str, int]] = {}
        for number, row in enumerate(self.rows):
            if row["domain"] != "photo":
                take = self.takes.setdefault((row["folder"], row["identity"], row["expression"]), {})
                take.setdefault(row["lighting"], number)
        self.image = lru_cache(maxsize=_N_KEPT)(self._image)
        self.points = lru_cache(maxsize=_N_KEPT)(self._points)

    def __len__(self) -> int:
        return len(self.rows)

    def facts(self, number: int) -> dict[str, str]:
        """Identity, conditions, domain, split, source and licence of a row."""
        return {name: self.rows[number][name] for name in _FACTS}

    def take(self, number: int) -> dict[str, int]:
        """The images that differ from a row in lighting alone, by lighting; itself among them, none for a photo."""
        row = self.rows[number]
        return self.takes.get((row["folder"], row["identity"], row["expression"]), {})

    def _image(self, number: int) -> np.ndarray:
        """RGB uint8 (128, 128, 3)."""
        row = self.rows[number]
        return read_crop(self.folders[row["folder"]], row, CROP_SIZE)

    def _points(self, number: int) -> np.ndarray:
        """Landmarks (68, 2) float32 in crop pixels, located where the manifest has none."""
        known = self.rows[number]["landmarks"]
        if known is not None:
            return np.asarray(known, np.float32).reshape(-1, 2)
        from legan.faces.landmarks import locate_in_crop

        return locate_in_crop(self.image(number))


def _with_test(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Give every other person of `val`, by name, to `test` where nobody is in it: Q is measured on photos too."""
    if (frame["split"] == "test").any():
        return frame
    moved = sorted(frame.loc[frame["split"] == "val", "identity"].unique())[1::2]
    return frame.assign(split=frame["split"].mask(frame["identity"].isin(moved), "test"))


def _check_splits(rows: Sequence[dict[str, Any]]) -> None:
    split_of: dict[str, str] = {}
    for row in rows:
        if split_of.setdefault(row["identity"], row["split"]) != row["split"]:
            raise DataError(f"identity '{row['identity']}' is in different splits of the folders: keep every person in one")
