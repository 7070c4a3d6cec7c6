"""The 68 iBUG landmarks of a face, by a small network trained on rendered faces alone.

The network draws one heat map a point and takes its centre of mass, which is differentiable and finer than the map's cells
(soft-argmax; Nibali et al., "Numerical coordinate regression with convolutional neural networks", 2018). It runs twice: on the
detector's box, then on the face turned upright and scaled by what the first pass found.

Points: 0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth; left and right as seen in the image.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from legan.core.errors import WeightsError
from legan.core.geometry import EYE_DISTANCE, EYES_Y, Matrix, fit_similarity, inverse, transform, warp
from legan.core.images import to_network
from legan.core.weights import load_weights, weights_file

N_POINTS = 68
INPUT_SIZE = 128
_STRIDE = 4  # of the heat maps

# Point i of a mirrored image is point MIRRORED[i] of the image.
MIRRORED = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ]
)
# Anchors: eye on the left, eye on the right, bridge and base of the nose. An opening mouth does not move them.
_ANCHORS = (slice(36, 42), slice(42, 48), slice(27, 31), slice(31, 36))
# Their places in the network's input: eyes 42 pixels apart, room below for an open mouth. Proportions of the mean head.
_ANCHOR_PLACES = np.array([[43.0, 40.0], [85.0, 40.0], [64.0, 52.2], [64.0, 72.1]])
# Where these stand in the detector's box, as fractions of its side: mean over renders.
_BOX_EYES = (0.5, 0.297)
_BOX_EYE_DISTANCE = 0.406


def _conv_norm(n_in: int, n_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)]


class _Residual(nn.Module):
    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv_norm(n_channels, n_channels), nn.ReLU(), *_conv_norm(n_channels, n_channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.body(x))


class LandmarkNet(nn.Module):
    """ImageInput of a face (B, 3, 128, 128) in [-1, 1] -> landmarks (B, 68, 2) in input pixels, and log heat maps (B, 68, 32, 32).

    An encoder to 1/16 of the side and a decoder back to 1/4, joined by sums; 0.96 million parameters.
    """

    def __init__(self) -> None:
        super().__init__()

        def down(n_in: int, n_out: int, n_residuals: int) -> nn.Sequential:
            return nn.Sequential(*_conv_norm(n_in, n_out, 2), nn.ReLU(), *(_Residual(n_out) for _ in range(n_residuals)))

        self.stem = down(3, 24, 0)
        self.to_quarter = down(24, 32, 1)
        self.to_eighth = down(32, 64, 2)
        self.to_sixteenth = down(64, 128, 2)
        self.up_eighth = nn.Conv2d(128, 64, 1)
        self.mix_eighth = _Residual(64)
        self.up_quarter = nn.Conv2d(64, 32, 1)
        self.mix_quarter = _Residual(32)
        self.maps = nn.Conv2d(32, N_POINTS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quarter = self.to_quarter(self.stem(x))  # (B, 32, 32, 32)
        eighth = self.to_eighth(quarter)  # (B, 64, 16, 16)
        sixteenth = self.to_sixteenth(eighth)  # (B, 128, 8, 8)
        eighth = self.mix_eighth(eighth + functional.interpolate(self.up_eighth(sixteenth), scale_factor=2.0))
        quarter = self.mix_quarter(quarter + functional.interpolate(self.up_quarter(eighth), scale_factor=2.0))
        maps = self.maps(quarter)  # (B, 68, 32, 32)
        log_maps = maps.flatten(2).log_softmax(dim=2).view_as(maps)
        return centres_of_mass(log_maps.exp()), log_maps


def centres_of_mass(maps: Tensor) -> Tensor:
    """Centres of heat maps (B, n, h, w) that each sum to 1, as (x, y) in input pixels: (B, n, 2)."""
    height, width = maps.shape[2:]
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) + 0.5) * _STRIDE
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) + 0.5) * _STRIDE
    return torch.stack([(maps.sum(2) * x).sum(2), (maps.sum(3) * y).sum(2)], dim=2)


def spreads(maps: Tensor) -> Tensor:
    """How far heat maps (B, n, h, w) that each sum to 1 spread round their centres: root mean square distance in input pixels (B, n)."""
    height, width = maps.shape[2:]
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) + 0.5) * _STRIDE
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) + 0.5) * _STRIDE
    centres = centres_of_mass(maps)
    across = (x - centres[..., :1]).square()  # (B, n, w)
    down = (y - centres[..., 1:]).square()  # (B, n, h)
    return ((maps.sum(2) * across).sum(2) + (maps.sum(3) * down).sum(2)).sqrt()


def load_landmark_net(path: Path | None = None) -> LandmarkNet:
    """Return the network ready to run, from `path` or from the package.

    Raises:
        WeightsError: the weights are missing, damaged, or not a landmark network's.
    """
    path = weights_file(path, "landmarks")
    tensors, _ = load_weights(path)
    net = LandmarkNet()
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{path} holds no landmark network: name weights written by `python -m tools.landmarks`") from error
    return net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@lru_cache(maxsize=1)
def packaged_net() -> LandmarkNet:
    """The packaged network, loaded once."""
    return load_landmark_net()


def frame_of_points(points: np.ndarray) -> Matrix:
    """Return the map from photo pixels to the network's input that puts these landmarks (68, 2) upright in their places."""
    anchors = np.stack([points[part].mean(axis=0) for part in _ANCHORS])
    return fit_similarity(anchors, _ANCHOR_PLACES)


def frame_of_box(box: tuple[float, float, float, float]) -> Matrix:
    """Return the map from photo pixels to the network's input for a detector's box (left, top, right, bottom)."""
    left, top, right, bottom = box
    side = (right - left + bottom - top) / 2
    eyes = np.array([left, top]) + np.array(_BOX_EYES) * side
    places = _ANCHOR_PLACES[:2]
    scale = (places[1, 0] - places[0, 0]) / (_BOX_EYE_DISTANCE * side)
    shift = places.mean(axis=0) - scale * eyes
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])


def locate_in_crop(crop: np.ndarray) -> np.ndarray:
    """Landmarks of an aligned face crop RGB uint8 (S, S, 3), as `locate` gives them: the box is where a detector would see the face."""
    side = EYE_DISTANCE / _BOX_EYE_DISTANCE
    left, top = _BOX_EYES[0] - side / 2, EYES_Y - _BOX_EYES[1] * side
    size = crop.shape[0]
    return locate(crop, (size * left, size * top, size * (left + side), size * (top + side)))


def locate(
    image: np.ndarray, box: tuple[float, float, float, float], net: LandmarkNet | None = None, n_passes: int = 2
) -> np.ndarray:
    """Find the landmarks of one face.

    Args:
        image: RGB uint8 (H, W, 3).
        box: the detector's box in pixels: left, top, right, bottom.
        net: by default the packaged one.
        n_passes: how often the network runs, each time on the frame of the last pass's points.

    Returns:
        (68, 2) float32, photo pixels, pixel centres at +0.5.
    """
    return locate_with_spreads(image, box, net, n_passes)[0]


def locate_with_spreads(
    image: np.ndarray, box: tuple[float, float, float, float], net: LandmarkNet | None = None, n_passes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Find the landmarks of one face as `locate` does, and how unsure each of them is: `spreads` (68,) of the last pass."""
    net = packaged_net() if net is None else net
    frame = frame_of_box(box)
    for _ in range(n_passes):
        crop = to_network(warp(image, frame, INPUT_SIZE)[None])
        with torch.inference_mode():
            found, log_maps = net(crop.to(memory_format=torch.channels_last))
        points = transform(inverse(frame), found[0].double().numpy())
        frame = frame_of_points(points)
    return points, spreads(log_maps.exp())[0].numpy()
