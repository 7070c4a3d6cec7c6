"""Metrics of edited faces for torchmetrics: naturalness (Q), match score, and how often the critic reads the class that was the target.

Each takes aligned faces (B, 3, H, W), floats in [0, 1], in batches of any size; B may be 0. States are sums, so that processes add up.
A module of its own, since torchmetrics takes long to import.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from legan.core.errors import ConditionError, ImageError
from legan.core.geometry import CROP_SIZE
from legan.core.images import from_unit, resized, to_unit
from legan.core.weights import PACKAGED
from legan.faces.embeddings import load_embedding
from legan.metrics.verification import match_scores
from legan.models.editors import load_networks
from legan.models.quality import TOP_SCORE
from legan.quality.scorer import QualityLoss


class _Mean(Metric):
    """The mean of a value of each image, over all batches and processes."""

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    total: Tensor
    n_images: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_images", torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        self.total = self.total + values.double().sum().to(self.total.device)
        self.n_images = self.n_images + len(values)

    def compute(self) -> Tensor:
        """Return the mean; NaN before the first image."""
        return (self.total / self.n_images).float()


class FaceQuality(_Mean):
    """Mean naturalness of faces by Q, 0 to 10, as a torchmetrics metric: `update(images)`, `compute()`.

    Args:
        weights: as for `load_quality`.
        value_range: as for `QualityLoss`.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> metric = legan.FaceQuality()
        >>> metric.update(torch.rand(4, 3, 128, 128))
        >>> 0 <= metric.compute().item() <= 10
        True
    """

    is_differentiable = True
    plot_lower_bound, plot_upper_bound = 0.0, TOP_SCORE

    def __init__(self, weights: str | Path | None = None, value_range: tuple[float, float] = (0.0, 1.0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quality = QualityLoss(weights, value_range)

    def update(self, images: Tensor) -> None:
        """Add images (B, 3, H, W) of aligned faces within the value range."""
        self._add(self.quality.scores(images).clamp(0, TOP_SCORE))


class MatchScore(_Mean):
    """Mean match score of faces with their references, the cosine of their embeddings, as a torchmetrics metric.

    Args:
        identity: the embedding, as for `legan.match`; scores of different embeddings are not comparable.
        device: where the embedding runs.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> faces = torch.rand(2, 3, 128, 128)
        >>> metric = legan.MatchScore()
        >>> metric.update(faces, faces)
        >>> round(metric.compute().item(), 3)
        1.0
    """

    plot_lower_bound, plot_upper_bound = -1.0, 1.0

    def __init__(self, identity: str | Path = PACKAGED, device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = load_embedding(identity, device)

    def update(self, images: Tensor, references: Tensor) -> None:
        """Add aligned faces and the faces that they should match, row by row, each (B, 3, H, W) in [0, 1].

        Raises:
            ImageError: as many images as references are not given, another shape, or values out of range.
        """
        _check_lengths(images, references, "references")
        crops = [to_unit(resized(from_unit(faces.detach()), CROP_SIZE).clamp(-1, 1)) for faces in (images, references)]
        if len(images):
            self._add(torch.from_numpy(match_scores(*(self.embedding.embed(faces) for faces in crops))))


class _Accuracy(_Mean):
    """The share of faces that the editor's critic gives the class that was the target."""

    attribute: Literal["expression", "lighting"]
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    def __init__(self, weights: str | Path | None = None, device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.networks = load_networks(weights, device)
        if not self.networks.has_critic:
            raise ConditionError(f"{weights} holds no critic to read the {self.attribute} by: export with one")
        classes = self.networks.classes
        self.n_classes = len(classes.expressions if self.attribute == "expression" else classes.lightings)

    def update(self, images: Tensor, targets: Tensor) -> None:
        """Add aligned faces (B, 3, H, W) in [0, 1] and the numbers of their target classes (B,), integers.

        Raises:
            ImageError: as many images as targets are not given, another shape, or values out of range.
            ConditionError: a number that is no class.
        """
        _check_lengths(images, targets, "targets")
        targets = targets.detach().cpu()
        if targets.dim() != 1 or targets.is_floating_point() or ((targets < 0) | (targets >= self.n_classes)).any():
            raise ConditionError(f"targets of {self.attribute} are integers (B,) from 0 to {self.n_classes - 1}")
        crops = resized(from_unit(images.detach()), self.networks.size).clamp(-1, 1)
        codes: Tensor = getattr(self.networks.own_codes(crops), self.attribute)
        self._add(codes.argmax(1) == targets)


class LightingAccuracy(_Accuracy):
    """Share of faces whose lighting, by an editor's critic, is the target: `update(images, targets)`, `compute()`.

    An editor trained against the same critic is favoured by it; `legan evaluate` trains a classifier of its own.

    Args:
        weights: of an editor with a critic; None is the packaged one.
        device: where the critic runs.
        kwargs: of `torchmetrics.Metric`.

    Raises:
        ConditionError: the weights hold no critic.

    Example:
        >>> metric = legan.LightingAccuracy()
        >>> metric.update(torch.rand(2, 3, 128, 128), torch.tensor([3, 11]))  # numbers within legan.LIGHTINGS
        >>> 0 <= metric.compute().item() <= 1
        True
    """

    attribute = "lighting"


class ExpressionAccuracy(_Accuracy):
    """Share of faces whose expression, by an editor's critic, is the target: `update(images, targets)`, `compute()`.

    Arguments, errors and the caution as for `LightingAccuracy`.

    Example:
        >>> metric = legan.ExpressionAccuracy()
        >>> smile = legan.EXPRESSIONS.index("smile")
        >>> metric.update(torch.rand(2, 3, 128, 128), torch.tensor([smile, smile]))
        >>> 0 <= metric.compute().item() <= 1
        True
    """

    attribute = "expression"


def _check_lengths(images: Tensor, others: Tensor, name: str) -> None:
    if len(images) != len(others):
        raise ImageError(f"{len(images)} images cannot be compared with {len(others)} {name}: give as many of both")
