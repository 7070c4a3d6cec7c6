"""The rated data set: crops with the mean and the standard deviation of their ratings, and batches of them for training Q.

Augmentation is a flip and a small shift of the crop's window, nothing else: whatever changes the image may change how natural it is.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from legan.core.errors import DataError
from legan.core.geometry import CROP_SIZE
from legan.core.images import to_network
from legan.data.manifest import image_names, read_crop, read_manifest
from legan.data.ratings import own_names

if TYPE_CHECKING:
    import pandas as pd


class RatedImages:
    """Crops of one split with their labels, decoded in memory.

    Attributes: `images` uint8 (n, size, size, 3); `names`, `kinds` (n,) text; `mean`, `std` (n,) float32; `rows` of the manifest.

    Args:
        folders: data set folders; their image names must differ from one another.
        labels: `name, mean, std, split`.
        split: train, val or test.
        size: side of the crops in pixels.

    Raises:
        DataError: a folder that cannot be used, two images of one name, a label without an image, an image of another size, a
            person whose images are in different splits, or no image of this split.
    """

    def __init__(self, folders: Sequence[Path], labels: "pd.DataFrame", split: str, size: int = CROP_SIZE) -> None:
        self.size = size
        self.folders = [Path(folder) for folder in folders]
        frame = _joined(self.folders, labels)
        self.rows = frame[frame["label_split"] == split].sort_values("name", ignore_index=True)
        if self.rows.empty:
            raise DataError(f"the labels hold no image of the split '{split}': give some identities that split")
        self.names = self.rows["name"].to_numpy(object)
        self.kinds = (self.rows["kind"] if "kind" in self.rows else self.rows["domain"]).to_numpy(object)
        self.mean, self.std = (self.rows[name].to_numpy(np.float32) for name in ("mean", "std"))
        with ThreadPoolExecutor() as pool:
            self.images = np.stack(list(pool.map(self._decode, self.rows.to_dict("records"))))

    def __len__(self) -> int:
        return len(self.names)

    def facts(self) -> list[dict[str, Any]]:
        """Where the images come from, folder by folder: name, sources, licences, raters, numbers of people and images."""
        found = []
        raters = sorted(set(self.rows["raters"].dropna()) - {""}) if "raters" in self.rows else []
        for index, folder in enumerate(self.folders):
            rows = self.rows[self.rows["folder"] == index]
            found.append(
                {
                    "name": folder.resolve().name,
                    "source": sorted(set(rows["source"])),
                    "licence": sorted(set(rows["licence"])),
                    "raters": ", ".join(raters) or "as the label file gives them",
                    "n_identities": int(rows["identity"].nunique()),
                    "n_images": len(rows),
                }
            )
        return found

    def _decode(self, row: Mapping[str, Any]) -> np.ndarray:
        folder = self.folders[row["folder"]]
        return read_crop(folder, row, self.size)


def _joined(folders: Sequence[Path], labels: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    if not folders:
        raise DataError("no data: name the data set that was rated with --data")
    frame = pd.concat([read_manifest(folder).assign(folder=i) for i, folder in enumerate(folders)], ignore_index=True)
    frame["name"] = image_names(frame)
    if frame["name"].duplicated().any():
        raise DataError(
            f"two images are called '{frame['name'][frame['name'].duplicated()].iloc[0]}': give each a name of its own"
        )
    labels = labels.assign(name=own_names(labels["name"], frame["name"], " and ".join(map(str, folders))))
    if labels["name"].duplicated().any():
        raise DataError(
            f"the labels name '{labels['name'][labels['name'].duplicated()].iloc[0]}' twice: keep one line an image"
        )
    joined = frame.merge(labels.rename(columns={"split": "label_split"}), on="name", how="right")
    splits = joined.groupby(["source", "identity"])["label_split"].nunique()
    if (splits > 1).any():
        _, identity = splits.index[int(splits.argmax())]
        raise DataError(f"images of identity '{identity}' are in different splits of the labels: keep every person in one")
    return joined


class RatedBatches:
    """Random crops of a step as a pure function of (seed, step, place): `x` (B, 3, H, W) in [-1, 1], `mean` and `std` (B,).

    Args:
        images: the training images.
        batch_size: images of a step, over all processes.
        shift: largest shift of the crop's window in pixels; the border is reflected.
        flip: mirror half of the images.
        seed: of all draws.
    """

    def __init__(self, images: RatedImages, batch_size: int, shift: int, flip: bool, seed: int) -> None:
        self.images, self.batch_size, self.shift, self.flip, self.seed = images, batch_size, shift, flip, seed

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        random = np.random.default_rng([self.seed, step])
        mine = slice(rank, None, n_ranks)
        index = self._indices(step)[mine]
        shifts = random.integers(-self.shift, self.shift + 1, (self.batch_size, 2))[mine]
        flipped = ((random.random(self.batch_size) < 0.5) & self.flip)[mine]
        images = np.stack(
            [shifted(self.images.images[i], y, x, self.shift) for i, (y, x) in zip(index, shifts.tolist(), strict=True)]
        )
        images[flipped] = images[flipped, :, ::-1]
        labels = {name: torch.from_numpy(getattr(self.images, name)[index]) for name in ("mean", "std")}
        return {"x": to_network(images), **labels}

    def _indices(self, step: int) -> np.ndarray:
        """The images of a step: the data in a new order for each epoch, every image once."""
        n = len(self.images)
        first = step * self.batch_size
        orders = {
            epoch: np.random.default_rng([self.seed, epoch, 1]).permutation(n)
            for epoch in range(first // n, (first + self.batch_size - 1) // n + 1)
        }
        return np.array([orders[place // n][place % n] for place in range(first, first + self.batch_size)])


def shifted(image: np.ndarray, down: int, right: int, most: int) -> np.ndarray:
    """Return the window of `image` (H, W, 3) that lies `down` and `right` pixels off (at most `most`), the border reflected."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((most, most), (most, most), (0, 0)), "reflect")
    return padded[most + down : most + down + height, most + right : most + right + width]
