"""Q at work: scores of pictures and tensors, and a loss for anyone's GAN.

legan.score("photo.jpg")  # 0 (unnatural) .. 10 (hyper-realistic)
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from legan.apply.crops import Faces, Picture, grouped, prepared_crop
from legan.apply.networks import check_device
from legan.core.errors import ImageError
from legan.core.files import sha256_of
from legan.core.images import from_unit, image_list, to_network
from legan.core.weights import weights_file
from legan.losses import unnaturalness
from legan.models.quality import TOP_SCORE, Quality, QualityOutput, load_quality_net
from legan.train.task import mixed_dtype

Precision = Literal["auto", "bf16", "fp32"]
BATCH_SIZE = 64  # of pictures in a list


class QualityScorer:
    """Scores aligned face crops: `scorer("photo.jpg")`, `scorer(tensor)`. Made by `load_quality`.

    Args:
        net: the network, in evaluation mode.
        metadata: what its weights file says about itself.
        checksum: SHA-256 of that file.
        device: where it runs.
        precision: "bf16", "fp32", or "auto": bfloat16 convolutions where the hardware has them (scores change by less than 0.05).
    """

    def __init__(
        self, net: Quality, metadata: Mapping[str, Any], checksum: str, device: str = "cpu", precision: Precision = "auto"
    ) -> None:
        self.device = torch.device(device)
        self.metadata, self.checksum = dict(metadata), checksum
        self.size = net.config.size
        self.dtype = mixed_dtype(precision, self.device) or torch.float32
        self.net = net.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.features.to(self.dtype)

    def __call__(self, image: Tensor | Picture | Sequence[Picture], faces: Faces = "auto") -> Any:
        """Score a picture (a float), several (a list of floats, in batches), or a batch of aligned crops (a tensor).

        Args:
            image: a path, a PIL image or an array (H, W, 3), uint8 or floats in [0, 1], whose largest face is taken; a list of
                these, or an array (B, H, W, 3); or a float tensor (B, 3, H, W) in [0, 1] of aligned crops, scaled to the network's
                size, which gives back scores (B,).
            faces: as for `prepare`; pictures only.

        Raises:
            ImageError: a tensor or array of another shape or range, or a picture that cannot be read.
            FaceError: no face in a picture; of several, the message says in which.
        """
        if isinstance(image, Tensor):
            return self.predict(resized(from_unit(image), self.size)).score
        several = image_list(image)
        pictures: list[Any] = [image] if several is None else several
        if several is None:
            return float(self.predict_crops(np.stack([prepared_crop(pictures[0], self.size, faces)])).score[0])
        crops = (prepared_crop(one, self.size, faces, f"image {i}") for i, one in enumerate(pictures))
        return [value for group in grouped(crops, BATCH_SIZE) for value in self.predict_crops(np.stack(group)).score.tolist()]

    @torch.inference_mode()
    def predict_crops(self, crops: np.ndarray) -> QualityOutput:
        """Score crops, uint8 (B, size, size, 3); scores and spreads (B,) float32 on the CPU, scores within 0..10."""
        # Bytes go to the device and to the layout of the network without a float32 copy in between.
        x = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).to(self.dtype)
        return self._bounded(self.net.predict(x.div_(127.5).sub_(1)))

    @torch.inference_mode()
    def predict(self, x: Tensor) -> QualityOutput:
        """Score crops (B, 3, size, size) in [-1, 1], as `predict_crops`."""
        x = x.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        parts = [self._bounded(self.net.predict(part)) for part in x.split(256)]
        spreads = [part.spread for part in parts if part.spread is not None]
        return QualityOutput(torch.cat([part.score for part in parts]), torch.cat(spreads) if spreads else None)

    def _bounded(self, output: QualityOutput) -> QualityOutput:
        spread = output.spread
        return QualityOutput(output.score.clamp(0, TOP_SCORE).cpu(), None if spread is None else spread.cpu())


def load_quality(weights: str | Path | None = None, device: str = "cpu", precision: Precision = "auto") -> QualityScorer:
    """Return a scorer with the packaged weights, or with those of a file that `legan train quality` led to.

    Raises:
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    check_device(device)
    path = weights_file(weights, "quality")
    net, metadata = load_quality_net(path)
    return QualityScorer(net, metadata, sha256_of(path), device, precision)


def score(image: Any, faces: Faces = "auto", weights: str | Path | None = None) -> Any:
    """Score with a network that is loaded once and kept; arguments as in `QualityScorer.__call__` and `load_quality`."""
    return _kept_scorer(weights)(image, faces)


def score_crops(crops: Sequence[Image.Image]) -> Tensor:
    """Score aligned crops of one size with the packaged network, scaled to its size: (B,) float32 on the CPU."""
    scorer = _kept_scorer(None)
    return scorer.predict(resized(to_network(crops), scorer.size)).score


@lru_cache(maxsize=1)
def _kept_scorer(weights: str | Path | None) -> QualityScorer:
    return load_quality(weights)


class QualityLoss(nn.Module):
    """How unnatural generated faces look, for a generator to minimise: `loss = loss + weight * quality(fake)`.

    Frozen and differentiable. A mean over the batch, within 0 (natural) and 1, of `losses.unnaturalness`: it has a slope at every
    score and rewards nothing beyond the scale. Tensors of another size than the network's are scaled to it, with gradients.

    Args:
        weights: as for `load_quality`.
        value_range: of the images: (0, 1) by default, (-1, 1) for generators that end in tanh. Values outside are an error.
    """

    def __init__(self, weights: str | Path | None = None, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.net, self.metadata = load_quality_net(weights)
        self.low, self.high = value_range

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) of aligned faces within `value_range` -> a scalar in [0, 1].

        Raises:
            ImageError: another shape, values out of range, or no images, of which there is no mean.
        """
        if not len(images):
            raise ImageError("a batch of no images has no quality loss: leave such a batch out")
        return unnaturalness(self.scores(images)).mean()

    def scores(self, images: Tensor) -> Tensor:
        """Return Q's scores (B,) of images as in `forward`, not clipped, with gradients."""
        x = from_unit((images - self.low) / (self.high - self.low))
        return self.net(resized(x, self.net.config.size))

    def train(self, mode: bool = True) -> "QualityLoss":
        """Stay in evaluation mode, whatever the network round it does."""
        return super().train(False)


def resized(x: Tensor, size: int) -> Tensor:
    """Scale images (B, 3, H, W) to (B, 3, size, size), smoothly and with gradients."""
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
