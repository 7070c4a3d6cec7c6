"""The task contract, and what every task uses: reproducible random state, learning rates, moving average of weights."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# What a training is: its networks, its optimizers and its updates. `train/loop.py` owns all the rest and is the same for every model.
#
# A task owns the algorithm. Each `yield Update(net, loss, logs)` becomes zero_grad, backward and one optimizer step of that
# network, and only that network's parameters receive gradients; so critic steps are an `if`, and four optimizers are four yields.


Batch = Mapping[str, Tensor]


class Update(NamedTuple):
    """One optimizer step: `net` names an entry of `task.networks` and of `task.optimizers`; `loss` is a scalar to minimise.

    `logs` are the named parts of the loss, scalars; the loop logs their means.

    Example:
        >>> net = torch.nn.Linear(1, 1)
        >>> loss = net(torch.ones(4, 1)).square().mean()
        >>> legan.Update("net", loss, {"loss": loss.detach()}).net
        'net'
    """

    net: str
    loss: Tensor
    logs: Mapping[str, Tensor | float]


class Batches(Protocol):
    """Training data as a pure function of the step: the same arguments always give the same batch."""

    batch_size: int  # images of one step, over all processes

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        """Return this process's share of the batch of `step`: `batch_size / n_ranks` images."""


class Task(Protocol):
    """One model's training. Subclass it: what is not overridden does nothing.

    Everything that changes over time stands in `networks` (a moving average too), `optimizers` or `extra_state`, which is what
    a checkpoint holds, and is equal in all processes. Random numbers come from torch's, numpy's or Python's global generators,
    which the loop seeds from (seed, rank, step) before each step. `frozen` are networks that help and never change.

    Example:
        >>> class Fit(legan.Task):
        ...     def __init__(self):
        ...         self.networks = {"net": torch.nn.Linear(1, 1)}
        ...         self.optimizers = {"net": torch.optim.Adam(self.networks["net"].parameters())}
        ...         self.frozen = {}
        ...
        ...     def updates(self, batch, step):
        ...         loss = (self.networks["net"](batch["x"]) - batch["y"]).square().mean()
        ...         yield legan.Update("net", loss, {"loss": loss.detach()})
        >>> [update.net for update in Fit().updates({"x": torch.ones(4, 1), "y": torch.ones(4, 1)}, step=0)]
        ['net']
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    frozen: dict[str, nn.Module]
    period: int = 1  # steps after which the same kinds of updates come again

    def begin(self) -> None:
        """Do what a training does that starts, and not one that continues, such as reading weights to start from."""
        return None

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the updates of one step. Code after a `yield` runs with the stepped weights."""
        ...

    def learning_rates(self, step: int) -> Mapping[str, Sequence[float]]:
        """Return the learning rates of each optimizer named, one for each of its parameter groups; a pure function of `step`.

        Optimizers that are not named keep the rates they have.
        """
        return {}

    def after_step(self, step: int) -> None:
        """Do what follows the updates of `step`, such as moving an average of the weights."""
        return None

    def extra_state(self) -> dict[str, object]:
        """Return whatever else changes over time, as tensors, numbers, text, and dicts and lists of them."""
        return {}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Restore what `extra_state` returned."""
        return None

    def samples(self, step: int) -> np.ndarray | None:
        """Return an image of fixed samples, uint8 (H, W, 3), or None. Runs in the first process alone."""
        return None

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Return named figures on held-out data. Runs in the first process alone, whenever samples are made."""
        return {}


def networks_of(task: Task) -> dict[str, nn.Module]:
    """All networks of a task, trained, averaged and frozen."""
    return {**task.networks, **getattr(task, "frozen", {})}


def reseed(seed: int, rank: int, step: int) -> None:
    """Seed torch's, numpy's and Python's global generators; `step` -1 is the state in which networks are made."""
    word = int(np.random.SeedSequence([seed, rank, step + 1]).generate_state(1, np.uint64)[0])
    torch.manual_seed(word)
    random.seed(word)
    np.random.seed(word % 2**32)


# What trainings share that moves with the step: learning rates, and the moving average of weights.


def scheduled_rates(base: Mapping[str, Sequence[float]], share: float) -> dict[str, list[float]]:
    """Return the rates that `base_rates` gave, times a share."""
    return {name: [share * rate for rate in rates] for name, rates in base.items()}


def base_rates(optimizers: Mapping[str, Optimizer]) -> dict[str, list[float]]:
    """Return the learning rate of each parameter group of new optimizers."""
    return {name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in optimizers.items()}


@torch.no_grad()
def update_ema(ema: nn.Module, net: nn.Module, decay: float, n_updates: int) -> None:
    """Move an average of weights and statistics towards `net` after `n_updates` updates; during the first, faster than `decay`."""
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    for kept, value in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
        kept.lerp_(value, 1 - decay) if kept.is_floating_point() else kept.copy_(value)
