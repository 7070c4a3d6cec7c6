"""The game of LEGAN and StarGAN: a critic of realness and of classes against a generator (Choi et al., CVPR 2018, equations 1 to 3)."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from legan import losses
from legan.models.critic import CriticOutput
from legan.train.editor_task import EditorTask
from legan.train.legan_config import AdversarialConfig, OptimizerConfig
from legan.train.probe import Probe
from legan.train.run import LoopConfig
from legan.train.schedules import move_average
from legan.train.task import Batch, Update


class GameConfig(Protocol):
    """What the configs of such trainings share."""

    @property
    def loop(self) -> LoopConfig: ...
    @property
    def adversarial(self) -> AdversarialConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def precision(self) -> str: ...
    @property
    def channels_last(self) -> bool: ...


class CriticGame(EditorTask):
    """One critic update a step, and a generator update every `n_critic` steps, whose weights are averaged.

    Subclasses give `updates` and `editor`.

    Args:
        config: the settings.
        device: where the training runs.
        generator: the trained generator.
        critic: crops (B, 3, H, W) in [-1, 1] to realness and more.
        probe, data, judges: as for `EditorTask`.
    """

    config: GameConfig

    def __init__(
        self,
        config: GameConfig,
        device: torch.device,
        generator: nn.Module,
        critic: nn.Module,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(device, config.precision, config.channels_last, probe, data, judges)
        self.config = config
        self.generator = generator.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.critic = critic.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        self.networks = {"generator": generator, "critic": critic, "ema": self.ema}
        self.period = math.lcm(config.adversarial.n_critic, config.adversarial.penalty_every)
        rates, betas = config.optimizer, config.optimizer.betas
        self.optimizers = {
            "generator": torch.optim.Adam(generator.parameters(), rates.lr_generator, betas),
            "critic": torch.optim.Adam(critic.parameters(), rates.lr_critic, betas),
        }

    def learning_rates(self, step: int) -> Mapping[str, float]:
        """Both rates at `step`."""
        rates = self.config.optimizer
        share = schedule(step, self.config.loop.n_steps, rates)
        return {"generator": share * rates.lr_generator, "critic": share * rates.lr_critic}

    def after_step(self, step: int) -> None:
        """Move the average of the generator's weights."""
        if self.has_turn(step):
            n_updates = (step + 1) // self.config.adversarial.n_critic
            move_average(self.ema, self.generator, self.config.optimizer.ema_decay, n_updates)

    def has_turn(self, step: int) -> bool:
        """Whether the generator has its turn at `step`."""
        return (step + 1) % self.config.adversarial.n_critic == 0

    def judge(self, x: Tensor) -> CriticOutput:
        """The critic's outputs in float32."""
        return CriticOutput(*self.run_mixed(self.critic, x))

    def critic_update(self, batch: Batch, x_real: Tensor, x_fake: Tensor, step: int) -> Update:
        """The critic's update on real crops and on edits that hold no gradient."""
        config = self.config.adversarial
        # Adversarial: reals up, fakes down.
        real = self.judge(x_real)
        adversarial = losses.CRITIC_LOSSES[config.kind](real.realness, self.judge(x_fake).realness)

        # Classification: the reals' own classes.
        classification = losses.classification(real.expression, batch["expression_src"])
        classification = classification + losses.classification(real.lighting, batch["lighting_src"])
        logs = {"critic/adversarial": adversarial, "critic/classification": classification}
        loss = adversarial + classification

        # Penalty, in float32 and not every time.
        if step % config.penalty_every == 0 and config.penalty > 0:
            n = max(1, round(config.penalty_fraction * len(x_real)))
            logs["critic/penalty"] = self._penalty(x_real[:n], x_fake[:n])
            loss = loss + config.penalty * logs["critic/penalty"]
        return Update("critic", loss, logs)

    def persuasion(self, batch: Batch, x_fake: Tensor) -> dict[str, Tensor]:
        """The generator's terms `adversarial` and `classification`: the critic takes the edit for real, and for the target's classes."""
        fake = self.judge(x_fake)
        classification = losses.classification(fake.expression, batch["expression_trg"])
        return {
            "adversarial": losses.GENERATOR_LOSSES[self.config.adversarial.kind](fake.realness),
            "classification": classification + losses.classification(fake.lighting, batch["lighting_trg"]),
        }

    def _penalty(self, x_real: Tensor, x_fake: Tensor) -> Tensor:
        def realness(x: Tensor) -> Tensor:
            return self.critic(x)[0]

        if self.config.adversarial.kind == "wgan-gp":
            mix = torch.rand(len(x_real), 1, 1, 1, device=x_real.device)
            return losses.gradient_penalty(realness, x_real, x_fake, mix)
        return losses.r1_penalty(realness, x_real)


def generator_update(weights: object, terms: Mapping[str, Tensor]) -> Update:
    """The generator's update: the sum of its loss terms, each times the attribute of `weights` that has its name."""
    loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return Update("generator", loss, {f"generator/{name}": term for name, term in terms.items()})


def schedule(step: int, n_steps: int, config: OptimizerConfig) -> float:
    """Return the share of the learning rates at `step`: linear warm-up, then 1, then a linear fall to the floor."""
    warmup = min(1.0, (step + 1) / config.n_warmup_steps) if config.n_warmup_steps else 1.0
    n_decay_steps = config.decay_fraction * n_steps
    decay = min(1.0, (n_steps - step) / n_decay_steps) if n_decay_steps else 1.0
    return warmup * max(config.lr_floor, decay)
