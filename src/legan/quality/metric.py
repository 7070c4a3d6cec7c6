"""Q as a torchmetrics metric: the mean naturalness of generated faces. A module of its own, since torchmetrics takes long to import."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from legan.models.quality import TOP_SCORE
from legan.quality.scorer import QualityLoss


class QualityScore(Metric):
    """Mean score of generated faces as a torchmetrics metric: `update(images)`, `compute()`.

    Args:
        weights: as for `load_quality`.
        value_range: as for `QualityLoss`.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> metric = legan.QualityScore()
        >>> metric.update(torch.rand(4, 3, 128, 128))
        >>> 0 <= metric.compute().item() <= 10
        True
    """

    higher_is_better = True
    is_differentiable = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = 0.0, TOP_SCORE
    total: Tensor
    n_images: Tensor

    def __init__(self, weights: str | Path | None = None, value_range: tuple[float, float] = (0.0, 1.0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quality = QualityLoss(weights, value_range)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Add images (B, 3, H, W) of aligned faces within the value range."""
        self.total = self.total + self.quality.scores(images).clamp(0, TOP_SCORE).double().sum()
        self.n_images = self.n_images + len(images)

    def compute(self) -> Tensor:
        """Return the mean score; NaN before the first update."""
        return (self.total / self.n_images).float()
