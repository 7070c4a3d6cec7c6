"""Agreement of scores with people: against numpy and a rank by hand; intervals hold the value."""

import numpy as np
import pytest

from legan.metrics.agreement import bootstrap, figures, pearson, spearman

RANDOM = np.random.default_rng(0)
MEANS = RANDOM.uniform(0, 10, 80)
SCORES = MEANS + RANDOM.normal(0, 2, 80)


def test_figures_against_numpy() -> None:
    found = figures(SCORES, MEANS)
    ranks = [np.argsort(np.argsort(x)) for x in (SCORES, MEANS)]
    assert found["pearson"] == pytest.approx(np.corrcoef(SCORES, MEANS)[0, 1])
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found["mae"] == pytest.approx(np.abs(SCORES - MEANS).mean())


def test_undefined_correlations_are_nan() -> None:
    assert np.isnan(pearson(np.ones(9), np.arange(9.0))) and np.isnan(spearman(np.arange(2.0), np.arange(2.0)))


def test_bootstrap_interval() -> None:
    found = bootstrap("pearson", SCORES, MEANS, n_resamples=200)
    assert found.low < found.value < found.high and found.high - found.low < 0.3
    assert found == bootstrap("pearson", SCORES, MEANS, n_resamples=200)
