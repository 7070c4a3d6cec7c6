"""LEGAN's generator: expression mask, lighting mask, and the image made from both (poster, section "Architecture").

Hourglass E sees the image and the expression maps, hourglass L the image and the lighting maps; their masks are concatenated and a
third hourglass T turns them into the image. The preset `paper` is that; `lite` is the same made for a laptop: the three work at half
resolution (pixel unshuffle), have skip connections, T sees the image too, and predicts how to change the input instead of colours:
a small displacement field that moves its pixels, then a gain and a bias for each pixel, all zero at the start of training.

`fields` is made for edits at a photo's own resolution. Light is a gain and a bias at half resolution, smooth, so that a photo keeps its
own grain; an expression is a displacement, and a fine gain and bias round eyes, nose and mouth only, where teeth and lids are drawn. A
code of zeros keeps an attribute: its mask and all its fields are zero then, whatever the weights are.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import ConfigError, no_such
from legan.core.geometry import CROP_SIZE, EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.models.blocks import Hourglass, as_maps, mean_and_spread


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
        output: "colour" predicts the image; "warp-gain-bias" predicts a displacement, a gain and a bias of the input; "fields" the
            same, light and expression apart, and nothing for an attribute whose code is zero (`keeps`).
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

    @property
    def keeps(self) -> bool:
        """Whether a code of zeros leaves an attribute as it is. Other generators need to be told the input's own class."""
        return self.output == "fields"


OUTPUTS = ("colour", "warp-gain-bias", "fields")
# Eyes and brows, bridge of the nose, mouth and the folds beside it: centre and standard deviation (x, y) in fractions of the side.
_WINDOWS = (
    (0.5 - EYE_DISTANCE / 2, EYES_Y, 0.085, 0.055),
    (0.5 + EYE_DISTANCE / 2, EYES_Y, 0.085, 0.055),
    (0.5, EYES_Y + 0.08, 0.05, 0.07),
    (0.5, MOUTH_Y + 0.02, 0.13, 0.10),
)
_N_FINE = 24  # channels at half resolution that fine fields and light are made of

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
    "fields": GeneratorConfig(
        width=48,
        n_residual=3,
        kernel=3,
        mask_channels=8,
        unshuffle=4,
        skip=True,
        output="fields",
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
    unshuffle, or 2 of "fields". None where the generator predicts colours: `displacement` (B, 2, H, W), x and y in fractions of
    the side; `bias` and `gain` (B, 3, H, W), the image being (moved + 1) * exp(gain) - 1 + bias. None but of "fields":
    `light_bias` and `light_gain` (B, 3, H/2, W/2), the parts of the two that are light.
    """

    image: Tensor
    expression_mask: Tensor
    lighting_mask: Tensor
    displacement: Tensor | None
    bias: Tensor | None = None
    gain: Tensor | None = None
    light_bias: Tensor | None = None
    light_gain: Tensor | None = None


class Generator(nn.Module):
    """G(x, expression, lighting) -> `GeneratorOutput`.

    Source: LEGAN poster, section "Architecture"; `lite` after design section 6.

    Example:
        >>> generator = legan.Generator()  # the preset `lite`
        >>> x = torch.zeros(2, 3, 128, 128)
        >>> expression, lighting = torch.eye(6)[[1, 1]], torch.eye(20)[[4, 10]]
        >>> generator(x, expression, lighting).image.shape
        torch.Size([2, 3, 128, 128])
    """

    def __init__(self, config: GeneratorConfig = PRESETS["lite"]) -> None:
        super().__init__()
        if config.output not in OUTPUTS:
            raise ConfigError(f"unknown generator output '{config.output}': choose from {', '.join(OUTPUTS)}")
        self.config = config
        if config.output == "fields":
            self._build_fields()
            return
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

    def _build_fields(self) -> None:
        """Three hourglasses at a quarter of the resolution, and what brings their outputs to a half of it."""
        c = self.config
        common = dict(width=c.width, n_residual=c.n_residual, kernel=c.kernel, skip=c.skip)
        n_image, n_mask = 3 * c.unshuffle**2, c.mask_channels * (c.unshuffle // 2) ** 2
        n_fine = _N_FINE * (c.unshuffle // 2) ** 2

        def hourglass(n_in: int, n_out: int, n_code: int) -> Hourglass:
            return Hourglass(n_in, n_out, n_code=n_code + 6, **common)  # type: ignore[arg-type]

        self.expression = hourglass(n_image + c.n_expressions, n_mask, c.n_expressions)
        self.lighting = hourglass(n_image + c.n_lightings, n_mask, c.n_lightings)
        self.translate = hourglass(2 * n_mask + n_image, n_fine, 2)
        self.displace = nn.Conv2d(c.mask_channels, 2, 5, padding=2)
        self.refine = nn.Sequential(nn.Conv2d(_N_FINE + 12, 32, 3, padding=1), nn.ReLU(inplace=True))
        self.light = nn.Conv2d(_N_FINE, 6, 3, padding=1)
        self.draw = nn.Conv2d(32, 6 * 2**2, 3, padding=1)
        for layer in (self.displace, self.light, self.draw):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        """Translate images.

        Args:
            x: (B, 3, H, W) in [-1, 1]; H and W are multiples of 4 times the pixel unshuffle.
            expression: target codes (B, n_expressions).
            lighting: target codes (B, n_lightings).
        """
        if self.config.output == "fields":
            return self._translate_fields(x, expression, lighting)
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
        image = apply_fields(x, flow, gain, bias)
        # A little beyond the range while training, so that a saturated pixel still has a gradient.
        bound = 1.2 if self.training else 1.0
        return GeneratorOutput(image.clamp(-bound, bound), expression_mask, lighting_mask, flow, bias, gain)

    def _translate_fields(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        """`forward` of the output "fields"."""
        c = self.config
        # Share of each attribute that is asked for: 0 of a code of zeros.
        asks_expression, asks_light = (code.sum(1).clamp(0, 1)[:, None, None, None] for code in (expression, lighting))

        # Masks, as above, brought from a quarter to half of the resolution.
        u = F.pixel_unshuffle(x, c.unshuffle)  # (B, 3 u^2, H/u, W/u)
        height, width = u.shape[2:]
        tone = mean_and_spread(x)  # (B, 6)

        def mask(hourglass: Hourglass, code: Tensor, share: Tensor) -> Tensor:
            y = hourglass(torch.cat([u, as_maps(code, height, width)], 1), torch.cat([code, tone], 1))
            return torch.tanh(F.pixel_shuffle(y, c.unshuffle // 2)) * share  # (B, mask_channels, H/2, W/2)

        expression_mask = mask(self.expression, expression, asks_expression)
        lighting_mask = mask(self.lighting, lighting, asks_light)

        # Features at half resolution from both masks and the image.
        masks = [F.pixel_unshuffle(one, c.unshuffle // 2) for one in (expression_mask, lighting_mask)]
        asked = torch.cat([asks_expression.flatten(1), asks_light.flatten(1), tone], 1)
        y = F.pixel_shuffle(self.translate(torch.cat([*masks, u], 1), asked), c.unshuffle // 2)  # (B, _N_FINE, H/2, W/2)

        # Light: smooth. In float32 from here: bfloat16 coordinates would be coarser than a pixel.
        light_gain, light_bias = (asks_light * self.light(y).float()).chunk(2, dim=1)  # (B, 3, H/2, W/2)
        light_gain = c.gain_scale * light_gain

        # Expression: a displacement from its mask alone, since light moves nothing, and fine fields inside the window.
        fine = self.draw(self.refine(torch.cat([y, F.pixel_unshuffle(x, 2)], 1)))
        fine = asks_expression * feature_window(x.shape[-1]).to(x.device) * F.pixel_shuffle(fine, 2).float()  # (B, 6, H, W)
        flow = asks_expression * c.max_displacement * torch.tanh(self.displace(expression_mask)).float()

        flow, wide_gain, wide_bias = (enlarged(field, x.shape[2:]) for field in (flow, light_gain, light_bias))
        gain = (wide_gain + c.gain_scale * fine[:, :3]).clamp(-4, 4)
        bias = wide_bias + fine[:, 3:]
        image = apply_fields(x, flow, gain, bias)
        bound = 1.2 if self.training else 1.0
        image = image.clamp(-bound, bound)
        return GeneratorOutput(image, expression_mask, lighting_mask, flow, bias, gain, light_bias, light_gain)


def enlarged(field: Tensor, size: Sequence[int]) -> Tensor:
    """A field (B, C, h, w), smooth, at another size (H, W)."""
    return F.interpolate(field, tuple(size), mode="bilinear", align_corners=False)


def feature_window(size: int) -> Tensor:
    """Where an expression may draw (1, 1, size, size): 1 round eyes, nose and mouth of an aligned crop, 0 on forehead and outer cheeks."""
    return torch.from_numpy(_feature_window(size))


@lru_cache(maxsize=8)
def _feature_window(size: int) -> np.ndarray:
    places = (np.arange(size) + 0.5) / size
    window = np.zeros((size, size))
    for centre_x, centre_y, sigma_x, sigma_y in _WINDOWS:
        x = np.exp(-0.5 * ((places - centre_x) / sigma_x) ** 2)
        y = np.exp(-0.5 * ((places - centre_y) / sigma_y) ** 2)
        # A plateau with soft edges, which end at zero.
        bump = ((2.2 * y[:, None] * x[None, :] - 0.2) / 1.4).clip(0, 1)
        window = np.maximum(window, bump * bump * (3 - 2 * bump))
    return window[None, None].astype(np.float32)


def apply_fields(x: Tensor, displacement: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Move, scale and shift images (B, 3, H, W) in [-1, 1] by fields as `GeneratorOutput` has them; not cut off at the range."""
    return (warp(x.float(), displacement) + 1) * torch.exp(gain) - 1 + bias


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
