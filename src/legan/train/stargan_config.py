"""Settings of StarGAN's training, and the presets `paper` and `lite`."""

from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from legan.core.errors import ConfigError, no_such
from legan.data.loaders import DataConfig
from legan.models import stargan
from legan.models.stargan import StarGANCriticConfig, StarGANGeneratorConfig
from legan.train.legan_config import AdversarialConfig, OptimizerConfig
from legan.train.run import LoopConfig


@dataclass(frozen=True)
class StarGANLossConfig:
    """Weights of the generator's loss terms; the critic's classification has weight 1 as published.

    Args:
        adversarial: the critic's source score.
        classification: cross entropy of the critic's class head on the targets, summed over the two attribute spaces.
        reconstruction: L1 between x and G(G(x, label_trg), label_src).
        quality: how unnatural Q finds the output, `losses.unnaturalness`: what `legan.QualityLoss` gives.
    """

    adversarial: float = 1.0
    classification: float = 1.0
    reconstruction: float = 10.0
    quality: float = 0.0


@dataclass(frozen=True)
class StarGANConfig:
    """Everything that decides a training of StarGAN.

    Args:
        adversarial: the game; as published WGAN-GP with five critic updates for each of the generator.
        optimizer: Adam; `ema_decay` 0 is the published training, which averages no weights.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it. Penalties are float32 always.
        channels_last: memory layout of images and weights.
        quality: the network of `loss.quality`, a file that `legan train quality` led to; the packaged one by default.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(pair_probability=0.0))
    generator: StarGANGeneratorConfig = field(default_factory=lambda: stargan.PRESETS["lite"][0])
    critic: StarGANCriticConfig = field(default_factory=lambda: stargan.PRESETS["lite"][1])
    adversarial: AdversarialConfig = field(
        default_factory=lambda: AdversarialConfig("wgan-gp", n_critic=5, penalty=10.0, penalty_every=1, penalty_fraction=1.0)
    )
    loss: StarGANLossConfig = field(default_factory=StarGANLossConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(ema_decay=0.0))
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True
    quality: Path | None = None
    model: Literal["stargan"] = "stargan"


# `paper`: yunjey/stargan's defaults. `lite`: the same game, narrow networks, for a laptop; warm-up and rates of LEGAN's `lite`.
PRESETS = {
    "paper": StarGANConfig(
        loop=LoopConfig(n_steps=200_000, log_every=100, sample_every=5000, checkpoint_every=5000),
        generator=stargan.PRESETS["paper"][0],
        critic=stargan.PRESETS["paper"][1],
    ),
    "lite": StarGANConfig(
        loop=LoopConfig(n_steps=5000),
        data=DataConfig(tone=0.5, pair_probability=0.0),
        optimizer=OptimizerConfig(
            lr_generator=4e-4, lr_critic=2e-4, betas=(0.5, 0.99), n_warmup_steps=200, lr_floor=0.05, ema_decay=0.99
        ),
    ),
}


def preset(name: str) -> StarGANConfig:
    """Return the training preset called `name`.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("preset", name, PRESETS))
    return PRESETS[name]
