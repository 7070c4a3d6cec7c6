"""The training of the landmark network on rendered faces: settings, composited images, task."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from legan.core.config import config_to_dict, load_config
from legan.core.errors import ConfigError, DataError
from legan.core.geometry import Matrix, inverse, transform, warp
from legan.core.images import from_network, jpeg_round_trip, to_network
from legan.core.weights import save_weights
from legan.data.manifest import read_manifest, read_pixels
from legan.faces.landmarks import INPUT_SIZE, MIRRORED, N_POINTS, LandmarkNet, frame_of_points
from legan.train.export import data_facts, provenance, trained_state
from legan.train.loop import Outcome, Rehearsal, start
from legan.train.run_folder import LoopConfig, training_length
from legan.train.supervised import AveragedTask
from legan.train.task import Batch, Update

# Make-up for rendered faces: what eyes and lips of photographs have and renders have too little of.
#
# In photos lashes draw a dark line along the lid and past the corner, the white of the eye lies in shade, its inner corner shows a
# pink caruncle, lids have creases, and lips any colour. A network that has seen renders alone takes the end of the line for the
# corner. So lines, shades and colours are drawn here at random about the true points, which stay where they are.


Random = np.random.Generator

_DARK = np.float32(0.25)  # of the skin's brightness: lashes, liner, creases
_PINK = np.array([1.2, 0.85, 0.8], np.float32)
_FINE = 4  # binary places of the drawing's coordinates
# Landmarks of each eye from the outer corner over the upper lid to the inner one, and of the lower lid likewise.
_UPPER_LIDS = ([36, 37, 38, 39], [45, 44, 43, 42])
_LOWER_LIDS = ([36, 41, 40, 39], [45, 46, 47, 42])


def made_up(light: np.ndarray, points: np.ndarray, random: Random) -> np.ndarray:
    """Draw eyes and lips anew; each part only sometimes.

    Args:
        light: float32 (128, 128, 3) in [0, 1], a face in the network's frame.
        points: its landmarks (68, 2) in pixels.
    """
    # Eyes of one face look alike, so one drawing serves both.
    skin = light[28:100, 36:92].mean(axis=(0, 1))
    uppers, lowers = [points[lid] for lid in _UPPER_LIDS], [points[lid] for lid in _LOWER_LIDS]
    shade, tone, dark, wing = random.uniform(0, 1, 4)
    outlines = [np.vstack([upper, lower[2:0:-1]]) for upper, lower in zip(uppers, lowers, strict=True)]
    light = _tinted(light, outlines, [], np.full(3, 0.5 + 0.6 * shade), 1.0)
    if random.random() < 0.6:
        light = _painted(light, _caruncles(uppers, random), skin * _PINK * (0.7 + 0.9 * tone), random.uniform(0.3, 1.0))
    if random.random() < 0.5:
        height = random.uniform(0.12, 0.37)
        raised = [lid - np.array([0, height * _width(lid)]) for lid in uppers]
        light = _painted(light, _lines(raised, 0.0), _DARK * skin, random.uniform(0, 0.5))
    if random.random() < 0.7:
        light = _painted(light, _lines(uppers, 0.35 * wing), _DARK * skin, 0.4 + 0.6 * dark)
    if random.random() < 0.35:
        light = _painted(light, _lashes(uppers, random), _DARK * skin, random.uniform(0.2, 0.8))
    if random.random() < 0.5:
        light = _painted(light, _lines(lowers, 0.1 * wing), _DARK * skin, random.uniform(0, 0.6) * dark)
    if random.random() < 0.5:
        colour = random.uniform((0.6, 0.3, 0.3), (1.2, 1.0, 1.0))
        light = _tinted(light, [points[48:60]], [points[60:68]], colour, random.uniform(0.2, 1.0))
    return light


def _width(lid: np.ndarray) -> float:
    return float(np.linalg.norm(lid[3] - lid[0]))


def _tinted(
    light: np.ndarray, insides: list[np.ndarray], holes: list[np.ndarray], colour: np.ndarray, strength: float
) -> np.ndarray:
    """Multiply the inside of outlines, less the holes, by a colour."""
    mask = _blank()
    cv2.fillPoly(mask, [_fixed(outline) for outline in insides], 1.0, cv2.LINE_AA, _FINE)
    cv2.fillPoly(mask, [_fixed(outline) for outline in holes], 0.0, cv2.LINE_AA, _FINE)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None] * np.float32(strength)
    return light * (1 + mask * (colour.astype(np.float32) - 1))


def _painted(light: np.ndarray, mask: np.ndarray, colour: np.ndarray, strength: float) -> np.ndarray:
    """Lay a colour over the image where the mask (H, W) is."""
    return light + mask[..., None] * np.float32(strength) * (colour.astype(np.float32) - light)


def _lines(lids: list[np.ndarray], wing: float) -> np.ndarray:
    """Mask of a soft line along each lid, from `wing` eye widths beyond the outer corner on."""
    mask = _blank()
    for lid in lids:
        end = lid[0] + (lid[0] - 0.7 * lid[1] - 0.3 * lid[3]) * wing * 1.5
        curve = _smooth(np.vstack([end, lid]) if wing > 0 else lid)
        cv2.polylines(mask, [_fixed(curve)], False, 1.0, 1, cv2.LINE_AA, _FINE)
    return np.minimum(1.6 * cv2.GaussianBlur(mask, (0, 0), 0.7), 1)


def _lashes(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of short strokes up and outwards from the outer part of the upper lids."""
    mask = _blank()
    places, lengths = random.uniform(0, 0.7, 9), random.uniform(0.1, 0.35, 9)
    for lid in lids:
        curve, width = _smooth(lid), _width(lid)
        outwards = (lid[0] - lid[3]) / max(width, 1e-6)
        roots = curve[(places * (len(curve) - 1)).astype(int)]
        tips = roots + (outwards * (0.7 - places)[:, None] + [0, -0.6]) * lengths[:, None] * width
        strokes = [_fixed(np.stack(stroke)) for stroke in zip(roots, tips, strict=True)]
        cv2.polylines(mask, strokes, False, 1.0, 1, cv2.LINE_AA, _FINE)
    return mask


def _caruncles(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of the wet inner corners."""
    mask = _blank()
    place, size = random.uniform(0.04, 0.14), random.uniform(0.04, 0.09)
    for lid in lids:
        middle = tuple(_fixed(lid[3] + (lid[0] - lid[3]) * place).tolist())
        cv2.circle(mask, middle, max(1, round(size * _width(lid) * 2**_FINE)), 1.0, -1, cv2.LINE_AA, _FINE)
    return cv2.GaussianBlur(mask, (0, 0), 0.5)


def _blank() -> np.ndarray:
    return np.zeros((INPUT_SIZE, INPUT_SIZE), np.float32)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A curve through points (n, 2), about eight places between neighbours (Catmull-Rom)."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def _fixed(points: np.ndarray) -> np.ndarray:
    """OpenCV's fixed-point coordinates, whose pixel centres have whole numbers."""
    return ((points - 0.5) * 2**_FINE).round().astype(np.int32)


# Training images for the landmark network: a rendered face as a photo might show it.
#
# Renders are clean, and lit and framed alike. Each is cut out as a detector might, mirrored, put before another background, partly
# covered, lit and coloured anew, and spoilt as cameras and files spoil images, so that only the face itself stays to go by.


_BENDING = ((5, 2.2), (9, 0.9))  # cells a side, and the largest standard deviation of the push in pixels
_EYE_BUMP = 0.19  # standard deviation of the part of an eye that its iris is moved in, by its width
_GAZE = np.array([0.07, 0.03], np.float32)  # standard deviation of the irises' move across and up, by the eye's width
_SQUARE = (INPUT_SIZE, INPUT_SIZE)
_LUMA = (0.299, 0.587, 0.114)
_PLACES = np.arange(INPUT_SIZE, dtype=np.float32) + 0.5
_X = _PLACES / INPUT_SIZE - 0.5  # fractions of the side, from the middle
_Y = _X[:, None]


def training_image(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Draw one training image.

    Args:
        image: RGB uint8 (H, W, 3), a rendered face in its surroundings.
        points: its landmarks (68, 2) in pixels.

    Returns:
        RGB uint8 (128, 128, 3), and the landmarks (68, 2) float32 in it.
    """
    if random.random() < 0.5:
        image = image[:, ::-1]
        points = (points * [-1, 1] + [image.shape[1], 0])[MIRRORED]
    matrix = (_jitter(random) @ np.vstack([frame_of_points(points), [0, 0, 1]]))[:2]
    picture, points = _bent(np.ascontiguousarray(image), matrix, transform(matrix, points), random)

    light = picture.astype(np.float32) / 255
    if random.random() < 0.7:
        light = made_up(light, points, random)
    if random.random() < 0.6:
        light = _on_background(light, points, random)
    if random.random() < 0.35:
        light = _covered(light, random)
    light = _shaded(light, random) if random.random() < 0.5 else light
    light = _coloured(light, random)
    light = _blurred(light, random) if random.random() < 0.5 else light
    return _recorded(light, random), points


def _bent(image: np.ndarray, matrix: Matrix, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Cut out the image through a curved glass: faces of other proportions, and irises off the middle of their eyes.

    Args:
        matrix: image pixels -> image pixels, without the bending.
        points: (68, 2), image pixels, without the bending.

    Returns:
        the image and the points in it.
    """
    push = np.zeros((*_SQUARE, 2), np.float32)
    for n_cells, most in _BENDING:
        cells = random.normal(0, random.uniform(0, most), (n_cells, n_cells, 2)).astype(np.float32)
        push += cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_CUBIC)
    # An image pixel shows what would stand at its place plus `push`; so the points move the other way.
    bent = points
    for _ in range(3):
        x, y = np.clip(bent, 0, INPUT_SIZE - 1).astype(int).T
        bent = points - push[y, x]
    for eye in (bent[36:42], bent[42:48]):
        width = float(np.linalg.norm(eye[3] - eye[0]))
        # Narrow enough to leave the corners where they are.
        across, down = (np.exp(((_PLACES - middle) / (_EYE_BUMP * width)) ** 2 * -0.5) for middle in eye.mean(axis=0))
        move = random.normal(0, 1, 2).astype(np.float32) * _GAZE * width
        push += (down[:, None] * across)[..., None] * move
    x, y = _PLACES + push[..., 0], _PLACES[:, None] + push[..., 1]
    back = inverse(matrix).astype(np.float32)
    source_x, source_y = (row[0] * x + row[1] * y + (row[2] - np.float32(0.5)) for row in back)
    soft = cv2.GaussianBlur(image, (0, 0), 0.6)  # the image is made smaller
    return cv2.remap(soft, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), bent.astype(np.float32)


def held_out_image(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """As `training_picture`, with the jitter of the frame only."""
    matrix = (_jitter(random) @ np.vstack([frame_of_points(points), [0, 0, 1]]))[:2]
    return warp(image, matrix, INPUT_SIZE), transform(matrix, points)


def _jitter(random: Random) -> np.ndarray:
    """A similarity (3, 3) of the input square: as wide as the detector's boxes vary, or as narrow as a first pass leaves it."""
    narrow = random.random() < 0.5
    degrees, log_scale, shift = (3.0, 0.05, 2.0) if narrow else (9.0, 0.11, 5.0)
    angle = np.radians(random.normal(0, degrees))
    scale = np.exp(random.normal(0, log_scale))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([INPUT_SIZE / 2, INPUT_SIZE / 2])
    move = centre - turn @ centre + random.normal(0, shift, 2)
    return np.vstack([np.column_stack([turn, move]), [0, 0, 1]])


def _on_background(light: np.ndarray, points: np.ndarray, random: Random) -> np.ndarray:
    """Replace what lies outside the face, and perhaps hair and neck with it, by a pattern."""
    eyes = points[36:48].mean(axis=0)
    # The brows mirrored upwards stand for the forehead.
    height = random.uniform(0.5, 1.6) * np.linalg.norm(points[8] - eyes) * 0.5
    up = (eyes - points[8]) / max(float(np.linalg.norm(eyes - points[8])), 1e-6)
    outline = np.concatenate([points[:17], points[17:27] + up * height])
    centre = outline.mean(axis=0)
    outline = centre + (outline - centre) * random.uniform(1.0, 1.35)
    mask = np.zeros(light.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(outline.astype(np.float32)).round().astype(np.int32), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(0.5, 3.0))[..., None]
    return light * mask + pattern(random) * (1 - mask)


def pattern(random: Random) -> np.ndarray:
    """A random image (128, 128, 3) in [0, 1]: clouds of some coarseness over a gradient, with a few shapes."""
    colours = random.uniform(0, 1, (3, 3)).astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    ramp = (math.cos(angle) * _X + math.sin(angle) * _Y + 0.5)[..., None]
    image = ramp * (colours[0] - colours[1]) + colours[1]
    for n_cells in 2 ** random.integers(1, 7, 2):
        cells = random.normal(0, random.uniform(0.05, 0.25), (n_cells, n_cells, 3)).astype(np.float32)
        if random.random() < 0.5:
            cells[:] = cells[..., :1]
        image = image + cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_LINEAR)
    for _ in range(random.integers(0, 5)):
        _draw_shape(image, random)
    return np.clip(image, 0, 1, out=image)


def _draw_shape(image: np.ndarray, random: Random, largest: float = 0.5) -> None:
    """Draw one filled ellipse, box or line in one colour onto an image, in place."""
    side = image.shape[0]
    colour = random.uniform(0, 1, 3).tolist()
    centre = tuple(int(v) for v in random.integers(0, side, 2))
    axes = tuple(int(v) for v in random.uniform(0.03, largest, 2) * side + 1)
    angle = float(random.uniform(0, 360))
    kind = random.integers(3)
    if kind == 0:
        cv2.ellipse(image, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        corners = cv2.boxPoints((centre, axes, angle)).round().astype(np.int32)
        cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA)
    else:
        end = tuple(int(v) for v in random.integers(0, side, 2))
        cv2.line(image, centre, end, colour, int(random.integers(1, 5)), cv2.LINE_AA)


def _covered(light: np.ndarray, random: Random) -> np.ndarray:
    """Lay a few small shapes over the face: strands, hands, rims, spots."""
    light = np.ascontiguousarray(light)
    over = light.copy()
    for _ in range(random.integers(1, 4)):
        _draw_shape(over, random, 0.2)
    opacity = random.uniform(0.4, 1.0)
    return over * opacity + light * (1 - opacity)


def _shaded(light: np.ndarray, random: Random) -> np.ndarray:
    """Light falling off to one side, and soft blotches of light and shade."""
    angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 1.2)
    stops = strength * math.cos(angle) * _X + strength * math.sin(angle) * _Y
    cells = random.normal(0, random.uniform(0, 0.35), (5, 5)).astype(np.float32)
    stops = stops + cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_CUBIC)
    return light * np.exp(stops)[..., None]


def _coloured(light: np.ndarray, random: Random) -> np.ndarray:
    """Exposure, gamma, contrast, white balance and saturation; now and then no colour at all."""
    light = cv2.pow(np.maximum(light, 1e-4), float(np.exp(random.normal(0, 0.3))))
    # Bring the image nearer to a usual brightness, so that dark renders become ordinary photos too.
    middle = float(light[32:112, 24:104].mean())
    target = random.uniform(0.2, 0.65)
    gain = (target / max(middle, 0.02)) ** random.uniform(0.3, 1.0)
    contrast = random.uniform(0.6, 1.4)
    saturation = 0.0 if random.random() < 0.12 else random.uniform(0.3, 1.6)
    # One matrix for all that is linear: colour balance, then saturation, then contrast about `target`.
    balance = np.diag(np.exp(random.normal(0, 0.12, 3)))
    mixing = saturation * np.eye(3) + (1 - saturation) * np.array([_LUMA] * 3)
    matrix = contrast * gain * mixing @ balance
    return cv2.transform(light, np.column_stack([matrix, np.full(3, (1 - contrast) * target)]))


def _blurred(light: np.ndarray, random: Random) -> np.ndarray:
    """Out of focus, moved, or enlarged from a smaller image."""
    kind = random.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(light, (0, 0), random.uniform(0.3, 1.5))
    if kind == 1:
        kernel = np.zeros((7, 7), np.float32)
        reach = random.uniform(-3, 3, 2)
        cv2.line(kernel, tuple((3 - reach).round().astype(int).tolist()), tuple((3 + reach).round().astype(int).tolist()), 1.0)
        return cv2.filter2D(light, -1, kernel / kernel.sum())
    small = int(INPUT_SIZE * random.uniform(0.35, 0.9))
    reduced = cv2.resize(light, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, _SQUARE, interpolation=cv2.INTER_LINEAR)


def _recorded(light: np.ndarray, random: Random) -> np.ndarray:
    """Noise, 8 bits, and JPEG's losses."""
    if random.random() < 0.6:
        n_channels = 1 if random.random() < 0.5 else 3
        light = light + random.standard_normal((*_SQUARE, n_channels), np.float32) * random.uniform(0, 0.05)
    image = cv2.convertScaleAbs(np.maximum(light, 0), alpha=255)  # rounds, and stops at 255
    if random.random() < 0.4:
        image = jpeg_round_trip(image, int(random.integers(25, 95)))
    return image


# Training of the landmark network on rendered faces, whose landmarks are known exactly, and on photographs marked by hand.
#
# The loss is the distance of each point in input pixels, smooth near zero, plus the divergence of each heat map from a small
# Gaussian about the true point (the regularisation of Nibali et al., 2018). The packaged network is the moving average of the trained one.


WEIGHTS = "landmarks.safetensors"  # in the run folder, when the training is finished

_N_HELD_OUT = 96  # images of each evaluation
_EYES = slice(36, 48)


@dataclass(frozen=True)
class LandmarkConfig:
    """Settings of a landmark training.

    Args:
        data: a set rendered with `--view wide`.
        photos: a data set of photographs whose landmarks were placed by hand; none by default.
        photo_share: chance that an image of a batch comes from there.
        batch_size: images of a step.
        lr: highest learning rate; it rises over `n_warmup_steps` and falls to nothing along a cosine.
        weight_decay: of AdamW.
        average: share of the moving average that a step keeps.
        jaw_weight: weight of the jaw's points, which slide along an edge, against 1 for the others.
        spread: standard deviation, in input pixels, of the Gaussians that heat maps are drawn to.
        map_weight: weight of that pull.
    """

    data: Path = Path("wide")
    photos: Path | None = None
    photo_share: float = 0.3
    batch_size: int = 16
    lr: float = 2e-3
    n_warmup_steps: int = 100
    weight_decay: float = 1e-2
    average: float = 0.99
    jaw_weight: float = 0.3
    spread: float = 3.0
    map_weight: float = 0.5
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(n_steps=3000, log_every=50, sample_every=500, checkpoint_every=500)
    )


class MarkedFaces:
    """Images and landmarks of one split of a data set folder.

    Raises:
        DataError: the set has no such images, or no landmarks.
    """

    def __init__(self, folder: Path, split: str) -> None:
        frame = read_manifest(folder)
        frame = frame[(frame["split"] == split) & frame["landmarks"].notna()]
        if frame.empty:
            raise DataError(f"{folder} holds no {split} images with landmarks: make a set with `legan render --view wide`")
        self.folder, self.rows = Path(folder), frame.reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.rows)

    def facts(self) -> dict[str, Any]:
        """Where the images come from: folder name, sources, licences, numbers of people and images."""
        return {
            "name": self.folder.resolve().name,
            "source": sorted(set(self.rows["source"])),
            "licence": sorted(set(self.rows["licence"])),
            "n_identities": int(self.rows["identity"].nunique()),
            "n_images": len(self.rows),
        }

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image `index` as RGB uint8 (H, W, 3) and its landmarks (68, 2) float32 in pixels."""
        row: Any = self.rows.iloc[index]
        image = read_pixels(self.folder, row)
        return image, np.asarray(row["landmarks"], np.float32).reshape(N_POINTS, 2)


class LandmarkBatches:
    """Random images, drawn anew for each step from (seed, step, place in the batch); `photo_share` of them from `photos`."""

    def __init__(
        self, faces: MarkedFaces, batch_size: int, seed: int, photos: MarkedFaces | None = None, photo_share: float = 0.0
    ) -> None:
        self.faces, self.batch_size, self.seed = faces, batch_size, seed
        self.photos, self.photo_share = photos, photo_share

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        share = self.batch_size // n_ranks
        drawn = [self._draw(step, place) for place in range(rank * share, (rank + 1) * share)]
        images, points = zip(*drawn, strict=True)
        return {"image": to_network(np.stack(images)), "points": torch.from_numpy(np.stack(points))}

    def _draw(self, step: int, place: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([self.seed, step, place])
        faces = self.photos if self.photos and random.random() < self.photo_share else self.faces
        return training_image(*faces[int(random.integers(len(faces)))], random)


class LandmarkTask(AveragedTask):
    """Trains a `LandmarkNet`; its moving average is what is evaluated and exported."""

    def __init__(self, config: LandmarkConfig, held_out: MarkedFaces, data: Sequence[Mapping[str, object]] = ()) -> None:
        self.config = config
        net = LandmarkNet()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
        super().__init__(net, optimizer, config.lr, config.n_warmup_steps, config.loop.n_steps, config.average, data)
        self.weights = torch.ones(N_POINTS)
        self.weights[:17] = config.jaw_weight
        random = np.random.default_rng(config.loop.seed)
        picked = np.linspace(0, len(held_out) - 1, min(_N_HELD_OUT, len(held_out))).astype(int)
        images, points = zip(*(held_out_image(*held_out[int(i)], random) for i in picked), strict=True)
        self.held_out, self.held_out_points = to_network(np.stack(images)), torch.from_numpy(np.stack(points))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """One update: points and heat maps."""
        net = self.networks["net"].train()
        points, log_maps = net(batch["image"].contiguous(memory_format=torch.channels_last))
        weights = self.weights.to(points.device)[None, :, None]
        distance = (weights * functional.smooth_l1_loss(points, batch["points"], reduction="none")).mean()
        maps = map_loss(log_maps, batch["points"], self.config.spread)
        yield Update("net", distance + self.config.map_weight * maps, {"distance": distance.detach(), "maps": maps.detach()})

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Mean distance on held-out identities, in percent of the distance between the eyes."""
        found = self._find()
        error = (found - self.held_out_points).norm(dim=2)
        left, right = self.held_out_points[:, 36:42].mean(1), self.held_out_points[:, 42:48].mean(1)
        error = 100 * error / (left - right).norm(dim=1)[:, None]
        return {"held_out/error": float(error.mean()), "held_out/eyes": float(error[:, _EYES].mean())}

    def samples(self, step: int) -> np.ndarray:
        """Held-out images with the points found."""
        images = from_network(self.held_out[:24]).repeat(2, axis=1).repeat(2, axis=2)
        found = self._find()[:24].numpy() * 2
        for image, points in zip(images, found, strict=True):
            for x, y in points:
                cv2.circle(image, (int(x), int(y)), 1, (0, 255, 0), -1)
        rows = [np.concatenate(list(images[i : i + 8]), axis=1) for i in range(0, len(images) - 7, 8)]
        return np.concatenate(rows or [images[0]], axis=0)

    def _find(self) -> Tensor:
        net = self.networks["average"].eval()
        device = next(net.parameters()).device
        with torch.no_grad():
            return torch.cat([net(part.to(device))[0].cpu() for part in self.held_out.split(32)])


def map_loss(log_maps: Tensor, points: Tensor, spread: float) -> Tensor:
    """Cross entropy of heat maps with Gaussians about the true points, above its least value.

    Args:
        log_maps: (B, n, h, w), log probabilities.
        points: (B, n, 2), x and y in input pixels.
        spread: standard deviation of the Gaussians in input pixels.
    """
    stride = INPUT_SIZE / log_maps.shape[3]
    places = (torch.arange(log_maps.shape[3], device=log_maps.device) + 0.5) * stride
    # An opened jaw can lie below the image: the map's edge stands for it.
    inside = points.clamp(0, INPUT_SIZE)
    across, down = ((-((places - inside[..., i, None]) ** 2) / (2 * spread**2)).softmax(2) for i in (0, 1))
    target = down[..., :, None] * across[..., None, :]
    return functional.kl_div(log_maps, target, reduction="none").sum((2, 3)).mean()


def build_landmarks(config: LandmarkConfig, device: torch.device) -> tuple[LandmarkTask, LandmarkBatches]:
    """Make the task and its batches.

    Raises:
        DataError: the data set lacks training or held-out images with landmarks.
        ConfigError: a batch size below 2, which batch normalisation cannot use.
    """
    if config.batch_size < 2:
        raise ConfigError(f"batch_size={config.batch_size} is out of range: give 2 or more")
    cv2.setNumThreads(1)  # many small images: threads would only get in each other's way
    photos = MarkedFaces(config.photos, "train") if config.photos else None
    faces = MarkedFaces(config.data, "train")
    facts = [folder.facts() for folder in (faces, photos) if folder is not None]
    task = LandmarkTask(config, MarkedFaces(config.data, "val"), facts)
    return task, LandmarkBatches(faces, config.batch_size, config.loop.seed, photos, config.photo_share)


def train_landmarks(
    data: Path, run: Path, overrides: Sequence[str] = (), devices: int = 1, dry_run: bool = False
) -> Outcome | Rehearsal:
    """Train the landmark network in a run folder, or continue the training that it holds; at the end write its weights.

    Args:
        data: a data set folder rendered with `--view wide`.
        run: the run folder; `landmarks.safetensors` in it is the result.
        overrides: settings such as "batch_size=32" or "loop.n_steps=5000".
        devices: processes to train in.
        dry_run: build everything, time a few steps, write nothing.

    Raises:
        LeganError: as `run_task`.
    """
    config = load_config(LandmarkConfig, overrides=overrides)
    config = replace(config, data=Path(data).resolve(), photos=config.photos and config.photos.resolve())
    return start(build_landmarks, config, run, devices, dry_run, partial(export_landmarks, config))


def export_landmarks(config: LandmarkConfig, run: Path) -> Path:
    """Write the averaged network of a run's newest checkpoint to `landmarks.safetensors` in it, as float16, and return the path.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    state = trained_state(run)
    folders = state["extra"]["data"]
    data, photos = Path(folders[0]["name"]), Path(folders[1]["name"]) if config.photos else None
    metadata = {
        "model": "legan-landmarks",
        "training": config_to_dict(replace(config, data=data, photos=photos)),
        **training_length(state["n_steps_done"], config.batch_size, None),
        "seed": config.loop.seed,
        **data_facts(folders),
        **provenance(),
    }
    save_weights(run / WEIGHTS, state["networks"]["average"], metadata, half=True)
    return run / WEIGHTS
