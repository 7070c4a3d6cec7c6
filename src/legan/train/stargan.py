"""Training StarGAN: the critic's and the generator's updates (Choi et al., CVPR 2018, equations 1 to 6), on expression and lighting.

A face under its own even light has no lighting class: the critic's lighting loss leaves it out, and zeros stand for it in the label
that the way back is given.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from legan import losses
from legan.core.config import load_config
from legan.core.errors import ConfigError
from legan.data.faces import FaceDataset
from legan.data.loaders import FaceBatches
from legan.models.critic import CriticOutput
from legan.models.stargan import N_LABELS, StarGANCritic, StarGANGenerator, by_attribute, joint_label
from legan.train.editor_task import EditorTask
from legan.train.frozen import load_quality
from legan.train.legan import describe, schedule
from legan.train.loop import Outcome, Rehearsal, rehearse, run_task
from legan.train.probe import Probe
from legan.train.schedules import move_average
from legan.train.stargan_config import StarGANConfig, preset
from legan.train.task import Batch, Update, mixed_dtype


class LabelEditor(nn.Module):
    """StarGAN's generator as an editor: (x, expression, lighting) -> image."""

    def __init__(self, generator: StarGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        return self.generator(x, joint_label(expression, lighting))


class StarGANTask(EditorTask):
    """One critic update a step, and a generator update every `n_critic` steps.

    Args:
        config: all settings.
        device: where the training runs.
        quality: Q, crops (B, 3, H, W) in [-1, 1] to scores (B,); needed when its loss weight is above 0.
        probe, data, judges: as for `EditorTask`.

    Raises:
        ConfigError: a label of another length than the two codes, or a quality weight without its network.
    """

    def __init__(
        self,
        config: StarGANConfig,
        device: torch.device,
        quality: nn.Module | None = None,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(device, config.precision, config.channels_last, probe, data, judges)
        if config.generator.n_labels != N_LABELS or config.critic.n_labels != N_LABELS:
            raise ConfigError(f"generator.n_labels and critic.n_labels must be {N_LABELS}: expressions and lightings together")
        if config.loss.quality > 0 and quality is None:
            raise ConfigError("loss.quality is above 0 but there is no quality network: give one, or set loss.quality=0")
        self.config, self.quality = config, quality
        self.generator = StarGANGenerator(config.generator).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.critic = StarGANCritic(config.critic).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.networks = {"generator": self.generator, "critic": self.critic, "ema": self.ema}
        rates, betas = config.optimizer, config.optimizer.betas
        self.optimizers = {
            "generator": torch.optim.Adam(self.generator.parameters(), rates.lr_generator, betas),
            "critic": torch.optim.Adam(self.critic.parameters(), rates.lr_critic, betas),
        }
        self.frozen = {} if quality is None else {"quality": quality.eval().requires_grad_(False)}

    def editor(self) -> LabelEditor:
        """The averaged generator as an editor."""
        return LabelEditor(self.ema)

    def learning_rates(self, step: int) -> Mapping[str, float]:
        """Both rates at `step`."""
        rates = self.config.optimizer
        share = schedule(step, self.config.loop.n_steps, rates)
        return {"generator": share * rates.lr_generator, "critic": share * rates.lr_critic}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, and the generator's where it has its turn."""
        has_turn = self._has_turn(step)
        x_real = batch["x_real"].to(memory_format=self.layout)
        label_trg = joint_label(batch["expression_trg"], batch["lighting_trg"])
        # One translation serves both: the critic's step does not change the generator.
        with torch.set_grad_enabled(has_turn):
            x_fake = self.run_mixed(self.generator, x_real, label_trg)
        yield self._critic_update(batch, x_real, x_fake.detach(), step)
        if has_turn:
            yield self._generator_update(batch, x_real, x_fake)

    def after_step(self, step: int) -> None:
        """Move the average of the generator's weights."""
        if self._has_turn(step):
            n_updates = (step + 1) // self.config.adversarial.n_critic
            move_average(self.ema, self.generator, self.config.optimizer.ema_decay, n_updates)

    def _has_turn(self, step: int) -> bool:
        return (step + 1) % self.config.adversarial.n_critic == 0

    def _judge(self, x: Tensor) -> CriticOutput:
        return by_attribute(self.run_mixed(self.critic, x))

    def _critic_update(self, batch: Batch, x_real: Tensor, x_fake: Tensor, step: int) -> Update:
        config = self.config.adversarial
        # Adversarial: reals up, fakes down.
        real = self._judge(x_real)
        adversarial = losses.CRITIC_LOSSES[config.kind](real.realness, self._judge(x_fake).realness)

        # Classification: the reals' own classes.
        classification = losses.classification(real.expression, batch["expression_src"])
        classification = classification + losses.classification(real.lighting, batch["lighting_src"])
        logs = {"critic/adversarial": adversarial, "critic/classification": classification}
        loss = adversarial + classification

        # Penalty, in float32.
        if step % config.penalty_every == 0 and config.penalty > 0:
            n = max(1, round(config.penalty_fraction * len(x_real)))
            logs["critic/penalty"] = self._penalty(x_real[:n], x_fake[:n])
            loss = loss + config.penalty * logs["critic/penalty"]
        return Update("critic", loss, logs)

    def _penalty(self, x_real: Tensor, x_fake: Tensor) -> Tensor:
        def source(x: Tensor) -> Tensor:
            return self.critic(x)[0]

        if self.config.adversarial.kind == "wgan-gp":
            mix = torch.rand(len(x_real), 1, 1, 1, device=x_real.device)
            return losses.gradient_penalty(source, x_real, x_fake, mix)
        return losses.r1_penalty(source, x_real)

    def _generator_update(self, batch: Batch, x_real: Tensor, x_fake: Tensor) -> Update:
        weights = self.config.loss
        # Adversarial and classification: the critic takes the fake for real, and for the target's classes.
        fake = self._judge(x_fake)
        terms = {"adversarial": losses.GENERATOR_LOSSES[self.config.adversarial.kind](fake.realness)}
        terms["classification"] = losses.classification(fake.expression, batch["expression_trg"])
        terms["classification"] = terms["classification"] + losses.classification(fake.lighting, batch["lighting_trg"])

        # Reconstruction: back to the source's label.
        label_src = joint_label(batch["expression_src"], batch["lighting_src"])
        x_rec = self.run_mixed(self.generator, x_fake, label_src)
        terms["reconstruction"] = losses.reconstruction(x_rec, x_real)

        # Quality: natural to Q.
        if weights.quality > 0 and self.quality is not None:
            terms["quality"] = losses.unnaturalness(self.quality(x_fake)).mean()
        loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return Update("generator", loss, {f"generator/{name}": term for name, term in terms.items()})


def build_stargan(config: StarGANConfig, device: torch.device) -> tuple[StarGANTask, FaceBatches]:
    """Make the task and its batches from a config."""
    data = config.data
    folders, size = [Path(folder) for folder in data.folders], config.critic.size
    train, val = (FaceDataset(folders, split, data.paired_domains, size, data.memory_gb) for split in ("train", "val"))
    quality, judges = None, {}
    if config.loss.quality > 0:
        # Making Q draws numbers: a training with it starts from the same weights as one without.
        with torch.random.fork_rng([]):
            judge = load_quality(config.quality, mixed_dtype(config.precision, device), device)
        quality, judges = judge.net, {"quality": judge.facts()}
    task = StarGANTask(config, device, quality, Probe(val), describe(train), judges)
    return task, FaceBatches(train, data, config.loop.seed)


def train_stargan(
    preset_name: str,
    data: Sequence[Path],
    run: Path,
    overrides: Sequence[str] = (),
    devices: int = 1,
    dry_run: bool = False,
) -> Outcome | Rehearsal:
    """Train StarGAN in a run folder, or continue the training that it holds; arguments and errors as for `train_legan`."""
    config = load_config(StarGANConfig, overrides=overrides, base=preset(preset_name))
    if config.quality is not None:
        config = replace(config, quality=config.quality.resolve())
    if data:
        folders = tuple(str(Path(folder).resolve()) for folder in data)
        config = replace(config, data=replace(config.data, folders=folders))
    if dry_run:
        return rehearse(build_stargan, config, devices)
    return run_task(build_stargan, config, run, devices)
