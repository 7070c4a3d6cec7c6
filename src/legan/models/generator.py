"""LEGAN's generator: expression mask, lighting mask, and the image made from both (poster, section "Architecture").

Hourglass E sees the image and the expression maps, hourglass L the image and the lighting maps; their masks are concatenated and a
third hourglass T turns them into the image. The preset `paper` is that; `lite` is the same made for a laptop: the three work at half
resolution (pixel unshuffle), have skip connections, T sees the image too, and predicts how to change the input instead of colours:
a small displacement field that moves its pixels, then a gain and a bias for each pixel, all zero at the start of training.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.crop import CROP_SIZE
from legan.core.errors import ConfigError, no_such
from legan.models.blocks import as_maps, mean_and_spread
from legan.models.hourglass import Hourglass


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator.

    Args:
        n_expressions, n_lightings: lengths of the two codes.
        width: channels of an hourglass at its full resolution.
        n_residual: residual blocks at the bottom of each hourglass.
        kernel: side of an hourglass's first and last kernel.
        mask_channels: channels of a mask, at the resolution the hourglasses work at.
        unshuffle: side of the pixel blocks folded into channels before the hourglasses; 1 leaves the image as it is.
        skip: skip connections inside the hourglasses, and the image handed to the third one.
        output: "colour" predicts the image; "warp-gain-bias" predicts a displacement, a gain and a bias of the input.
        max_displacement: bound of the displacement, as a fraction of the image's side.
        gain_scale: what the last layer's gain is multiplied by. Light changes a face by factors; at 1 the bias, which needs smaller
            weights for the same change of a dark face, takes their place and washes the face out.
        inject: hand each hourglass its code, and the image's mean colour and contrast, past the norms too (`Hourglass.n_code`).
    """

    n_expressions: int = len(EXPRESSIONS)
    n_lightings: int = len(LIGHTINGS)
    width: int = 64
    n_residual: int = 6
    kernel: int = 7
    mask_channels: int = 3
    unshuffle: int = 1
    skip: bool = False
    output: str = "colour"
    max_displacement: float = 0.12
    gain_scale: float = 1.0
    inject: bool = False


PRESETS = {
    "paper": GeneratorConfig(),
    "lite": GeneratorConfig(
        width=32,
        n_residual=3,
        kernel=5,
        mask_channels=16,
        unshuffle=2,
        skip=True,
        output="warp-gain-bias",
        gain_scale=4.0,
        inject=True,
    ),
}


def preset(name: str, **changes: object) -> GeneratorConfig:
    """Return the preset called `name`, with fields changed.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("generator preset", name, PRESETS))
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]


class GeneratorOutput(NamedTuple):
    """What the generator gives.

    `image` (B, 3, H, W) in [-1, 1]; `expression_mask` and `lighting_mask` (B, mask_channels, H/u, W/u) with u the pixel
    unshuffle. `displacement` (B, 2, H, W), x and y in fractions of the side, `bias` and `gain` (B, 3, H, W) say how the image was
    made: (warp(x, displacement) + 1) * exp(gain) - 1 + bias; None where the generator predicts colours.
    """

    image: Tensor
    expression_mask: Tensor
    lighting_mask: Tensor
    displacement: Tensor | None
    bias: Tensor | None = None
    gain: Tensor | None = None


class Generator(nn.Module):
    """G(x, expression, lighting) -> `GeneratorOutput`.

    Source: LEGAN poster, section "Architecture"; `lite` after design section 6.
    """

    def __init__(self, config: GeneratorConfig = PRESETS["lite"]) -> None:
        super().__init__()
        if config.output not in ("colour", "warp-gain-bias"):
            raise ConfigError(f"unknown generator output '{config.output}': choose colour or warp-gain-bias")
        self.config = config
        c, block = config, config.unshuffle**2
        common = dict(width=c.width, n_residual=c.n_residual, kernel=c.kernel, skip=c.skip)
        n_image, n_out = 3 * block, (3 if c.output == "colour" else 6) * block

        def hourglass(n_in: int, n_out: int, n_code: int) -> Hourglass:
            return Hourglass(n_in, n_out, n_code=n_code + 6 if c.inject else 0, **common)  # type: ignore[arg-type]

        self.expression = hourglass(n_image + c.n_expressions, c.mask_channels, c.n_expressions)
        self.lighting = hourglass(n_image + c.n_lightings, c.mask_channels, c.n_lightings)
        self.translate = hourglass(2 * c.mask_channels + (n_image if c.skip else 0), n_out, 0)
        if c.output != "colour":
            # From the expression mask alone: light moves nothing.
            self.displace = nn.Conv2d(c.mask_channels, 2, 5, padding=2)
            for layer in (self.translate.out, self.displace):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        """Translate images.

        Args:
            x: (B, 3, H, W) in [-1, 1]; H and W are multiples of 4 times the pixel unshuffle.
            expression: target codes (B, n_expressions).
            lighting: target codes (B, n_lightings).
        """
        # Masks: each hourglass sees the image and the maps of its own attribute only.
        u = F.pixel_unshuffle(x, self.config.unshuffle)  # (B, 3 u^2, H/u, W/u)
        height, width = u.shape[2:]
        tone = mean_and_spread(x)  # (B, 6)

        def with_tone(code: Tensor | None = None) -> Tensor | None:
            if not self.config.inject:
                return None
            return tone if code is None else torch.cat([code, tone], 1)

        expression_mask = self.expression(torch.cat([u, as_maps(expression, height, width)], 1), with_tone(expression))
        lighting_mask = self.lighting(torch.cat([u, as_maps(lighting, height, width)], 1), with_tone(lighting))
        expression_mask, lighting_mask = torch.tanh(expression_mask), torch.tanh(lighting_mask)

        # Translation from both masks.
        seen = [expression_mask, lighting_mask, u] if self.config.skip else [expression_mask, lighting_mask]
        y = self.translate(torch.cat(seen, 1), with_tone())
        y = F.pixel_shuffle(y, self.config.unshuffle)  # (B, 3 or 6, H, W)
        if self.config.output == "colour":
            return GeneratorOutput(torch.tanh(y), expression_mask, lighting_mask, None)

        # Move, then scale and shift in float32: bfloat16 coordinates would be coarser than a pixel.
        flow = self.config.max_displacement * torch.tanh(self.displace(expression_mask))
        flow = F.interpolate(flow.float(), x.shape[2:], mode="bilinear", align_corners=False)  # (B, 2, H, W)
        gain, bias = y.float().chunk(2, dim=1)
        gain = (self.config.gain_scale * gain).clamp(-4, 4)
        image = (warp(x.float(), flow) + 1) * torch.exp(gain) - 1 + bias
        # A little beyond the range while training, so that a saturated pixel still has a gradient.
        bound = 1.2 if self.training else 1.0
        return GeneratorOutput(image.clamp(-bound, bound), expression_mask, lighting_mask, flow, bias, gain)


def warp(x: Tensor, displacement: Tensor) -> Tensor:
    """Sample `x` (B, C, H, W) at every pixel's place plus `displacement` (B, 2, H, W), in fractions of the side (x, y)."""
    n, _, height, width = x.shape
    identity = torch.eye(2, 3, device=x.device, dtype=x.dtype).expand(n, -1, -1)
    grid = F.affine_grid(identity, [n, 1, height, width], align_corners=False)  # (B, H, W, 2) in [-1, 1]
    grid = grid + 2 * displacement.permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def example_inputs(config: GeneratorConfig, n: int = 1, size: int = CROP_SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the right shapes, for counting and tests."""
    return torch.zeros(n, 3, size, size), torch.zeros(n, config.n_expressions), torch.zeros(n, config.n_lightings)
