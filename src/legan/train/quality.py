"""The training of Q: regression on ratings, and ranks on ladders of faults."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan import losses
from legan.core.config import config_to_dict, read_toml
from legan.core.device import autocast, mixed_dtype
from legan.core.errors import ConfigError, WeightsError
from legan.core.files import sha256_of
from legan.core.images import to_network
from legan.core.weights import save_weights, weights_file
from legan.data.degradations import DEGRADATIONS, degrade, known_fault
from legan.data.rated import RatedBatches, RatedImages, shifted
from legan.data.ratings import read_labels
from legan.faces.landmarks import locate_in_crop
from legan.metrics.agreement import figures
from legan.models import quality as models
from legan.models.quality import MODEL, QualityConfig, QualityModel, load_quality_net
from legan.train.config import LoopConfig, OptimizerConfig, parse_config
from legan.train.export import provenance, trained_state
from legan.train.run_folder import CONFIG, describe_init, join_licences, training_length
from legan.train.supervised import AveragedTask
from legan.train.task import Batch, Batches, Update

# Ladders of one image under one fault that grows: which of two steps is the more natural is known without any rater.
#
# What ratings by few raters say about small differences is mostly noise; an order that is known by construction is not (Liu, van de
# Weijer and Bagdanov, "RankIQA", ICCV 2017). Only clean training images are taken.


N_STEPS = 4  # of a ladder, of five strengths
MIN_STEP, MAX_STEP = 0.15, 1 / N_STEPS  # of the strength: less is hardly seen, more does not fit


class RankedBatches:
    """The batches of `rated` with ladders besides, a pure function of (seed, step, place).

    Further entries: `ladders` (L, 5, 3, H, W) in [-1, 1], one image under one fault of five strengths that grow by even steps, and
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
        """Return the rows of process `rank`.

        Raises:
            ConfigError: there are fewer ladders than processes, or they are not a multiple of them.
        """
        if self.n_ladders < n_ranks:
            raise ConfigError(f"rank_ladders={self.n_ladders} is less than one for each process: give more, or set rank=0")
        if self.n_ladders % n_ranks:
            raise ConfigError(
                f"rank_ladders={self.n_ladders} cannot be shared by {n_ranks} processes: give a multiple of {n_ranks}"
            )
        random = np.random.default_rng([self.rated.seed, step, 0, 2])
        drawn = [self._draw_ladder(random) for _ in range(self.n_ladders)]
        made = [self._ladder(*ladder) for ladder in drawn[rank::n_ranks]]
        images = np.stack([image for ladder, _ in made for image in ladder])
        rises = torch.tensor([rise for _, rise in made], dtype=torch.float32)
        return {**self.rated(step, rank, n_ranks), "ladders": to_network(images).unflatten(0, (len(made), -1)), "rise": rises}

    def _draw_ladder(self, random: np.random.Generator) -> tuple[Any, ...]:
        """The arguments of a `_ladder`."""
        index, name = int(random.choice(self.clean)), str(random.choice(self.faults))
        rise = random.uniform(MIN_STEP, MAX_STEP)
        first = random.uniform(0, 1 - N_STEPS * rise)
        seed, most = int(random.integers(2**31)), self.rated.shift
        # Half of them as they lie: in files of crops JPEG's blocks begin at the corner.
        down, right = random.integers(-most, most + 1, 2).tolist() if random.random() < 0.5 else (0, 0)
        mirror = -1 if self.rated.flip and random.random() < 0.5 else 1
        return index, name, rise, first, seed, (down, right), mirror

    def _ladder(
        self, index: int, name: str, rise: float, first: float, seed: int, place: tuple[int, int], mirror: int
    ) -> tuple[list[np.ndarray], float]:
        image, points = self.rated.images.images[index], self._landmarks(index)
        strengths = [min(first + i * rise, 1.0) for i in range(N_STEPS + 1)]
        made = (degrade(name, image, points, strength, seed) for strength in strengths)
        return [shifted(each, *place, self.rated.shift)[:, ::mirror] for each in made], rise

    def _landmarks(self, index: int) -> np.ndarray:
        if index not in self._points:
            self._points[index] = locate_in_crop(self.rated.images.images[index])
        return self._points[index]


def clean_images(images: RatedImages) -> np.ndarray:
    """Numbers of the images that have no known fault; all of them where the data has no such column."""
    is_clean = np.ones(len(images), bool)
    for column, clean in (("degradation", "none"), ("fault", 0)):
        if column in images.rows:
            is_clean &= (images.rows[column] == clean).to_numpy()
    return np.flatnonzero(is_clean) if is_clean.any() else np.arange(len(images))


# Training Q on rated images (LEGAN poster, "Quality estimation model").
#
# The packaged network is the moving average of the trained one. Only crops' windows and sides are augmented: nothing that changes
# how natural an image is.


WEIGHTS = "quality.safetensors"  # in the run folder, when the training is finished

_LOSSES = {"margin": losses.rating_margin, "squared-hinge": losses.rating_squared_hinge, "l2": losses.rating_l2}


@dataclass(frozen=True)
class RatedDataConfig:
    """Where rated images come from.

    Args:
        folders: data set folders that were rated.
        labels: a label file (name, mean, std, split) or a ratings file.
        batch_size: images of a step.
        shift: largest shift of the crop's window in pixels.
        flip: mirror half of the images.
    """

    folders: tuple[str, ...] = ()
    labels: Path | None = None
    batch_size: int = 64
    shift: int = 6
    flip: bool = True


@dataclass(frozen=True)
class QualityTrainingConfig:
    """Everything that decides a training of Q.

    Args:
        init: weights to start from (fine-tuning), instead of random ones.
        loss: "margin" is zero inside the raters' disagreement; "nll" is the likelihood of the ratings and needs the head
            "mean-std"; "squared-hinge" and "l2" for comparison.
        margin: how many standard deviations of an image's ratings the losses "margin" and "squared-hinge" forgive; 1 is the paper's
            (as we read it), 0 makes the first the mean absolute error. Where raters differ more than images do, 1 leaves little to learn.
        spread: weight of the squared error of the predicted spread, where the network has that head and `loss` does not teach it.
        rank: weight of the order on ladders: a clean training image under one fault that grows (`RankedBatches`), whose
            score is to fall; 0 for none. The weights' `training` says so.
        rank_gap: points to fall from strength 0 to 1.
        rank_ladders: ladders of a step, five images each.
        rank_faults: the faults of the ladders; one that is named twice comes twice as often. All alike by default.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(n_steps=2000, log_every=50, sample_every=250, checkpoint_every=500)
    )
    data: RatedDataConfig = field(default_factory=RatedDataConfig)
    network: QualityConfig = field(default_factory=lambda: models.PRESETS["lite"])
    loss: Literal["margin", "squared-hinge", "l2", "nll"] = "margin"
    margin: float = 1.0
    spread: float = 0.1
    rank: float = 0.0
    rank_gap: float = 1.5
    rank_ladders: int = 8
    rank_faults: tuple[str, ...] = tuple(DEGRADATIONS)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    init: Path | None = None
    model: Literal["quality"] = "quality"

    @field_validator("init", mode="before")
    @classmethod
    def _without(cls, init: object) -> object:
        return init or None  # earlier versions wrote "" for none


# `paper`: the network as described; the poster gives no schedule. `lite`: minutes on a laptop.
PRESETS = {
    "paper": QualityTrainingConfig(
        loop=LoopConfig(n_steps=20_000, log_every=100, sample_every=1000, checkpoint_every=1000),
        network=models.PRESETS["paper"],
        optimizer=OptimizerConfig(lr=2e-4, warmup_steps=500, ema_decay=0.999),
    ),
    "lite": QualityTrainingConfig(),
}


class QualityTask(AveragedTask):
    """Trains a `QualityModel`; its moving average is what is evaluated and exported.

    Args:
        config: all settings.
        device: where the training runs.
        held_out: images of the split val.
        data: description of the training data, kept in checkpoints.
        init: network to start from; None for a fresh one.

    Raises:
        ConfigError: the loss needs another head.
    """

    def __init__(
        self,
        config: QualityTrainingConfig,
        device: torch.device,
        held_out: RatedImages,
        data: Sequence[Mapping[str, object]] = (),
        init: QualityModel | None = None,
    ) -> None:
        if config.loss == "nll" and config.network.head != "mean-std":
            raise ConfigError('loss=nll needs a network that predicts the spread: add --set network.head="mean-std"')
        self.config, self.device, self.held_out = config, device, held_out
        self.dtype = mixed_dtype(config.precision, device)
        net = QualityModel(config.network)
        if init is not None:
            net.load_state_dict(init.state_dict())
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(net, config.optimizer, config.loop.n_steps, data)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """One update: the loss of the scores, and of the spreads where the network predicts them."""
        net = self.networks["net"].train()
        with autocast(self.dtype, self.device):
            score, spread = net.predict(batch["x"].contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
        mean, std = batch["mean"], batch["std"]
        if self.config.loss == "nll":
            rating = losses.rating_likelihood(score, spread, mean, std)
        else:
            rating = _LOSSES[self.config.loss](score, mean, self.config.margin * std)
        logs: dict[str, Tensor | float] = {self.config.loss: rating.detach(), "error": (score - mean).abs().mean().detach()}
        total = rating
        if spread is not None and self.config.loss != "nll":
            logs["spread"] = (spread - std).square().mean()
            total = total + self.config.spread * logs["spread"]
        if self.config.rank > 0:
            logs["rank"] = self._rank(net, batch)
            total = total + self.config.rank * logs["rank"]
        yield Update("net", total, logs)

    def _rank(self, net: nn.Module, batch: Batch) -> Tensor:
        images = batch["ladders"].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with autocast(self.dtype, self.device):
            scores = net(images).unflatten(0, batch["ladders"].shape[:2])  # (L, 5)
        return losses.ranking(scores[:, :-1], scores[:, 1:], self.config.rank_gap * batch["rise"][:, None])

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Agreement of the averaged network with the rating means of held-out images."""
        agreement = figures(self._scores(), self.held_out.mean)
        return {f"val/{name}": value for name, value in agreement.items() if np.isfinite(value)}

    def samples(self, step: int) -> np.ndarray:
        """The eight held-out images with the lowest scores, and below them the eight with the highest."""
        order = self._scores().argsort()
        n = min(8, len(order))
        rows = [np.concatenate(list(self.held_out.images[part]), axis=1) for part in (order[:n], order[-n:])]
        return np.concatenate(rows, axis=0)

    @torch.no_grad()
    def _scores(self) -> np.ndarray:
        net = self.networks["ema"].eval()
        parts = np.array_split(self.held_out.images, range(256, len(self.held_out), 256))
        return np.concatenate([net(to_network(part).to(self.device)).cpu().numpy() for part in parts])


def build_quality(config: QualityTrainingConfig, device: torch.device) -> tuple[QualityTask, Batches]:
    """Make the task and its batches.

    Raises:
        ConfigError: no ratings.
        DataError: as `read_labels` and `RatedImages`.
        WeightsError: `init` does not fit the network.
    """
    data = config.data
    if data.labels is None:
        raise ConfigError("no ratings: name a label file or a ratings file with --ratings")
    folders = [Path(folder) for folder in data.folders]
    labels = read_labels(data.labels, folders)
    train, held_out = (RatedImages(folders, labels, split, config.network.size) for split in ("train", "val"))
    init: QualityModel | None = None
    if config.init is not None:
        found = load_quality_net(config.init)[0]
        init = found if isinstance(found, QualityModel) else None
        if init is None or init.config != config.network:
            raise WeightsError(f"{config.init} has another shape than the settings: leave network.* as the weights have it")
    batches = RatedBatches(train, data.batch_size, data.shift, data.flip, config.loop.seed)
    facts = [{**folder, "labels_sha256": sha256_of(data.labels)} for folder in train.facts()]
    task = QualityTask(config, device, held_out, facts, init)
    return task, RankedBatches(batches, config.rank_ladders, config.rank_faults) if config.rank > 0 else batches


def shaped_as_init(config: QualityTrainingConfig, init: Path, run: Path) -> QualityTrainingConfig:
    """Return a config whose network has the shape of the weights `init`.

    Raises:
        WeightsError: not a file of a quality network of this kind.
    """
    network = load_quality_net(init)[0].config
    if not isinstance(network, QualityConfig):
        raise WeightsError(
            f"{init} was trained by --preset features, which starts from nothing: name other weights with --init"
        )
    return replace(config, network=network)


def export_quality(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged network of a run's newest checkpoint as float16 safetensors and return its metadata.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    config, state = parse_config(QualityTrainingConfig, read_toml(run / CONFIG)), trained_state(run)
    folders, training = state["extra"]["data"], config_to_dict(config)
    training["data"] |= {"folders": [folder["name"] for folder in folders], "labels": Path(config.data.labels or "").name}
    licences = {licence for folder in folders for licence in folder["licence"]}
    init = describe_init(weights_file(config.init, "quality")) if config.init else None
    metadata: dict[str, Any] = {
        "model": MODEL,
        "network": config_to_dict(config.network),
        "training": {**training, "init": config.init.name if config.init else ""},
        **training_length(state["n_steps_done"], config.data.batch_size, init),
        "seed": config.loop.seed,
        "init": init,
        "data": "; ".join(_in_words(folder) for folder in folders),
        "data_folders": folders,
        "known_faults": list(known_faults),
        **provenance(),
    }
    # An image composed of two names both of their licences.
    metadata["licence"] = join_licences([*licences, init["licence"] if init else None])
    save_weights(out, state["networks"]["ema"], metadata, half=True)
    return metadata


def _in_words(folder: Mapping[str, Any]) -> str:
    people, images = folder["n_identities"], folder["n_images"]
    return f"{', '.join(folder['source'])}: {people} people, {images} images, raters: {folder['raters']}"
