"""The training of identity embeddings (LightCNN): settings, batches of identities, task."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from legan.core.config import config_to_dict, read_toml
from legan.core.device import autocast, mixed_dtype
from legan.core.errors import ConfigError
from legan.core.images import jpeg_round_trip, to_network
from legan.data.batches import apply_tones, draw_tones
from legan.data.faces import LabelledFaces
from legan.metrics.verification import all_pairs, auc, draw_pairs, score_pairs, tar_at_far
from legan.models import lightcnn
from legan.models.lightcnn import INPUT_SIZE, LightCNN, LightCNNConfig, standardise
from legan.train.config import LoopConfig, OptimizerConfig, parse_config
from legan.train.export import trained_state, write_network
from legan.train.run_folder import CONFIG
from legan.train.supervised import AveragedTask
from legan.train.task import Batch, Update

# Settings of the identity network's training, and its presets.


@dataclass(frozen=True)
class CropDataConfig:
    """Where labelled crops come from.

    Args:
        folders: data set folders, mixed.
        batch_size: images a step, over all devices.
        augment: strength of the random changes of `changed`; 0 only mirrors half of the images.
        memory_gb: keep all images decoded when they take less than this.
    """

    folders: tuple[str, ...] = ()
    batch_size: int = 64
    augment: float = 1.0
    memory_gb: float = 8.0


@dataclass(frozen=True)
class IdentityDataConfig(CropDataConfig):
    """How crops are drawn: a folder, a person in it, a domain of that person's, an image. Arguments as for `CropDataConfig`.

    A person who is in several folders has the same source and identity in all.

    Args:
        weights: share of each folder in a batch, on average; empty for equal shares.
    """

    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class MarginConfig:
    """What the features learn from: cross entropy over the training people.

    Args:
        kind: "softmax" as published; "cosface" (Wang et al., CVPR 2018) or "arcface" (Deng et al., CVPR 2019), which put a
            margin between people into the cosine that faces are later compared by.
        margin: of the cosine (cosface) or of the angle in radians (arcface).
        scale: what the cosines are multiplied by.
        n_rise_steps: steps over which the margin grows from nothing.
    """

    kind: Literal["softmax", "cosface", "arcface"] = "softmax"
    margin: float = 0.25
    scale: float = 24.0
    n_rise_steps: int = 0


SGD = OptimizerConfig("sgd", lr=0.01, weight_decay=1e-4, warmup_steps=200, ema_decay=0.998)  # as LightCNN was published


@dataclass(frozen=True)
class IdentityConfig:
    """Everything that decides a training of the identity network.

    Args:
        network: its shape; the number of classes comes from the data.
        optimizer: as published SGD; there bias and classifier have higher rates, and rates fall in stairs.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it.
        channels_last: memory layout of images and weights.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: IdentityDataConfig = field(default_factory=IdentityDataConfig)
    network: LightCNNConfig = field(default_factory=LightCNNConfig)
    margin: MarginConfig = field(default_factory=MarginConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: SGD)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True
    model: Literal["identity"] = "identity"


_PUBLISHED = IdentityConfig(
    loop=LoopConfig(n_steps=200_000, log_every=100, sample_every=5000, checkpoint_every=5000),
    data=IdentityDataConfig(batch_size=128),
)

# `lightcnn9`, `lightcnn29`: networks and loss as published. `lite`: what the package brings, for two CPU cores.
PRESETS = {
    "lightcnn9": _PUBLISHED,
    "lightcnn29": replace(_PUBLISHED, network=lightcnn.PRESETS["lightcnn29"]),
    "lite": IdentityConfig(
        loop=LoopConfig(n_steps=2000, log_every=50, sample_every=250, checkpoint_every=250),
        network=replace(lightcnn.PRESETS["lite"], dropout=0.2),
        margin=MarginConfig(kind="cosface", n_rise_steps=600),
        optimizer=OptimizerConfig(lr=2e-3, ema_decay=0.995),
    ),
}


# Random changes of a face crop that leave the person who it is: place, light, tone, sharpness, noise, things in front.
#
# Lighting and expression change by which image of the person is drawn; the shading here is for people of whom there are few images.
# All numbers are drawn in the same order whatever the image, so an image is a function of the crop and the random state.


_SHIFT, _ZOOM, _TURN = 0.03, 0.06, 5.0  # standard deviations: of the side, of the logarithm, in degrees
_SHADE = 0.5  # standard deviation of the logarithm of light, from side to side
_CHANCE = 0.3  # of each fault of the camera
_MAX_BLUR, _MAX_NOISE = 1.6, 12.0  # pixels, levels
_QUALITIES = (30, 90)  # of JPEG


def changed(image: np.ndarray, random: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return a crop (H, W, 3) uint8 as another camera might have taken it; `strength` 0 changes nothing but its side.

    Args:
        image: RGB uint8 (H, W, 3), square.
        random: where the numbers come from.
        strength: how far the changes go and how often, 1 as tuned.
    """
    if random.random() < 0.5:
        image = image[:, ::-1]
    if not strength:
        return np.ascontiguousarray(image)
    image = _shaded(_moved(image, random, strength), random, strength)
    image = apply_tones(image[None], draw_tones(random, 1, strength))[0]
    image = _covered(image, random, strength)
    return _recorded(image, random, strength)


def _moved(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    size = image.shape[0]
    zoom, angle = np.exp(strength * random.normal(0, _ZOOM)), strength * random.normal(0, _TURN)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, zoom)
    matrix[:, 2] += strength * random.normal(0, _SHIFT * size, 2)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shaded(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Multiply by a smooth field of light: a slope in some direction and soft patches."""
    slope, patches = random.normal(0, _SHADE, 2), random.normal(0, _SHADE / 2, (4, 4))
    if random.random() >= 0.5 * strength:
        return image
    size = image.shape[0]
    place = np.linspace(-1, 1, size, dtype=np.float32)
    field = slope[0] * place[None, :] + slope[1] * place[:, None]
    field = field + cv2.resize(patches.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    light = np.exp(strength * field)
    return (image * (light / light.mean())[..., None]).clip(0, 255).astype(np.uint8)


def _covered(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Lay one flat rectangle over a part of the image (random erasing; Zhong et al., AAAI 2020)."""
    size = image.shape[0]
    height, width = (size * random.uniform(0.1, 0.4, 2)).astype(int)
    top, left = random.integers(0, size - height), random.integers(0, size - width)
    level = random.integers(0, 256, 3)
    if random.random() < _CHANCE * strength:
        image = image.copy()
        image[top : top + height, left : left + width] = level
    return image


def _recorded(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Blur, fewer pixels, noise and JPEG, each at times."""
    size = image.shape[0]
    blur, fewer, noise = random.uniform(0.3, _MAX_BLUR), random.uniform(0.4, 1.0), random.uniform(1, _MAX_NOISE)
    quality, chances = int(random.integers(*_QUALITIES)), random.random(4) < _CHANCE * strength
    if chances[0]:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if chances[1]:
        small = cv2.resize(image, (int(size * fewer),) * 2, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if chances[2]:
        image = (image + random.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
    if chances[3]:
        image = jpeg_round_trip(image, quality)
    return image


# Training of the identity network: its features distinguish people whatever the light and the expression.
#
# Cross entropy over the training people, as LightCNN publishes it, or with a margin between them (CosFace, ArcFace). The data sets show
# each person under many lights and expressions; the rest of what a camera does is in `changed`.


WEIGHTS = "identity.safetensors"  # in the run folder, when the training is finished

_N_HELD_OUT = 12  # images a person and domain in each evaluation
_FAR = 1e-2
_N_PAIRED = 1000  # up to so many images, all pairs are scored; of more, as many pairs are drawn


class IdentityBatches:
    """Random crops and who they show, drawn anew for each step from (seed, step, place in the batch).

    Every person of a folder is drawn as often as any other, and of a person every domain as often: a few photos weigh as much as
    many relit crops. `image` (B, 3, 128, 128) in [-1, 1], `person` (B,) from 0 to the number of people.

    Raises:
        ConfigError: weights that do not fit the folders.
    """

    def __init__(self, faces: LabelledFaces, config: IdentityDataConfig, seed: int) -> None:
        self.faces, self.config, self.seed = faces, config, seed
        self.batch_size = config.batch_size
        n_folders = len(faces.folders)
        weights = np.array(config.weights or [1.0] * n_folders)
        if len(weights) != n_folders or (weights < 0).any() or not weights.sum() > 0:
            raise ConfigError(f"data weights {list(config.weights)} do not fit {n_folders} folders: give one each, above 0")
        self._weights = weights / weights.sum()
        self._members = [_by_person_and_domain(faces, np.flatnonzero(faces.folder == index)) for index in range(n_folders)]

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        randoms = [np.random.default_rng([self.seed, step, place]) for place in range(rank, self.batch_size, n_ranks)]
        indices = [self._draw(random) for random in randoms]
        crops = self.faces.images(indices)
        images = [changed(crop, random, self.config.augment) for crop, random in zip(crops, randoms, strict=True)]
        return {"image": to_network(np.stack(images)), "person": torch.from_numpy(self.faces.person[indices])}

    def _draw(self, random: np.random.Generator) -> int:
        people = self._members[int(random.choice(len(self._members), p=self._weights))]
        domains = people[int(random.integers(len(people)))]
        return int(random.choice(domains[int(random.integers(len(domains)))]))


def _by_person_and_domain(faces: LabelledFaces, members: np.ndarray) -> list[list[np.ndarray]]:
    people = []
    for person in np.unique(faces.person[members]):
        own = members[faces.person[members] == person]
        people.append([own[faces.domain[own] == domain] for domain in sorted(set(faces.domain[own]))])
    return people


class IdentityTask(AveragedTask):
    """Trains a `LightCNN`; its moving average is what is evaluated and exported.

    Args:
        config: all settings.
        device: where the training runs.
        n_people: number of classes.
        start: crops (B, 3, 128, 128) in [-1, 1] of the training set, by which the new network's layers are scaled.
        held_out: crops of other people, for figures.
        data: description of the training data, kept in checkpoints.
    """

    def __init__(
        self,
        config: IdentityConfig,
        device: torch.device,
        n_people: int,
        start: Tensor,
        held_out: LabelledFaces,
        data: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.config = config
        self.device, self.dtype = device, mixed_dtype(config.precision, device)
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        net = LightCNN(replace(config.network, n_classes=n_people)).to(memory_format=self.layout)  # type: ignore[call-overload]
        standardise(net, start)
        if config.margin.kind != "softmax" and net.fc2 is not None:
            net.fc2.bias.requires_grad_(False)  # cosines have none
        super().__init__(net, config.optimizer, config.loop.n_steps, data)
        self.held_out, self.picked = held_out, _spread(held_out)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """One update: cross entropy, with the margin at this step."""
        net: LightCNN = self.networks["net"].train()  # type: ignore[assignment]
        margin, person = self.config.margin, batch["person"]
        with autocast(self.dtype, self.device):
            features = net(batch["image"])
        features = features.float()

        if margin.kind == "softmax":
            logits = plain = net.classify(features, self.share.dropout)
        else:
            # The classifier's rows are directions; dropout hides features as it does before a published classifier.
            features = self.share.dropout(features, self.config.network.dropout, net.training)
            plain = functional.linear(functional.normalize(features), functional.normalize(net.fc2.weight))  # type: ignore[union-attr]
            rise = min(1.0, step / margin.n_rise_steps) if margin.n_rise_steps else 1.0
            logits = margin.scale * with_margin(plain, person, margin.kind, rise * margin.margin)

        loss = functional.cross_entropy(logits, person)
        accuracy = (plain.detach().argmax(1) == person).float().mean()
        yield Update("net", loss, {"accuracy": accuracy})

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Verification of held-out people: AUC, and TAR at FAR 1e-2, among the crops of each domain."""
        features = self._features(self.picked)
        domains, people = self.held_out.domain[self.picked], self.held_out.person[self.picked]
        figures = {}
        for domain in sorted(set(domains)):
            chosen = domains == domain
            n_of_person = np.unique(people[chosen], return_counts=True)[1]
            if len(n_of_person) < 2 or n_of_person.max() < 2:
                continue  # one image a person, or one person: nothing to verify
            few = chosen.sum() <= _N_PAIRED
            pairs = (
                all_pairs(people[chosen]) if few else draw_pairs(people[chosen], _N_PAIRED**2 // 2, np.random.default_rng(0))
            )
            scores = score_pairs(features[chosen], pairs)
            figures[f"val/{domain}/auc"] = auc(scores, pairs.same)
            figures[f"val/{domain}/tar"] = tar_at_far(scores, pairs.same, _FAR)
        return figures

    @torch.no_grad()
    def _features(self, indices: np.ndarray) -> np.ndarray:
        net, parts = self.networks["ema"], []
        for i in range(0, len(indices), 64):
            x = to_network(self.held_out.images(indices[i : i + 64])).to(self.device)
            with autocast(self.dtype, self.device):
                parts.append(net(x).float().cpu())
        return torch.cat(parts).numpy()


def _spread(faces: LabelledFaces) -> np.ndarray:
    """Indices of up to `_N_HELD_OUT` crops of each person in each domain, spread evenly over the lights and expressions."""
    groups = [group for person in _by_person_and_domain(faces, np.arange(len(faces))) for group in person]
    # An odd stride in (expression, lighting) order; a linspace would give each expression the same few lights.
    picked = [
        group[(np.arange(min(_N_HELD_OUT, len(group))) * max(1, len(group) // _N_HELD_OUT + 1)) % len(group)]
        for group in groups
    ]
    return np.unique(np.concatenate(picked))


def with_margin(cosine: Tensor, person: Tensor, kind: str, margin: float) -> Tensor:
    """Make the right class harder to reach: cosines (B, n) with that of `person` (B,) lowered.

    cosface: cos t - margin. arcface: cos(t + margin); beyond a half turn, where that would rise again, cos t - margin * sin(margin).
    """
    own = cosine.gather(1, person[:, None])
    if kind == "cosface":
        lowered = own - margin
    else:
        sine = (1 - own.square()).clamp_min(1e-7).sqrt()
        turned = own * math.cos(margin) - sine * math.sin(margin)
        lowered = torch.where(own > -math.cos(margin), turned, own - margin * math.sin(margin))
    return cosine.scatter(1, person[:, None], lowered)


def build_identity(config: IdentityConfig, device: torch.device) -> tuple[IdentityTask, IdentityBatches]:
    """Make the task and its batches.

    Raises:
        DataError: a folder that cannot be used, without held-out people, or with crops of another size.
        ConfigError: weights that do not fit the folders, or classes in the config, which come from the data.
    """
    if config.network.n_classes:
        raise ConfigError("network.n_classes comes from the data: leave it out")
    cv2.setNumThreads(1)  # many small images: threads would only get in each other's way
    folders = [Path(folder) for folder in config.data.folders]
    train, held_out = (LabelledFaces(folders, split, INPUT_SIZE, config.data.memory_gb) for split in ("train", "val"))
    n_people = len(np.unique(train.person))
    batches = IdentityBatches(train, config.data, config.loop.seed)
    start = batches(0, 0, 1)["image"]
    return IdentityTask(config, device, n_people, start, held_out, train.facts()), batches


def export_identity(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged network of a run's newest checkpoint, without classifier, as float16, and return the metadata.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    config, state = parse_config(IdentityConfig, read_toml(run / CONFIG)), trained_state(run)
    what = {"model": "legan-identity", "lightcnn": config_to_dict(config.network)}
    return write_network(out, config, state, what, known_faults, without=("fc2.",))
