"""LightCNN: identity features of faces by max-feature-map networks.

Wu, He, Sun and Tan, "A light CNN for deep face representation with noisy labels" (IEEE TIFS 2018), tables I and II; layer for layer
the networks that AlfredXiangWu/LightCNN publishes as LightCNN-9 and LightCNN-29 (v1), so that its checkpoints load.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from legan.core.config import config_to_dict
from legan.core.errors import ConfigError, ImageError, WeightsError
from legan.core.weights import is_state_dict, load_state, load_weights, weights_file
from legan.models.from_weights import network_of_config

INPUT_SIZE = 128
N_FEATURES = 256
# What makes grey of RGB in the published pipeline (OpenCV's IMREAD_GRAYSCALE: ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)
_RESIDUAL_GAIN = 0.25  # of a new residual branch, so that ten of them do not drown the signal


@dataclass(frozen=True)
class LightCNNConfig:
    """Shape of a LightCNN.

    Args:
        widths: channels after the stem and after each of the four groups.
        n_residual: residual blocks before each group.
        n_classes: identities of the classifier; 0 for a network of features alone.
        dropout: share of the features that training hides from the classifier.
    """

    widths: tuple[int, int, int, int, int] = (48, 96, 192, 128, 128)
    n_residual: tuple[int, int, int, int] = (0, 0, 0, 0)
    n_classes: int = 0
    dropout: float = 0.5


PRESETS = {
    "lightcnn9": LightCNNConfig(),
    "lightcnn29": LightCNNConfig(n_residual=(1, 2, 3, 4)),
    "lite": LightCNNConfig(widths=(16, 40, 80, 96, 64)),
}


class Mfm(nn.Module):
    """Max-feature-map: the larger of the two halves of a layer's 2 * n_out channels. (B, n_in, ...) -> (B, n_out, ...).

    A 3x3, 5x5 or 1x1 convolution of the same size out, or a linear layer for `kernel` 0.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        self.filter: nn.Module = nn.Conv2d(n_in, 2 * n_out, kernel, 1, kernel // 2) if kernel else nn.Linear(n_in, 2 * n_out)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.filter(x).chunk(2, dim=1)
        return torch.where(a > b, a, b)  # as torch.maximum, whose backward takes a third longer to share out ties


class Group(nn.Sequential):
    """1x1 mfm of the same width -> 3x3 mfm. (B, n_in, H, W) -> (B, n_out, H, W)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv_a = Mfm(n_in, n_in, 1)
        self.conv = Mfm(n_in, n_out, 3)


class Residual(nn.Module):
    """x + mfm(mfm(x)), both 3x3. (B, C, H, W) -> the same."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv1 = Mfm(n_channels, n_channels, 3)
        self.conv2 = Mfm(n_channels, n_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class LightCNN(nn.Module):
    """Face crops (B, 3, 128, 128), RGB in [-1, 1] -> identity features (B, 256); compare them by their cosine.

    The published networks read grey in [0, 1]: `grey` makes it, inside. `logits` gives the classifier's answer.

    Raises:
        ImageError: crops of another size or without three channels.
    """

    def __init__(self, config: LightCNNConfig = PRESETS["lightcnn29"]) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = Mfm(1, widths[0], 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(n))) for width, n in zip(widths[:4], config.n_residual, strict=True)
        )
        self.groups = nn.ModuleList(Group(n_in, n_out) for n_in, n_out in pairwise(widths))
        side = INPUT_SIZE // 16
        self.fc = Mfm(widths[-1] * side * side, N_FEATURES, 0)
        self.fc2 = nn.Linear(N_FEATURES, config.n_classes) if config.n_classes else None
        self.apply(_start)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.max_pool2d(self.stem(grey(x)), 2)  # (B, 48, 64, 64)
        for index, (block, group) in enumerate(zip(self.blocks, self.groups, strict=True)):
            h = group(block(h))
            if index != 2:  # the third and fourth group share a resolution
                h = functional.max_pool2d(h, 2)
        return self.fc(h.flatten(1))  # (B, 128, 8, 8) -> (B, 256)

    feature = forward

    def classify(self, features: Tensor, dropout: Callable[[Tensor, float, bool], Tensor] = functional.dropout) -> Tensor:
        """Features (B, 256) -> logits (B, n_classes), through dropout while training.

        Args:
            features: what the network gives.
            dropout: called with the features, its share, and whether the network is training.

        Raises:
            ConfigError: the network has no classifier.
        """
        if self.fc2 is None:
            raise ConfigError("this network has no classifier, only features: make it with n_classes, or load one that has it")
        return self.fc2(dropout(features, self.config.dropout, self.training))

    def logits(self, x: Tensor) -> Tensor:
        """Face crops as in `forward` -> logits (B, n_classes)."""
        return self.classify(self(x))

    @classmethod
    def from_checkpoint(cls, path: Path, keep_classifier: bool = False) -> "LightCNN":
        """Read an official checkpoint (`LightCNN_9Layers_checkpoint.pth.tar`, ...), in evaluation mode.

        LightCNN-9 or LightCNN-29 is recognised by the names of the tensors.

        Args:
            path: a file that `torch.save` wrote: a dict with `state_dict`, or the state dict itself.
            keep_classifier: keep `fc2`, one row an identity of the official training set.

        Raises:
            WeightsError: no such file, one that only unpickling could read, or tensors of another network.
        """
        tensors = rename_official(_read_checkpoint(Path(path)), str(path))
        n_classes = len(tensors["fc2.weight"]) if keep_classifier and "fc2.weight" in tensors else 0
        if not n_classes:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc2.")}
        preset = "lightcnn29" if any(name.startswith("blocks.") for name in tensors) else "lightcnn9"
        shape = config_to_dict(replace(PRESETS[preset], n_classes=n_classes))
        return network_of_config(cls, LightCNNConfig, shape, tensors, Path(path))


@torch.no_grad()
def standardise(net: LightCNN, x: Tensor) -> None:
    """Scale and shift every layer of a new network so that over crops `x` (B, 3, 128, 128) its channels have mean 0, variance 1.

    Without it the features of all faces point nearly the same way at first: max-feature-maps have positive means, and there is no
    normalisation. Salimans and Kingma, "Weight normalization" (NeurIPS 2016), section 3.
    """

    def shift(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        axes = [axis for axis in range(output.ndim) if axis != 1]
        std, mean = torch.std_mean(output, axes)
        scale = gain[layer] / std.clamp_min(1e-5)
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))  # type: ignore[operator, union-attr, arg-type]
        layer.bias.copy_((layer.bias - mean) * scale)  # type: ignore[operator]
        shape = [1, -1, *[1] * (output.ndim - 2)]
        return (output - mean.view(shape)) * scale.view(shape)

    gain = {module.filter: 1.0 for module in net.modules() if isinstance(module, Mfm)}
    gain |= {module.conv2.filter: _RESIDUAL_GAIN for module in net.modules() if isinstance(module, Residual)}
    hooks = [layer.register_forward_hook(shift) for layer in gain]
    net(x)
    for hook in hooks:
        hook.remove()


def grey(x: Tensor) -> Tensor:
    """RGB (B, 3, 128, 128) in [-1, 1] -> grey (B, 1, 128, 128) in [0, 1], 0.299 R + 0.587 G + 0.114 B as OpenCV reads it.

    Raises:
        ImageError: another size.
    """
    if x.ndim != 4 or x.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
        raise ImageError(
            f"LightCNN reads crops (B, 3, {INPUT_SIZE}, {INPUT_SIZE}), not {tuple(x.shape)}: "
            f"align the faces to {INPUT_SIZE} pixels, or resize the crops"
        )
    weights = torch.tensor(_GREY, dtype=x.dtype, device=x.device)[None, :, None, None]
    return (x * weights).sum(1, keepdim=True) / 2 + 0.5


def load_lightcnn(path: Path | None = None) -> tuple[LightCNN, dict[str, Any]]:
    """Return a network in evaluation mode, and its metadata; None is the packaged one called `lightcnn`.

    Args:
        path: safetensors of `legan train identity` or `legan train expression`, or an official checkpoint
            (`LightCNN.from_checkpoint`), whose metadata is `model` alone.

    Raises:
        WeightsError: the weights are missing, damaged, or not a LightCNN's.
    """
    path = weights_file(path, "lightcnn")
    if path.suffix != ".safetensors":
        net = LightCNN.from_checkpoint(path)
        return net, {"model": "LightCNN-29" if any(net.config.n_residual) else "LightCNN-9"}
    tensors, metadata = load_weights(path)
    if metadata.get("lightcnn") is None:
        raise WeightsError(f"{path} holds no identity network: name weights written by `legan train identity`")
    return network_of_config(LightCNN, LightCNNConfig, metadata["lightcnn"], tensors, path), metadata


# Official name -> own name: LightCNN-9 numbers its layers, LightCNN-29 names them.
_NINE = {"features.0": "stem", "features.2": "groups.0", "features.4": "groups.1", "features.6": "groups.2"}
_NINE |= {"features.7": "groups.3", "fc1": "fc"}
_TWENTY_NINE = {"conv1": "stem", **{f"{kind}{i + 1}": f"{kind}s.{i}" for kind in ("block", "group") for i in range(4)}}


def rename_official(state: Mapping[str, Tensor], source: str = "the checkpoint") -> dict[str, Tensor]:
    """Give the tensors of an official state dict (with or without `module.`) the names that they have here.

    Raises:
        WeightsError: names that are neither LightCNN-9's nor LightCNN-29's.
    """
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if "fc.weight" in plain and any(name.startswith("block1.") for name in plain):
        raise WeightsError(f"{source} is LightCNN-29 v2: only LightCNN-9 and LightCNN-29 (v1) load; give one of those")
    table = _NINE if "features.0.filter.weight" in plain else _TWENTY_NINE
    renamed = {}
    for name, tensor in plain.items():
        start = next((key for key in (*table, "fc2", "fc") if name.startswith(f"{key}.")), None)
        if start is None:
            raise WeightsError(f"{source} is no LightCNN-9 or LightCNN-29: it holds a tensor '{name}'")
        renamed[table.get(start, start) + name.removeprefix(start)] = tensor
    return renamed


def _read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    advice = (
        'where you trust it, load it once and save only its tensors with torch.save({"state_dict": checkpoint["state_dict"]}, '
        '"clean.pth")'
    )
    state = load_state(path, "checkpoint", advice)
    tensors = state.get("state_dict", state)
    if not isinstance(tensors, Mapping) or not tensors or not is_state_dict(tensors):
        raise WeightsError(f"{path} holds no state dict: give a checkpoint of AlfredXiangWu/LightCNN")
    return tensors


def _start(module: nn.Module) -> None:
    # The larger of two independent numbers has the second moment of one: variance 1 / fan-in keeps the size of the signal.
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    elif isinstance(module, Residual):
        with torch.no_grad():
            module.conv2.filter.weight.mul_(_RESIDUAL_GAIN)  # type: ignore[union-attr, operator]
