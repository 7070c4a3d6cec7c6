"""Q as a metric of pyiqa, by its plug-in entry points (`pyiqa.archs`; experimental, from pyiqa 0.1.16 on).

pyiqa finds the network by itself once legan is installed; `create_metric` looks names up in a second table, which has no entry point, so
that `register` has to be called for it.

pyiqa is not a dependency: it brings transformers and more, and its licence allows noncommercial use only.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from legan.models.quality import TOP_SCORE
from legan.quality.scorer import QualityLoss

METRIC, ARCH = "legan-q", "LeganQ"


class LeganQ(nn.Module):
    """Q's scores (B, 1) within 0 (unnatural) and 10 of aligned faces (B, 3, H, W) in [0, 1], with gradients.

    Args:
        weights: as for `legan.load_quality`.
        kwargs: what pyiqa gives to every network; not used.
    """

    def __init__(self, weights: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.quality = QualityLoss(weights)

    def forward(self, images: Tensor, **kwargs: Any) -> Tensor:
        """As the class says.

        Raises:
            ImageError: another shape, or values out of range.
        """
        return self.quality.scores(images).clamp(0, TOP_SCORE)[:, None]


def register() -> None:
    """Make `pyiqa.create_metric("legan-q")` known; pyiqa itself calls this when it looks for networks."""
    from pyiqa.default_model_configs import DEFAULT_CONFIGS
    from pyiqa.utils.registry import ARCH_REGISTRY

    ARCH_REGISTRY.register(LeganQ, name=ARCH, override=True)
    DEFAULT_CONFIGS[METRIC] = {"metric_opts": {"type": ARCH}, "metric_mode": "NR", "score_range": "0, 10"}
