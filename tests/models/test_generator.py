"""Generator: shapes, disentanglement of the masks, the identity at the start, presets."""

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.core.errors import ConfigError
from legan.models.blocks import count_gflop, count_parameters
from legan.models.generator import PRESETS, Generator, GeneratorConfig, example_inputs, feature_window, preset, warp


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


class TestFields(TestLite):
    config = preset("fields", width=4, n_residual=1, mask_channels=4)


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_and_range(name: str) -> None:
    config = preset(name, width=4, n_residual=1)
    output = Generator(config).eval()(torch.rand(2, 3, 64, 64) * 2 - 1, *_codes(2))
    side = 32 if name == "fields" else 64 // config.unshuffle
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


def _trained_fields() -> Generator:
    """A generator of fields none of whose layers is zero any more."""
    torch.manual_seed(0)
    net = Generator(preset("fields", width=4, n_residual=1)).eval()
    for layer in (net.displace, net.light, net.draw):
        nn.init.normal_(layer.weight, std=0.3)
        nn.init.normal_(layer.bias, std=0.3)  # type: ignore[arg-type]
    return net


@torch.no_grad()
def test_a_code_of_zeros_keeps_its_attribute_whatever_the_weights_are() -> None:
    net, x, (expression, lighting) = _trained_fields(), torch.rand(2, 3, 128, 128) * 2 - 1, _codes(2)
    kept = net(x, 0 * expression, 0 * lighting)
    torch.testing.assert_close(kept.image, x, atol=1e-5, rtol=0)
    assert not kept.expression_mask.any() and not kept.lighting_mask.any()

    moved = net(x, expression, 0 * lighting)
    assert not moved.light_gain.any() and not moved.light_bias.any() and not moved.lighting_mask.any()
    assert moved.displacement.any()
    window = feature_window(128)[0, 0]
    assert not moved.gain[..., window == 0].any() and not moved.bias[..., window == 0].any()
    assert moved.gain[..., window > 0].all()

    lit = net(x, 0 * expression, lighting)
    assert not lit.displacement.any() and not lit.expression_mask.any()
    assert lit.light_gain.shape == lit.light_bias.shape == (2, 3, 64, 64) and lit.light_gain.any()


@torch.no_grad()
@pytest.mark.parametrize("config", [preset("fields", width=4, n_residual=1), preset("lite", width=4, n_residual=1)])
def test_the_fields_say_how_the_image_was_made(config: GeneratorConfig) -> None:
    torch.manual_seed(0)
    net, x = Generator(config).eval(), torch.rand(2, 3, 64, 64) - 0.5
    for layer in (net.displace, *(getattr(net, name) for name in ("light", "draw") if hasattr(net, name))):
        nn.init.normal_(layer.weight, std=0.02)
    out = net(x, *_codes(2))
    made = (warp(x, out.displacement) + 1) * out.gain.exp() - 1 + out.bias
    torch.testing.assert_close(made.clamp(-1, 1), out.image, atol=1e-5, rtol=0)


def test_an_expression_draws_on_eyes_and_mouth_and_not_on_forehead_or_cheeks() -> None:
    window = feature_window(128)[0, 0]
    assert window.shape == (128, 128) and window.min() == 0 and window.max() == 1
    assert window[52, 43] == window[52, 85] == 1 and window[97, 64] == 1  # eyes, mouth
    assert not window[:32].any() and not window[:, :15].any() and not window[:, -15:].any()


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
    fields = PRESETS["fields"]
    assert count_gflop(Generator(fields), *example_inputs(fields)) < 2, "cheaper than lite"


def test_counts_match_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 5, padding=2)
    assert count_parameters(conv) == 3 * 8 * 25 + 8
    assert count_gflop(conv, torch.zeros(1, 3, 16, 16)) == pytest.approx(2 * 3 * 8 * 25 * 16 * 16 / 1e9)


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        preset("light")
    with pytest.raises(ConfigError, match="output"):
        Generator(preset("lite", output="color"))
