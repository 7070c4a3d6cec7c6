"""Batches for an editor that keeps what it is not asked for: pairs in which expression, light or both change, under any light.

An attribute that an edit keeps has a code of zeros. The source of an expression edit stands under a mixture of lamps, or its own
light, and its truth under the very same; the truth of an edit of light is one of the twenty classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import ConfigError, DataError, ImageError
from legan.core.formats import decoded
from legan.core.images import to_network
from legan.core.manifest import read_bytes
from legan.data import variety
from legan.data.faces import FaceDataset
from legan.data.lamps import ROOM, Lamps, draw_lamps, mixed
from legan.data.loaders import DataConfig, FolderSampler, codes
from legan.data.transforms import apply_tones, draw_tones, flip_images, flip_lightings, flip_points

_N_BACKDROPS = 400
_UNKNOWN = -1


@dataclass(frozen=True)
class EditsConfig:
    """Which edits are learned, and from what inputs.

    Args:
        tasks: shares of edits of the expression alone, of light alone, and of both.
        unpaired: chance that the target expression is one of which the data holds no truth.
        lamps: chance that a source which is not a photo under its own light stands under a mixture of lamps, not under a class.
        backdrops: chance of another backdrop, where the data holds the person's matte.
        jitter, degradation, grey: chances of imperfect alignment, of a poor camera or file, of a picture without colour.
    """

    tasks: tuple[float, float, float] = (0.45, 0.3, 0.25)
    unpaired: float = 0.0
    lamps: float = 0.7
    backdrops: float = 0.5
    jitter: float = 0.7
    degradation: float = 0.35
    grey: float = 0.07


class Edit(NamedTuple):
    """One pair: take and expression of the source, target expression; `lighting` is the source's class, the number of `lamps`, or
    -1 for a photo under its own light; target lighting; what the edit asks for; whether the data holds its truth."""

    take: int
    expression_src: int
    expression_trg: int
    lighting_src: int
    lighting_trg: int
    lamps: Lamps | None
    asks_expression: bool
    asks_lighting: bool
    has_true: bool


class EditBatches:
    """Batches as `FaceBatches` makes them, a pure function of (seed, rank, step); kept attributes have codes of zeros.

    Besides there are `expression_back` (B, 6) and `lighting_back` (B, 20), the codes that bring the target back to the source, and
    `can_return` (B,), 1 where they do: not from an edit of light whose source stands under no class.

    Raises:
        ConfigError: shares that are negative or all zero, or folders without the twenty lightings.
    """

    def __init__(self, dataset: FaceDataset, config: DataConfig, edits: EditsConfig, seed: int) -> None:
        self.dataset, self.config, self.edits, self.seed = dataset, config, edits, seed
        self.batch_size = config.batch_size
        shares = np.array(edits.tasks)
        if (shares < 0).any() or not shares.sum() > 0:
            raise ConfigError(f"edits.tasks={list(edits.tasks)} are no shares: give three numbers from 0, not all 0")
        self._shares = shares / shares.sum()
        self._sampler = FolderSampler(dataset, config)
        self._classes = dataset.truth  # (takes, 6, 20), -1 where there is none
        self._own_light = _crops_under_own_light(dataset)  # (takes, 6)
        self._is_complete: np.ndarray = np.all(self._classes >= 0, axis=2)  # (takes, 6): all lightings are there
        if not self._is_complete.any():
            raise ConfigError("no folder holds a face under all twenty lightings: `legan render` or `legan relight` makes such")
        self._mattes = _Mattes(dataset)
        self._backdrops: dict[int, np.ndarray] = {}

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        """Return the share of process `rank` of the batch of `step`."""
        rng = np.random.default_rng([self.seed, rank, step])
        sources = self._sampler.draw(rng, self.batch_size // n_ranks)
        edits = [self._draw(rng, int(source)) for source in sources]
        return self._collate(rng, edits)

    def _draw(self, rng: np.random.Generator, source: int) -> Edit:
        data, config = self.dataset, self.edits
        take, expression, lighting = (int(of[source]) for of in (data.take, data.expression, data.lighting))
        complete = np.flatnonzero(self._is_complete[take])
        lamps = None
        if lighting != _UNKNOWN and expression in complete and rng.random() < config.lamps:
            lamps, lighting = draw_lamps(rng), _UNKNOWN

        # Targets: expressions that the take holds under all lightings, or, of a photo under its own light, under that too.
        task = rng.choice(3, p=self._shares)
        others = (
            complete if lamps is not None or lighting != _UNKNOWN or task == 2 else np.flatnonzero(self._own_light[take] >= 0)
        )
        asks_expression, asks_lighting = task != 1, task != 0
        target, has_true = expression, True
        if asks_expression and rng.random() < config.unpaired:
            target, has_true = int(rng.integers(len(EXPRESSIONS))), False
        elif asks_expression and len(others) > 1:
            target = int(rng.choice(others))
        elif asks_expression:  # no other expression has a truth: light alone
            asks_expression, asks_lighting = False, True
        target_lighting = int(rng.integers(len(LIGHTINGS))) if asks_lighting else lighting
        if asks_lighting and has_true and not self._is_complete[take, target]:
            known = np.flatnonzero(self._classes[take, target] >= 0)
            target_lighting, has_true = (int(rng.choice(known)), True) if len(known) else (target_lighting, False)
        return Edit(take, expression, target, lighting, target_lighting, lamps, asks_expression, asks_lighting, has_true)

    def _collate(self, rng: np.random.Generator, edits: list[Edit]) -> dict[str, Tensor]:
        n, size = len(edits), self.dataset.size
        x_real, x_true = (np.empty((n, size, size, 3), np.uint8) for _ in range(2))
        points_real, points_true = (np.empty((n, 68, 2), np.float32) for _ in range(2))
        flipped = (rng.random(n) < 0.5) & self.config.flip
        tones = draw_tones(rng, n, self.config.tone)
        for i, edit in enumerate(edits):
            real, true = self._images(edit)
            points = [self.dataset.landmarks[self._row(edit.take, e)] for e in (edit.expression_src, edit.expression_trg)]
            x_real[i], x_true[i], points_real[i], points_true[i] = self._varied(rng, edit, real, true, points)
        x_real, x_true = (flip_images(apply_tones(x, tones), flipped) for x in (x_real, x_true))

        def lightings(classes: list[int]) -> Tensor:
            return codes(flip_lightings(np.array(classes), flipped), len(LIGHTINGS))

        def expressions(classes: list[int]) -> Tensor:
            return codes(np.array(classes), len(EXPRESSIONS))

        returns = [not e.asks_lighting or e.lighting_src != _UNKNOWN for e in edits]
        return {
            "x_real": to_network(x_real),
            "x_true": to_network(x_true),
            "points_real": torch.from_numpy(flip_points(points_real, flipped)),
            "points_true": torch.from_numpy(flip_points(points_true, flipped)),
            "has_true": torch.tensor([float(e.has_true) for e in edits]),
            "expression_src": expressions([e.expression_src for e in edits]),
            "lighting_src": lightings([e.lighting_src for e in edits]),
            "expression_trg": expressions([e.expression_trg if e.asks_expression else _UNKNOWN for e in edits]),
            "lighting_trg": lightings([e.lighting_trg if e.asks_lighting else _UNKNOWN for e in edits]),
            "expression_back": expressions([e.expression_src if e.asks_expression else _UNKNOWN for e in edits]),
            "lighting_back": lightings([e.lighting_src if e.asks_lighting else _UNKNOWN for e in edits]),
            "can_return": torch.tensor([float(r) for r in returns]),
        }

    def _images(self, edit: Edit) -> tuple[np.ndarray, np.ndarray]:
        """Source and truth, uint8 (size, size, 3); the source twice where there is no truth."""
        real = self._lit(edit.take, edit.expression_src, edit.lighting_src, edit.lamps)
        if not edit.has_true:
            return real, real
        lamps = None if edit.asks_lighting else edit.lamps
        return real, self._lit(edit.take, edit.expression_trg, edit.lighting_trg, lamps)

    def _lit(self, take: int, expression: int, lighting: int, lamps: Lamps | None) -> np.ndarray:
        if lamps is not None:
            crops = self.dataset.images(self._classes[take, expression, [ROOM, *lamps.classes]])
            return mixed(crops[0], crops[1:], lamps)
        index = self._own_light[take, expression] if lighting == _UNKNOWN else self._classes[take, expression, lighting]
        return self.dataset.images([index])[0]

    def _row(self, take: int, expression: int) -> int:
        """An image of a take and expression under any light; of the take alone where it has none of this expression."""
        rows = [*self._classes[take, expression], self._own_light[take, expression]]
        return int(max(rows)) if max(rows) >= 0 else int(np.flatnonzero(self.dataset.take == take)[0])

    def _varied(
        self, rng: np.random.Generator, edit: Edit, real: np.ndarray, true: np.ndarray, points: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source, truth and landmarks, the same done to both."""
        config, size = self.edits, self.dataset.size
        images = [real, true]
        target = edit.expression_trg if edit.has_true else edit.expression_src
        rows = self._row(edit.take, edit.expression_src), self._row(edit.take, target)
        if self._mattes.has(rows[0]) and self._mattes.has(rows[1]):
            mattes = [self._mattes.of(row) for row in rows]
            if rng.random() < config.backdrops:
                backdrop = variety.cut_backdrop(rng, self._backdrop(int(rng.integers(_N_BACKDROPS))), size)
                images = variety.before_backdrop(images, mattes, backdrop)
            elif edit.asks_lighting:
                # Light is asked for on the person: what lies behind stays as it is.
                images = [images[0], *variety.before_backdrop(images[1:], [np.maximum(*mattes)], images[0])]
        if rng.random() < config.jitter:
            matrix = variety.draw_jitter(rng, size)
            images = variety.jittered(images, matrix)
            points = [variety.moved_points(p, matrix, size) if p[0, 0] >= 0 else p for p in points]
        if rng.random() < config.grey:
            images = variety.grey(images)
        if rng.random() < config.degradation:
            images = variety.degraded(rng, images)
        return images[0], images[1], points[0], points[1]

    def _backdrop(self, number: int) -> np.ndarray:
        """One of the backdrops; each is drawn when it is first needed."""
        if number not in self._backdrops:
            self._backdrops[number] = variety.draw_backdrop(np.random.default_rng([self.seed, number]))
        return self._backdrops[number]


class _Mattes:
    """The mattes of a data set's crops, kept compressed: takes and expressions share them."""

    def __init__(self, dataset: FaceDataset) -> None:
        self._places = dataset.mattes
        self._dataset = dataset
        self._kept: dict[tuple[int, str, int], bytes] = {}

    def has(self, index: int) -> bool:
        return self._places[index] is not None

    def of(self, index: int) -> np.ndarray:
        """Matte, uint8 (size, size), of an image that has one."""
        folder, row = int(self._dataset.folder[index]), self._places[index]
        assert row is not None
        key = (folder, str(row["path"]), int(row["offset"]))
        if key not in self._kept:
            self._kept[key] = read_bytes(self._dataset.folders[folder], row)
        try:
            with decoded(self._kept[key], f"a matte in {key[1]} of {self._dataset.folders[folder]}") as image:
                return np.asarray(image.convert("L"))
        except ImageError as error:
            raise DataError(str(error)) from error


def _crops_under_own_light(dataset: FaceDataset) -> np.ndarray:
    """Image of each take and expression under the photo's own light, -1 where there is none."""
    found = np.full(dataset.truth.shape[:2], -1, np.int64)
    own = np.flatnonzero(dataset.lighting == _UNKNOWN)
    found[dataset.take[own], dataset.expression[own]] = own
    return found
