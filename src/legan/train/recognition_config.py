"""Settings of the identity network's training, and its presets."""

from collections.abc import Iterable
from dataclasses import field, replace
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from legan.core.errors import ConfigError, no_such
from legan.models import lightcnn
from legan.models.lightcnn import LightCNNConfig
from legan.train.run import LoopConfig


@dataclass(frozen=True)
class IdentityDataConfig:
    """Where the crops come from and how they are drawn: a folder, a person in it, a domain of that person's, an image.

    Args:
        folders: data set folders; a person who is in several has the same source and identity in all.
        weights: share of each folder in a batch, on average; empty for equal shares.
        batch_size: images a step, over all devices.
        augment: strength of the random changes of `train/recognition_pictures.py`; 0 for none.
        memory_gb: keep all images decoded when they take less than this.
    """

    folders: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    batch_size: int = 64
    augment: float = 1.0
    memory_gb: float = 8.0


@dataclass(frozen=True)
class MarginConfig:
    """What the features learn from: cross entropy over the training people.

    Args:
        kind: "softmax" as published; "cosface" (Wang et al., CVPR 2018) or "arcface" (Deng et al., CVPR 2019), which ask for a
            margin between people in the cosine that faces are later compared by.
        margin: of the cosine (cosface) or of the angle in radians (arcface).
        scale: what the cosines are multiplied by.
        n_rise_steps: steps over which the margin grows from nothing.
    """

    kind: Literal["softmax", "cosface", "arcface"] = "softmax"
    margin: float = 0.25
    scale: float = 24.0
    n_rise_steps: int = 0


@dataclass(frozen=True)
class RateConfig:
    """The optimizer: a linear warm-up, then a cosine to zero.

    Args:
        kind: "sgd" with momentum 0.9, as published (there bias and classifier have higher rates, and rates fall in stairs), or
            "adamw".
        lr: highest learning rate.
        weight_decay: of all weights.
        n_warmup_steps: steps of the warm-up.
        average: share of the moving average that a step keeps; the average is what is evaluated and exported.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    weight_decay: float = 1e-4
    n_warmup_steps: int = 200
    average: float = 0.998

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""
        if self.kind == "adamw":
            return torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class RecognitionConfig:
    """Everything that decides a training of the identity network.

    Args:
        network: its shape; the number of classes comes from the data.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it.
        channels_last: memory layout of images and weights.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: IdentityDataConfig = field(default_factory=IdentityDataConfig)
    network: LightCNNConfig = field(default_factory=LightCNNConfig)
    margin: MarginConfig = field(default_factory=MarginConfig)
    rate: RateConfig = field(default_factory=RateConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True


_PUBLISHED = RecognitionConfig(
    loop=LoopConfig(n_steps=200_000, log_every=100, sample_every=5000, checkpoint_every=5000),
    data=IdentityDataConfig(batch_size=128),
)

# `lightcnn9`, `lightcnn29`: networks and loss as published. `lite`: what the package brings, for two CPU cores.
PRESETS = {
    "lightcnn9": _PUBLISHED,
    "lightcnn29": replace(_PUBLISHED, network=lightcnn.PRESETS["lightcnn29"]),
    "lite": RecognitionConfig(
        loop=LoopConfig(n_steps=2000, log_every=50, sample_every=250, checkpoint_every=250),
        network=replace(lightcnn.PRESETS["lite"], dropout=0.2),
        margin=MarginConfig(kind="cosface", n_rise_steps=600),
        rate=RateConfig(kind="adamw", lr=2e-3, weight_decay=0.05, n_warmup_steps=100, average=0.995),
    ),
}


def preset(name: str) -> RecognitionConfig:
    """Return the training preset called `name`.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("preset", name, PRESETS))
    return PRESETS[name]
