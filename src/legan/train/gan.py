"""The training of an editor against a critic: the base of the editors' tasks, the critic's side of a step, frozen networks of losses.

A step of LEGAN is read here and in `train/legan.py`: `LeganTask.updates` translates, lets `Adversary.critic_update` and
`generator_update` make the two updates, and gives the generator's loss terms.
"""

import copy
import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from legan import losses
from legan.core.device import autocast, mixed_dtype
from legan.core.errors import DataError, WeightsError
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.images import resized
from legan.core.weights import weights_file
from legan.models.critic import CriticOutput
from legan.models.efficientnet import efficientnet_file, load_efficientnet
from legan.models.identity import load_identity_network
from legan.models.quality import load_quality_net
from legan.train.config import GANOptimizerConfig, LoopConfig, OptimizerConfig
from legan.train.probe import Edit, Probe
from legan.train.task import Batch, Share, Task, Update, base_rates, scheduled_rates, update_ema

# The base of the trainings of LEGAN, StarGAN and StarGAN v2: precision, moving average, schedule, held-out faces, what resumes check.


class EditorConfig(Protocol):
    """What the configs of such trainings share."""

    @property
    def loop(self) -> LoopConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def precision(self) -> str: ...
    @property
    def channels_last(self) -> bool: ...


class EditorTask(Task):
    """The training of an editor. Subclasses give `updates` and `editor`.

    Args:
        config: the settings.
        device: where the training runs.
        networks: what is trained; the first one's moving average is kept beside them as `ema`.
        optimizers: by the names of networks, with their rates between warm-up and decay.
        n_critic: steps from one update of the generator, which the average follows, to the next.
        probe: held-out crops for samples and figures; None for neither.
        data: description of the training data, kept in checkpoints.
        judges: which weights the frozen networks are, likewise.
    """

    config: EditorConfig

    def __init__(
        self,
        config: EditorConfig,
        device: torch.device,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        n_critic: int = 1,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.config, self.device, self.dtype = config, device, mixed_dtype(config.precision, device)
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        for net in networks.values():
            net.to(memory_format=self.layout)  # type: ignore[call-overload]
        self._averaged = next(iter(networks.values()))
        self.ema = copy.deepcopy(self._averaged).eval().requires_grad_(False)
        self.networks = {**networks, "ema": self.ema}
        self.optimizers, self._rates = dict(optimizers), base_rates(optimizers)
        self.n_critic, self.probe = n_critic, probe
        self.data, self.judges = [dict(folder) for folder in data], {**(judges or {})}
        self.frozen = {}

    @property
    def translates_twice(self) -> bool:
        """Whether an update makes its translation anew: of several parts in one process, all graphs together would not fit the memory."""
        return self.config.loop.accumulate > 1

    @abstractmethod
    def editor(self) -> nn.Module:
        """Return the averaged editor as it stands: (x, expression, lighting) -> image, shapes as for `Edit`."""

    def is_generator_step(self, step: int) -> bool:
        """Whether the generator is updated at `step`: once every `n_critic` steps."""
        return (step + 1) % self.n_critic == 0

    def learning_rates(self, step: int) -> Mapping[str, Sequence[float]]:
        """The optimizers' initial rates times the schedule's share."""
        return scheduled_rates(self._rates, self.config.optimizer.lr_share(step, self.config.loop.n_steps))

    def after_step(self, step: int) -> None:
        """Move the average of the generator's weights."""
        if self.is_generator_step(step):
            n_updates = (step + 1) // self.n_critic
            update_ema(self.ema, self._averaged, self.config.optimizer.ema_decay, n_updates)

    def extra_state(self) -> dict[str, object]:
        """The descriptions of the data and of the frozen networks: an exported network names what it was trained with."""
        return {"data": self.data, "judges": self.judges}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Check that the data and the frozen networks are the same.

        Raises:
            DataError: the data is not.
            WeightsError: a network is not.
        """
        if state["data"] != self.data:
            raise DataError("the data has changed since the checkpoint was written: start a new run folder, or restore it")
        if state["judges"] != self.judges:
            raise WeightsError(
                "the identity or quality network has changed since the checkpoint was written: start a new run folder, or restore it"
            )

    def samples(self, step: int) -> np.ndarray | None:
        """Held-out faces, their edits by the averaged networks, and the truths."""
        return None if self.probe is None else self.probe.image(self._edit())

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Distances of edits from the truth on held-out faces."""
        return {} if self.probe is None else self.probe.figures(self._edit())

    def run_mixed(self, net: nn.Module, *inputs: Tensor) -> Any:
        """Call a network in the training's precision; what comes out, a tensor or several, is float32."""
        with autocast(self.dtype, self.device):
            output = net(*inputs)
        return output.float() if isinstance(output, Tensor) else tuple(tensor.float() for tensor in output)

    def _edit(self) -> Edit:
        editor = self.editor()

        @torch.no_grad()
        def edit(x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
            x, expression, lighting = (tensor.to(self.device) for tensor in (x, expression, lighting))
            return self.run_mixed(editor, x.to(memory_format=self.layout), expression, lighting).clamp(-1, 1).cpu()

        return edit


# The critic of LEGAN and StarGAN: realness and classes (Choi et al., CVPR 2018, equations 1 to 3).


@dataclass(frozen=True)
class AdversarialConfig:
    """The game between generator and critic.

    Args:
        kind: "wgan-gp" (penalty: gradient norm 1 between real and fake), "hinge" or "nonsaturating" (penalty: R1).
        n_critic: critic updates for each generator update.
        penalty: weight of the penalty.
        penalty_every: steps between penalties; they cost as much as the rest of a critic update.
        penalty_fraction: share of the batch that the penalty is computed on.
    """

    kind: Literal["wgan-gp", "hinge", "nonsaturating"] = "hinge"
    n_critic: PositiveInt = 1
    penalty: float = 4.0
    penalty_every: PositiveInt = 8
    penalty_fraction: float = 0.5

    @property
    def period(self) -> int:
        """Steps after which the same kinds of updates come again."""
        return math.lcm(self.n_critic, self.penalty_every)


def gan_optimizers(config: GANOptimizerConfig, generator: nn.Module, critic: nn.Module) -> dict[str, Optimizer]:
    """Return the optimizers of the two."""
    return {"generator": config.make(generator.parameters()), "critic": config.make(critic.parameters(), config.lr_critic)}


class Adversary:
    """The losses that a critic takes part in: its own, and two terms of the generator's.

    Args:
        config: the settings of the game.
        critic: crops (B, 3, H, W) in [-1, 1] to realness and more; called in float32 for the penalty.
        outputs: likewise, in the training's precision, to realness and the logits of each attribute's classes, float32.
    """

    def __init__(self, config: AdversarialConfig, critic: nn.Module, outputs: Callable[[Tensor], CriticOutput]) -> None:
        self.config, self.critic, self.outputs = config, critic, outputs

    def critic_update(self, batch: Batch, x_real: Tensor, x_fake: Tensor, step: int, share: Share) -> Update:
        """The critic's update on real crops and on edits that hold no gradient; `share` says which rows of the batch they are."""
        config = self.config
        # Adversarial: reals up, fakes down.
        real = self.outputs(x_real)
        adversarial = losses.CRITIC_LOSSES[config.kind](real.realness, self.outputs(x_fake).realness)

        # Classification: the reals' own classes.
        classification = losses.classification(real.expression, batch["expression_src"])
        classification = classification + losses.classification(real.lighting, batch["lighting_src"])
        logs = {"critic/adversarial": adversarial, "critic/classification": classification}
        loss = adversarial + classification

        # Penalty, in float32 and not every time.
        if step % config.penalty_every == 0 and config.penalty > 0:
            logs["critic/penalty"] = self._penalty(x_real, x_fake, share)
            loss = loss + config.penalty * logs["critic/penalty"]
        return Update("critic", loss, logs)

    def generator_terms(self, batch: Batch, x_fake: Tensor) -> dict[str, Tensor]:
        """The generator's terms `adversarial` and `classification`: the edit counts as real, and as of the target's classes."""
        fake = self.outputs(x_fake)
        classification = losses.classification(fake.expression, batch["expression_trg"])
        return {
            "adversarial": losses.GENERATOR_LOSSES[self.config.kind](fake.realness),
            "classification": classification + losses.classification(fake.lighting, batch["lighting_trg"]),
        }

    def _penalty(self, x_real: Tensor, x_fake: Tensor, share: Share) -> Tensor:
        def realness(x: Tensor) -> Tensor:
            return self.critic.forward(x)[0]  # not compiled: compiled networks have no second derivatives

        # The first rows of the whole batch; in a part they are the first as well, perhaps none.
        n_all = len(x_real) * share.n_parts
        first = share.choose(torch.ones(n_all), max(1, round(self.config.penalty_fraction * n_all)))
        n = len(first.rows)
        mix = first.rand(n, 1, 1, 1, device=x_real.device) if self.config.kind == "wgan-gp" else None
        if n == 0:
            return x_real.new_zeros(())
        x_real, x_fake = x_real[:n], x_fake[:n]
        if mix is not None:
            return first.weight * losses.gradient_penalty(realness, x_real, x_fake, mix)
        return first.weight * losses.r1_penalty(realness, x_real)


def generator_update(weights: object, terms: Mapping[str, Tensor]) -> Update:
    """The generator's update: the sum of its loss terms, each times the attribute of `weights` that has its name."""
    loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return Update("generator", loss, {f"generator/{name}": term for name, term in terms.items()})


# The frozen networks of an editor's losses: LightCNN (identity), Q (naturalness), EfficientNet-Lite0 (perceptual).


N_PERCEPTUAL_STAGES = 3  # 64, 32 and 16 pixels a side at 128: edges, lashes and teeth, not what kind of thing it is


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A network that is not trained: crops (B, 3, S, S) in [-1, 1] to features (B, n) or scores (B,).

    Args:
        net: in evaluation mode, without gradients of its own.
        file: name of its weights file.
        sha256: checksum of that file.
    """

    net: nn.Module
    file: str
    sha256: str

    def facts(self) -> dict[str, str]:
        """Which weights these were, for checkpoints and exported editors."""
        return {"file": self.file, "sha256": self.sha256}


def load_identity(path: Path | None, dtype: torch.dtype | None, device: torch.device) -> Frozen:
    """Return the identity network: weights of `legan train identity`, an official LightCNN checkpoint, or None for the packaged ones.

    It reads 128 pixels a side; crops of another size are scaled, bilinearly.

    Raises:
        WeightsError: missing or damaged, or not an identity network.
    """
    path = weights_file(path, "identity")
    return _frozen(load_identity_network(path)[0], path, dtype, device, CROP_SIZE)


def load_quality(path: Path | None, dtype: torch.dtype | None, device: torch.device) -> Frozen:
    """Return Q: weights written by `legan train quality`, or None for the packaged ones.

    Raises:
        WeightsError: missing or damaged, or not a quality network.
    """
    path = weights_file(path, "quality")
    return _frozen(load_quality_net(path)[0], path, dtype, device)


def load_perceptual(path: Path | None, device: torch.device) -> Frozen:
    """Return the first stages of EfficientNet-Lite0, from a file or, for None, the installed package: crops to lists of feature maps.

    Raises:
        WeightsError: the package is not installed, or the file holds other weights.
    """
    path = efficientnet_file() if path is None else path
    net = load_efficientnet(N_PERCEPTUAL_STAGES, path).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Frozen(net, path.name, sha256_of(path))


class _Mixed(nn.Module):
    """A network whose convolutions run in `dtype`; what comes out is float32. Crops are scaled to `size`, where one is given."""

    def __init__(self, net: nn.Module, dtype: torch.dtype | None, device: torch.device, size: int | None) -> None:
        super().__init__()
        self.net, self.dtype, self.device, self.size = net, dtype, device, size

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.size is None else resized(x, self.size)
        with autocast(self.dtype, self.device):
            return self.net(x).float()


def _frozen(net: nn.Module, path: Path, dtype: torch.dtype | None, device: torch.device, size: int | None = None) -> Frozen:
    net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Frozen(_Mixed(net, dtype, device, size), path.name, sha256_of(path))
