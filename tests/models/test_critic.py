"""Critic: shapes and the shared network tests."""

import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.models.critic import PRESETS, Critic, CriticConfig


class TestCritic(ModelTester):
    def make(self) -> nn.Module:
        return Critic(CriticConfig(size=32, width=4, n_layers=3))

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1,)


def test_shapes_of_the_presets() -> None:
    for config in PRESETS.values():
        output = Critic(config).eval()(torch.zeros(1, 3, 128, 128))
        side = 128 // 2**config.n_layers
        assert output.realness.shape == (1, 1, side, side)
        assert output.expression.shape == (1, 6) and output.lighting.shape == (1, 20)
