"""Match scores and verification, with scikit-learn as oracle."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.metrics.pairwise import cosine_similarity

from legan.core.errors import DataError
from legan.metrics.verification import (
    Pairs,
    all_pairs,
    auc,
    best_threshold,
    draw_pairs,
    equal_error_rate,
    fold_accuracies,
    match_scores,
    roc,
    score_pairs,
    tar_at_far,
)


def sample(n: int = 400, digits: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, a third of them of one person."""
    random = np.random.default_rng(seed)
    same = random.random(n) < 0.35
    return np.round(random.normal(0.2 + 0.25 * same, 0.2), digits), same


def test_match_score_is_the_cosine_whatever_the_length_and_the_batch() -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(23, 16)).astype(np.float32) * random.uniform(0.1, 10, (23, 1))
    pairs = all_pairs(random.integers(0, 4, 23))
    whole = score_pairs(embeddings, pairs)
    assert whole == pytest.approx(cosine_similarity(embeddings)[pairs.first, pairs.second], abs=1e-6)
    for batch_size in (1, 7, 64):
        assert np.array_equal(score_pairs(embeddings, pairs, batch_size), whole)
    with pytest.raises(DataError, match="zero"):
        match_scores(np.zeros((1, 3)), np.ones((1, 3)))


def test_all_pairs_counts_each_once() -> None:
    pairs = all_pairs(np.array(["a", "b", "a", "c"]))
    assert len(pairs.first) == 6
    assert [(i, j) for i, j, same in zip(*pairs, strict=True) if same] == [(0, 2)]
    assert (pairs.first < pairs.second).all()
    assert len(score_pairs(np.ones((1, 2)), Pairs(*(np.zeros(0, int),) * 3))) == 0


@pytest.mark.parametrize("seed", range(4))
def test_roc_and_auc_equal_scikit_learn(seed: int) -> None:
    scores, same = sample(seed=seed)
    far, tar, threshold = roc_curve(same, scores, drop_intermediate=False)
    curve = roc(scores, same)
    assert curve.far == pytest.approx(far) and curve.tar == pytest.approx(tar)
    assert np.array_equal(curve.threshold, threshold)
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    for rate in (0.0, 0.01, 0.1, 1.0):
        assert tar_at_far(scores, same, rate) == pytest.approx(tar[far <= rate].max())


def test_equal_error_rate_lies_where_the_errors_meet() -> None:
    scores, same = sample(2000, digits=6)
    rate = equal_error_rate(scores, same)
    threshold = np.quantile(scores[same], rate)
    assert (scores[~same] >= threshold).mean() == pytest.approx(rate, abs=0.005)
    assert equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])) == 0
    assert equal_error_rate(np.array([0.9, 0.8, 0.2, 0.1]), np.array([False, False, True, True])) == 1
    assert equal_error_rate(np.ones(4), np.array([False, True, False, True])) == pytest.approx(0.5)


def test_best_threshold_and_folds_equal_a_search() -> None:
    scores, same = sample(60)
    right = [((scores >= t) == same).sum() for t in np.unique(scores)]
    assert ((scores >= best_threshold(scores, same)) == same).sum() == max(right)

    def searched(fold: np.ndarray) -> float:
        others = np.setdiff1d(np.arange(60), fold)
        choices = np.append(np.unique(scores[others])[::-1], np.inf)
        best = max(choices, key=lambda t: (((scores[others] >= t) == same[others]).sum(), t))
        return float(((scores[fold] >= best) == same[fold]).mean())

    expected = [searched(fold) for fold in np.array_split(np.arange(60), 10)]
    assert fold_accuracies(scores, same) == pytest.approx(expected)


def test_what_cannot_be_verified_is_refused() -> None:
    with pytest.raises(DataError, match="pairs of one person and of two"):
        auc(np.ones(3), np.ones(3, bool))
    with pytest.raises(DataError, match="not a number"):
        auc(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(DataError, match="folds"):
        fold_accuracies(np.ones(4), np.array([True, False, True, False]))


def test_drawing_ends_where_one_person_has_nearly_all_images() -> None:
    people = np.concatenate([np.repeat(np.arange(200), 2), np.full(100, 200)])
    pairs = draw_pairs(people, 2 * 1200, np.random.default_rng(0))
    same = np.stack([pairs.first, pairs.second], 1)[pairs.same]
    assert len(same) == 1200 == len({tuple(sorted(pair)) for pair in same.tolist()}), "each once"
    assert (people[same[:, 0]] == people[same[:, 1]]).all()
