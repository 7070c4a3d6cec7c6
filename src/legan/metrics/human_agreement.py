"""How well scores agree with people's ratings: correlations and errors, with bootstrap intervals over images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Statistic = Callable[[np.ndarray, np.ndarray], float]


def pearson(scores: np.ndarray, means: np.ndarray) -> float:
    """Pearson correlation of scores and rating means, (n,) each; NaN below three images or where one of them is constant."""
    from scipy.stats import pearsonr

    return float(pearsonr(scores, means).statistic) if _varies(scores, means) else float("nan")


def spearman(scores: np.ndarray, means: np.ndarray) -> float:
    """Rank correlation of scores and rating means, (n,) each; NaN as for `pearson`."""
    from scipy.stats import spearmanr

    return float(spearmanr(scores, means).statistic) if _varies(scores, means) else float("nan")


def mean_error(scores: np.ndarray, means: np.ndarray) -> float:
    """Mean absolute difference in points of the scale."""
    return float(np.abs(np.asarray(scores, np.float64) - means).mean())


STATISTICS: dict[str, Statistic] = {"pearson": pearson, "spearman": spearman, "mae": mean_error}


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def figures(scores: np.ndarray, means: np.ndarray) -> dict[str, float]:
    """Return Pearson and Spearman correlation and mean absolute error of scores against rating means, (n,) each."""
    return {name: statistic(scores, means) for name, statistic in STATISTICS.items()}


def bootstrap(statistic: str, scores: np.ndarray, means: np.ndarray, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """Return a statistic ("pearson", "spearman" or "mae") with its percentile interval over resampled images."""
    from scipy.stats import bootstrap as resample

    function = STATISTICS[statistic]
    found = resample(
        (np.asarray(scores, np.float64), np.asarray(means, np.float64)),
        function,
        paired=True,
        vectorized=False,
        n_resamples=n_resamples,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    bounds = found.confidence_interval
    return Interval(function(scores, means), float(bounds.low), float(bounds.high))


def _varies(scores: np.ndarray, means: np.ndarray) -> bool:
    return len(scores) >= 3 and np.ptp(scores) > 0 and np.ptp(means) > 0
