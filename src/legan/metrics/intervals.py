"""95% intervals by resampling people, since images of one person are alike.

Means: the bootstrap over clusters (Davison and Hinkley, "Bootstrap methods and their application", 1997, chapter 3). Distances of
distributions: half samples. A bootstrap sample holds people twice, which by itself moves a distance of distributions; a random half of
the people without replacement holds nobody twice, and its spread estimates that of the whole (the delete-half jackknife: Shao and
Tu, "The jackknife and bootstrap", 1995, section 2.3). The spread is laid round the value, as half a sample has its own bias.
"""

import numpy as np

from legan.metrics.agreement import Interval
from legan.metrics.distributions import N_NEIGHBOURS, Distance

_BOUNDS = (2.5, 97.5)
MIN_PEOPLE = 4  # fewer tell nothing of how much people differ


def mean_interval(values: np.ndarray, people: np.ndarray, n_resamples: int = 1000, seed: int = 0) -> Interval | None:
    """Return the mean of `values` (n,) and its interval; None where all are NaN, bounds NaN below `MIN_PEOPLE`.

    Args:
        values: one an image; NaN ones are left out.
        people: (n,) whom each image shows.
        n_resamples: draws of people with replacement; 0 for no interval.
        seed: the same seed gives the same interval.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    if not known.any():
        return None
    _, person = np.unique(np.asarray(people)[known], return_inverse=True)
    totals, counts = np.bincount(person, values[known]), np.bincount(person)
    mean = float(totals.sum() / counts.sum())
    if len(counts) < MIN_PEOPLE or not n_resamples:
        return Interval(mean, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    times = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), n_resamples)  # how often each is drawn
    low, high = np.percentile((times @ totals) / (times @ counts), _BOUNDS)
    return Interval(mean, float(low), float(high))


def distance_interval(
    distance: Distance,
    real: np.ndarray,
    fake: np.ndarray,
    real_people: np.ndarray,
    fake_people: np.ndarray,
    n_resamples: int = 100,
    seed: int = 0,
) -> Interval:
    """Return a distance of distributions and its interval; bounds NaN below twice `MIN_PEOPLE` people, or where half are few images.

    Args:
        distance: one of `metrics.distributions`.
        real, fake: features (n, d) and (m, d).
        real_people, fake_people: (n,) and (m,) whom each image shows; a person drawn is drawn in both.
        n_resamples: half samples; 0 for no interval.
        seed: the same seed gives the same interval.

    Raises:
        DataError: of `distance`.
    """
    value = distance(real, fake)
    everyone = np.unique(np.concatenate([real_people, fake_people]))
    if len(everyone) < 2 * MIN_PEOPLE or not n_resamples:
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    # Half of those in both sets, half of those in one alone: so each set is halved.
    where = np.isin(everyone, real_people) + 2 * np.isin(everyone, fake_people)
    groups = [everyone[where == place] for place in np.unique(where)]
    found = []
    for _ in range(n_resamples):
        half = np.concatenate([random.permutation(group)[: (len(group) + 1) // 2] for group in groups])
        parts = real[np.isin(real_people, half)], fake[np.isin(fake_people, half)]
        if min(map(len, parts)) <= N_NEIGHBOURS:
            return Interval(value, float("nan"), float("nan"))
        found.append(distance(*parts))
    low, high = np.percentile(np.array(found) - np.mean(found), _BOUNDS)
    return Interval(value, value + float(low), value + float(high))
