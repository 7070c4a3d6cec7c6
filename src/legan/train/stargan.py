"""Training StarGAN: the critic's and the generator's updates (Choi et al., CVPR 2018, equations 1 to 6), on expression and lighting.

A face under its own even light has no lighting class: the critic's lighting loss leaves it out, and zeros stand for it in the label
that the way back is given.
"""

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
from legan.train.critic_game import CriticGame, generator_update
from legan.train.frozen import load_quality
from legan.train.loop import Outcome, Rehearsal
from legan.train.probe import Probe
from legan.train.stargan_config import StarGANConfig, preset
from legan.train.start import on_folders, start
from legan.train.task import Batch, Update, mixed_dtype


class LabelEditor(nn.Module):
    """StarGAN's generator as an editor: (x, expression, lighting) -> image."""

    def __init__(self, generator: StarGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        return self.generator(x, joint_label(expression, lighting))


class StarGANTask(CriticGame):
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

    def __init__(
        self,
        config: StarGANConfig,
        device: torch.device,
        quality: nn.Module | None = None,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        if config.generator.n_labels != N_LABELS or config.critic.n_labels != N_LABELS:
            raise ConfigError(f"generator.n_labels and critic.n_labels must be {N_LABELS}: expressions and lightings together")
        if config.loss.quality > 0 and quality is None:
            raise ConfigError("loss.quality is above 0 but there is no quality network: give one, or set loss.quality=0")
        networks = StarGANGenerator(config.generator), StarGANCritic(config.critic)
        super().__init__(config, device, *networks, probe, data, judges)
        self.quality = quality
        self.frozen = {} if quality is None else {"quality": quality.eval().requires_grad_(False)}

    def editor(self) -> LabelEditor:
        """The averaged generator as an editor."""
        return LabelEditor(self.ema)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, and the generator's where it has its turn."""
        has_turn = self.has_turn(step)
        x_real = batch["x_real"].to(memory_format=self.layout)
        label_trg = joint_label(batch["expression_trg"], batch["lighting_trg"])
        # One translation serves both: the critic's step does not change the generator.
        with torch.set_grad_enabled(has_turn):
            x_fake = self.run_mixed(self.generator, x_real, label_trg)
        yield self.critic_update(batch, x_real, x_fake.detach(), step)
        if has_turn:
            yield generator_update(self.config.loss, self._generator_terms(batch, x_real, x_fake))

    def judge(self, x: Tensor) -> CriticOutput:
        """The critic's outputs in float32, the classes of each attribute apart."""
        return by_attribute(self.run_mixed(self.critic, x))

    def _generator_terms(self, batch: Batch, x_real: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        # Adversarial and classification.
        terms = self.persuasion(batch, x_fake)

        # Reconstruction: back to the source's label.
        label_src = joint_label(batch["expression_src"], batch["lighting_src"])
        x_rec = self.run_mixed(self.generator, x_fake, label_src)
        terms["reconstruction"] = losses.reconstruction(x_rec, x_real)

        # Quality: natural to Q.
        if self.config.loss.quality > 0 and self.quality is not None:
            terms["quality"] = losses.unnaturalness(self.quality(x_fake)).mean()
        return terms


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
    task = StarGANTask(config, device, quality, Probe(val), train.facts(), judges)
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
    return start(build_stargan, on_folders(config, data), run, devices, dry_run)
