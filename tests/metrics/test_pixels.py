"""SSIM and PSNR: scikit-image as oracle; batches do not matter; what cannot be compared is refused."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from legan.core.errors import ImageError
from legan.metrics.images import MAX_PSNR, psnr, ssim

BOTH = pytest.mark.parametrize("metric", [ssim, psnr])


def pair(n: int = 5, height: int = 40, width: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images and noisy copies."""
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 9, width), indexing="ij")
    truth = (0.5 + 0.4 * torch.sin(x + y * torch.arange(1.0, n + 1).view(n, 1, 1, 1))).expand(n, 3, height, width)
    noise = torch.randn(n, 3, height, width, generator=random) * torch.linspace(0.01, 0.2, n).view(n, 1, 1, 1)
    return (truth + noise).clamp(0, 1), truth.contiguous()


def test_ssim_equals_scikit_image() -> None:
    images, truth = pair()
    oracle = [
        structural_similarity(
            a.numpy().astype(np.float64), b.numpy().astype(np.float64), data_range=1, channel_axis=0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for a, b in zip(images, truth, strict=True)
    ]  # fmt: skip
    assert ssim(images, truth).numpy() == pytest.approx(oracle, abs=1e-6)
    assert ssim(truth, truth).numpy() == pytest.approx(1)


def test_psnr_equals_scikit_image() -> None:
    images, truth = pair()
    oracle = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in zip(images, truth, strict=True)]
    assert psnr(images, truth).numpy() == pytest.approx(oracle, abs=1e-4)
    assert psnr(truth, truth).tolist() == [MAX_PSNR] * 5


@BOTH
def test_batch_size_does_not_change_the_value(metric) -> None:  # type: ignore[no-untyped-def]
    images, truth = pair()
    one_by_one = torch.cat([metric(images[i : i + 1], truth[i : i + 1]) for i in range(5)])
    assert metric(images, truth).numpy() == pytest.approx(one_by_one.numpy(), rel=1e-6)


@BOTH
def test_what_cannot_be_compared_is_refused(metric) -> None:  # type: ignore[no-untyped-def]
    images, truth = pair()
    with pytest.raises(ImageError, match=r"must lie in \[0, 1\].*divide 0..255 by 255"):
        metric(images * 255, truth)
    with pytest.raises(ImageError, match="nan"):
        metric(images.clone().index_fill(3, torch.tensor([7]), float("nan")), truth)
    with pytest.raises(
        ImageError, match=r"5 images of 24x40 pixels cannot be compared with 5 of 48x40: bring them to one size"
    ):
        metric(images[..., ::2], truth)
    with pytest.raises(ImageError, match="float tensor"):
        metric((images * 255).byte(), truth)


def test_ssim_needs_its_window() -> None:
    with pytest.raises(ImageError, match="smaller than SSIM's window of 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
