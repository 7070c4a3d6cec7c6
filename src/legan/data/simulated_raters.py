"""Simulated raters: what stands in for people where nobody has rated a set yet. No result of theirs is a human judgement.

Naturalness comes from how an image was made and how far it is from its clean counterpart, through a psychometric (logistic) curve;
raters see it with a bias, a slope and noise of their own. The noise is set so that raters agree as little as people do: an ICC(1)
of 0.25 to 0.35.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass

from legan.core.errors import DataError
from legan.data.ratings import HIGHEST, LOWEST
from legan.metrics.agreement import intraclass_correlation

if TYPE_CHECKING:
    import pandas as pd


_SCALES = 3  # octaves of detail that the distance looks at
_GRADIENT_FLOOR = 0.01  # squared contrast, below which differences are not seen; images lie in 0..1
_TONE_WEIGHTS = (0.5, 1.5, 1.5)  # of brightness and the two colour differences
_DETAIL_WEIGHT = 1.6
_POWER = 3.0


@dataclass(frozen=True)
class SimulationConfig:
    """How simulated raters see images.

    Args:
        n_raters: size of the pool.
        raters_per_image: raters of each image, drawn from the pool.
        icc: agreement that the noise is set for.
        bias: standard deviation of the raters' biases, in points.
        slope: standard deviation of the logarithm of their slopes about the middle of the scale.
        step: grid of the slider in points; 0 for none.
        threshold: defect at which naturalness is 5.
        width: defect over which it falls by a factor e of its odds; smaller is steeper.
        base: defect of the worst setting of each kind, without regard to the image; `fault` scales it.
        weight: how much the distance counts for each kind; below 1 where a counterpart differs in harmless ways too.
        other_base: base of kinds that are not named.
        render_defect: defect that every rendered image has: no renderer is perfect.
    """

    n_raters: int = 60
    raters_per_image: int = 3
    icc: float = 0.30
    bias: float = 0.8
    slope: float = 0.15
    step: float = 1.0
    threshold: float = 0.22
    width: float = 0.09
    base: Mapping[str, float] = field(
        default_factory=lambda: {
            "photo": 0.0, "render": 0.0, "graded": 0.3, "relit": 0.25, "warp": 0.3, "swap": 0.3, "edit": 0.3, "sample": 0.4,
        }
    )  # fmt: skip
    weight: Mapping[str, float] = field(default_factory=lambda: {"edit": 0.6, "relit": 0.8, "swap": 0.8, "warp": 0.8})
    other_base: float = 0.3
    render_defect: float = 0.08


DEFAULT_SIMULATION = SimulationConfig()


def distance(image: np.ndarray, reference: np.ndarray) -> float:
    """Full-reference distance of two images: 0 for equal ones, about 1 for unrelated ones.

    Similarity of gradients at three scales (in the manner of Xue et al., "Gradient magnitude similarity deviation", 2014), pooled
    with a high power, since people judge a face by its worst part; plus the differences of brightness and colour, pooled alike.

    Args:
        image, reference: RGB uint8 (H, W, 3) of one size.

    Raises:
        DataError: sizes differ.
    """
    import cv2

    if image.shape != reference.shape:
        raise DataError(f"an image of {image.shape[1]}x{image.shape[0]} pixels cannot be compared with one of another size")
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 255 for x in (image, reference))
    losses = []
    for _ in range(_SCALES):
        first, second = (_gradient(x[..., 0]) for x in (a, b))
        similarity = (2 * first * second + _GRADIENT_FLOOR) / (first**2 + second**2 + _GRADIENT_FLOOR)
        losses.append(_pooled(1 - similarity))
        a, b = cv2.pyrDown(a), cv2.pyrDown(b)
    tone = _pooled(np.abs(a - b) @ np.array(_TONE_WEIGHTS, np.float32))
    return float(_DETAIL_WEIGHT * np.mean(losses) + tone)


def _gradient(luma: np.ndarray) -> np.ndarray:
    # Differences of neighbours: wider kernels are blind to a checkerboard of single pixels.
    dx, dy = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    return np.sqrt(dx * dx + dy * dy)


def _pooled(losses: np.ndarray) -> float:
    return float(np.mean(losses**_POWER) ** (1 / _POWER))


def naturalness(manifest: "pd.DataFrame", config: SimulationConfig = DEFAULT_SIMULATION) -> np.ndarray:
    """Return the naturalness (n,) in 0..10 that simulated raters perceive.

    Args:
        manifest: `kind`, `fault` (0..1), `naturalness_distance` (0 or more) and `domain` of each image.
        config: the curve.

    Raises:
        DataError: a missing column, or a distance that is not known.
    """
    missing = [name for name in ("kind", "fault", "naturalness_distance", "domain") if name not in manifest]
    if missing:
        raise DataError(f"the data set has no column '{missing[0]}': simulated raters rate sets that `legan synthesize` made")
    if manifest["naturalness_distance"].isna().any():
        raise DataError("some images have no naturalness_distance and no reference to compute it from")
    kind = manifest["kind"]
    base = kind.map(dict(config.base)).fillna(config.other_base).to_numpy()
    weight = kind.map(dict(config.weight)).fillna(1.0).to_numpy()
    defect = base * manifest["fault"].fillna(0).to_numpy() + weight * manifest["naturalness_distance"].to_numpy()
    defect = defect + config.render_defect * (manifest["domain"] == "render").to_numpy()
    return HIGHEST / (1 + np.exp((defect - config.threshold) / config.width))


def simulate_ratings(
    names: "pd.Series", perceived: np.ndarray, config: SimulationConfig = DEFAULT_SIMULATION, seed: int = 0
) -> "pd.DataFrame":
    """Return simulated ratings in long form; raters are called `simulated-000` and so on.

    Args:
        names: of the images.
        perceived: naturalness (n,) in 0..10.
        config: the raters; the noise is searched such that ICC(1) becomes `config.icc`.
        seed: of biases, slopes, noise, times and who rates what.

    Raises:
        DataError: fewer raters than an image needs, an agreement out of range, or one that these biases and slopes do not allow.
    """
    from scipy.optimize import brentq

    if not 2 <= config.raters_per_image <= config.n_raters:
        raise DataError(
            f"{config.n_raters} raters cannot give {config.raters_per_image} ratings an image: ask for 2 or more of them"
        )
    if not 0 < config.icc < 1:
        raise DataError(f"icc={config.icc:g} is out of range: give a number between 0 and 1, such as 0.3")
    draws = _draws(names, perceived, config, np.random.default_rng(seed))

    def excess(noise: float) -> float:
        return intraclass_correlation(_answers(draws, noise, config)) - config.icc

    if len(names) < 5 or excess(0.0) < 0:
        raise DataError(
            f"no noise gives an ICC of {config.icc:g}: with these images the raters' own differences leave less agreement; ask for less"
        )
    noise = float(brentq(excess, 0.0, 30.0, xtol=0.01))
    table = _answers(draws, noise, config)
    return table.sort_values(["rater", "order"], ignore_index=True)[["rater", "image", "rating", "seconds", "order"]]


def _draws(names: "pd.Series", perceived: np.ndarray, config: SimulationConfig, random: np.random.Generator) -> "pd.DataFrame":
    """Who rates what with which bias, slope and standard noise: all that does not depend on the noise's strength."""
    import pandas as pd

    n, k = len(names), config.raters_per_image
    rater = random.random((n, config.n_raters)).argpartition(k - 1, axis=1)[:, :k].ravel()
    bias = random.normal(0, config.bias, config.n_raters)
    slope = np.exp(random.normal(0, config.slope, config.n_raters))
    frame = pd.DataFrame(
        {
            "rater": [f"simulated-{r:03d}" for r in rater],
            "image": np.repeat(np.asarray(names), k),
            "seen": 5 + slope[rater] * (np.repeat(perceived, k) - 5) + bias[rater],
            "noise": random.normal(0, 1, n * k),
            "seconds": np.exp(random.normal(np.log(4), 0.4, n * k)).clip(1.2).round(2),
        }
    )
    frame = frame.sample(frac=1, random_state=random)
    return frame.assign(order=frame.groupby("rater").cumcount() + 1)


def _answers(draws: "pd.DataFrame", noise: float, config: SimulationConfig) -> "pd.DataFrame":
    rating = draws["seen"] + noise * draws["noise"]
    if config.step > 0:
        rating = (rating / config.step).round() * config.step
    return draws.assign(rating=rating.clip(LOWEST, HIGHEST))
