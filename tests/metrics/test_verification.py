"""Figures of verification: by hand on twelve pairs, and against scikit-learn on many."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from legan.core.errors import DataError
from legan.metrics.verification import all_pairs, draw_pairs, one_vs_rest_auc, verification_figures

# Twelve pairs in three folds of four, two of one person in each.
#         fold 1                fold 2                fold 3
SCORES = [0.9, 0.6, 0.2, 0.4, 0.8, 0.3, 0.1, 0.5, 0.7, 0.55, 0.35, 0.0]
SAME = [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]


def test_twelve_pairs_by_hand() -> None:
    """Sorted: .9+ .8+ .7+ .6+ .55+ .5- .4- .35- .3+ .2- .1- .0-: one of one person, .3, is below three of two people.

    AUC: of 6 x 6 couples, 3 are in the wrong order: 33/36. Accuracy: without fold 1 the best threshold is .55 (one wrong), and
    .9, .6 pass, .2, .4 do not: 4 of 4. Without fold 2: between .55 and .4, highest such score .55: .8 passes, .3 does not, .1 and .5
    do not: 3 of 4. Without fold 3: .6 (one wrong of eight): .7 passes, .55 does not: 3 of 4. TAR at FAR 0: 5/6; at 1/6: 5/6; at 1/2: 1.
    Equal error: at threshold .5 FAR is 1/6 and FRR 1/6.
    """
    found = verification_figures(np.array(SCORES), np.array(SAME, bool), [0.01, 0.17, 0.5], n_folds=3)
    assert (found.n_same, found.n_other) == (6, 6)
    assert found.auc == pytest.approx(33 / 36)
    assert found.accuracy == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert found.accuracy_std == pytest.approx(np.std([1, 0.75, 0.75]))
    assert found.tar == {0.01: pytest.approx(5 / 6), 0.17: pytest.approx(5 / 6), 0.5: 1.0}
    assert found.eer == pytest.approx(1 / 6)


def test_figures_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    same = np.tile(np.repeat([True, False], 300), 10)  # LFW's order: in each of ten folds 300 of one person, then 300 of two
    scores = np.round(random.normal(0.3 * same, 0.2), 3)  # with equal scores
    found = verification_figures(scores, same, [1e-3, 1e-2, 0.1])
    assert found.auc == pytest.approx(roc_auc_score(same, scores))
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    for rate, value in found.tar.items():
        assert value == pytest.approx(tar[far <= rate].max())
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(scores):
        thresholds = np.unique(scores[train])
        right = [((scores[train] >= threshold) == same[train]).mean() for threshold in thresholds]
        best = thresholds[np.flatnonzero(np.isclose(right, max(right)))[-1]]
        accuracies.append(((scores[test] >= best) == same[test]).mean())
    assert found.accuracy == pytest.approx(np.mean(accuracies)) and found.accuracy_std == pytest.approx(np.std(accuracies))
    assert found.as_json()["tar"].keys() == {"0.001", "0.01", "0.1"}


def test_one_against_the_rest_equals_scikit_learns() -> None:
    random = np.random.default_rng(1)
    label = random.integers(0, 3, 400)
    probabilities = random.dirichlet([1, 1, 1, 1], 400) + 0.3 * np.eye(4)[label]
    found = one_vs_rest_auc(probabilities, label)
    for number in range(3):
        assert found[number] == pytest.approx(roc_auc_score(label == number, probabilities[:, number]))
    assert np.isnan(found[3]), "a class that no image shows"


@pytest.mark.parametrize("n_pairs", [40, 10_000])
def test_pairs_are_different_and_by_turns(n_pairs: int) -> None:
    people = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    pairs = draw_pairs(people, n_pairs, np.random.default_rng(4))
    n_all = int(all_pairs(people).same.sum())
    assert pairs.same.sum() == (~pairs.same).sum() == min(n_pairs // 2, n_all)
    assert (pairs.same == (np.arange(len(pairs.same)) % 2 == 0)).all()
    assert ((people[pairs.first] == people[pairs.second]) == pairs.same).all()
    unordered = np.sort(np.stack([pairs.first, pairs.second], 1), 1)
    assert len(np.unique(unordered, axis=0)) == len(unordered) and (unordered[:, 0] < unordered[:, 1]).all()
    again = draw_pairs(people, n_pairs, np.random.default_rng(4))
    assert all(np.array_equal(a, b) for a, b in zip(pairs, again, strict=True))


def test_pairs_need_people() -> None:
    for people in ([0, 0, 0], [0, 1, 2]):
        with pytest.raises(DataError, match="a person with two images"):
            draw_pairs(np.array(people), 10, np.random.default_rng(0))
