"""Q: one face crop in, how natural people find it out, from 0 (unnatural) to 10 (hyper-realistic).

LEGAN poster, "Quality estimation model": six 4x4 stride-2 convolutions of 64 to 2048 filters, each with LeakyReLU 0.01; fc 256; fc 1.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.errors import ConfigError, WeightsError, no_such
from legan.core.geometry import CROP_SIZE
from legan.core.weights import load_weights, weights_file
from legan.models.from_weights import network_of_config

MODEL = "legan-quality"  # in the metadata of weights files
MIDDLE_SCORE, TOP_SCORE = 5.0, 10.0
SLOPE = 0.01  # of LeakyReLU below 0
_MIN_SPREAD = 0.05  # keeps a likelihood finite


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


class Quality(nn.Module):
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


def preset(name: str, **changes: object) -> QualityConfig:
    """Return the shape called `name`, with fields changed.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("quality preset", name, PRESETS))
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]


def load_quality_net(path: str | Path | None = None) -> tuple[Quality, dict[str, Any]]:
    """Return Q ready to run, frozen, and what its weights file says about itself; None is the file that comes with the package.

    Raises:
        WeightsError: the weights are missing, damaged, or not a quality network's.
    """
    path = weights_file(path, "quality")
    tensors, metadata = load_weights(path)
    if metadata.get("model") != MODEL:
        raise WeightsError(f"{path} holds no quality network: give a file that `legan train quality` led to")
    net = network_of_config(Quality, QualityConfig, metadata.get("network"), tensors, path)
    return net.requires_grad_(False), metadata
