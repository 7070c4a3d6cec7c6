"""Distance of two images in a network's layers: LPIPS (Zhang et al., CVPR 2018, equation 1), the network given by the caller.

With AlexNet or VGG and the weights that people's judgements led to, it is LPIPS; with another network, or without such weights, it is a
distance of the same form on another scale, and whoever prints it must say so.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from legan.core.errors import DataError

_EPSILON = 1e-10


def layer_distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Return distances (B,): squared differences of unit feature vectors, weighted by channel, mean over places, summed over layers.

    Args:
        a, b: the same layers of two batches, each (B, C, H, W); C, H and W are the layer's own.
        weights: of the channels, (C,) a layer; all 1 by default.

    Raises:
        DataError: layers that do not match, or a feature that is not finite.
    """
    if not a or [x.shape for x in a] != [y.shape for y in b]:
        raise DataError("the layers of the two batches do not match: use one network and images of one size")
    total = torch.zeros(len(a[0]), dtype=torch.float64, device=a[0].device)
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        difference = (_unit(x) - _unit(y)) ** 2  # (B, C, H, W)
        weight = weights[index].view(1, -1, 1, 1) if weights is not None else 1
        total += (difference * weight).sum(1).mean((1, 2)).double()
    if not total.isfinite().all():
        raise DataError("a feature is not a finite number: leave out images with NaN or infinite pixels")
    return total.float()


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON)
