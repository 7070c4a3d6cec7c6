"""Batches for an editor that keeps what it is not asked for: pairs under any light, with backdrops and cameras varied."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import ConfigError, DataError, ImageError
from legan.core.geometry import CROP_SIZE
from legan.core.images import decoded, jpeg_round_trip, to_network
from legan.core.light import ROOM, Lamps, to_linear, to_srgb, with_tone, without_tone
from legan.data.batches import (
    DataConfig,
    FolderSampler,
    apply_tones,
    codes,
    draw_tones,
    flip_images,
    flip_lightings,
    flip_points,
)
from legan.data.faces import FaceDataset
from legan.data.manifest import read_bytes

# Face crops under mixtures of lamps, made from crops of one take under the twenty lightings.
#
# Light adds up: a class's crop less the crop under room light, in linear light, is what its flash alone gives, so any sum of flashes
# of any colour, with any share of the room's light, is an image of the same face. The tone curve of the rendered set is undone before
# and applied again after (`legan_faces3d` renders, relights and re-expresses with one sensor).


__all__ = ["ROOM", "Lamps", "developed", "draw_lamps", "mixed"]

_MAX_LIGHT = 2.0  # linear light that the way back to 8 bits covers
_N_LEVELS = 4096


def draw_lamps(rng: np.random.Generator) -> Lamps:
    """Draw a mixture: a key light with a fill, a lamp in a dark room, a broad window or sky, or a lit room alone."""
    kind = rng.choice(4, p=[0.45, 0.15, 0.25, 0.15])
    if kind == 3:
        return Lamps(_tint(rng, 0.12) * rng.uniform(0.7, 2.2), np.zeros(0, np.int64), np.zeros((0, 3)))
    if kind == 2:  # the flashes round a direction together: a source of many degrees
        centre = LIGHTINGS[1 + rng.integers(len(LIGHTINGS) - 1)].direction
        nearness = np.array([0 if light.direction is None else light.direction @ centre for light in LIGHTINGS])
        classes = np.argsort(-nearness)[: rng.integers(3, 7)]
        weights = rng.uniform(0.5, 1.0, (len(classes), 1)) * rng.uniform(0.4, 1.1) / len(classes) * 1.5
        return Lamps(_tint(rng, 0.1) * rng.uniform(0.3, 1.3), classes, weights * _tint(rng, 0.12))
    n = rng.integers(1, 4) if kind == 0 else 1
    classes = rng.choice(np.arange(1, len(LIGHTINGS)), n, replace=False)
    weights = np.sort(rng.uniform(0.1, 1.0, n))[::-1] * (rng.uniform(0.5, 1.1) if kind == 0 else rng.uniform(0.5, 1.3))
    room = rng.uniform(0.4, 1.3) if kind == 0 else rng.uniform(0.0, 0.3)
    tints = np.stack([_tint(rng, 0.15) for _ in range(n)])
    return Lamps(_tint(rng, 0.1) * room, classes, weights[:, None] * tints)


def _tint(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Colour (3,) of a lamp: warmer or colder, a little greener or pinker, of mean 1."""
    warmth, green = rng.normal(0, strength), rng.normal(0, strength / 3)
    colour = np.exp(np.array([warmth, green, -warmth]))
    return colour / colour.mean()


def mixed(room: np.ndarray, flashes: np.ndarray, lamps: Lamps) -> np.ndarray:
    """Return the crop under a mixture of lamps.

    Args:
        room: uint8 (H, W, 3), the crop under room light.
        flashes: uint8 (n, H, W, 3), the crops under the classes of `lamps`.
        lamps: the mixture.

    Returns:
        uint8 (H, W, 3).
    """
    base = cv2.LUT(room, _LINEAR)
    # sum over flashes of w (flash - room), plus a room
    light = base * (lamps.room - lamps.flashes.sum(axis=0)).astype(np.float32)
    for image, weight in zip(flashes, lamps.flashes.astype(np.float32), strict=True):
        light += cv2.LUT(image, _LINEAR) * weight
    return developed(light)


def developed(light: np.ndarray) -> np.ndarray:
    """Linear light (H, W, 3) float32 -> uint8, through the tone curve and sRGB."""
    root = np.sqrt(np.clip(light, 0, _MAX_LIGHT), dtype=np.float32)
    return _ENCODED[(root * ((_N_LEVELS - 1) / np.sqrt(_MAX_LIGHT)) + 0.5).astype(np.uint16)]


def _linear_table() -> np.ndarray:
    """sRGB level -> linear light before the tone curve, float32 (256, 1)."""
    return without_tone(to_linear(np.arange(256) / 255)).astype(np.float32)


def _encoded_table() -> np.ndarray:
    """Level of the square root of linear light -> sRGB uint8, (4096,)."""
    light = (np.arange(_N_LEVELS) / (_N_LEVELS - 1)) ** 2 * _MAX_LIGHT
    v = to_srgb(with_tone(light))
    return np.rint(255 * v).clip(0, 255).astype(np.uint8)


_LINEAR, _ENCODED = _linear_table(), _encoded_table()


# What photographs bring that a studio does not: other backdrops, other cameras, imperfect alignment, compression.
#
# Each function does the same to several images of one face, so that an image and its truth stay each other's truth.


_BACKDROP_SIDE = 192


def draw_backdrop(rng: np.random.Generator) -> np.ndarray:
    """Draw a backdrop, uint8 (192, 192, 3): a gradient, blurred blocks as of a room, noise of any grain, or foliage-like dots."""
    side = _BACKDROP_SIDE
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.5)[..., None]
    image = _colour(rng) * (1 - ramp) + _colour(rng) * ramp
    kind = rng.choice(4)
    if kind == 1:
        for _ in range(rng.integers(2, 14)):
            left, top = rng.integers(-40, side, 2)
            width, height = rng.integers(8, 120, 2)
            image[max(top, 0) : top + height, max(left, 0) : left + width] = _colour(rng)
    elif kind == 2:
        noise = np.zeros((side, side, 3), np.float32)
        for scale in (3, 6, 12, 24, 48, 96):
            coarse = rng.normal(0, scale ** rng.uniform(0.2, 1.0) / 24, (max(2, side // scale), max(2, side // scale), 3))
            noise += cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        image = image + noise * rng.uniform(0.05, 0.3)
    elif kind == 3:
        base = _colour(rng)
        for _ in range(rng.integers(30, 200)):
            centre = tuple(int(v) for v in rng.integers(0, side, 2))
            shade = (base * rng.uniform(0.4, 1.6) + rng.normal(0, 0.05, 3)).clip(0, 1)
            cv2.circle(image, centre, int(rng.integers(2, 18)), shade.tolist(), -1, cv2.LINE_AA)
    blur = rng.choice([0.0, rng.uniform(0.5, 3), rng.uniform(3, 14)])
    image = image.astype(np.float32)
    if blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) in 0..1: greys and muted tones more often than bright ones."""
    level, spread = rng.beta(1.2, 1.2), rng.choice([0.02, 0.1, 0.3])
    return (level + rng.normal(0, spread, 3)).clip(0, 1)


def before_backdrop(images: Sequence[np.ndarray], mattes: Sequence[np.ndarray], backdrop: np.ndarray) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) with what their mattes, uint8 (H, W), leave out replaced by a backdrop of their size."""
    placed = []
    for image, matte in zip(images, mattes, strict=True):
        # Squared, as at the edge the crop shows the old backdrop too.
        share = (np.square(matte.astype(np.float32) / 255))[..., None]
        placed.append(np.rint(backdrop + share * (image.astype(np.float32) - backdrop)).astype(np.uint8))
    return placed


class Cut(NamedTuple):
    """A square piece of a backdrop, in pixels of it, mirrored or not."""

    side: int
    left: int
    top: int
    is_mirrored: bool


def draw_cut(rng: np.random.Generator, size: int) -> Cut:
    """Draw a piece of a backdrop for crops of `size` pixels."""
    side = int(rng.integers(min(size // 2, _BACKDROP_SIDE), _BACKDROP_SIDE + 1))
    left, top = rng.integers(0, _BACKDROP_SIDE - side + 1, 2).tolist()
    return Cut(side, left, top, bool(rng.random() < 0.5))


def cut_backdrop(backdrop: np.ndarray, cut: Cut, size: int) -> np.ndarray:
    """Return a piece of a backdrop (192, 192, 3), scaled to (size, size, 3)."""
    piece = backdrop[cut.top : cut.top + cut.side, cut.left : cut.left + cut.side]
    piece = cv2.resize(piece, (size, size), interpolation=cv2.INTER_LINEAR)
    return piece[:, ::-1] if cut.is_mirrored else piece


def draw_jitter(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw how alignment errs, a matrix (2, 3) from crop to crop: 3 degrees, 3% of scale, 1.5 pixels of 128 (standard deviations)."""
    angle, scale = rng.normal(0, 3), float(np.exp(rng.normal(0, 0.03)))
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, scale)
    matrix[:, 2] += rng.normal(0, 1.5 * size / CROP_SIZE, 2)
    return matrix


def jittered(images: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Return crops moved by a matrix (2, 3); their border pixels go on."""
    size = images[0].shape[0]
    return [
        cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for image in images
    ]


def moved_points(points: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Return points (n, 2), fractions of the side, as `jittered` moves them."""
    # OpenCV counts pixels from their centres, points from the corner.
    at = points * size - 0.5
    return ((at @ matrix[:, :2].T + matrix[:, 2] + 0.5) / size).astype(np.float32)


def grey(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) without colour."""
    return [cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for image in images]


class Camera(NamedTuple):
    """A poor camera or file; None for what it does not do.

    `blur` is a standard deviation in pixels, `n_pixels` the side that an image is reduced to, `noise` (H, W, 3) levels, `quality` JPEG's.
    """

    blur: float | None = None
    n_pixels: int | None = None
    noise: np.ndarray | None = None
    quality: int | None = None


def draw_camera(rng: np.random.Generator, size: int) -> Camera:
    """Draw what a camera does to crops of `size` pixels: blur or few pixels, then noise, then JPEG; each perhaps."""
    blur = n_pixels = noise = quality = None
    kind = rng.random()
    if kind < 0.3:
        blur = rng.uniform(0.4, 1.6)
    elif kind < 0.6:
        n_pixels = int(size * rng.uniform(0.3, 0.8))
    if rng.random() < 0.4:
        noise = rng.standard_normal((size, size, 3), np.float32) * rng.uniform(1, 10)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 95))
    return Camera(blur, n_pixels, noise, quality)


def degraded(images: Sequence[np.ndarray], camera: Camera) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) as a poor camera or file gives them."""
    images, size = list(images), images[0].shape[0]
    if (sigma := camera.blur) is not None:
        images = [cv2.GaussianBlur(image, (0, 0), sigma) for image in images]
    if (small := camera.n_pixels) is not None:
        images = [
            cv2.resize(
                cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
            )
            for image in images
        ]
    if (noise := camera.noise) is not None:
        images = [np.rint(image + noise).clip(0, 255).astype(np.uint8) for image in images]
    if (quality := camera.quality) is not None:
        images = [jpeg_round_trip(image, quality) for image in images]
    return images


# Batches for an editor that keeps what it is not asked for: pairs in which expression, light or both change, under any light.
#
# An attribute that an edit keeps has a code of zeros. The source of an expression edit stands under a mixture of lamps, or its own
# light, and its truth under the very same; the truth of an edit of light is one of the twenty classes.


_N_BACKDROPS = 400
_NEUTRAL = EXPRESSIONS.index("neutral")
_UNKNOWN = -1


@dataclass(frozen=True)
class EditsConfig:
    """Which edits are learned, and from what inputs.

    Args:
        tasks: shares of edits of the expression alone, of light alone, and of both.
        unpaired: chance that the target expression is one of which the data holds no truth.
        unpaired_lone: the same for a take that holds a single expression, such as a photo relit; `unpaired` where that is higher.
        unpaired_neutral: share of such targets that are neutral, if the source is not; the others are drawn evenly.
        lamps: chance that a source which is not a photo under its own light stands under a mixture of lamps, not under a class.
        backdrops: chance of another backdrop, where the data holds the person's matte.
        jitter, degradation, grey: chances of imperfect alignment, of a poor camera or file, of an image without colour.
    """

    tasks: tuple[float, float, float] = (0.45, 0.3, 0.25)
    unpaired: float = 0.0
    unpaired_lone: float = 0.0
    unpaired_neutral: float = 0.0
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


class Variation(NamedTuple):
    """What is done to the images of a pair alike: a backdrop (its number, a piece of it), imperfect alignment, a camera; perhaps."""

    backdrop: tuple[int, Cut] | None
    jitter: np.ndarray | None
    is_grey: bool
    camera: Camera | None


class EditBatches:
    """Batches as `FaceBatches` makes them, a pure function of (seed, step); kept attributes have codes of zeros.

    Besides there are `expression_back` (B, 6) and `lighting_back` (B, 20), the codes that bring the target back to the source, and
    `can_return` (B,), 1 where they do: not from an edit of light whose source stands under no class.

    Raises:
        ConfigError: shares that are negative or all zero, folders without the twenty lightings, or data with classes of its own.
    """

    def __init__(self, dataset: FaceDataset, config: DataConfig, edits: EditsConfig, seed: int) -> None:
        self.dataset, self.config, self.edits, self.seed = dataset, config, edits, seed
        self.batch_size = config.batch_size
        if not dataset.classes.is_standard:
            raise ConfigError(
                "the preset fields learns from mixtures of the twenty lightings, and data.expressions or data.lightings declare others: "
                "take the preset lite, lite-unpaired or paper"
            )
        shares = np.array(edits.tasks)
        if (shares < 0).any() or not shares.sum() > 0:
            raise ConfigError(f"edits.tasks={list(edits.tasks)} are not shares: give three numbers from 0, not all 0")
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
        """Return the rows of process `rank` of the batch of `step`."""
        rng, n, own = np.random.default_rng([self.seed, 0, step]), self.batch_size, slice(rank, None, n_ranks)
        edits = [self._draw(rng, int(source)) for source in self._sampler.draw(rng, n)]
        flipped = (rng.random(n) < 0.5) & self.config.flip
        tones = draw_tones(rng, n, self.config.tone)
        variations = [self._draw_variation(rng, edit) for edit in edits]
        return self._collate(edits[own], flipped[own], tones[own], variations[own])

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
        unpaired = config.unpaired if len(others) > 1 else max(config.unpaired, config.unpaired_lone)
        if asks_expression and rng.random() < unpaired:
            to_neutral = expression != _NEUTRAL and config.unpaired_neutral > 0 and rng.random() < config.unpaired_neutral
            target, has_true = _NEUTRAL if to_neutral else int(rng.integers(len(EXPRESSIONS))), False
        elif asks_expression and len(others) > 1:
            target = int(rng.choice(others))
        elif asks_expression:  # no other expression has a truth: light alone
            asks_expression, asks_lighting = False, True
        target_lighting = int(rng.integers(len(LIGHTINGS))) if asks_lighting else lighting
        if asks_lighting and has_true and not self._is_complete[take, target]:
            known = np.flatnonzero(self._classes[take, target] >= 0)
            target_lighting, has_true = (int(rng.choice(known)), True) if len(known) else (target_lighting, False)
        return Edit(take, expression, target, lighting, target_lighting, lamps, asks_expression, asks_lighting, has_true)

    def _draw_variation(self, rng: np.random.Generator, edit: Edit) -> Variation:
        config, size = self.edits, self.dataset.size
        backdrop = None
        if all(map(self._mattes.has, self._rows(edit))) and rng.random() < config.backdrops:
            backdrop = int(rng.integers(_N_BACKDROPS)), draw_cut(rng, size)
        jitter = draw_jitter(rng, size) if rng.random() < config.jitter else None
        is_grey = bool(rng.random() < config.grey)
        camera = draw_camera(rng, size) if rng.random() < config.degradation else None
        return Variation(backdrop, jitter, is_grey, camera)

    def _collate(
        self, edits: list[Edit], flipped: np.ndarray, tones: np.ndarray, variations: list[Variation]
    ) -> dict[str, Tensor]:
        n, size = len(edits), self.dataset.size
        x_real, x_true = (np.empty((n, size, size, 3), np.uint8) for _ in range(2))
        points_real, points_true = (np.empty((n, 68, 2), np.float32) for _ in range(2))
        for i, (edit, variation) in enumerate(zip(edits, variations, strict=True)):
            real, true = self._images(edit)
            points = [self.dataset.landmarks[self._row(edit.take, e)] for e in (edit.expression_src, edit.expression_trg)]
            x_real[i], x_true[i], points_real[i], points_true[i] = self._varied(edit, variation, real, true, points)
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

    def _rows(self, edit: Edit) -> tuple[int, int]:
        """Images that have the mattes of source and truth."""
        target = edit.expression_trg if edit.has_true else edit.expression_src
        return self._row(edit.take, edit.expression_src), self._row(edit.take, target)

    def _varied(
        self, edit: Edit, variation: Variation, real: np.ndarray, true: np.ndarray, points: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source, truth and landmarks, the same done to both."""
        rows, images, size = self._rows(edit), [real, true], self.dataset.size
        if variation.backdrop is not None:
            number, cut = variation.backdrop
            backdrop = cut_backdrop(self._backdrop(number), cut, size)
            images = before_backdrop(images, [self._mattes.of(row) for row in rows], backdrop)
        elif edit.asks_lighting and all(map(self._mattes.has, rows)):
            # Light is asked for on the person: what lies behind stays as it is.
            matte = np.maximum(*(self._mattes.of(row) for row in rows))
            images = [images[0], *before_backdrop(images[1:], [matte], images[0])]
        if (matrix := variation.jitter) is not None:
            images = jittered(images, matrix)
            points = [moved_points(p, matrix, size) if p[0, 0] >= 0 else p for p in points]
        if variation.is_grey:
            images = grey(images)
        if variation.camera is not None:
            images = degraded(images, variation.camera)
        return images[0], images[1], points[0], points[1]

    def _backdrop(self, number: int) -> np.ndarray:
        """One of the backdrops; each is drawn when it is first needed."""
        if number not in self._backdrops:
            self._backdrops[number] = draw_backdrop(np.random.default_rng([self.seed, number]))
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
