"""Blocks: the fast instance norm is the plain one, and its gradients are right for one image too."""

import pytest
import torch
from torch import nn

from legan.models.blocks import InstanceNorm, Residual


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_pytorchs(side: int, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(2, 8, side, side) + 5).to(memory_format=memory_format)
    fast, plain = InstanceNorm(8, affine=True), nn.InstanceNorm2d(8, affine=True)
    for norm in (fast, plain):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1, 2, 8))
            norm.bias.copy_(torch.linspace(1, -3, 8))
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast(x), plain(x), atol=0, rtol=0)  # training keeps the backward pass that it had


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_a_batch_are_the_sum_of_its_images(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = Residual(8).double().to(memory_format=memory_format)
    x, weights = (torch.randn(2, 8, 4, 4).double().to(memory_format=memory_format) for _ in range(2))

    def gradients(rows: slice) -> list[torch.Tensor]:
        return list(torch.autograd.grad((net(x[rows]) * weights[rows]).sum(), list(net.parameters())))

    for both, first, second in zip(*map(gradients, (slice(2), slice(1), slice(1, 2))), strict=True):
        torch.testing.assert_close(both, first + second)
