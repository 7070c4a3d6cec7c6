"""Q: one face crop in, how natural people find it out, from 0 (unnatural) to 10 (hyper-realistic).

LEGAN poster, "Quality estimation model": six 4x4 stride-2 convolutions of 64 to 2048 filters, each with LeakyReLU 0.01; fc 256; fc 1.

`FeatureQuality` is another Q: a few hundred rated images cannot teach a network to see, but they can teach what to make of what it sees.
The means and standard deviations of a frozen body's stages describe a face, and how far its two eyes differ; the score is a sum of
Gaussian kernels round known faces and a plane (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 2.7),
squashed into the scale.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.errors import ConfigError, WeightsError, no_such
from legan.core.geometry import CROP_SIZE, EYES_Y
from legan.core.weights import load_weights, weights_file
from legan.models.efficientnet import DEFAULT, EfficientNetLite, Variant, stages_of
from legan.models.from_weights import network_of_config

MODEL = "legan-quality"  # in the metadata of weights files
MIDDLE_SCORE, TOP_SCORE = 5.0, 10.0
SLOPE = 0.01  # of LeakyReLU below 0
_MIN_SPREAD = 0.05  # keeps a likelihood finite
SQUASH = 4 / TOP_SCORE  # of Q on features: its slope is 1 in the middle of the scale
# At most, of `jittered`: share of the size, of half the side (4 pixels of 128), and of a 3x3 box blur.
_MOST_SCALE, _MOST_SHIFT, _MOST_BLUR = 0.05, 0.0625, 0.5
_EPSILON = 1e-6  # under the root of a variance, which has no slope at 0
# Of `eye_asymmetry`: stages whose places are as large as an eye and still tell left from right; where they look, in fractions of the side.
_EYE_STAGES = slice(3, 5)
_EYES_TOP, _EYES_BOTTOM, _EYES_LEFT = EYES_Y - 0.11, EYES_Y + 0.11, 0.18


@dataclass(frozen=True)
class QualityConfig:
    """Shape of Q.

    Args:
        size: side of the input in pixels.
        width: filters of the first convolution, doubled by each further one.
        n_layers: convolutions.
        n_hidden: units of the first fully connected layer.
        head: "mean" is the paper's one output; "mean-std" also predicts how far raters will disagree.
    """

    size: int = CROP_SIZE
    width: int = 64
    n_layers: int = 6
    n_hidden: int = 256
    head: Literal["mean", "mean-std"] = "mean"


PRESETS = {"paper": QualityConfig(), "lite": QualityConfig(width=16, n_hidden=64, head="mean-std")}


class QualityOutput(NamedTuple):
    """`score` (B,), and `spread` (B,): the standard deviation expected among raters, None where the network has no such head."""

    score: Tensor
    spread: Tensor | None


class QualityModel(nn.Module):
    """Q(x) -> scores (B,); x is (B, 3, size, size) in [-1, 1]. Scores are not clipped: a loss needs their slope everywhere.

    Example:
        >>> legan.QualityModel()(torch.zeros(2, 3, 128, 128)).shape
        torch.Size([2])
    """

    def __init__(self, config: QualityConfig = PRESETS["lite"]) -> None:
        super().__init__()
        self.config = config
        side = config.size // 2**config.n_layers
        if side < 1 or config.size % 2**config.n_layers:
            raise ConfigError(
                f"size={config.size} does not fit n_layers={config.n_layers}: give a multiple of {2**config.n_layers} pixels"
            )
        widths = [config.width * 2**i for i in range(config.n_layers)]
        layers: list[nn.Module] = []
        for n_in, n_out in zip([3, *widths], widths, strict=False):
            layers += [nn.Conv2d(n_in, n_out, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(widths[-1] * side * side, config.n_hidden)
        self.out = nn.Linear(config.n_hidden, 1 if config.head == "mean" else 2)
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x).score

    def predict(self, x: Tensor) -> QualityOutput:
        """Return scores, and spreads where the network has that head."""
        h = self.features(x).flatten(1)  # (B, C * side^2)
        # The head stays in float32: bfloat16 knows no score between 5 and 5.03.
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            out = self.out(F.leaky_relu(self.hidden(h.float()), SLOPE))  # (B, 1 or 2)
        spread = F.softplus(out[:, 1]) + _MIN_SPREAD if out.shape[1] == 2 else None
        return QualityOutput(out[:, 0], spread)

    def _initialise(self) -> None:
        # Keeps the size of activations through layers without norms (He et al., ICCV 2015); starts in the middle of the scale.
        for layer in [*self.features, self.hidden]:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, SLOPE, nonlinearity="leaky_relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # all have one
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            self.out.bias.fill_(1.0)[0] = MIDDLE_SCORE


@dataclass(frozen=True)
class FeatureQualityConfig:
    """Shape of Q on features.

    Args:
        body: the network whose features are read.
        size: side of the input in pixels.
        enlarged: side to which the input is enlarged for the body, which was trained on larger images.
        n_directions: principal directions of the statistics that are kept.
        n_centres: faces that kernels stand on.
        head: "mean-std": a score and how far raters will disagree.
        eyes: whether `eye_asymmetry` is among the statistics, which means and standard deviations over all places cannot tell; not in
            weights of before it was.
    """

    body: Variant = DEFAULT
    size: int = CROP_SIZE
    enlarged: int = 224
    n_directions: int = 256
    n_centres: int = 704
    head: Literal["mean-std"] = "mean-std"
    eyes: bool = False

    @property
    def n_statistics(self) -> int:
        """N, a mean and a standard deviation for each channel of each stage of the body, and one number for each that sees the eyes."""
        channels = [stage.n_out for stage in stages_of(self.body)]
        return 2 * sum(channels) + self.eyes * sum(channels[_EYE_STAGES])


class FeatureQuality(nn.Module):
    """Q(x) -> scores (B,) within 0..10; x is (B, 3, size, size) in [-1, 1].

    `features` is the body; `shift` (N,) and `directions` (D, N) bring its statistics to coordinates; `centres` (M, D) are kernels' places;
    `weights` (2, M + D) and `bias` (2,) make score and spread of them.
    """

    shift: Tensor
    directions: Tensor
    centres: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, config: FeatureQualityConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FeatureQualityConfig()
        self.features = EfficientNetLite(variant=config.body)
        n, m = config.n_directions, config.n_centres
        self.register_buffer("shift", torch.zeros(config.n_statistics))
        self.register_buffer("directions", torch.zeros(n, config.n_statistics))
        self.register_buffer("centres", torch.zeros(m, n))
        self.register_buffer("weights", torch.zeros(2, m + n))
        self.register_buffer("bias", torch.tensor([MIDDLE_SCORE, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(x).score

    def predict(self, x: Tensor) -> QualityOutput:
        """Return scores (B,) within 0..10 and spreads (B,) above 0."""
        return self.judge(self.statistics(x))

    def statistics(self, x: Tensor) -> Tensor:
        """Means and standard deviations over places of each stage's channels, perhaps `eye_asymmetry`: (B, N), float32."""
        size = (self.config.enlarged, self.config.enlarged)
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        stages = self.features(x.contiguous(memory_format=torch.channels_last))
        found = statistics(stages)
        return torch.cat([found, eye_asymmetry(stages)], 1) if self.config.eyes else found

    def judge(self, statistics: Tensor) -> QualityOutput:
        """Return scores and spreads (B,) of statistics (B, N)."""
        # The head stays in float32: bfloat16 has no score between 5 and 5.03.
        with torch.autocast("cpu" if statistics.is_meta else statistics.device.type, enabled=False):
            place = (statistics.float() - self.shift) @ self.directions.T  # (B, D)
            out = kernels(place, self.centres) @ self.weights.T + self.bias  # (B, 2)
        score = TOP_SCORE * torch.sigmoid(SQUASH * (out[:, 0] - MIDDLE_SCORE))
        return QualityOutput(score, F.softplus(out[:, 1]) + _MIN_SPREAD)


def kernels(place: Tensor, centres: Tensor) -> Tensor:
    """exp(-|place - centre|^2) for each centre, and the places themselves: (B, D), (M, D) -> (B, M + D)."""
    distance = place.square().sum(1)[:, None] + centres.square().sum(1) - 2 * place @ centres.T  # (B, M)
    return torch.cat([torch.exp(-distance.clamp_min(0)), place], 1)


def statistics(stages: list[Tensor]) -> Tensor:
    """Mean and standard deviation over places, stage after stage: (B, C, h, w) each -> (B, 2 * sum of C), float32."""
    parts = []
    for stage in stages:
        y = stage.float()
        parts += [y.mean((2, 3)), (y.var((2, 3), unbiased=False) + _EPSILON).sqrt()]
    return torch.cat(parts, 1)


def eye_asymmetry(stages: list[Tensor]) -> Tensor:
    """How far the eyes of aligned faces differ from their mirror image: root of half the mean squared difference over places.

    (B, C, h, w) of each stage -> (B, sum of C of stages 4 and 5), float32.
    """
    parts = []
    for stage in stages[_EYE_STAGES]:
        height, width = stage.shape[2:]
        top, left = round(_EYES_TOP * height), round(_EYES_LEFT * width)
        eyes = stage[:, :, top : max(round(_EYES_BOTTOM * height), top + 1), left : width - left].float()
        parts.append(((eyes - eyes.flip(3)).square().mean((2, 3)) / 2 + _EPSILON).sqrt())
    return torch.cat(parts, 1)


def jittered(x: Tensor, rand: Callable[..., Tensor] = torch.rand) -> Tensor:
    """Shift, scale and blur images (B, C, H, W) a little, each by other random amounts; differentiable, the border reflected.

    Args:
        x: the images.
        rand: where the amounts come from, called as `torch.rand`.
    """
    n = len(x)
    scale = 1 + _MOST_SCALE * (2 * rand(n, device=x.device) - 1)
    shift = _MOST_SHIFT * (2 * rand(n, 2, device=x.device) - 1)
    theta = torch.cat([torch.diag_embed(scale[:, None].expand(n, 2)), shift[:, :, None]], 2)  # (B, 2, 3)
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    # Between the image and its mean over 3x3 places.
    share = _MOST_BLUR * rand(n, 1, 1, 1, device=x.device, dtype=x.dtype)
    return x + share * (F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "reflect"), 3, 1) - x)


def wants_jitter(net: object) -> bool:
    """Whether a loss shows this network, or the one that it wraps as `net`, images that are `jittered`: Q on features."""
    return isinstance(getattr(net, "net", net), FeatureQuality)


def preset(name: str, **changes: object) -> QualityConfig:
    """Return the shape called `name`, with fields changed.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("quality preset", name, PRESETS))
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]


def load_quality_net(path: str | Path | None = None) -> tuple[QualityModel | FeatureQuality, dict[str, Any]]:
    """Return Q ready to run, frozen, and what its weights file says about itself; None is the file that comes with the package.

    Raises:
        WeightsError: the weights are missing, damaged, or not a quality network's.
    """
    path = weights_file(path, "quality")
    tensors, metadata = load_weights(path)
    if metadata.get("model") != MODEL:
        raise WeightsError(f"{path} holds no quality network: give weights written by `legan train quality`")
    values = metadata.get("network")
    net: QualityModel | FeatureQuality
    if isinstance(values, dict) and "body" in values:
        net = network_of_config(FeatureQuality, FeatureQualityConfig, values, tensors, path)
    else:
        net = network_of_config(QualityModel, QualityConfig, values, tensors, path)
    return net.requires_grad_(False), metadata
