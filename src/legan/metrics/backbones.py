"""The networks of LPIPS: the convolutions of AlexNet and VGG-16, whose five layers are compared.

Krizhevsky, "One weird trick" (2014), and Simonyan and Zisserman (ICLR 2015); tensor names are those of torchvision's files
`alexnet-owt-7be5be79.pth` and `vgg16-397923af.pth`. The weights of the channels, which Zhang et al. (CVPR 2018) fitted to people's
judgements, come with torchmetrics.
"""

from importlib.resources import files
from io import BytesIO

import torch
from torch import Tensor, nn

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
