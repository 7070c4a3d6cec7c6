"""The frozen networks that judge an editor while it is trained: LightCNN (identity) and Q (naturalness)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from legan.core.files import sha256_of
from legan.core.weights import weights_file
from legan.models.efficientnet import efficientnet_file, load_efficientnet
from legan.models.lightcnn import LightCNN, load_lightcnn
from legan.models.quality import load_quality_net
from legan.train.task import autocast

N_PERCEPTUAL_STAGES = 3  # 64, 32 and 16 pixels a side at 128: edges, lashes and teeth, not what kind of thing it is


@dataclass(frozen=True)
class Frozen:
    """A network that is not trained: crops (B, 3, S, S) in [-1, 1] to features (B, n) or scores (B,).

    Args:
        net: in evaluation mode, without gradients of its own.
        file: name of its weights file.
        sha256: checksum of that file.
    """

    net: nn.Module
    file: str
    sha256: str

    def facts(self) -> dict[str, str]:
        """Which weights these were, for checkpoints and exported editors."""
        return {"file": self.file, "sha256": self.sha256}


def load_identity(path: Path | None, dtype: torch.dtype | None, device: torch.device) -> Frozen:
    """Return the identity network: a file of `legan train identity`, an official LightCNN checkpoint, or None for the packaged one.

    Raises:
        WeightsError: missing or damaged, or not a LightCNN.
    """
    path = weights_file(path, "identity")
    net = load_lightcnn(path)[0] if path.suffix == ".safetensors" else LightCNN.from_checkpoint(path)
    return _frozen(net, path, dtype, device)


def load_quality(path: Path | None, dtype: torch.dtype | None, device: torch.device) -> Frozen:
    """Return Q: a file that `legan train quality` led to, or None for the packaged one.

    Raises:
        WeightsError: missing or damaged, or not a quality network.
    """
    path = weights_file(path, "quality")
    return _frozen(load_quality_net(path)[0], path, dtype, device)


def load_perceptual(path: Path | None, device: torch.device) -> Frozen:
    """Return the first stages of EfficientNet-Lite0, from a file or, for None, the installed package: crops to lists of feature maps.

    Raises:
        WeightsError: the package is not installed, or the file holds other weights.
    """
    path = efficientnet_file() if path is None else path
    net = load_efficientnet(N_PERCEPTUAL_STAGES, path).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Frozen(net, path.name, sha256_of(path))


class _Mixed(nn.Module):
    """A network whose convolutions run in `dtype`; what comes out is float32."""

    def __init__(self, net: nn.Module, dtype: torch.dtype | None, device: torch.device) -> None:
        super().__init__()
        self.net, self.dtype, self.device = net, dtype, device

    def forward(self, x: Tensor) -> Tensor:
        with autocast(self.dtype, self.device):
            return self.net(x).float()


def _frozen(net: nn.Module, path: Path, dtype: torch.dtype | None, device: torch.device) -> Frozen:
    net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Frozen(_Mixed(net, dtype, device), path.name, sha256_of(path))
