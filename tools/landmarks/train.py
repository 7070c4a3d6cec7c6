"""The training of the landmark network on rendered faces: config, batches, task, export."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from pydantic import field_validator
from pydantic.dataclasses import dataclass
from tools.landmarks.images import held_out_image, training_image
from torch import Tensor
from torch.nn import functional

from legan.core.config import read_toml
from legan.core.errors import ConfigError, DataError
from legan.core.images import from_network, to_network
from legan.data.manifest import read_manifest, read_pixels
from legan.faces.landmarks import INPUT_SIZE, N_POINTS, LandmarkNet
from legan.train.config import LoopConfig, OptimizerConfig, parse_config
from legan.train.export import trained_state, write_network
from legan.train.recipes import Recipe
from legan.train.run_folder import CONFIG
from legan.train.supervised import AveragedTask
from legan.train.task import Batch, Update

# Training of the landmark network on rendered faces, whose landmarks are known exactly, and on photographs marked by hand.
#
# The loss is the distance of each point in input pixels, smooth near zero, plus the divergence of each heat map from a small
# Gaussian about the true point (the regularisation of Nibali et al., 2018). The packaged network is the moving average of the trained one.


WEIGHTS = "landmarks.safetensors"  # in the run folder, when the training is finished
_N_HELD_OUT = 96  # images of each evaluation
_EYES = slice(36, 48)


@dataclass(frozen=True)
class LandmarkDataConfig:
    """Where the images come from.

    Args:
        folders: one set rendered with `--view wide`.
        photos: a data set of photographs whose landmarks were placed by hand; none by default.
        photo_share: chance that an image of a batch comes from there.
        batch_size: images of a step.
    """

    folders: tuple[str, ...] = ()
    photos: Path | None = None
    photo_share: float = 0.3
    batch_size: int = 16

    @field_validator("folders", mode="before")
    @classmethod
    def _as_several(cls, folders: object) -> object:
        return (folders,) if isinstance(folders, str) else folders  # earlier versions wrote one path


@dataclass(frozen=True)
class LandmarkConfig:
    """Everything that decides a landmark training.

    Args:
        jaw_weight: weight of the jaw's points, which slide along an edge, against 1 for the others.
        spread: standard deviation, in input pixels, of the Gaussians that heat maps are drawn to.
        map_weight: weight of that pull.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(n_steps=3000, log_every=50, sample_every=500, checkpoint_every=500)
    )
    data: LandmarkDataConfig = field(default_factory=LandmarkDataConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=2e-3, weight_decay=1e-2))
    jaw_weight: float = 0.3
    spread: float = 3.0
    map_weight: float = 0.5
    model: Literal["landmarks"] = "landmarks"


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
        super().__init__(net, config.optimizer, config.loop.n_steps, data)
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
        points = self._find()
        error = (points - self.held_out_points).norm(dim=2)
        left, right = self.held_out_points[:, 36:42].mean(1), self.held_out_points[:, 42:48].mean(1)
        error = 100 * error / (left - right).norm(dim=1)[:, None]
        return {"held_out/error": float(error.mean()), "held_out/eyes": float(error[:, _EYES].mean())}

    def samples(self, step: int) -> np.ndarray:
        """Held-out images with the network's points."""
        images = from_network(self.held_out[:24]).repeat(2, axis=1).repeat(2, axis=2)
        for image, points in zip(images, self._find()[:24].numpy() * 2, strict=True):
            for x, y in points:
                cv2.circle(image, (int(x), int(y)), 1, (0, 255, 0), -1)
        rows = [np.concatenate(list(images[i : i + 8]), axis=1) for i in range(0, len(images) - 7, 8)]
        return np.concatenate(rows or [images[0]], axis=0)

    def _find(self) -> Tensor:
        net = self.networks["ema"].eval()
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
    data = config.data
    if data.batch_size < 2:
        raise ConfigError(f"data.batch_size={data.batch_size} is out of range: give 2 or more")
    if len(data.folders) != 1:
        raise ConfigError("name one data set, rendered with `legan render --view wide`, with --data")
    wide = Path(data.folders[0])
    cv2.setNumThreads(1)  # many small images: threads would only get in each other's way
    photos = MarkedFaces(data.photos, "train") if data.photos else None
    faces = MarkedFaces(wide, "train")
    facts = [folder.facts() for folder in (faces, photos) if folder is not None]
    task = LandmarkTask(config, MarkedFaces(wide, "val"), facts)
    return task, LandmarkBatches(faces, data.batch_size, config.loop.seed, photos, data.photo_share)


def export_landmarks(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged network of a run's newest checkpoint, as float16, and return the metadata.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    config = parse_config(LandmarkConfig, read_toml(run / CONFIG))
    return write_network(out, config, trained_state(run), {"model": "legan-landmarks"}, known_faults)


RECIPE = Recipe(LandmarkConfig, {"default": LandmarkConfig()}, build_landmarks, export_landmarks, WEIGHTS)
