"""StarGAN (Choi et al., CVPR 2018, appendix 7.2, tables 4 and 5): one generator for all labels, a critic with source and class heads.

Layers and their names are those of the published implementation (yunjey/stargan), so that its checkpoints load. The label is any
vector; here it is the expression code and the lighting code, one after the other.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import WeightsError
from legan.core.geometry import CROP_SIZE
from legan.core.weights import is_state_dict, load_state
from legan.models.blocks import PlainInstanceNorm, as_maps
from legan.models.critic import CriticOutput
from legan.models.from_weights import network_of_config

N_LABELS = len(EXPRESSIONS) + len(LIGHTINGS)
# Statistics over the training that the published norms collect, and that its code never uses: it does not leave training mode.
_UNUSED = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class StarGANGeneratorConfig:
    """Shape of StarGAN's generator: length of the label, channels at full resolution, residual blocks."""

    n_labels: int = N_LABELS
    width: int = 64
    n_residual: int = 6


@dataclass(frozen=True)
class StarGANCriticConfig:
    """Shape of StarGAN's critic: length of the label, side of the input, channels after the first of `n_layers` convolutions."""

    n_labels: int = N_LABELS
    size: int = CROP_SIZE
    width: int = 64
    n_layers: int = 6


# `lite`: the same layers, so narrow that a pass through the generator takes as long as through LEGAN's `lite`.
PRESETS = {
    "paper": (StarGANGeneratorConfig(), StarGANCriticConfig()),
    "lite": (StarGANGeneratorConfig(width=24), StarGANCriticConfig(width=24)),
}


class StarGANGenerator(nn.Module):
    """G(x, label) -> image (B, 3, H, W) in [-1, 1]; x alike, H and W multiples of 4; label (B, n_labels).

    7x7 convolution, two of 4x4 with stride 2, residual blocks, two transposed of 4x4 with stride 2, 7x7; instance norms between.
    """

    def __init__(self, config: StarGANGeneratorConfig = PRESETS["lite"][0]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        layers: list[nn.Module] = [nn.Conv2d(3 + config.n_labels, width, 7, 1, 3, bias=False), *_norm_relu(width)]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), *_norm_relu(2 * width)]
            width *= 2
        layers += [StarGANResidual(width) for _ in range(config.n_residual)]
        for _ in range(2):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), *_norm_relu(width // 2)]
            width //= 2
        layers += [nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        maps = as_maps(label, *x.shape[2:])  # (B, n_labels, H, W)
        return self.main(torch.cat([x, maps], 1))


class StarGANResidual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))). (B, C, H, W) -> the same."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(n_channels, n_channels, 3, 1, 1, bias=False) for _ in range(2)]
        last = PlainInstanceNorm(n_channels, affine=True)
        self.main = nn.Sequential(convolutions[0], *_norm_relu(n_channels), convolutions[1], last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class StarGANCritic(nn.Module):
    """D(x) -> source scores (B, 1, h, w), higher is more real, and class logits (B, n_labels); x is (B, 3, size, size) in [-1, 1].

    Stride-2 4x4 convolutions with LeakyReLU 0.01, each doubling the channels; `conv1` is the source head, `conv2` the class head.
    """

    def __init__(self, config: StarGANCriticConfig = PRESETS["lite"][1]) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**i for i in range(config.n_layers)]
        layers: list[nn.Module] = []
        for n_in, n_out in zip([3, *widths], widths, strict=False):
            layers += [nn.Conv2d(n_in, n_out, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], config.n_labels, config.size // 2**config.n_layers, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.main(x)  # (B, C, size / 2^n, size / 2^n)
        return self.conv1(h), self.conv2(h).flatten(1)


def joint_label(expression: Tensor, lighting: Tensor) -> Tensor:
    """Return the label of codes, (B, 26) of (B, 6) and (B, 20). A face under its own even light has zeros in place of a lighting."""
    return torch.cat([expression, lighting], 1)


class LabelEditor(nn.Module):
    """StarGAN's generator as an editor: (x, expression, lighting) -> image."""

    def __init__(self, generator: StarGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        return self.generator(x, joint_label(expression, lighting))


def by_attribute(output: tuple[Tensor, Tensor], n_expressions: int = len(EXPRESSIONS)) -> CriticOutput:
    """Return a critic's output with the class logits of each attribute space apart: of the expressions, then of the lightings."""
    realness, logits = output
    return CriticOutput(realness, logits[:, :n_expressions], logits[:, n_expressions:])


def load_published(path: str | Path) -> StarGANGenerator | StarGANCritic:
    """Return a network with the weights of a checkpoint of yunjey/stargan, such as `200000-G.ckpt`, shaped as its tensors tell.

    Raises:
        WeightsError: no such file, one that would run code, or another network's.
    """
    path = Path(path)
    state = load_state(path, "checkpoint", "give a plain state dict of tensors")
    if not is_state_dict(state):
        raise WeightsError(f"{path} holds no state dict: give a checkpoint of yunjey/stargan")
    tensors = {name: t for name, t in state.items() if name.rsplit(".", 1)[-1] not in _UNUSED}
    try:
        return _published_network(tensors, path)
    except (KeyError, ValueError, IndexError, TypeError, WeightsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{path} is no generator or critic of yunjey/stargan ({reason}): give its *-G.ckpt or *-D.ckpt"
        ) from error


def _published_network(tensors: Mapping[str, Tensor], path: Path) -> StarGANGenerator | StarGANCritic:
    """The network whose config the shapes of the tensors tell."""
    first = tensors["main.0.weight"]
    if "conv2.weight" in tensors:
        n_layers = sum(name.startswith("main.") and t.ndim == 4 for name, t in tensors.items())
        n_labels, _, side, _ = tensors["conv2.weight"].shape
        shape = {"n_labels": n_labels, "size": side * 2**n_layers, "width": len(first), "n_layers": n_layers}
        return network_of_config(StarGANCritic, StarGANCriticConfig, shape, tensors, path)
    n_residual = sum(name.endswith(".main.0.weight") for name in tensors)
    shape = {"n_labels": first.shape[1] - 3, "width": len(first), "n_residual": n_residual}
    return network_of_config(StarGANGenerator, StarGANGeneratorConfig, shape, tensors, path)


def _norm_relu(n_channels: int) -> tuple[nn.Module, nn.Module]:
    return PlainInstanceNorm(n_channels, affine=True), nn.ReLU(inplace=True)
