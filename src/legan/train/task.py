"""The task contract, and what every task uses: reproducible random state, learning rates, moving average of weights."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
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
        """Return this process's share of the batch of `step`: its rows `rank`, `rank + n_ranks`, `rank + 2 n_ranks`, ...

        All processes draw the same batch, and each makes its own rows of it: `batch_size / n_ranks` images.
        """


# What a part of a batch has to know of the whole, so that several processes train as one would (`Share`).
#
# The gradient of a mean over all rows is the mean of the parts' gradients, which the loop takes. Three things are not of that kind:
# random numbers, which are drawn for the whole batch in every process; means over some rows, whose number is the whole batch's; and
# "the first n rows", which lie in several parts.


class Chosen(NamedTuple):
    """Some rows of a whole batch, and which of them lie in one part.

    `rows` are their indices in the part, `places` (of equal length) those among all chosen rows, `n` counts all chosen rows.
    """

    rows: Tensor
    places: Tensor
    n: int
    n_parts: int

    @property
    def weight(self) -> float:
        """Factor of a mean over `rows` with which the mean over the parts is that over all chosen rows; 1 for a single part."""
        return len(self.rows) * self.n_parts / self.n if self.n else 0.0

    def rand(self, n: int, *shape: int, **options: Any) -> Tensor:
        """Return `torch.rand(n, *shape)` for the `n` rows, as it is drawn for all chosen rows at once."""
        return torch.rand(self.n, *shape, **options)[self.places]


@dataclass(frozen=True)
class Share:
    """The rows of a step's batch that a task is given: `part`, `part + n_parts`, `part + 2 n_parts`, ... of the whole.

    The parts are those of the processes and, within each, of `loop.accumulate`. The default is the whole batch.

    Args:
        part: number of this part.
        n_parts: number of parts, all of equal size.
        whole: the entries of the whole batch that `Task.shared` names.
    """

    part: int = 0
    n_parts: int = 1
    whole: Mapping[str, Tensor] = field(default_factory=dict)

    def of_all(self, batch: Batch, name: str) -> Tensor:
        """Return an entry of the whole batch, of which `batch` is this part."""
        return batch[name] if self.n_parts == 1 else self.whole[name]

    def draw(self, make: Callable[[int], Tensor], n: int) -> Tensor:
        """Return `make(n)`, random numbers of `n` rows along the first axis, as it makes them for the whole batch."""
        return make(n * self.n_parts)[self.part :: self.n_parts]

    def rand(self, n: int, *shape: int, **options: Any) -> Tensor:
        """Return `torch.rand(n, *shape)` for `n` rows, as it is drawn for the whole batch."""
        return self.draw(lambda n_all: torch.rand(n_all, *shape, **options), n)

    def dropout(self, x: Tensor, probability: float, training: bool = True) -> Tensor:
        """Return `functional.dropout` of rows (B, ...), with the mask of the whole batch."""
        if self.n_parts == 1 or not training or not probability:
            return functional.dropout(x, probability, training)
        return x * self.draw(lambda n: functional.dropout(x.new_ones(n, *x.shape[1:]), probability), len(x))

    def count(self, mask: Tensor) -> Tensor:
        """Return what a sum over the rows of a part is divided by, for the mean over the parts to be that over all rows of `mask`.

        Args:
            mask: of the whole batch, 1 or True where a row counts; without any, nothing is divided by 0.
        """
        return mask.sum().clamp_min(1) / self.n_parts

    def choose(self, mask: Tensor, n_most: int | None = None) -> Chosen:
        """Return the first `n_most` rows, or all, of those that `mask` (whole batch,) has."""
        chosen = mask.nonzero().flatten()[:n_most]
        is_own = chosen % self.n_parts == self.part
        return Chosen(chosen[is_own] // self.n_parts, is_own.nonzero().flatten(), len(chosen), self.n_parts)


class Task(Protocol):
    """One model's training. Subclass it: what is not overridden does nothing.

    Everything that changes over time stands in `networks` (a moving average too), `optimizers` or `extra_state`, which is what
    a checkpoint holds, and is equal in all processes. Random numbers come from torch's, numpy's or Python's global generators,
    which the loop seeds from (seed, step) before each step, alike in all processes. `frozen` are networks that help and never change.

    With several processes or `loop.accumulate` a task is given a part of the batch. Losses that are means over rows need no care; what
    else depends on the other rows (random numbers, means over some rows) is for `share`, and so is what `shared` names.

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
    share: Share = Share()  # set by the loop: which rows of the step's batch this is
    shared: tuple[str, ...] = ()  # entries of the batch, small ones, that `share` has of the whole batch
    compiled: tuple[str, ...] = ()  # networks that `loop.compile` compiles

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


def reseed(seed: int, step: int) -> None:
    """Seed torch's, numpy's and Python's global generators, alike in all processes; `step` -1 is the state in which networks are made."""
    word = int(np.random.SeedSequence([seed, 0, step + 1]).generate_state(1, np.uint64)[0])
    torch.manual_seed(word)
    random.seed(word)
    np.random.seed(word % 2**32)


def random_state() -> tuple[Any, ...]:
    """Return the state of the generators that `reseed` seeds."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return torch.get_rng_state(), devices, np.random.get_state(), random.getstate()


def set_random_state(state: tuple[Any, ...]) -> None:
    """Put back what `random_state` returned."""
    of_cpu, of_devices, of_numpy, of_python = state
    torch.set_rng_state(of_cpu)
    if of_devices:
        torch.cuda.set_rng_state_all(of_devices)
    np.random.set_state(of_numpy)
    random.setstate(of_python)


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
