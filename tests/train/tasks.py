"""Small tasks that the tests train; in a module of their own, since processes that are spawned import them by name."""

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from legan.train.run import LoopConfig
from legan.train.task import Task, Update


@dataclass(frozen=True)
class FakeConfig:
    loop: LoopConfig = LoopConfig(n_steps=12, log_every=1, sample_every=100, checkpoint_every=4)
    n_images: int = 4
    nan_step: int = -1


class FakeTask(Task):
    """A "generator" `a` that must fool a "critic" `b`; noise from the global generator, a count outside the networks."""

    def __init__(self, config: FakeConfig) -> None:
        self.config, self.count = config, 0
        self.networks = {"a": nn.Linear(3, 3), "b": nn.Linear(3, 1)}
        self.optimizers = {name: torch.optim.Adam(net.parameters(), 0.01) for name, net in self.networks.items()}

    def updates(self, batch, step):
        a, b = self.networks["a"], self.networks["b"]
        fake = a(batch["x"] + torch.randn_like(batch["x"]))
        yield Update("b", (b(fake.detach()) - b(batch["x"])).mean() + b(batch["x"]).square().mean(), {})
        bad = torch.nan if step == self.config.nan_step else 1.0
        yield Update("a", -b(fake).mean() * bad + fake.square().mean(), {"size": fake.square().mean()})

    def learning_rates(self, step):
        return {"a": 0.01 / (1 + step)}

    def after_step(self, step):
        self.count += 1

    def extra_state(self):
        return {"count": self.count}

    def load_extra_state(self, state):
        self.count = state["count"]


class FakeBatches:
    """Random rows that depend on the step and the rank."""

    def __init__(self, n_images: int) -> None:
        self.batch_size = n_images

    def __call__(self, step, rank, n_ranks):
        generator = torch.Generator().manual_seed(1000 * rank + step)
        return {"x": torch.randn(self.batch_size // n_ranks, 3, generator=generator)}


def build(config: FakeConfig, device: torch.device):
    return FakeTask(config), FakeBatches(config.n_images)
