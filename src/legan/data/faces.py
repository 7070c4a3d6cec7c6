"""Face data sets: crops of one or several manifest folders; for editors with their conditions and their true counterparts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track

from legan.core.conditions import STANDARD, Classes, expression_name
from legan.core.errors import DataError, nearest
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.inputs import folder_at
from legan.core.places import AddressFolder
from legan.data.manifest import EVEN_LIGHT, MANIFEST, MATTE_COLUMNS, DataFolder, no_split, read_crop, read_manifest, read_pixels

if TYPE_CHECKING:
    import pandas as pd


# Domains whose images of one identity differ in nothing but the conditions. Two photos of a person differ in pose and more.
PAIRED_DOMAINS = ("render", "relit", "reexpressed")
N_LANDMARKS = 68
_ROW = ("path", "offset", "n_bytes", "key", "sha256")  # what reading an image takes


class LabelledFaces:
    """Face crops of one split, with who they show and the expression that each is labelled with, whatever the labels are.

    Attributes, one entry an image: `person` number, the same in all folders that name this source and identity; `domain` name;
    `label`, the name of the expression, "" where unknown; `folder` index of the folder; `identity` number, never shared between
    folders.

    Args:
        folders: data set folders, of this machine or at addresses.
        split: train, val or test.
        size: side of the crops in pixels; None: that of the first image.
        memory_gb: keep all images decoded when they take less than this; else each is decoded whenever it is drawn.

    Raises:
        DataError: a folder that cannot be used, an image of another size, or no image of this split.
    """

    def __init__(
        self, folders: Sequence[str | Path | AddressFolder], split: str, size: int | None = CROP_SIZE, memory_gb: float = 8.0
    ) -> None:
        self._read(folders, split, size)
        self._load(memory_gb)

    def _read(self, folders: Sequence[str | Path | AddressFolder], split: str, size: int | None) -> "pd.DataFrame":
        self.folders = [folder_at(folder) for folder in folders]
        frame = _read_folders(self.folders, split)
        self.rows = [dict(zip(_ROW, row, strict=True)) for row in frame[list(_ROW)].itertuples(index=False)]
        self.folder = frame["folder"].to_numpy(np.int64)
        self.size = read_pixels(self.folders[self.folder[0]], self.rows[0]).shape[0] if size is None else size
        self.identity = frame.groupby(["folder", "identity"], sort=True).ngroup().to_numpy(np.int64)
        self.person = frame.groupby(["source", "identity"], sort=True).ngroup().to_numpy(np.int64)
        self.domain, self.label = frame["domain"].to_numpy(), frame["expression"].to_numpy()
        self._origins = frame[["folder", "source", "licence"]]
        return frame

    def _load(self, memory_gb: float) -> None:
        fits = len(self) * self.size * self.size * 3 < memory_gb * 1e9
        self._memory = self._decode_all() if fits else None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_identities(self) -> int:
        """Number of different people, counted in each folder."""
        return int(self.identity.max()) + 1

    def of_folder(self, column: str, folder: int) -> list[str]:
        """Return the different entries of the column `source` or `licence` in one folder."""
        return sorted(set(self._origins.loc[self._origins["folder"] == folder, column]))

    def facts(self) -> list[dict[str, object]]:
        """Where the images come from, folder by folder, without any path of this machine."""
        return [
            {
                "name": folder.name,
                "manifest_sha256": sha256_of(folder / MANIFEST),
                "source": self.of_folder("source", index),
                "licence": self.of_folder("licence", index),
                "n_identities": len(np.unique(self.identity[self.folder == index])),
                "n_images": int((self.folder == index).sum()),
            }
            for index, folder in enumerate(self.folders)
        ]

    def images(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return crops, uint8 (B, size, size, 3).

        Raises:
            DataError: an image that cannot be decoded, or of another size; the message names it.
        """
        if self._memory is not None:
            return self._memory[np.asarray(indices)]
        return np.stack([self._decode(int(index)) for index in indices])

    def _decode(self, index: int) -> np.ndarray:
        row, folder = self.rows[index], self.folders[self.folder[index]]
        return read_crop(folder, row, self.size)

    def _decode_all(self) -> np.ndarray:
        images = np.empty((len(self), self.size, self.size, 3), np.uint8)
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(self._decode, range(len(self)))
            console = Console(stderr=True)
            for index, image in enumerate(
                track(decoded, "reading images", len(self), console=console, transient=True, disable=not console.is_terminal)
            ):
                images[index] = image
        return images


class FaceDataset(LabelledFaces):
    """Face crops of one split.

    Attributes, one entry an image: `person` number, the same in all folders that name this source and identity; `domain` name;
    `folder` index of the folder; `identity` number, never shared between folders; `take` number of the image that it was made
    from; `expression` and `lighting` numbers within `classes`, the latter -1 for a photo under its own even light;
    `mattes`, where in its folder an image's matte lies, as a row that `read_bytes` takes, or None;
    `landmarks` (68, 2), x and y in fractions of the side, -1 where the data has none. `truth` (n_takes, 6, 20) holds the image of
    a take under each condition of `classes`, -1 where the data has none, or several between which it does not tell; `has_pair` (n,) says
    whether the truths of an image are the same image under other conditions.

    A take is one person in one pose: all renders of a person, or all that was made from one photo, recognized by its alignment,
    in whichever folder. Two photos of a person are two takes.

    Args:
        folders: data set folders, of this machine or at addresses.
        split: train, val or test.
        paired_domains: domains of images that may stand as another image's truth.
        size: side of the crops in pixels; None: that of the first image.
        memory_gb: keep all images decoded when they take less than this; else each is decoded whenever it is drawn.
        classes: the expressions and lightings that the data has.

    Raises:
        DataError: a folder that cannot be used, an image of another size, an unknown condition, or no image of this split.

    Example:
        >>> train = legan.FaceDataset(["data/rendered"], "train")
        >>> train.images([0, 1]).shape, train.n_identities
        ((2, 128, 128, 3), 8)
    """

    def __init__(
        self,
        folders: Sequence[str | Path | AddressFolder],
        split: str,
        paired_domains: Sequence[str] = PAIRED_DOMAINS,
        size: int | None = CROP_SIZE,
        memory_gb: float = 8.0,
        classes: Classes = STANDARD,
    ) -> None:
        frame, self.classes = self._read(folders, split, size), classes
        own = frame["expression"].map(partial(_expression, names=classes.expressions))
        self.expression = _numbers(own, classes.expressions, "expression", classes)
        lighting = _numbers(frame["lighting"].map(_lower), (*classes.lighting_names, EVEN_LIGHT), "lighting", classes)
        self.lighting = np.where(lighting < len(classes.lightings), lighting, -1)
        self.take = _takes(frame)
        self.landmarks = _landmarks(frame["landmarks"], self.size)
        self.mattes = _matte_rows(frame)
        self.truth, self.has_pair = self._pairs(frame["domain"], paired_domains)
        self._load(memory_gb)

    def _pairs(self, domains: "pd.Series", paired_domains: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        keys = (self.take, self.expression, self.lighting)  # even light, -1, counts beside the classes
        shape = (int(self.take.max()) + 1, len(self.classes.expressions), len(self.classes.lightings) + 1)
        counts = np.zeros(shape, np.int64)
        np.add.at(counts, keys, 1)
        # Of two images under one condition, neither is known to be the same take as a third.
        is_unique = counts[keys] == 1
        is_truth = is_unique & domains.isin(list(paired_domains)).to_numpy() & (self.lighting >= 0)
        truth = np.full(shape, -1, np.int64)
        truth[tuple(key[is_truth] for key in keys)] = np.flatnonzero(is_truth)
        return truth[..., :-1], is_unique & (domains != "generated").to_numpy()


def load_dataset(folders: str | Path | Sequence[str | Path], split: str = "train", size: int = CROP_SIZE) -> FaceDataset:
    """Return the face crops of one split of one or several data set folders, with their conditions and true counterparts.

    Args:
        folders: such as `legan render`, `legan relight`, `legan reexpress` and `legan import` write.
        split: train, val or test.
        size: side of the crops in pixels.

    Raises:
        DataError: as `FaceDataset`.

    Example:
        >>> faces = legan.load_dataset("data/rendered", split="test")
        >>> image = faces.images([0])[0]  # uint8 RGB
        >>> expression, lighting = legan.EXPRESSIONS[faces.expression[0]], legan.LIGHTINGS[faces.lighting[0]]
        >>> smile = faces.truth[faces.take[0], 1, faces.lighting[0]]  # the same person, smiling under the same light
        >>> image.shape, expression, lighting.name, legan.EXPRESSIONS[faces.expression[smile]]
        ((128, 128, 3), 'neutral', '03', 'smile')
    """
    several = [folders] if isinstance(folders, (str, Path)) else folders
    return FaceDataset(several, split, size=size)


def _read_folders(folders: Sequence[DataFolder], split: str) -> "pd.DataFrame":
    import pandas as pd

    if not folders:
        raise DataError("no data: name a data set folder with --data, such as `legan render` makes")
    frame = pd.concat([read_manifest(folder).assign(folder=i) for i, folder in enumerate(folders)], ignore_index=True)
    splits = frame.groupby(["source", "identity"])["split"].nunique()
    if (splits > 1).any():
        source, identity = splits.index[int(splits.argmax())]
        raise DataError(f"identity '{identity}' of {source} is in different splits of the folders: keep every person in one")
    chosen = frame[frame["split"] == split].reset_index(drop=True)
    for index, folder in enumerate(folders):
        if not (chosen["folder"] == index).any():
            own = frame[frame["folder"] == index].groupby("split")["identity"].nunique()
            raise DataError(no_split(folder, split, {str(name): int(n) for name, n in own.items()}))
    return chosen


def _expression(word: Any, names: Sequence[str]) -> Any:
    """An expression as `names` call it; a word that means none as it is."""
    return (expression_name(word, names) or word) if isinstance(word, str) else word


def _lower(word: Any) -> Any:
    return word.lower() if isinstance(word, str) else word


def _numbers(column: "pd.Series", names: Sequence[str], what: str, classes: Classes) -> np.ndarray:
    """The numbers of a column's entries within `names`; the first of those that stand there twice."""
    unknown = sorted(set(column) - set(names))
    if unknown:
        hint = "" if not classes.is_standard else f"; a training takes the data's own names by --set 'data.{what}s=[...]'"
        raise DataError(
            f"unknown {what} '{unknown[0]}' in the data: choose from {', '.join(names)}{nearest(unknown[0], names)}{hint}"
        )
    return column.map({name: index for index, name in reversed(list(enumerate(names)))}).to_numpy(np.int64)


def _takes(frame: "pd.DataFrame") -> np.ndarray:
    """Number of each image's take: of renders by folder and person, of what photos were made into by person and alignment."""
    alignment = frame["alignment"].map(lambda numbers: "" if numbers is None else np.asarray(numbers).round(4).tobytes().hex())
    folder = frame["folder"].where(alignment == "", -1)
    return frame.groupby([folder, frame["source"], frame["identity"], alignment]).ngroup().to_numpy(np.int64)


def _landmarks(column: "pd.Series", size: int) -> np.ndarray:
    """Landmarks (n, 68, 2) float32 in fractions of the side; -1 where there are none."""
    points = np.full((len(column), N_LANDMARKS, 2), -1, np.float32)
    known = column.notna().to_numpy()
    if known.any():
        points[known] = np.stack(column[known].to_list()).reshape(-1, N_LANDMARKS, 2) / size
    return points


def _matte_rows(frame: "pd.DataFrame") -> list[dict[str, Any] | None]:
    """Where each image's matte lies, or None."""
    if not set(MATTE_COLUMNS) <= set(frame.columns):
        return [None] * len(frame)
    columns = frame[["path", *MATTE_COLUMNS]].itertuples(index=False)
    return [
        {"path": path, "offset": int(offset), "n_bytes": int(n_bytes)} if offset >= 0 else None
        for path, offset, n_bytes in columns
    ]
