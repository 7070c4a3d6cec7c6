"""Intervals: people are what is drawn, and the spread is that of repeated experiments."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from legan.metrics.distributions import frechet_distance
from legan.metrics.intervals import distance_interval, mean_interval


def test_without_clusters_it_is_the_ordinary_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2.0, 1.0, 120)
    oracle = bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = mean_interval(values, np.arange(120), n_resamples=4000)
    assert found is not None and found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(oracle.low, abs=0.03) and found.high == pytest.approx(oracle.high, abs=0.03)
    assert found == mean_interval(values, np.arange(120), n_resamples=4000), "twice the same"


def test_images_of_one_person_count_as_one() -> None:
    per_person = np.random.default_rng(0).normal(size=30)
    many, people = np.repeat(per_person, 50), np.repeat(np.arange(30), 50)
    a, b = mean_interval(many, people), mean_interval(per_person, np.arange(30))
    assert a is not None and b is not None
    assert a.high - a.low == pytest.approx(b.high - b.low, rel=1e-9)


def test_what_is_unknown_stays_unknown() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan])
    found = mean_interval(values, np.array(["a", "b", "c", "d"]))
    assert found is not None and found.value == 2 and np.isnan(found.low), "two people tell no spread"
    assert mean_interval(values * np.nan, np.arange(4)) is None
    no_draws = mean_interval(np.arange(9.0), np.arange(9), n_resamples=0)
    assert no_draws is not None and np.isnan(no_draws.high)


def test_half_samples_have_the_spread_of_the_mean() -> None:
    """For a mean the right answer is known: its standard error."""
    fake = np.random.default_rng(0).normal(size=(200, 1))
    found = distance_interval(
        lambda real, fake: float(fake.mean()), fake[:8], fake, np.arange(8), np.arange(200), n_resamples=2000
    )
    assert found.value == fake.mean()
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(fake.std() / np.sqrt(200), rel=0.08)


def test_interval_of_fid_lies_round_it_and_is_as_wide_as_repeats_are_spread() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        people = random.normal(size=(60, 3))
        real = np.repeat(people, 4, axis=0) + 0.3 * random.normal(size=(240, 3))
        return real, np.repeat(people, 4, axis=0) + 0.3 * random.normal(size=(240, 3)) + 0.5

    person = np.repeat(np.arange(60), 4)
    repeats = np.array([frechet_distance(*draw(seed)) for seed in range(100)])
    found = [distance_interval(frechet_distance, *draw(seed), person, person, n_resamples=60, seed=seed) for seed in range(20)]
    assert all(one.low < one.value < one.high for one in found)
    width = np.mean([one.high - one.low for one in found])
    assert width == pytest.approx(2 * 1.96 * repeats.std(), rel=0.35)


def test_sets_of_different_people_are_both_halved() -> None:
    sizes: list[tuple[int, int]] = []

    def noted(real: np.ndarray, fake: np.ndarray) -> float:
        sizes.append((len(real), len(fake)))
        return 0.0

    real, fake = np.zeros((20, 1)), np.zeros((300, 1))
    distance_interval(noted, real, fake, np.arange(20), 15 + np.arange(300), n_resamples=30)
    assert sizes[0] == (20, 300) and all(10 <= n <= 11 and 150 <= m <= 151 for n, m in sizes[1:])


def test_few_people_or_no_draws_give_no_bounds() -> None:
    features = np.random.default_rng(0).normal(size=(40, 3))
    few = np.repeat(np.arange(4), 10)
    assert np.isnan(distance_interval(frechet_distance, features, features + 1, few, few).low)
    of_two = np.r_[np.zeros(38), np.arange(1, 3)]  # most images show one person: half of the people may be one image
    assert np.isnan(distance_interval(frechet_distance, features, features + 1, of_two, np.arange(40)).low)
    many = np.arange(40)
    assert np.isnan(distance_interval(frechet_distance, features, features + 1, many, many, n_resamples=0).low)
