"""Ladders of one picture under one fault that grows: which of two steps is the more natural is known without any rater.

What ratings by few raters say about small differences is mostly noise; an order that is known by construction is not (Liu, van de
Weijer and Bagdanov, "RankIQA", ICCV 2017). Only clean training pictures are taken.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from legan.core.errors import ConfigError
from legan.core.images import to_network
from legan.data.rated import RatedBatches, RatedImages, shifted
from legan.faces.landmarks import locate_in_crop
from legan.synthesis.degradations import DEGRADATIONS, degrade, known_fault

N_STEPS = 4  # of a ladder, of five strengths
MIN_STEP, MAX_STEP = 0.15, 1 / N_STEPS  # of the strength: less is hardly seen, more does not fit


class RankedBatches:
    """The batches of `rated` with ladders besides, a pure function of (seed, step, place).

    Further entries: `ladders` (L, 5, 3, H, W) in [-1, 1], one picture under one fault of five strengths that grow by even steps, and
    `rise` (L,), by how much they grow from one to the next, 0.15 to 0.25.

    Args:
        rated: batches of rated images.
        n_ladders: ladders a step, over all processes.
        faults: names of `DEGRADATIONS`, each as often as it is named.

    Raises:
        ConfigError: there is no such fault, or none is named.
    """

    def __init__(self, rated: RatedBatches, n_ladders: int, faults: Sequence[str] = tuple(DEGRADATIONS)) -> None:
        self.rated, self.n_ladders, self.batch_size = rated, n_ladders, rated.batch_size
        self.faults = [known_fault(name) for name in faults]
        if not self.faults:
            raise ConfigError("rank_faults is empty: name faults, or set rank=0")
        self.clean = clean_images(rated.images)
        self._points: dict[int, np.ndarray] = {}

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        """Return the share of process `rank`.

        Raises:
            ConfigError: there are fewer ladders than processes.
        """
        if self.n_ladders < n_ranks:
            raise ConfigError(f"rank_ladders={self.n_ladders} is less than one for each process: give more, or set rank=0")
        random = np.random.default_rng([self.rated.seed, step, rank, 2])
        made = [self._ladder(random) for _ in range(self.n_ladders // n_ranks)]
        pictures = np.stack([picture for ladder, _ in made for picture in ladder])
        rises = torch.tensor([rise for _, rise in made], dtype=torch.float32)
        return {**self.rated(step, rank, n_ranks), "ladders": to_network(pictures).unflatten(0, (len(made), -1)), "rise": rises}

    def _ladder(self, random: np.random.Generator) -> tuple[list[np.ndarray], float]:
        index, name = int(random.choice(self.clean)), str(random.choice(self.faults))
        rise = random.uniform(MIN_STEP, MAX_STEP)
        first = random.uniform(0, 1 - N_STEPS * rise)
        seed, most = int(random.integers(2**31)), self.rated.shift
        # Half of them as they lie: in files of crops JPEG's blocks begin at the corner.
        down, right = random.integers(-most, most + 1, 2).tolist() if random.random() < 0.5 else (0, 0)
        mirror = -1 if self.rated.flip and random.random() < 0.5 else 1
        image, points = self.rated.images.images[index], self._landmarks(index)
        strengths = [min(first + i * rise, 1.0) for i in range(N_STEPS + 1)]
        made = (degrade(name, image, points, strength, seed) for strength in strengths)
        return [shifted(each, down, right, most)[:, ::mirror] for each in made], rise

    def _landmarks(self, index: int) -> np.ndarray:
        if index not in self._points:
            self._points[index] = locate_in_crop(self.rated.images.images[index])
        return self._points[index]


def clean_images(images: RatedImages) -> np.ndarray:
    """Numbers of the images that have no known fault; all of them where the data does not tell."""
    is_clean = np.ones(len(images), bool)
    for column, clean in (("degradation", "none"), ("fault", 0)):
        if column in images.rows:
            is_clean &= (images.rows[column] == clean).to_numpy()
    return np.flatnonzero(is_clean) if is_clean.any() else np.arange(len(images))
