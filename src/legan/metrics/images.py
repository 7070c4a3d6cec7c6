"""Metrics of image pairs: SSIM, PSNR, and the perceptual distance of feature maps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from legan.core.errors import DataError, ImageError
from legan.core.images import from_unit

# Metrics of an image against the true one, pixel by pixel: SSIM and PSNR, each image's own.
#
# Wang et al., "Image quality assessment: from error visibility to structural similarity" (IEEE TIP 2004): Gaussian window of 11 pixels,
# sigma 1.5, places where the window lies within the image. torchmetrics also counts places at the border, by reflection, and would
# take many times as long in float64: SSIM is worked out here, PSNR there. Images are float (B, 3, H, W) in [0, 1].


MAX_PSNR = 100.0  # dB; of equal images, whose PSNR is infinite
MIN_SIDE = 11  # the window
_SIGMA, _C1, _C2 = 1.5, 0.01**2, 0.03**2  # the paper's constants for a range of 1


def ssim(images: "Tensor", truth: "Tensor") -> "Tensor":
    """Return structural similarities (B,), at most 1: means over places and channels.

    Raises:
        ImageError: images and truth of different sizes, smaller than the window, out of [0, 1], or not finite.
    """
    import torch

    check_pair(images, truth)
    height, width = images.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"images of {_size(images)} pixels are smaller than SSIM's window of {MIN_SIDE}: give larger ones")
    rows, columns = (torch.from_numpy(_windows(side)).to(images.device) for side in (height, width))
    a, b = images.double(), truth.double()
    mean_a, mean_b, aa, bb, ab = (rows @ x @ columns.T for x in (a, b, a * a, b * b, a * b))  # each (B, 3, H - 10, W - 10)
    var_a, var_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (var_a + var_b + _C2)
    return (luminance * structure).mean((1, 2, 3)).float()


def psnr(images: "Tensor", truth: "Tensor") -> "Tensor":
    """Return peak signal-to-noise ratios (B,) in dB, at most `MAX_PSNR`.

    Raises:
        ImageError: as `ssim`.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    check_pair(images, truth)
    found = peak_signal_noise_ratio(images.double(), truth.double(), data_range=1.0, reduction="none", dim=(1, 2, 3))
    return found.clamp(max=MAX_PSNR).float()


def check_pair(images: "Tensor", truth: "Tensor") -> None:
    """Check that two batches of images can be compared.

    Raises:
        ImageError: another shape, values out of [0, 1] or not finite, or different sizes.
    """
    for batch in (images, truth):
        from_unit(batch)
    if images.shape != truth.shape:
        raise ImageError(
            f"{len(images)} images of {_size(images)} pixels cannot be compared with {len(truth)} of {_size(truth)}: "
            "bring them to one size first"
        )


def _size(images: "Tensor") -> str:
    return f"{images.shape[3]}x{images.shape[2]}"


def _windows(side: int) -> np.ndarray:
    """Matrix (side - 10, side) whose rows weight a line of pixels by the window at each place: a convolution as a product."""
    weights = np.exp(-((np.arange(MIN_SIDE) - MIN_SIDE // 2) ** 2) / (2 * _SIGMA**2))
    matrix = np.zeros((side - MIN_SIDE + 1, side))
    for place, row in enumerate(matrix):
        row[place : place + MIN_SIDE] = weights / weights.sum()
    return matrix


# Distance of two images in a network's layers: LPIPS (Zhang et al., CVPR 2018, equation 1), the network given by the caller.
#
# With AlexNet or VGG and the weights fitted to people's judgements, it is LPIPS; with another network, or without such weights, it is a
# distance of the same form on another scale, and whoever prints it must say so.


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
