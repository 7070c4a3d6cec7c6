"""The intervals of experiments/comparison: over seeds and people at once."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "experiments" / "comparison"


@pytest.fixture(scope="module")
def decide() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decide", FOLDER / "decide.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decide"] = module
    spec.loader.exec_module(module)
    return module


def test_an_interval_is_as_wide_as_seeds_and_people_vary_together(decide: ModuleType) -> None:
    """The variance of a crossed mean is that of the seeds over their number plus that of the people over theirs (Owen, 2007)."""
    random = np.random.default_rng(0)
    n_seeds, n_people, n_each = 12, 40, 3
    people = np.repeat(np.arange(n_people), n_each)
    values = random.normal(0, 1.0, n_seeds)[:, None] + random.normal(0, 2.0, n_people)[None, people]
    found = decide.crossed_interval(values, people)
    assert found.value == pytest.approx(values.mean())
    spread = np.sqrt(values.mean(1).var() / n_seeds + values.mean(0).reshape(n_people, n_each).mean(1).var() / n_people)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(spread, rel=0.1)


def test_one_seed_gives_the_interval_over_people_and_missing_values_are_left_out(decide: ModuleType) -> None:
    random = np.random.default_rng(1)
    people, values = np.repeat(np.arange(50), 2), random.normal(3, 1, (1, 100))
    with_gap = np.concatenate([values, [[np.nan] * 2]], 1)
    alone = decide.crossed_interval(values, people)
    gap = decide.crossed_interval(with_gap, np.append(people, [0, 1]))
    assert gap.value == pytest.approx(alone.value) and gap.low == pytest.approx(alone.low)
    assert (alone.high - alone.low) / 2 == pytest.approx(1.96 / np.sqrt(100), rel=0.3)
