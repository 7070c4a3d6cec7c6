"""Training batches of faces: which images, in which order, with which augmentation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from legan.core.conditions import LIGHTINGS, Classes, Lighting, mirrored_lighting
from legan.core.errors import ConditionError, ConfigError, DataError
from legan.core.images import to_network
from legan.data.faces import PAIRED_DOMAINS, FaceDataset

# Augmentation of face crops: what a change of the image does to its conditions.


def mirror_classes(lightings: Sequence[Lighting]) -> np.ndarray:
    """Return the class of each lighting class after a flip left to right.

    Raises:
        ConditionError: one has no mirror class, or it is not known which.
    """
    return np.array([mirrored_lighting(index, lightings) for index in range(len(lightings))])


# Of the twenty: the flash changes sides (01 <-> 13, 14 <-> 18), room light stays.
MIRRORED = mirror_classes(LIGHTINGS)


def flip_images(images: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return images (B, H, W, 3) with those of `flipped` (B,) bool mirrored left to right."""
    images = images.copy()
    images[flipped] = images[flipped, :, ::-1]
    return images


def flip_lightings(lightings: np.ndarray, flipped: np.ndarray, mirrored: np.ndarray = MIRRORED) -> np.ndarray:
    """Return lighting classes (B,) int with those of `flipped` (B,) bool replaced by their class in `mirrored`; -1 stays."""
    return np.where(flipped & (lightings >= 0), mirrored[lightings], lightings)


def flip_points(points: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return points (B, n, 2), fractions of the side, as `flip_images` moves them; each keeps its number."""
    points = points.copy()
    points[flipped, :, 0] = 1 - points[flipped, :, 0]
    return points


def draw_tones(rng: np.random.Generator, n: int, strength: float) -> np.ndarray:
    """Return look-up tables (n, 3, 256) uint8 that change exposure, contrast and white balance; `strength` 0 changes nothing.

    Each image gets a gamma and a gain, each channel a little of its own on top: what cameras and rooms do to a face.
    """
    gamma = np.exp(strength * rng.normal(0, [0.2, 0.03, 0.03, 0.03], (n, 4)))
    gain = np.exp(strength * rng.normal(0, [0.12, 0.06, 0.06, 0.06], (n, 4)))
    gamma, gain = gamma[:, :1] * gamma[:, 1:], gain[:, :1] * gain[:, 1:]  # (n, 3)
    levels = (np.arange(256) / 255) ** gamma[..., None] * gain[..., None]
    return np.rint(255 * levels).clip(0, 255).astype(np.uint8)


def apply_tones(images: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """Return images (B, H, W, 3) uint8 with each channel sent through its table of `tones` (B, 3, 256)."""
    b, c = np.arange(len(images))[:, None, None, None], np.arange(3)
    return tones[b, c, images]


# Training batches for editors: which crops, which targets, as a pure function of (seed, step).


@dataclass(frozen=True)
class DataConfig:
    """Where the crops come from and how they are drawn.

    Args:
        folders: data set folders, mixed.
        expressions, lightings: the data's own classes where they are not the six and the twenty, as `Classes.parse` reads them:
            `["calm", "angry"]`, and `["window", "lamp=-45,20"]` with directions (azimuth, elevation) where they are known.
        weights: share of each folder in a batch, on average; empty for equal shares.
        even_weight: how much more often than another image of its folder a photo under its own, even light is drawn: there are few
            in a relit set, and most photos that people edit are such.
        batch_size: images a step, over all devices.
        flip: mirror half of the images left to right; the light changes sides with them, so own lightings need directions.
        tone: strength of random changes of exposure, contrast and white balance, the same for an image and its truth; 0 for none.
        pair_probability: chance that a target is drawn among the conditions of which the data holds the true image; the others
            are drawn among all conditions.
        paired_domains: domains of images that may stand as truth.
        memory_gb: keep all images decoded when they take less than this.
    """

    folders: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    lightings: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    even_weight: float = 1.0
    batch_size: int = 16
    flip: bool = True
    tone: float = 0.0
    pair_probability: float = 0.6
    paired_domains: tuple[str, ...] = PAIRED_DOMAINS
    memory_gb: float = 8.0

    @property
    def classes(self) -> Classes:
        """The expressions and lightings of the data.

        Raises:
            ConfigError: lists that cannot be read.
        """
        return Classes.parse(self.expressions, self.lightings)

    def with_classes(self, classes: Classes) -> "DataConfig":
        """The same config for data of these classes."""
        words = classes.as_words()
        return replace(self, expressions=tuple(words.get("expressions", ())), lightings=tuple(words.get("lightings", ())))

    @property
    def mirrored(self) -> np.ndarray:
        """The class of each lighting class after a flip; without flips that class itself.

        Raises:
            ConfigError: flips, and a class without a mirror class.
        """
        lightings = self.classes.lightings
        if not self.flip:
            return np.arange(len(lightings))
        try:
            return mirror_classes(lightings)
        except ConditionError as error:
            raise ConfigError(
                f"data.flip mirrors images and their light, and {error}: declare directions, such as data.lightings="
                '["room", "left=-45,20", "right=45,20"], or set data.flip=false'
            ) from error


def face_dataset(config: DataConfig, split: str, size: int) -> FaceDataset:
    """Return the crops of one split, `size` pixels a side, that a config names.

    Raises:
        ConfigError: classes that cannot be read.
        DataError: as `FaceDataset`.
    """
    folders = [Path(folder) for folder in config.folders]
    return FaceDataset(folders, split, config.paired_domains, size, config.memory_gb, config.classes)


class Draw(NamedTuple):
    """What a batch consists of.

    Each (B,): image index, target classes, index of the true image (-1: none), flipped or not; `tones` (B, 3, 256) uint8 is what
    becomes of each level of each channel.
    """

    source: np.ndarray
    expression: np.ndarray
    lighting: np.ndarray
    truth: np.ndarray
    flipped: np.ndarray
    tones: np.ndarray


class FolderSampler:
    """Draws images, folder by folder in the shares of `DataConfig.weights`.

    Raises:
        ConfigError: weights that do not fit the folders.
    """

    def __init__(self, dataset: FaceDataset, config: DataConfig) -> None:
        n_folders = len(dataset.folders)
        weights = np.array(config.weights or [1.0] * n_folders)
        if len(weights) != n_folders or (weights < 0).any() or not weights.sum() > 0:
            raise ConfigError(f"data weights {list(config.weights)} do not fit {n_folders} folders: give one each, above 0")
        self._weights = weights / weights.sum()
        if config.even_weight <= 0:
            raise ConfigError(f"data.even_weight={config.even_weight:g} is out of range: give a number above 0")
        self._members = [np.flatnonzero(dataset.folder == index) for index in range(n_folders)]
        # Where each image's share of its folder ends, from 0 to 1.
        shares = [np.where(dataset.lighting[members] < 0, config.even_weight, 1.0).cumsum() for members in self._members]
        self._ends = [share / share[-1] for share in shares]

    def draw(self, rng: np.random.Generator, n_images: int) -> np.ndarray:
        """Return indices (n_images,)."""
        folders = rng.choice(len(self._members), n_images, p=self._weights)
        drawn = zip(folders, rng.random(n_images), strict=True)
        return np.array([self._members[folder][self._ends[folder].searchsorted(at, "right")] for folder, at in drawn])


class FaceBatches:
    """Batches of an editor's training, as dicts of tensors.

    `x_real` (B, 3, H, W) in [-1, 1] with its codes `expression_src` (B, 6) and `lighting_src` (B, 20), of as many classes as the data
    has; the targets
    `expression_trg` and `lighting_trg`; `x_true`, the same face under the targets, and `has_true` (B,), 1 where the data holds
    that image and 0 where `x_true` is only `x_real` again; `expression_back` and `lighting_back`, the codes that lead back to the
    source, and `can_return` (B,), 1 where there are such; `points_real` and `points_true` (B, 68, 2), the landmarks of the two in
    fractions of the side, far outside the image where they are not known.

    Raises:
        ConfigError: weights that do not fit the folders, or flips of lightings without a mirror class.
    """

    def __init__(self, dataset: FaceDataset, config: DataConfig, seed: int) -> None:
        self.dataset, self.config, self.seed = dataset, config, seed
        self.batch_size = config.batch_size
        self.n_expressions, self.n_lightings = len(dataset.classes.expressions), len(dataset.classes.lightings)
        self.mirrored = config.mirrored
        self._sampler = FolderSampler(dataset, config)
        # The conditions that a take has truths for, as flat numbers of (expression, lighting).
        self._targets = [np.flatnonzero(table.ravel() >= 0) for table in dataset.truth]

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        """Return the rows of process `rank` of the batch of `step`."""
        draw = self.draw(step, self.batch_size)
        return self.collate(Draw(*(part[rank::n_ranks] for part in draw)))

    def draw(self, step: int, n_images: int) -> Draw:
        """Choose images and targets; the same arguments always give the same."""
        rng = np.random.default_rng([self.seed, 0, step])
        data, config = self.dataset, self.config
        source = self._sampler.draw(rng, n_images)
        target = rng.integers(0, self.n_expressions * self.n_lightings, n_images)
        for i in np.flatnonzero((rng.random(n_images) < config.pair_probability) & data.has_pair[source]):
            known = self._targets[data.take[source[i]]]
            if len(known):
                target[i] = rng.choice(known)
        expression, lighting = np.divmod(target, self.n_lightings)
        truth = np.where(data.has_pair[source], data.truth[data.take[source], expression, lighting], -1)
        flipped = (rng.random(n_images) < 0.5) & config.flip
        tones = draw_tones(rng, n_images, config.tone)
        return Draw(source, expression, lighting, truth, flipped, tones)

    def collate(self, draw: Draw) -> dict[str, Tensor]:
        """Read the images of a draw and bring everything to tensors."""
        data = self.dataset
        has_true = draw.truth >= 0
        x_real = data.images(draw.source)
        x_true = data.images(np.where(has_true, draw.truth, draw.source))
        x_real, x_true = (flip_images(apply_tones(x, draw.tones), draw.flipped) for x in (x_real, x_true))
        points_real = flip_points(data.landmarks[draw.source], draw.flipped)
        points_true = flip_points(data.landmarks[np.where(has_true, draw.truth, draw.source)], draw.flipped)
        expression_src = codes(data.expression[draw.source], self.n_expressions)
        lighting_src = codes(flip_lightings(data.lighting[draw.source], draw.flipped, self.mirrored), self.n_lightings)
        return {
            "x_real": to_network(x_real),
            "x_true": to_network(x_true),
            "points_real": torch.from_numpy(points_real),
            "points_true": torch.from_numpy(points_true),
            "has_true": torch.from_numpy(has_true.astype(np.float32)),
            "expression_src": expression_src,
            "lighting_src": lighting_src,
            "expression_back": expression_src,
            "lighting_back": lighting_src,
            "can_return": lighting_src.sum(1),
            "expression_trg": codes(draw.expression, self.n_expressions),
            "lighting_trg": codes(flip_lightings(draw.lighting, draw.flipped, self.mirrored), self.n_lightings),
        }


def codes(classes: np.ndarray, n: int) -> Tensor:
    """Return one-hot codes (B, n) float32; zeros, which no classification loss looks at, for class -1."""
    return F.one_hot(torch.from_numpy(classes) % (n + 1), n + 1)[:, :n].float()


# Reference images for training: beside each source two images of its target condition, as StarGAN v2 asks (CVPR 2020, section 2).


REFERENCES = ("x_ref", "x_ref2")


class ReferenceBatches:
    """The batches of `FaceBatches`, the same sources and targets, with two references for each row, `x_ref` and `x_ref2`.

    A reference is any image of the data under the row's target, of whomever. Where the data holds none, the row gets another
    target, drawn from those that it holds; so `x_true` says nothing here and is left out, with what belongs to it.

    Args:
        batches: the batches to add to.
        by_expression, by_lighting: what the references share with the target; one of the two may be left out.

    Raises:
        DataError: no image is under a condition.
    """

    def __init__(self, batches: FaceBatches, by_expression: bool = True, by_lighting: bool = True) -> None:
        self.batches, self.batch_size = batches, batches.batch_size
        data = batches.dataset
        expression = data.expression if by_expression else np.zeros_like(data.expression)
        lighting = data.lighting if by_lighting else np.zeros_like(data.lighting)
        self._shared = by_expression, by_lighting
        # Images under each condition (expression, lighting), 0 where it is not shared; none of those without a lighting.
        order = np.flatnonzero(lighting >= 0)
        keys = expression[order] * batches.n_lightings + lighting[order]
        order, keys = order[keys.argsort(kind="stable")], np.sort(keys)
        if not len(order):
            raise DataError(
                "no image of the data is under one of the lightings: set network.domains=expression, or add a relit or rendered set"
            )
        self._held, starts = np.unique(keys, return_index=True)
        self._members = dict(zip(self._held.tolist(), np.split(order, starts[1:]), strict=True))

    def __call__(self, step: int, rank: int, n_ranks: int) -> Mapping[str, Tensor]:
        """Return the rows of process `rank` of the batch of `step`."""
        drawn, own = self.batches.draw(step, self.batch_size), slice(rank, None, n_ranks)
        batch = self.batches.collate(Draw(*(part[own] for part in drawn)))
        rng = np.random.default_rng([self.batches.seed, 0, step, 1])  # its own: sources stay as they are
        flipped = flip_lightings(drawn.lighting, drawn.flipped, self.batches.mirrored)
        expression, lighting = self._replaced(rng, drawn.expression, flipped)
        references = {name: self._draw(rng, expression, lighting, own) for name in REFERENCES}
        targets = {
            "expression_trg": codes(expression[own], self.batches.n_expressions),
            "lighting_trg": codes(lighting[own], self.batches.n_lightings),
        }
        kept = {name: batch[name] for name in ("x_real", "expression_src", "lighting_src")}
        return {**kept, **targets, **references}

    def _replaced(
        self, rng: np.random.Generator, expression: np.ndarray, lighting: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Targets of which the data holds no image give way to others."""
        by_expression, by_lighting = self._shared
        is_held = np.isin(self._keys(expression, lighting), self._held)
        others = np.divmod(rng.choice(self._held, len(expression)), self.batches.n_lightings)
        expression = np.where(is_held | ~np.bool_(by_expression), expression, others[0])
        return expression, np.where(is_held | ~np.bool_(by_lighting), lighting, others[1])

    def _draw(self, rng: np.random.Generator, expression: np.ndarray, lighting: np.ndarray, own: slice) -> Tensor:
        """One image of each target, tones and sides drawn as for the sources; the images of the rows `own`."""
        config, n = self.batches.config, len(expression)
        flipped = (rng.random(n) < 0.5) & config.flip
        # Flipped, the light comes from the other side: the image is taken from the mirror class.
        mirrored = np.where(flipped, self.batches.mirrored[lighting], lighting)
        is_held = np.isin(self._keys(expression, mirrored), self._held)
        flipped, mirrored = flipped & is_held, np.where(is_held, mirrored, lighting)
        chosen = np.array([rng.choice(self._members[key]) for key in self._keys(expression, mirrored).tolist()])
        images = apply_tones(self.batches.dataset.images(chosen[own]), draw_tones(rng, n, config.tone)[own])
        return to_network(flip_images(images, flipped[own]))

    def _keys(self, expression: np.ndarray, lighting: np.ndarray) -> np.ndarray:
        by_expression, by_lighting = self._shared
        return expression * by_expression * self.batches.n_lightings + lighting * by_lighting
