"""Agreement: against values published for a known table, against simulation, and the ceiling against a perfect model."""

import numpy as np
import pandas as pd
import pytest

from legan.core.errors import DataError
from legan.metrics.agreement import agreement, intraclass_correlation, split_half


def simulated(n_images: int, n_raters: int, icc: float, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Ratings whose true ICC(1) is `icc`, and the true values."""
    random = np.random.default_rng(seed)
    true = random.normal(0, np.sqrt(icc), n_images)
    table = true[:, None] + random.normal(0, np.sqrt(1 - icc), (n_images, n_raters))
    image, rater = np.divmod(np.arange(table.size), n_raters)
    return pd.DataFrame({"image": image.astype(str), "rater": rater.astype(str), "rating": table.ravel()}), true


def test_shrout_and_fleiss() -> None:
    """The table of Shrout and Fleiss (1979), whose ICC(1,1) they give as 0.17."""
    scores = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    image, rater = np.divmod(np.arange(24), 4)
    frame = pd.DataFrame({"image": image.astype(str), "rater": rater.astype(str), "rating": scores.ravel().astype(float)})
    found = agreement(frame)
    assert found.icc == pytest.approx(0.17, abs=0.005)
    assert found.reliability == pytest.approx(0.44, abs=0.005)  # their ICC(1,4)
    assert found.ceiling == pytest.approx(np.sqrt(found.reliability))


def test_the_ceiling_is_what_a_perfect_model_reaches() -> None:
    ratings, true = simulated(2000, 3, 0.25)
    found = agreement(ratings)
    means = ratings.groupby("image")["rating"].mean()
    reached = np.corrcoef(means[[str(i) for i in range(2000)]], true)[0, 1]
    assert found.icc == pytest.approx(0.25, abs=0.04) and found.alpha == pytest.approx(0.25, abs=0.04)
    assert found.ceiling == pytest.approx(reached, abs=0.03)
    assert np.isnan(found.split_half) and found.as_json()["split_half"] is None


def test_unequal_numbers_of_raters() -> None:
    ratings, _ = simulated(300, 12, 0.3)
    thinned = ratings.drop(ratings.sample(frac=0.25, random_state=0).index)
    assert intraclass_correlation(thinned) == pytest.approx(0.3, abs=0.06)
    assert agreement(thinned).raters_per_image < 9
    assert agreement(thinned) == agreement(thinned)


def test_split_half_is_the_reliability_of_half_the_raters() -> None:
    ratings, _ = simulated(1500, 6, 0.3)
    assert split_half(ratings) == pytest.approx(3 * 0.3 / (1 + 2 * 0.3), abs=0.04)


def test_no_agreement_has_no_ceiling() -> None:
    ratings, _ = simulated(400, 3, 0.0)
    assert agreement(ratings).ceiling < 0.45
    few, _ = simulated(3, 3, 0.5)
    with pytest.raises(DataError, match="five images with two raters"):
        agreement(few)
