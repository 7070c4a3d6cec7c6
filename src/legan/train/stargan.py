"""The training of StarGAN (Choi et al., CVPR 2018), with the quality loss on request: settings and task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan import losses
from legan.core.conditions import Classes
from legan.core.config import config_to_dict, read_toml
from legan.core.device import mixed_dtype
from legan.core.errors import ConfigError
from legan.data.batches import DataConfig, FaceBatches, face_dataset
from legan.models import stargan
from legan.models.quality import jittered, wants_jitter
from legan.models.stargan import (
    LabelEditor,
    StarGANCritic,
    StarGANCriticConfig,
    StarGANGenerator,
    StarGANGeneratorConfig,
    by_attribute,
    joint_label,
)
from legan.train.config import GANOptimizerConfig, LoopConfig, parse_config
from legan.train.export import write_editor
from legan.train.gan import AdversarialConfig, Adversary, EditorTask, gan_optimizers, generator_update, load_quality
from legan.train.probe import Probe
from legan.train.run_folder import CONFIG
from legan.train.task import Batch, Update

# Settings of StarGAN's training, and the presets `paper` and `lite`.


@dataclass(frozen=True)
class StarGANLossConfig:
    """Weights of the generator's loss terms; the critic's classification has weight 1 as published.

    Args:
        adversarial: the critic's source score.
        classification: cross entropy of the critic's class head on the targets, summed over the two attribute spaces.
        reconstruction: L1 between x and G(G(x, label_trg), label_src).
        quality: how unnatural Q finds the output, `losses.unnaturalness`: what `legan.QualityLoss` gives.
        quality_share: share of a batch whose outputs Q scores; the packaged Q takes longer than all other terms.
    """

    adversarial: float = 1.0
    classification: float = 1.0
    reconstruction: float = 10.0
    quality: float = 0.0
    quality_share: float = 1.0


@dataclass(frozen=True)
class StarGANConfig:
    """Everything that decides a training of StarGAN.

    Args:
        adversarial: the game; as published WGAN-GP with five critic updates for each of the generator.
        optimizer: Adam; `ema_decay` 0 is the published training, which averages no weights.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it. Penalties are float32 always.
        channels_last: memory layout of images and weights.
        quality: the network of `loss.quality`, weights written by `legan train quality`; the packaged ones by default. `robust` are
            adversarially trained, and `simulated` are those of simulated raters, twenty times faster.
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
    optimizer: GANOptimizerConfig = field(default_factory=lambda: GANOptimizerConfig(ema_decay=0.0))
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
        optimizer=GANOptimizerConfig(
            lr=4e-4, lr_critic=2e-4, betas=(0.5, 0.99), warmup_steps=200, lr_floor=0.05, ema_decay=0.99
        ),
    ),
}


# Training StarGAN: the critic's and the generator's updates (Choi et al., CVPR 2018, equations 1 to 6), on expression and lighting.
#
# A face under its own even light has no lighting class: the critic's lighting loss leaves it out, and zeros stand for it in the label
# that the way back is given.


class StarGANTask(EditorTask):
    """Trains StarGAN.

    Args:
        config: all settings.
        device: where the training runs.
        quality: Q, crops (B, 3, H, W) in [-1, 1] to scores (B,); needed when its loss weight is above 0.
        probe, data, judges: as for `EditorTask`.

    Raises:
        ConfigError: a label of another length than the two codes, or a quality weight without its network.
    """

    config: StarGANConfig
    ema: StarGANGenerator
    compiled = ("generator", "critic", "quality")

    def __init__(
        self,
        config: StarGANConfig,
        device: torch.device,
        quality: nn.Module | None = None,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        n_expressions, n_labels = len(config.data.classes.expressions), _n_labels(config.data.classes)
        if config.generator.n_labels != n_labels or config.critic.n_labels != n_labels:
            raise ConfigError(f"generator.n_labels and critic.n_labels must be {n_labels}: expressions and lightings together")
        if config.loss.quality > 0 and quality is None:
            raise ConfigError("loss.quality is above 0 but there is no quality network: give one, or set loss.quality=0")
        self.generator, self.critic = StarGANGenerator(config.generator), StarGANCritic(config.critic)
        networks = {"generator": self.generator, "critic": self.critic}
        optimizers = gan_optimizers(config.optimizer, **networks)
        super().__init__(config, device, networks, optimizers, config.adversarial.n_critic, probe, data, judges)
        self.adversary = Adversary(
            config.adversarial, self.critic, lambda x: by_attribute(self.run_mixed(self.critic, x), n_expressions)
        )
        self.period = config.adversarial.period
        self.quality = quality
        self.frozen = {} if quality is None else {"quality": quality.eval().requires_grad_(False)}

    def editor(self) -> LabelEditor:
        """The averaged generator as an editor."""
        return LabelEditor(self.ema)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, and the generator's where it has its turn."""
        is_generator_step = self.is_generator_step(step)
        x_real = batch["x_real"].to(memory_format=self.layout)
        label_trg = joint_label(batch["expression_trg"], batch["lighting_trg"])
        # One translation serves both: the critic's step does not change the generator.
        with torch.set_grad_enabled(is_generator_step and not self.translates_twice):
            x_fake = self.run_mixed(self.generator, x_real, label_trg)
        yield self.adversary.critic_update(batch, x_real, x_fake.detach(), step, self.share)
        if is_generator_step:
            if self.translates_twice:
                x_fake = self.run_mixed(self.generator, x_real, label_trg)
            yield generator_update(self.config.loss, self._generator_terms(batch, x_real, x_fake))

    def _generator_terms(self, batch: Batch, x_real: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        # Adversarial and classification.
        terms = self.adversary.generator_terms(batch, x_fake)

        # Reconstruction: back to the source's label.
        label_src = joint_label(batch["expression_src"], batch["lighting_src"])
        x_rec = self.run_mixed(self.generator, x_fake, label_src)
        terms["reconstruction"] = losses.reconstruction(x_rec, x_real)

        # Quality: natural to Q.
        if self.config.loss.quality > 0 and self.quality is not None:
            terms["quality"] = self._unnaturalness(self.quality, x_fake)
        return terms

    def _unnaturalness(self, quality: nn.Module, x_fake: Tensor) -> Tensor:
        """Mean over the first rows of the whole batch, those of `loss.quality_share`."""
        n_all = len(x_fake) * self.share.n_parts
        scored = self.share.choose(torch.ones(n_all), max(1, round(self.config.loss.quality_share * n_all)))
        if not len(scored.rows):
            return x_fake.new_zeros(())
        shown = x_fake[scored.rows]
        shown = jittered(shown, scored.rand) if wants_jitter(quality) else shown
        return scored.weight * losses.unnaturalness(quality(shown)).mean()


def build_stargan(config: StarGANConfig, device: torch.device) -> tuple[StarGANTask, FaceBatches]:
    """Make the task and its batches from a config."""
    train, val = (face_dataset(config.data, split, config.critic.size) for split in ("train", "val"))
    quality, judges = None, {}
    if config.loss.quality > 0:
        # Making Q draws numbers: a training with it starts from the same weights as one without.
        with torch.random.fork_rng([]):
            judge = load_quality(config.quality, mixed_dtype(config.precision, device), device)
        quality, judges = judge.net, {"quality": judge.facts()}
    task = StarGANTask(config, device, quality, Probe(val), train.facts(), judges)
    return task, FaceBatches(train, config.data, config.loop.seed)


def shaped_by_classes(config: StarGANConfig, classes: Classes) -> StarGANConfig:
    """Return a config whose networks have as many labels as there are classes."""
    n = _n_labels(classes)
    return replace(config, generator=replace(config.generator, n_labels=n), critic=replace(config.critic, n_labels=n))


def _n_labels(classes: Classes) -> int:
    """Length of the label: expressions and lightings, one after the other."""
    return len(classes.expressions) + len(classes.lightings)


def export_stargan(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged generator and the critic, whose class head recognises a face's own expression and lighting.

    Arguments, result and errors as for `write_editor`.
    """
    config = parse_config(StarGANConfig, read_toml(run / CONFIG))
    shapes = {"generator": config_to_dict(config.generator), "critic": config_to_dict(config.critic)}
    return write_editor(run, out, config, {"model": "stargan", **shapes}, ("critic",), known_faults)
