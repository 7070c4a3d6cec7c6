"""Networks whose features FID, KID and LPIPS compare, in the layouts of their official weights."""

from collections.abc import Sequence
from importlib.resources import files
from io import BytesIO
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# The network of FID: Inception-v3 as TensorFlow's 2015-12-05 graph computes it, up to its 2,048 pooled features.
#
# Szegedy et al., "Rethinking the Inception architecture for computer vision" (CVPR 2016). Tensor names are those of
# `pt_inception-2015-12-05-6726825d.pth`, the file that pytorch-fid and torch-fidelity read. Three things differ from the usual
# Inception-v3: average pools do not count the border, the last block pools the maximum, and the classifier has 1,008 outputs.


INPUT_SIZE = 299
N_FEATURES = 2048
N_CLASSES = 1008


class Layer(NamedTuple):
    """A convolution: its name, outputs, kernel (height, width) and stride; it keeps the size when the stride is 1."""

    name: str
    n_out: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Chain = Sequence[Layer | tuple[Layer, Layer]]  # a pair stands side by side at the end of its chain


class Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self, n_in: int, n_out: int, kernel: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(n_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Chains of convolutions side by side, and a pool: (B, n_in, H, W) -> all their channels, concatenated.

    Args:
        n_in: channels.
        chains: the convolutions.
        n_pool: channels of the convolution behind the pool; 0: none, and the pool has stride 2.
        max_pool: pool the maximum, not the average.
    """

    def __init__(self, n_in: int, chains: Sequence[Chain], n_pool: int = 0, max_pool: bool = False) -> None:
        super().__init__()
        self.names: list[list[tuple[str, ...]]] = []
        for chain in chains:
            n, names = n_in, []
            for step in chain:
                side_by_side = (step,) if isinstance(step, Layer) else step
                for layer in side_by_side:
                    height, width = layer.kernel
                    padding = (height // 2, width // 2) if layer.stride == 1 else (0, 0)
                    self.add_module(layer.name, Conv(n, layer.n_out, layer.kernel, layer.stride, padding))
                n = sum(layer.n_out for layer in side_by_side)
                names.append(tuple(layer.name for layer in side_by_side))
            self.names.append(names)
        self.branch_pool = Conv(n_in, n_pool, (1, 1)) if n_pool else None
        self.max_pool = max_pool

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for names in self.names:
            h = x
            for step in names:
                h = torch.cat([self.get_submodule(name)(h) for name in step], 1)
            found.append(h)
        return torch.cat([*found, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.branch_pool is None:
            return functional.max_pool2d(x, 3, 2)
        if self.max_pool:
            return self.branch_pool(functional.max_pool2d(x, 3, 1, 1))
        return self.branch_pool(functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def _mixed_35(n_in: int, n_pool: int) -> Mixed:
    five = [Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))]
    three = [
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, (3, 3)),
        Layer("branch3x3dbl_3", 96, (3, 3)),
    ]
    return Mixed(n_in, [[Layer("branch1x1", 64)], five, three], n_pool)


def _mixed_to_17() -> Mixed:
    three = [
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, (3, 3)),
        Layer("branch3x3dbl_3", 96, (3, 3), 2),
    ]
    return Mixed(288, [[Layer("branch3x3", 384, (3, 3), 2)], three])


def _mixed_17(n: int) -> Mixed:
    seven = [Layer("branch7x7_1", n), Layer("branch7x7_2", n, (1, 7)), Layer("branch7x7_3", 192, (7, 1))]
    twice = [
        Layer("branch7x7dbl_1", n),
        Layer("branch7x7dbl_2", n, (7, 1)),
        Layer("branch7x7dbl_3", n, (1, 7)),
        Layer("branch7x7dbl_4", n, (7, 1)),
        Layer("branch7x7dbl_5", 192, (1, 7)),
    ]
    return Mixed(768, [[Layer("branch1x1", 192)], seven, twice], 192)


def _mixed_to_8() -> Mixed:
    three = [Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, (3, 3), 2)]
    seven = [
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, (1, 7)),
        Layer("branch7x7x3_3", 192, (7, 1)),
        Layer("branch7x7x3_4", 192, (3, 3), 2),
    ]
    return Mixed(768, [three, seven])


def _mixed_8(n_in: int, max_pool: bool) -> Mixed:
    three: Chain = [Layer("branch3x3_1", 384), (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1)))]
    twice: Chain = [
        Layer("branch3x3dbl_1", 448),
        Layer("branch3x3dbl_2", 384, (3, 3)),
        (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1))),
    ]
    return Mixed(n_in, [[Layer("branch1x1", 320)], three, twice], 192, max_pool)


class Inception(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] -> features (B, 2048), not negative."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, (3, 3), 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = Conv(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = Conv(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Conv(80, 192, (3, 3))
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _mixed_35(192, 32), _mixed_35(256, 64), _mixed_35(288, 64)
        self.Mixed_6a = _mixed_to_17()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_mixed_17(n) for n in (128, 160, 160, 192))
        self.Mixed_7a = _mixed_to_8()
        self.Mixed_7b, self.Mixed_7c = _mixed_8(1280, max_pool=False), _mixed_8(2048, max_pool=True)
        self.fc = nn.Linear(N_FEATURES, N_CLASSES)  # not used here; the file holds it

    def forward(self, x: Tensor) -> Tensor:
        h = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        h = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(h, 3, 2)))  # (B, 192, 71, 71)
        h = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(functional.max_pool2d(h, 3, 2))))  # (B, 288, 35, 35)
        h = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(h)))))  # (B, 768, 17, 17)
        h = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(h)))  # (B, 2048, 8, 8)
        return h.mean((2, 3))


# The networks of LPIPS: the convolutions of AlexNet and VGG-16, whose five layers are compared.
#
# Krizhevsky, "One weird trick" (2014), and Simonyan and Zisserman (ICLR 2015); tensor names are those of torchvision's files
# `alexnet-owt-7be5be79.pth` and `vgg16-397923af.pth`. The weights of the channels, which Zhang et al. (CVPR 2018) fitted to people's
# judgements, come with torchmetrics.


# What LPIPS makes of RGB in [-1, 1]: ImageNet's mean and spread.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Backbone(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> five layers (B, C, h, w).

    Args:
        features: convolutions, ReLUs and pools, numbered as torchvision does.
        ends: numbers of the ReLUs whose outputs are compared.
    """

    def __init__(self, features: nn.Sequential, ends: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.ends = features, ends
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        h, found = (x - self.shift) / self.scale, []  # type: ignore[operator]
        for number, layer in enumerate(self.features):
            h = layer(h)
            if number in self.ends:
                found.append(h)
        return found


def alexnet() -> Backbone:
    """AlexNet without its classifier, new weights."""
    layers = [
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    ]  # fmt: skip
    return Backbone(nn.Sequential(*layers), (1, 4, 7, 9, 11))


def vgg16() -> Backbone:
    """VGG-16 without its classifier, new weights."""
    layers: list[nn.Module] = []
    n_in, ends = 3, []
    for n_out, n_convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(n_convolutions):
            layers += [nn.Conv2d(n_in, n_out, 3, 1, 1), nn.ReLU()]
            n_in = n_out
        ends.append(len(layers) - 1)
        layers.append(nn.MaxPool2d(2, 2))
    return Backbone(nn.Sequential(*layers[:-1]), tuple(ends))


def channel_weights(name: str) -> list[Tensor]:
    """Return LPIPS's weights of the channels of `alex` or `vgg`, (C,) a layer, version 0.1, as torchmetrics brings them."""
    data = (files("torchmetrics") / "functional" / "image" / "lpips_models" / f"{name}.pth").read_bytes()
    state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return [state[f"lin{layer}.model.1.weight"].flatten() for layer in range(5)]
