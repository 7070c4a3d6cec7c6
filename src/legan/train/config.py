"""The part that the configs of all trainings share: `loop`, `data`, `optimizer`; and the keys that earlier versions wrote."""

import dataclasses
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from legan.core.config import dict_to_config, load_config

# A training's config is a frozen dataclass with `loop: LoopConfig`, `data` (at least `folders` and `batch_size`), the shapes of its
# networks, its losses, `optimizer: OptimizerConfig` or a subclass, and `model`, which names the recipe in a run folder.


T = TypeVar("T")


@dataclass(frozen=True)
class LoopConfig:
    """Length, logs, samples and checkpoints.

    Args:
        seed: of all random numbers.
        n_steps: length of the training.
        log_every: steps between lines of `log.jsonl`.
        sample_every: steps between images of samples, and between evaluations.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: a checkpoint is also written when the last one is this old.
        n_checkpoints: checkpoints kept.
        n_workers: processes that prepare batches; 0 prepares them in the training process.
        accumulate: parts that a process takes its rows of a batch in, one after another, where they do not fit the memory together;
            the result is the same but for rounding.
        compile: compile the networks with `torch.compile` (docs/several-devices.md has what it gains).
    """

    seed: int = 0
    n_steps: PositiveInt = 1000
    log_every: PositiveInt = 20
    sample_every: PositiveInt = 250
    checkpoint_every: PositiveInt = 250
    checkpoint_minutes: PositiveFloat = 5.0
    n_checkpoints: PositiveInt = 2
    n_workers: NonNegativeInt = 0
    accumulate: PositiveInt = 1
    compile: bool = False


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, its learning rate over the steps, and the moving average of the weights.

    Args:
        kind: "adam", "adamw" (decoupled weight decay; Loshchilov and Hutter, ICLR 2019), or "sgd" with momentum 0.9.
        lr: learning rate between warm-up and decay.
        betas: of Adam and AdamW.
        weight_decay: of all weights.
        warmup_steps: steps over which the rate rises linearly from nothing.
        decay: how the rate falls after the warm-up: "linear" or "cosine".
        decay_fraction: share of all steps, at the end, over which it falls; 0 keeps it constant.
        lr_floor: share of the rate that the fall ends at.
        ema_decay: of the exponential moving average of the weights, for each update; less during the first updates.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay: Literal["linear", "cosine"] = "cosine"
    decay_fraction: float = 1.0
    lr_floor: float = 0.0
    ema_decay: float = 0.99

    def make(self, parameters: Iterable[Any], lr: float | None = None) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters or parameter groups, with another rate than `lr` where one is given."""
        lr = self.lr if lr is None else lr
        if self.kind == "sgd":
            return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=self.weight_decay)
        adam = torch.optim.AdamW if self.kind == "adamw" else torch.optim.Adam
        return adam(parameters, lr, self.betas, weight_decay=self.weight_decay or 0)

    def lr_share(self, step: int, n_steps: int) -> float:
        """Return the share of the learning rate at `step` of `n_steps`: warm-up times decay, from 0 to 1."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        n_decay_steps = self.decay_fraction * n_steps
        if not n_decay_steps:
            return warmup
        if self.decay == "linear":
            fall = min(1.0, (n_steps - step) / n_decay_steps)
        else:
            start = max(self.warmup_steps, n_steps - n_decay_steps)
            fall = 0.5 * (1 + math.cos(math.pi * max(0, step - start) / max(1, n_steps - start)))
        return warmup * max(self.lr_floor, fall)


@dataclass(frozen=True)
class GANOptimizerConfig(OptimizerConfig):
    """Adam for generator and critic; arguments as for `OptimizerConfig`, of both, but `lr` and `ema_decay` of the generator.

    Args:
        lr_critic: learning rate of the critic.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    decay: Literal["linear", "cosine"] = "linear"
    decay_fraction: float = 0.5
    ema_decay: float = 0.999
    lr_critic: float = 1e-4


# Keys of earlier versions, in `--set`, in run folders and in the metadata `training` of weights -> keys of today. One of them is read
# only for a config that has the key of today and has not that of before.
RENAMED = {
    # Editors.
    "optimizer.lr_generator": "optimizer.lr",
    "optimizer.n_warmup_steps": "optimizer.warmup_steps",
    # Identity and expression.
    "rate.kind": "optimizer.kind",
    "rate.lr": "optimizer.lr",
    "rate.weight_decay": "optimizer.weight_decay",
    "rate.n_warmup_steps": "optimizer.warmup_steps",
    "rate.average": "optimizer.ema_decay",
    # Expression, quality and landmarks.
    "folders": "data.folders",
    "batch_size": "data.batch_size",
    "augment": "data.augment",
    "memory_gb": "data.memory_gb",
    # Quality and landmarks.
    "data": "data.folders",
    "labels": "data.labels",
    "shift": "data.shift",
    "flip": "data.flip",
    "photos": "data.photos",
    "photo_share": "data.photo_share",
    "lr": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "n_warmup_steps": "optimizer.warmup_steps",
    "average": "optimizer.ema_decay",
}


def parse_config(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return the config in the table of a run folder or of weights, of this version or an earlier one.

    Raises:
        ConfigError: as `dict_to_config`.
    """
    table: dict[str, Any] = {}
    for key, value in _leaves(values):
        *groups, name = today(cls, key).split(".")
        group = table
        for part in groups:
            group = group.setdefault(part, {})
        group[name] = value
    return dict_to_config(cls, table)


def change_settings(config: T, settings: Sequence[str]) -> T:
    """Return a config with settings such as "optimizer.lr=1e-3" on top; those of earlier versions are noted on stderr.

    Raises:
        ConfigError: as `load_config`.
    """
    words = []
    for word in settings:
        key, equals, value = word.partition("=")
        name = today(type(config), key.strip())
        if name != key.strip():
            print(f"note: the setting {key.strip()} is called {name} now", file=sys.stderr)
        words.append(f"{name}{equals}{value}")
    return load_config(type(config), overrides=words, base=config)


def today(cls: type, key: str) -> str:
    """Return the name that a dotted key of an earlier version has in a config of type `cls` now; any other key as it is."""
    name = RENAMED.get(key)
    return name if name is not None and _is_setting(cls, name) and not _is_setting(cls, key) else key


def _is_setting(cls: Any, key: str) -> bool:
    """Whether a dotted key names a value of a config, not a group of them."""
    for name in key.split("."):
        fields = {field.name: field.type for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
        if name not in fields:
            return False
        cls = fields[name]
    return not dataclasses.is_dataclass(cls)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
