"""Settings of StarGAN v2's training, and the presets `paper` and `lite`."""

from dataclasses import field
from typing import Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from legan.core.errors import ConfigError, no_such
from legan.data.loaders import DataConfig
from legan.models import starganv2
from legan.models.starganv2 import StarGANv2Config
from legan.train.run import LoopConfig


@dataclass(frozen=True)
class StarGANv2LossConfig:
    """Weights of the loss terms (equation 6 of the paper).

    Args:
        adversarial: the discriminator's logit of the target domain.
        style: L1 between a style and the one that the encoder reads from the image made with it.
        diversity: L1 between images made with two styles, to be large.
        diversity_fraction: share of the training over which the weight of `diversity` falls to nothing.
        cycle: L1 between x and G(G(x, s), E(x)).
        penalty: weight of the discriminator's mean squared gradient at reals; 0.5 is the published R1 of weight 1.
        penalty_every: steps between penalties; raise `penalty` by as much.
        penalty_fraction: share of the batch that the penalty looks at.
    """

    adversarial: float = 1.0
    style: float = 1.0
    diversity: float = 1.0
    diversity_fraction: float = 1.0
    cycle: float = 1.0
    penalty: float = 0.5
    penalty_every: PositiveInt = 1
    penalty_fraction: float = 1.0


@dataclass(frozen=True)
class StarGANv2OptimizerConfig:
    """Adam with constant rates for all networks.

    Args:
        lr: learning rate of generator, style encoder and discriminator.
        lr_mapping: of the mapping network.
        betas, weight_decay: of Adam.
        ema_decay: of the moving averages of generator, mapping network and style encoder; less during the first steps.
    """

    lr: float = 1e-4
    lr_mapping: float = 1e-6
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 1e-4
    ema_decay: float = 0.999


@dataclass(frozen=True)
class StarGANv2TrainingConfig:
    """Everything that decides a training of StarGAN v2.

    Args:
        network: shape of the networks, and what a domain is: `network.domains` "pair", "expression" or "lighting".
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it. Penalties are float32 always.
        channels_last: memory layout of images and weights.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(pair_probability=0.0))
    network: StarGANv2Config = field(default_factory=lambda: starganv2.PRESETS["lite"])
    loss: StarGANv2LossConfig = field(default_factory=StarGANv2LossConfig)
    optimizer: StarGANv2OptimizerConfig = field(default_factory=StarGANv2OptimizerConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True
    model: Literal["starganv2"] = "starganv2"


# `paper`: clovaai/stargan-v2's defaults, at our crops' size. `lite`: narrow networks for a laptop, and rates with which the mapping network
# comes as far in 5,000 steps as in the published 100,000.
PRESETS = {
    "paper": StarGANv2TrainingConfig(
        loop=LoopConfig(n_steps=100_000, log_every=100, sample_every=5000, checkpoint_every=5000),
        data=DataConfig(batch_size=8, pair_probability=0.0),
        network=starganv2.PRESETS["paper"],
    ),
    "lite": StarGANv2TrainingConfig(
        loop=LoopConfig(n_steps=5000),
        data=DataConfig(tone=0.5, pair_probability=0.0),
        loss=StarGANv2LossConfig(penalty=4.0, penalty_every=8, penalty_fraction=0.5),
        optimizer=StarGANv2OptimizerConfig(lr=4e-4, lr_mapping=2e-5, ema_decay=0.996),
    ),
}


def preset(name: str) -> StarGANv2TrainingConfig:
    """Return the training preset called `name`.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("preset", name, PRESETS))
    return PRESETS[name]
