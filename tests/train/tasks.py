"""Small tasks that the tests train; in a module of their own, since processes that are spawned import them by name."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan.train.config import LoopConfig
from legan.train.run_folder import task_state
from legan.train.task import Batch, Task, Update, reseed


@dataclass(frozen=True)
class FakeConfig:
    """Settings of `FakeTask`; `dump` is a folder that each process writes its last state to; `end`: how the second process ends."""

    loop: LoopConfig = LoopConfig(n_steps=12, log_every=1, sample_every=100, checkpoint_every=4)
    n_images: int = 4
    nan_step: int = -1
    dump: str = ""
    end: Literal["", "interrupt", "kill"] = ""


class FakeTask(Task):
    """A "generator" `a` that must fool a "critic" `b`; noise from the global generator, a count outside the networks."""

    def __init__(self, config: FakeConfig) -> None:
        self.config, self.count = config, 0
        self.networks = {"a": nn.Linear(3, 3), "b": nn.Linear(3, 1)}
        self.optimizers = {name: torch.optim.Adam(net.parameters(), 0.01) for name, net in self.networks.items()}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b, x = self.networks["a"], self.networks["b"], batch["x"]
        fake = a(x + torch.randn_like(x))
        yield Update("b", (b(fake.detach()) - b(x)).mean() + b(x).square().mean(), {"input": x.mean()})
        bad = torch.nan if step == self.config.nan_step else 1.0
        yield Update("a", -b(fake).mean() * bad + fake.square().mean(), {"size": fake.square().mean()})

    def learning_rates(self, step: int) -> Mapping[str, list[float]]:
        return {"a": [0.01 / (1 + step)]}

    def after_step(self, step: int) -> None:
        self.count += 1

    def extra_state(self) -> dict[str, object]:
        return {"count": self.count}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        self.count = state["count"]


class DumpingTask(FakeTask):
    """Writes what each process has after the last step, and the inputs it saw."""

    def __init__(self, config: FakeConfig) -> None:
        super().__init__(config)
        self.inputs: list[Tensor] = []

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        self.inputs.append(batch["x"])
        is_second = torch.distributed.get_rank() == 1
        if is_second and self.config.end == "interrupt":
            raise KeyboardInterrupt
        if is_second and self.config.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        for update in super().updates(batch, step):
            yield update._replace(logs={**({"second": torch.tensor(7.0)} if is_second else {}), **update.logs})

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if step + 1 == self.config.loop.n_steps:
            rank = torch.distributed.get_rank()
            state = {**task_state(self, step + 1), "inputs": torch.stack(self.inputs)}
            torch.save(state, Path(self.config.dump) / f"rank{rank}.pt")


class FakeBatches:
    """Random rows that depend on the step and the rank."""

    def __init__(self, n_images: int) -> None:
        self.batch_size = n_images

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * rank + step)
        return {"x": torch.randn(self.batch_size // n_ranks, 3, generator=generator)}


def build(config: FakeConfig, device: torch.device) -> tuple[FakeTask, FakeBatches]:
    return (DumpingTask if config.dump else FakeTask)(config), FakeBatches(config.n_images)


def same(a: object, b: object) -> bool:
    """Whether two states are equal, tensors bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


class InterruptAt:
    """Batches that press Ctrl-C while the batch of one step is made."""

    def __init__(self, batches: object, step: int) -> None:
        self.batches, self.step, self.batch_size = batches, step, batches.batch_size  # type: ignore[attr-defined]

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
        return self.batches(step, rank, n_ranks)  # type: ignore[operator]


def fresh_state(config: FakeConfig) -> dict[str, object]:
    """The state of a fake task before its first step."""
    reseed(config.loop.seed, -1)
    return task_state(FakeTask(config), 0)
