"""Images of networks and of the public API: ranges, shapes, and the way there and back."""

import numpy as np
import pytest
import torch
from PIL import Image

from legan.core.errors import ImageError
from legan.core.images import from_network, from_unit, to_network, to_unit


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, five levels a pixel."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 5, y * 7, 0 * x + 40], -1).astype(np.uint8))


def test_network_range_and_round_trip() -> None:
    every_level = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    tensor = to_network(every_level)
    assert tensor.dtype == torch.float32 and tensor.shape == (1, 3, 16, 16)
    assert tensor.min() == -1 and tensor.max() == 1
    assert np.array_equal(from_network(tensor), every_level)
    assert to_network([gradient(), gradient()]).shape == (2, 3, 32, 48)
    assert torch.equal(to_network(gradient())[0, 0, 0, :2], torch.tensor([-1.0, 5 / 127.5 - 1]))


def test_unit_range() -> None:
    x = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1)
    assert torch.equal(from_unit(x).flatten(), torch.tensor([-1.0, -0.5, 1.0]))
    assert torch.allclose(to_unit(from_unit(x)), x)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.full((1, 3, 2, 2), 255.0), r"must lie in \[0, 1\], found 255 to 255: divide 0..255 by 255"),
        (torch.full((1, 3, 2, 2), -0.5), r"map \[-1, 1\] by \(x \+ 1\) / 2"),
        (torch.full((1, 3, 2, 2), float("nan")), r"must lie in \[0, 1\], found nan"),
        (torch.zeros(3, 2, 2), r"float tensor \(B, 3, H, W\), not torch.float32 \(3, 2, 2\)"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "not torch.uint8"),
    ],
)
def test_wrong_tensors_are_named(values: torch.Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        from_unit(values)


def test_wrong_batches_are_named() -> None:
    with pytest.raises(ImageError, match="must have the same size"):
        to_network([gradient(16, 16), gradient(32, 16)])
    with pytest.raises(ImageError, match="uint8"):
        to_network(np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(ImageError, match=r"\[-1, 1\]"):
        from_network(torch.full((1, 3, 2, 2), 1.5))
