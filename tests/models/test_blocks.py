"""Blocks: the fast instance norm is the plain one."""

import pytest
import torch
from torch import nn

from legan.models.blocks import InstanceNorm


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
