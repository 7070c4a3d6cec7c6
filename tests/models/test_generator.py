"""Generator: shapes, disentanglement of the masks, the identity at the start, presets."""

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.core.errors import ConfigError
from legan.models.blocks import count_gflop, count_parameters
from legan.models.generator import PRESETS, Generator, example_inputs, preset, warp


def _codes(n: int) -> tuple[Tensor, Tensor]:
    return torch.eye(6)[torch.arange(n) % 6], torch.eye(20)[torch.arange(n) % 20]


class TestLite(ModelTester):
    config = preset("lite", width=4, n_residual=1, mask_channels=4)

    def make(self) -> nn.Module:
        return Generator(self.config)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(n)
        return (torch.rand(n, 3, 32, 32, generator=generator) * 1.6 - 0.8, *_codes(n))


class TestPaper(TestLite):
    config = preset("paper", width=4, n_residual=1)


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_and_range(name: str) -> None:
    config = preset(name, width=4, n_residual=1)
    output = Generator(config).eval()(torch.rand(2, 3, 64, 64) * 2 - 1, *_codes(2))
    side = 64 // config.unshuffle
    assert output.image.shape == (2, 3, 64, 64)
    assert output.image.abs().max() <= 1
    assert output.expression_mask.shape == output.lighting_mask.shape == (2, config.mask_channels, side, side)


def test_lite_starts_as_the_identity() -> None:
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    output = Generator(preset("lite", width=4)).eval()(x, *_codes(2))
    torch.testing.assert_close(output.image, x, atol=1e-5, rtol=0)


def test_fields_make_the_image() -> None:
    torch.manual_seed(0)
    net = Generator(preset("lite", width=4, n_residual=1)).eval()
    for layer in (net.translate.out, net.displace):
        nn.init.normal_(layer.weight, std=0.05)
    x = torch.rand(2, 3, 32, 32) - 0.5
    output = net(x, *_codes(2))
    assert output.displacement is not None and output.gain is not None and output.bias is not None
    assert output.displacement.abs().max() > 1e-3 and output.gain.std() > 1e-3 and output.bias.std() > 1e-3
    image = (warp(x, output.displacement) + 1) * output.gain.exp() - 1 + output.bias
    torch.testing.assert_close(image.clamp(-1, 1), output.image, atol=1e-5, rtol=0)
    colours = Generator(preset("paper", width=4, n_residual=1)).eval()(x, *_codes(2))
    assert colours.displacement is colours.gain is colours.bias is None


@pytest.mark.parametrize("name", PRESETS)
def test_masks_are_disentangled(name: str) -> None:
    """The expression mask depends on the expression code alone, the lighting mask on the lighting code alone."""
    torch.manual_seed(0)
    net = Generator(preset(name, width=4, n_residual=1)).eval()
    x = torch.rand(1, 3, 32, 32)
    e, light = torch.eye(6), torch.eye(20)
    a, b, c = net(x, e[:1], light[:1]), net(x, e[1:2], light[:1]), net(x, e[:1], light[1:2])
    assert torch.equal(a.lighting_mask, b.lighting_mask) and not torch.equal(a.expression_mask, b.expression_mask)
    assert torch.equal(a.expression_mask, c.expression_mask) and not torch.equal(a.lighting_mask, c.lighting_mask)


def test_warp_moves_by_whole_pixels_like_a_slice() -> None:
    x = torch.rand(1, 3, 16, 16)
    displacement = torch.zeros(1, 2, 16, 16)
    displacement[:, 0] = 3 / 16  # take each pixel from three to the right
    torch.testing.assert_close(warp(x, displacement)[..., :-3], x[..., 3:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(warp(x, displacement)[..., -1], x[..., -1])  # border repeats


def test_paper_preset_is_what_the_design_names() -> None:
    assert (PRESETS["paper"].width, PRESETS["paper"].kernel, PRESETS["paper"].unshuffle) == (64, 7, 1)
    lite = PRESETS["lite"]
    assert 2.5 < count_gflop(Generator(lite), *example_inputs(lite)) < 4


def test_counts_match_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 5, padding=2)
    assert count_parameters(conv) == 3 * 8 * 25 + 8
    assert count_gflop(conv, torch.zeros(1, 3, 16, 16)) == pytest.approx(2 * 3 * 8 * 25 * 16 * 16 / 1e9)


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        preset("light")
    with pytest.raises(ConfigError, match="output"):
        Generator(preset("lite", output="color"))
