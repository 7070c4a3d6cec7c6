"""The faces that images to rate are made from: the crops of several data set folders, with landmarks."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.crop import CROP_SIZE
from legan.core.errors import DataError
from legan.core.images import read_pixels
from legan.core.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd

CLEAN_DOMAINS = ("photo", "render", "relit")
_FACTS = ("identity", "expression", "lighting", "domain", "split", "source", "licence")
_MIN_CONFIDENCE = 0.3  # of relit photos, where the folder tells it: what is below is no clean picture
_N_KEPT = 512  # decoded crops in memory


class Catalogue:
    """All clean crops of some folders, by row number.

    Attributes: `rows` manifest entries with `folder` (its index); `takes` {(folder, identity, expression): {lighting: row}} of
    the domains whose pictures differ in nothing else.

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
        """The pictures that differ from a row in lighting alone, by lighting; itself among them, none for a photo."""
        row = self.rows[number]
        return self.takes.get((row["folder"], row["identity"], row["expression"]), {})

    def _image(self, number: int) -> np.ndarray:
        """RGB uint8 (128, 128, 3)."""
        row = self.rows[number]
        folder = self.folders[row["folder"]]
        array = read_pixels(folder, row, f"image {row['key'] or row['path']} in {folder}")
        if array.shape != (CROP_SIZE, CROP_SIZE, 3):
            size = f"{array.shape[1]}x{array.shape[0]}"
            raise DataError(
                f"image {row['key'] or row['path']} in {folder} is {size} pixels, not {CROP_SIZE}x{CROP_SIZE}: align it"
            )
        return array

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
