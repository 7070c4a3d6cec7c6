"""The critic: one patch realness head and one softmax class head for each attribute space (LEGAN poster; StarGAN, CVPR 2018)."""

from typing import NamedTuple

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.geometry import CROP_SIZE


@dataclass(frozen=True)
class CriticConfig:
    """Shape of a critic.

    Args:
        n_expressions, n_lightings: classes of the two heads.
        size: side of the input in pixels.
        width: channels after the first convolution; doubled by each further one up to `max_width`.
        n_layers: stride-2 convolutions.
        max_width: bound of the channels.
    """

    n_expressions: int = len(EXPRESSIONS)
    n_lightings: int = len(LIGHTINGS)
    size: int = CROP_SIZE
    width: int = 64
    n_layers: int = 6
    max_width: int = 2048


PRESETS = {"paper": CriticConfig(), "lite": CriticConfig(width=32, n_layers=5, max_width=512)}


class CriticOutput(NamedTuple):
    """`realness` (B, 1, h, w) scores, higher is more real; `expression` (B, n_expressions) and `lighting` (B, n_lightings) logits."""

    realness: Tensor
    expression: Tensor
    lighting: Tensor


class Critic(nn.Module):
    """D(x) -> `CriticOutput`; x is (B, 3, size, size) in [-1, 1].

    Strided 4x4 convolutions with LeakyReLU 0.01; a 3x3 convolution for realness; a full-size convolution for each class head.

    Example:
        >>> output = legan.Critic()(torch.zeros(2, 3, 128, 128))
        >>> output.realness.shape, output.expression.shape, output.lighting.shape
        (torch.Size([2, 1, 4, 4]), torch.Size([2, 6]), torch.Size([2, 20]))
    """

    def __init__(self, config: CriticConfig = PRESETS["lite"]) -> None:
        super().__init__()
        self.config = config
        widths = [min(config.width * 2**i, config.max_width) for i in range(config.n_layers)]
        layers: list[nn.Module] = []
        for n_in, n_out in zip([3, *widths], widths, strict=False):
            layers += [nn.Conv2d(n_in, n_out, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.features = nn.Sequential(*layers)
        side = config.size // 2**config.n_layers
        self.realness = nn.Conv2d(widths[-1], 1, 3, 1, 1)
        self.expression = nn.Conv2d(widths[-1], config.n_expressions, side)
        self.lighting = nn.Conv2d(widths[-1], config.n_lightings, side)

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """The features after each strided convolution, (B, width * 2^i, size / 2^(i + 1), size / 2^(i + 1))."""
        maps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> CriticOutput:
        h = self.features(x)  # (B, C, size / 2^n, size / 2^n)
        return CriticOutput(self.realness(h), self.expression(h).flatten(1), self.lighting(h).flatten(1))
