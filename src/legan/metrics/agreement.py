"""Agreement: of scores with ratings, and of raters with each other."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


# How well scores agree with people's ratings: correlations and errors, with bootstrap intervals over images.


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


# How far raters agree, and the noise ceiling that their disagreement sets. Needs the extra `ratings`.
#
# ICC: Shrout and Fleiss, "Intraclass correlations" (1979), by pingouin. Alpha: Krippendorff (2011), by krippendorff.


N_DRAWS = 10  # of random subsets or halves
_MOST_VALUES, _MOST_CELLS = 41, 20_000_000


@dataclass(frozen=True)
class Agreement:
    """Agreement of raters on a set of images.

    Args:
        n_images, n_raters, n_ratings: what it was computed from.
        raters_per_image: harmonic mean, by which the reliability of means goes where numbers differ.
        icc: ICC(1), the reliability of one rating; raters are taken as drawn anew for each image.
        alpha: Krippendorff's, interval scale.
        split_half: mean correlation between the means of two random halves of each image's raters; NaN below four raters.
        reliability: of an image's mean rating, from the ICC and the number of raters (Spearman-Brown).
        ceiling: the Pearson correlation that a perfect model would reach against these means: square root of the reliability.
    """

    n_images: int
    n_raters: int
    n_ratings: int
    raters_per_image: float
    icc: float
    alpha: float
    split_half: float
    reliability: float
    ceiling: float

    def as_json(self) -> dict[str, Any]:
        """As plain values, None where a figure cannot be had."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def agreement(ratings: "pd.DataFrame", seed: int = 0) -> Agreement:
    """Measure the agreement in cleaned ratings.

    Args:
        ratings: `rater, image, rating`, two raters an image or more.
        seed: of the random subsets that unequal numbers of raters make necessary.

    Raises:
        DataError: fewer than five images (ICC needs them), images with one rater, or the extra is not installed.
    """
    counts = ratings.groupby("image")["rating"].count()
    if len(counts) < 5 or counts.min() < 2:
        raise DataError(
            f"{len(counts)} images with {0 if counts.empty else counts.min()} raters or more are too few to tell agreement: "
            "five images with two raters each are needed"
        )
    n = float(len(counts) / (1 / counts).sum())
    icc = intraclass_correlation(ratings, seed)
    reliability = n * icc / (1 + (n - 1) * icc) if icc > 0 else 0.0
    return Agreement(
        n_images=len(counts),
        n_raters=int(ratings["rater"].nunique()),
        n_ratings=len(ratings),
        raters_per_image=n,
        icc=icc,
        alpha=krippendorff_alpha(ratings),
        split_half=split_half(ratings, seed),
        reliability=reliability,
        ceiling=float(np.sqrt(reliability)),
    )


def intraclass_correlation(ratings: "pd.DataFrame", seed: int = 0) -> float:
    """ICC(1). pingouin needs equally many ratings an image: where they differ, mean over random subsets of the least number."""
    pingouin = _library("pingouin")
    counts = ratings.groupby("image")["rating"].count()
    least = int(counts.min())
    random = np.random.default_rng(seed)
    values = []
    for _ in range(1 if counts.max() == least else N_DRAWS):
        drawn = ratings.sample(frac=1, random_state=random).groupby("image").head(least)
        # Which rater fills which place says nothing in ICC(1).
        table = drawn.assign(place=drawn.groupby("image").cumcount())[["image", "place", "rating"]]
        found = pingouin.intraclass_corr(table, targets="image", raters="place", ratings="rating")
        values.append(float(found["ICC"].iloc[0]))  # ICC(1,1) is the first of six
    return float(np.mean(values))


def krippendorff_alpha(ratings: "pd.DataFrame", seed: int = 0) -> float:
    """Krippendorff's alpha for ratings on an interval scale; NaN where all ratings are the same.

    The library needs memory for images x values x values: finer scales are rounded to quarters of a point, and of very many
    images a random part is taken.
    """
    library = _library("krippendorff")
    values = ratings["rating"]
    if values.nunique() > _MOST_VALUES:
        values = (4 * values).round() / 4
    n_values = values.nunique()
    if n_values < 2:
        return float("nan")
    table = ratings.assign(rating=values).pivot(index="image", columns="rater", values="rating")
    n_images = min(len(table), _MOST_CELLS // n_values**2)
    table = table.sample(n_images, random_state=np.random.default_rng(seed))
    return float(library.alpha(table.to_numpy(np.float64).T, level_of_measurement="interval"))


def split_half(ratings: "pd.DataFrame", seed: int = 0) -> float:
    """Mean Pearson correlation between the image means of two random halves of the raters; NaN below four raters an image."""
    from scipy.stats import pearsonr

    if ratings.groupby("image")["rating"].count().min() < 4:
        return float("nan")
    random = np.random.default_rng(seed)
    values = []
    for _ in range(N_DRAWS):
        mixed = ratings.sample(frac=1, random_state=random)
        half = mixed.groupby("image").cumcount() % 2
        means = mixed.groupby(["image", half])["rating"].mean().unstack()
        values.append(float(pearsonr(means[0], means[1]).statistic))
    return float(np.mean(values))


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise DataError(f'agreement of raters needs {name}: run `pip install "legan[ratings]"`') from None
