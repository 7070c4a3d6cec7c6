"""Training of the expression classifier: a LightCNN whose classes are the labels that the data has, whatever they are.

Images are drawn as often as any other: an imbalance of the data stays as it is, which is what augmentation is to mend. Cross entropy,
a moving average of the weights, the random changes of `train.identity`.
"""

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
from legan.core.errors import ConfigError, DataError
from legan.core.images import to_network
from legan.data.faces import LabelledFaces
from legan.metrics.verification import one_vs_rest_auc
from legan.models import lightcnn
from legan.models.lightcnn import INPUT_SIZE, LightCNN, LightCNNConfig, standardise
from legan.train.config import LoopConfig, OptimizerConfig, parse_config
from legan.train.export import trained_state, write_network
from legan.train.identity import SGD, CropDataConfig, changed
from legan.train.run_folder import CONFIG
from legan.train.supervised import AveragedTask
from legan.train.task import Batch, Update

MODEL, WEIGHTS = "legan-expression", "expression.safetensors"  # the file is in the run folder when the training is finished
_N_HELD_OUT = 2000  # images in each evaluation


@dataclass(frozen=True)
class ExpressionConfig:
    """Everything that decides a training of the expression classifier.

    Args:
        network: its shape; the number of classes comes from the data.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(n_steps=1500, log_every=50, sample_every=250, checkpoint_every=250)
    )
    data: CropDataConfig = field(default_factory=CropDataConfig)
    network: LightCNNConfig = field(default_factory=lambda: replace(lightcnn.PRESETS["lite"], dropout=0.2))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=2e-3, ema_decay=0.995))
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    model: Literal["expression"] = "expression"


# `lite`: for two CPU cores. `paper`: the paper only says that it is a CNN; here it is the LightCNN-29 of its verification.
PRESETS = {
    "lite": ExpressionConfig(),
    "paper": ExpressionConfig(
        loop=LoopConfig(n_steps=60_000, log_every=100, sample_every=2000, checkpoint_every=2000),
        data=CropDataConfig(batch_size=128),
        network=lightcnn.PRESETS["lightcnn29"],
        optimizer=SGD,
    ),
}


class ExpressionBatches:
    """Random crops and their labels, drawn anew for each step from (seed, step, place in the batch).

    `image` (B, 3, 128, 128) in [-1, 1], `label` (B,) from 0 to the number of labels.
    """

    def __init__(self, faces: LabelledFaces, labels: Sequence[str], config: ExpressionConfig) -> None:
        self.faces, self.config = faces, config
        self.batch_size = config.data.batch_size
        self._known = np.flatnonzero(faces.label != "")
        self._label = classes(faces, labels)

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        randoms = [
            np.random.default_rng([self.config.loop.seed, step, place]) for place in range(rank, self.batch_size, n_ranks)
        ]
        indices = [int(self._known[random.integers(len(self._known))]) for random in randoms]
        crops = self.faces.images(indices)
        images = [changed(crop, random, self.config.data.augment) for crop, random in zip(crops, randoms, strict=True)]
        return {"image": to_network(np.stack(images)), "label": torch.from_numpy(self._label[indices])}


class ExpressionTask(AveragedTask):
    """Trains the classifier; its moving average is what is evaluated and exported.

    Args:
        config: all settings.
        device: where the training runs.
        labels: names of the classes.
        start: crops (B, 3, 128, 128) in [-1, 1] of the training set, by which the new network's layers are scaled.
        held_out: images of the split val, for figures.
        data: description of the training data, kept in checkpoints.
    """

    def __init__(
        self,
        config: ExpressionConfig,
        device: torch.device,
        labels: Sequence[str],
        start: Tensor,
        held_out: LabelledFaces,
        data: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.config, self.labels = config, list(labels)
        self.device, self.dtype = device, mixed_dtype(config.precision, device)
        net = LightCNN(replace(config.network, n_classes=len(labels)))
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        standardise(net, start)
        super().__init__(net, config.optimizer, config.loop.n_steps, data)
        known = np.flatnonzero(np.isin(held_out.label, labels))
        self.held_out, self.picked = held_out, known[:: max(1, len(known) // _N_HELD_OUT)]

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """One update: cross entropy."""
        net: LightCNN = self.networks["net"].train()  # type: ignore[assignment]
        with autocast(self.dtype, self.device):
            features = net(batch["image"])
        logits = net.classify(features.float(), self.share.dropout)
        loss = functional.cross_entropy(logits, batch["label"])
        accuracy = (logits.detach().argmax(1) == batch["label"]).float().mean()
        yield Update("net", loss, {"accuracy": accuracy})

    def extra_state(self) -> dict[str, object]:
        """The description of the data and its labels: an exported network names what it was trained on."""
        return {**super().extra_state(), "labels": self.labels}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Check that data and labels are the same.

        Raises:
            DataError: they are not.
        """
        super().load_extra_state(state)
        if state["labels"] != self.labels:
            raise DataError("the labels have changed since the checkpoint was written: start a new run folder, or restore them")

    @torch.no_grad()
    def evaluate(self, step: int) -> Mapping[str, float]:
        """On held-out images: accuracy, and AUC of each label against the rest, with their mean."""
        net, parts = self.networks["ema"], []
        for i in range(0, len(self.picked), 64):
            x = to_network(self.held_out.images(self.picked[i : i + 64])).to(self.device)
            with autocast(self.dtype, self.device):
                parts.append(net.logits(x).float().softmax(1).cpu())  # type: ignore[operator]
        if not parts:
            return {}
        answers, label = torch.cat(parts).numpy(), classes(self.held_out, self.labels)[self.picked]
        areas = dict(zip(self.labels, one_vs_rest_auc(answers, label), strict=True))
        figures = {f"val/auc/{name}": area for name, area in areas.items() if not math.isnan(area)}
        mean = {"val/auc": float(np.mean(list(figures.values())))} if figures else {}
        return {"val/accuracy": float((answers.argmax(1) == label).mean()), **mean, **figures}


def classes(faces: LabelledFaces, labels: Sequence[str]) -> np.ndarray:
    """Number of each image's label (n,) int64; -1 where it is none of `labels`."""
    number = {name: index for index, name in enumerate(labels)}
    return np.array([number.get(name, -1) for name in faces.label], np.int64)


def build_expression(config: ExpressionConfig, device: torch.device) -> tuple[ExpressionTask, ExpressionBatches]:
    """Make the task and its batches.

    Raises:
        DataError: a folder that cannot be used, without held-out images, or with fewer than two labels.
        ConfigError: classes in the config, which come from the data.
    """
    if config.network.n_classes:
        raise ConfigError("network.n_classes comes from the data: leave it out")
    cv2.setNumThreads(1)  # many small images: threads would only get in each other's way
    folders = [Path(folder) for folder in config.data.folders]
    train, held_out = (LabelledFaces(folders, split, INPUT_SIZE, config.data.memory_gb) for split in ("train", "val"))
    labels = sorted(set(train.label) - {""})
    if len(labels) < 2:
        raise DataError(f"the training images have {len(labels)} labels: give at least two expressions in the manifest")
    batches = ExpressionBatches(train, labels, config)
    return ExpressionTask(config, device, labels, batches(0, 0, 1)["image"], held_out, train.facts()), batches


def export_expression(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged network of a run's newest checkpoint, as float16, and return the metadata.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    config, state = parse_config(ExpressionConfig, read_toml(run / CONFIG)), trained_state(run)
    labels = list(state["extra"]["labels"])
    lightcnn = config_to_dict(replace(config.network, n_classes=len(labels)))
    return write_network(out, config, state, {"model": MODEL, "lightcnn": lightcnn, "labels": labels}, known_faults)
