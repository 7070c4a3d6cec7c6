"""The training of StarGAN v2 (Choi et al., CVPR 2020): settings and task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan import losses
from legan.core.conditions import Classes
from legan.core.config import config_to_dict, read_toml
from legan.core.errors import ConfigError
from legan.data.batches import DataConfig, FaceBatches, ReferenceBatches, face_dataset
from legan.models import starganv2
from legan.models import starganv2 as models
from legan.models.starganv2 import DomainCode, StarGANv2Config, StyledEditor, domain_of
from legan.train.config import LoopConfig, OptimizerConfig, parse_config
from legan.train.export import write_editor
from legan.train.gan import EditorTask
from legan.train.probe import Probe
from legan.train.run_folder import CONFIG
from legan.train.task import Batch, Chosen, Update

# Settings of StarGAN v2's training, and the presets `paper` and `lite`.


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
        penalty_fraction: share of the batch that the penalty is computed on.
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
class StarGANv2OptimizerConfig(OptimizerConfig):
    """Adam for all networks, as published with constant rates; arguments as for `OptimizerConfig`.

    Args:
        lr_mapping: learning rate of the mapping network; `lr` is that of generator, style encoder and discriminator.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-4
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 1e-4
    warmup_steps: int = 0
    decay: Literal["linear", "cosine"] = "linear"
    decay_fraction: float = 0.0
    ema_decay: float = 0.999
    lr_mapping: float = 1e-6


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


# Training StarGAN v2 (Choi et al., CVPR 2020, section 2.2): four updates a step.
#
# The discriminator and then the generator learn from styles that the mapping network makes of noise, and each again from styles that
# the encoder reads from reference images. Mapping network and encoder learn beside the generator in the third update alone.
#
# A face under its own even light is no example of a lighting: where domains have to do with light the discriminator does not get it
# among the reals, and its own style, for the way back, is read as that of room light (`starganv2.domain_of`).


class StarGANv2Task(EditorTask):
    """Updates of the discriminator (noise, references) and of the generator (noise, references), in this order.

    In `networks`, `generator` is also a part of `translator`, which holds the mapping network and the encoder besides: the two
    entries share one optimizer, and an update steps only what its entry holds.

    Args:
        config: all settings.
        device: where the training runs.
        probe, data: as for `EditorTask`.
    """

    config: StarGANv2TrainingConfig
    ema: nn.ModuleDict
    shared = ("expression_src", "lighting_src")
    compiled = ("generator", "discriminator")

    def __init__(
        self,
        config: StarGANv2TrainingConfig,
        device: torch.device,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
    ) -> None:
        shape, rates = config.network, config.optimizer
        self.generator, self.mapping = models.StarGANv2Generator(shape), models.Mapping(shape)
        self.encoder, self.discriminator = models.StyleEncoder(shape), models.Discriminator(shape)
        translator = nn.ModuleDict({"generator": self.generator, "mapping": self.mapping, "encoder": self.encoder})
        networks = {"translator": translator, "generator": self.generator, "discriminator": self.discriminator}
        groups = [
            {"params": net.parameters(), "lr": rates.lr_mapping if name == "mapping" else rates.lr}
            for name, net in translator.items()
        ]
        together = rates.make(groups)
        optimizers = {
            "translator": together,
            "generator": together,
            "discriminator": rates.make(self.discriminator.parameters()),
        }
        super().__init__(config, device, networks, optimizers, probe=probe, data=data)
        self.period = config.loss.penalty_every

    def editor(self) -> StyledEditor:
        """The averaged generator with the mean style of each domain."""
        return StyledEditor(self.ema["generator"], self.ema["mapping"]).eval()  # type: ignore[arg-type]  # as they were put in

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the four updates."""
        x_real = batch["x_real"].to(memory_format=self.layout)
        references = [batch[name].to(memory_format=self.layout) for name in ("x_ref", "x_ref2")]
        own = domain_of(self.config.network.domains, batch["expression_src"], batch["lighting_src"])
        target = domain_of(self.config.network.domains, batch["expression_trg"], batch["lighting_trg"]).domain
        z = self._draw_noise(x_real)

        # Discriminator. The fakes of noise serve its update and the generator's: nothing they are made with changes between.
        with torch.set_grad_enabled(not self.translates_twice):
            styles = [self.mapping(noise, target) for noise in z]
            x_fake = self._translate(x_real, styles[0])
        yield self._discriminator_update("noise", batch, x_real, own, x_fake.detach(), target, step)
        with torch.no_grad():
            x_ref_fake = self._translate(x_real, self._style_of(references[0], target))
        yield self._discriminator_update("reference", batch, x_real, own, x_ref_fake, target, step)

        # Generator, with mapping network and encoder; then alone, with styles that the encoder has by now.
        if self.translates_twice:
            styles = [self.mapping(noise, target) for noise in z]
            x_fake = self._translate(x_real, styles[0])
        yield self._generator_update("translator", "noise", x_real, own, x_fake, target, styles, step)
        with torch.no_grad():
            styles = [self._style_of(x, target) for x in references]
        x_fake = self._translate(x_real, styles[0])
        yield self._generator_update("generator", "reference", x_real, own, x_fake, target, styles, step)

    def _draw_noise(self, x: Tensor) -> Tensor:
        """Noise (2, B, n_latent) of two styles for each row."""
        n_latent = self.config.network.n_latent
        return self.share.draw(lambda n: torch.randn(2, n, n_latent, device=x.device).transpose(0, 1), len(x)).transpose(0, 1)

    def _translate(self, x: Tensor, style: Tensor) -> Tensor:
        return self.run_mixed(self.generator, x, style)

    def _style_of(self, x: Tensor, domain: Tensor) -> Tensor:
        return self.run_mixed(self.encoder, x, domain)

    def _judge(self, x: Tensor, domain: Tensor) -> Tensor:
        return self.run_mixed(self.discriminator, x, domain)

    def _discriminator_update(
        self, kind: str, batch: Batch, x_real: Tensor, own: DomainCode, x_fake: Tensor, target: Tensor, step: int
    ) -> Update:
        weights, known = self.config.loss, self._known(batch)
        # Adversarial: reals up in their own domain, fakes down in the target's. Without a single real, the loss of the fakes alone.
        fake = self._judge(x_fake, target)
        real = self._judge(x_real, own.domain)[own.is_known]
        adversarial = losses.nonsaturating_critic(real if len(real) else fake.new_full((1,), torch.inf), fake, known.weight)
        logs = {f"discriminator/{kind}": adversarial}
        loss = adversarial

        # R1 at the reals, in float32 and not every time.
        if step % weights.penalty_every == 0 and weights.penalty > 0 and known.n:
            logs["discriminator/penalty"] = self._penalty(batch, x_real, own.domain, known.n)
            loss = loss + weights.penalty * logs["discriminator/penalty"]
        return Update("discriminator", loss, logs)

    def _known(self, batch: Batch, n_most: int | None = None) -> Chosen:
        """The rows whose own domain is known, or the first of them."""
        codes = self.share.of_all(batch, "expression_src"), self.share.of_all(batch, "lighting_src")
        return self.share.choose(domain_of(self.config.network.domains, *codes).is_known, n_most)

    def _penalty(self, batch: Batch, x_real: Tensor, domain: Tensor, n_known: int) -> Tensor:
        first = self._known(batch, max(1, round(self.config.loss.penalty_fraction * n_known)))
        if not len(first.rows):
            return x_real.new_zeros(())
        domain = domain[first.rows]
        # Not compiled: compiled networks have no second derivatives.
        return first.weight * losses.r1_penalty(lambda x: self.discriminator.forward(x, domain), x_real[first.rows])

    def _generator_update(
        self,
        net: str,
        kind: str,
        x_real: Tensor,
        own: DomainCode,
        x_fake: Tensor,
        target: Tensor,
        styles: Sequence[Tensor],
        step: int,
    ) -> Update:
        # Adversarial: a real image of the target domain.
        terms = {"adversarial": losses.nonsaturating_generator(self._judge(x_fake, target))}

        # Style reconstruction: the encoder reads the style that the image was made with.
        terms["style"] = losses.reconstruction(self._style_of(x_fake, target), styles[0])

        # Diversity: another style gives another image.
        with torch.no_grad():
            x_other = self._translate(x_real, styles[1])
        terms["diversity"] = losses.reconstruction(x_fake, x_other)

        # Cycle: with its own style the input comes back.
        x_rec = self._translate(x_fake, self._style_of(x_real, own.domain))
        terms["cycle"] = losses.reconstruction(x_rec, x_real)

        weights = self.config.loss
        diversity = diversity_weight(step, self.config.loop.n_steps, weights)
        loss = weights.adversarial * terms["adversarial"] + weights.style * terms["style"] + weights.cycle * terms["cycle"]
        logs = {f"generator/{kind}_{name}": term for name, term in terms.items()} | {"generator/diversity_weight": diversity}
        return Update(net, loss - diversity * terms["diversity"], logs)


def diversity_weight(step: int, n_steps: int, weights: StarGANv2LossConfig) -> float:
    """Return the weight of the diversity term at `step`: a linear fall to 0 over its share of the training."""
    n_decay_steps = weights.diversity_fraction * n_steps
    return weights.diversity * max(0.0, 1 - step / n_decay_steps) if n_decay_steps > 0 else 0.0


def build_starganv2(config: StarGANv2TrainingConfig, device: torch.device) -> tuple[StarGANv2Task, ReferenceBatches]:
    """Make the task and its batches from a config."""
    shape, classes = config.network, config.data.classes
    if (shape.n_expressions, shape.n_lightings) != (len(classes.expressions), len(classes.lightings)):
        raise ConfigError(
            f"network.n_expressions and network.n_lightings must be {len(classes.expressions)} and {len(classes.lightings)}, as many as "
            "data.expressions and data.lightings declare: leave them out"
        )
    train, val = (face_dataset(config.data, split, shape.size) for split in ("train", "val"))
    batches = FaceBatches(train, config.data, config.loop.seed)
    with_references = ReferenceBatches(batches, shape.domains != "lighting", shape.domains != "expression")
    return StarGANv2Task(config, device, Probe(val), train.facts()), with_references


def shaped_by_classes(config: StarGANv2TrainingConfig, classes: Classes) -> StarGANv2TrainingConfig:
    """Return a config whose networks know as many classes."""
    n_expressions, n_lightings = len(classes.expressions), len(classes.lightings)
    return replace(config, network=replace(config.network, n_expressions=n_expressions, n_lightings=n_lightings))


def export_starganv2(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged generator, mapping network and style encoder, as `generator.generator.*` and so on.

    Arguments, result and errors as for `write_editor`.
    """
    config = parse_config(StarGANv2TrainingConfig, read_toml(run / CONFIG))
    shape = {"generator": config_to_dict(config.network)}
    return write_editor(run, out, config, {"model": "starganv2", **shape}, known_faults=known_faults)
