"""Whether edits happen: what the classifier of edits sees, and that a model which does nothing is not crowned."""

from typing import Any

import numpy as np
import pytest
from tests.face_sets import make_face_set

from legan.evaluation.edit_classifier import accuracies, changes_of, describe, fit_ridge, train_edit_classifier
from legan.evaluation.report import best, explanations, is_best
from legan.evaluation.statistics import METRICS, is_edited
from legan.evaluation.tasks import from_data_set


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_face_set(tmp_path_factory.mktemp("data") / "drawn", n_identities=10, size=128)
    return from_data_set(folder, "test", 24, 0)


def test_ridge_is_scikit_learns_on_either_side() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    for n, d in ((40, 90), (200, 30)):
        labels = np.repeat([2, 5, 7], [n // 2, n // 4, n - n // 2 - n // 4])
        x = rng.normal(size=(n, d)) + labels[:, None] * rng.normal(size=d)
        found = fit_ridge(x, labels)
        assert found is not None and list(found.classes) == [2, 5, 7]
        share = n / 3 / np.bincount(labels)[labels]
        a = np.sqrt(share)[:, None] * (x - x.mean(0))
        oracle = Ridge(alpha=np.square(a).sum() / n, fit_intercept=False)
        oracle.fit(a, np.sqrt(share)[:, None] * ((labels[:, None] == found.classes) - 1 / 3))
        np.testing.assert_allclose(found.weights, oracle.coef_.T, atol=1e-8)
        assert (found.predict(x) == labels).mean() > 0.6
    assert fit_ridge(x, np.zeros(200)) is None and fit_ridge(x[:5], np.array([0, 0, 0, 0, 1])) is None, "nothing to tell apart"


def test_it_learns_from_people_who_are_not_evaluated_and_sees_true_edits(evaluation_set: Any) -> None:
    classifier = train_edit_classifier([evaluation_set])
    assert classifier is not None and set(classifier.models) == {"expression", "lighting"}
    (words,) = classifier.provenance["learned_from"]
    assert words == "drawn/train (192 images of 8 people)"
    assert classifier.provenance["sha256"] == train_edit_classifier([evaluation_set]).provenance["sha256"]
    seen = accuracies(classifier, evaluation_set)
    assert seen["expression"] > 0.8 and seen["lighting"] > 0.6

    # The true edits are seen; sources as they are show what was asked for by mistake alone.
    questions, asked = np.arange(24), changes_of(evaluation_set)
    assert asked.any(1).all() and not asked.all()
    true = classifier.sees(evaluation_set.library.images(evaluation_set.truth), evaluation_set.target, asked)
    idle = classifier.sees(evaluation_set.library.images(evaluation_set.source[questions]), evaluation_set.target, asked)
    assert true.mean() > 0.7 and idle.mean() < 0.2


def test_what_was_never_seen_cannot_be_judged(evaluation_set: Any) -> None:
    classifier = train_edit_classifier([evaluation_set])
    assert classifier is not None
    target = evaluation_set.target.copy()
    target[:, 1] = 16  # a light that the data does not have
    asked = np.tile([False, True], (24, 1))
    assert np.isnan(classifier.sees(evaluation_set.library.images(evaluation_set.source), target, asked)).all()
    assert describe(np.zeros((2, 64, 64, 3), np.uint8)).shape == describe(np.zeros((2, 128, 128, 3), np.uint8)).shape


def entry(value: float | None, low: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": value, "n": 9}


def model(name: str, edits: bool, **values: float) -> dict[str, Any]:
    return {"name": name, "data": "d", "n": 9, "edits": edits, "metrics": {key: entry(values.get(key)) for key in METRICS}}


def test_a_model_that_does_nothing_is_not_crowned() -> None:
    idle = model("idle", False, ssim=0.99, fid=1.0, match=1.0, edited=0.1)
    first, second = (
        model("first", True, ssim=0.8, fid=9.0, match=0.7, edited=0.8),
        model("second", True, ssim=0.7, fid=8.0, match=0.7),
    )
    report = {"models": [idle, first, second], "networks": {}, "settings": {"seed": 0}, "notes": []}
    winners = best(report["models"])
    assert winners["d", "ssim"] == 0.8 and winners["d", "fid"] == 8.0 and winners["d", "edited"] == 0.8
    crowned = {row["name"]: [name for name in METRICS if is_best(report, row, name, winners)] for row in report["models"]}
    assert crowned == {"idle": [], "first": ["edited", "ssim", "match"], "second": ["fid", "match"]}
    assert best([idle]) == {} and best([idle, idle]) == {}
    assert any("Not in bold" in line and "idle on d" in line and "first" not in line for line in explanations(report))


@pytest.mark.parametrize(
    ("change", "value", "low", "expected"),
    [
        (20.0, 0.8, 0.7, True),
        (20.0, 0.3, 0.05, False),  # perhaps no more than is seen in the inputs as they are
        (20.0, 0.3, None, True),  # too few people for an interval: the value
        (20.0, None, None, True),  # nobody can say
        (1.0, None, None, False),  # saved again, and no more
        (1.0, 0.8, 0.7, False),
    ],
)
def test_when_a_model_counts_as_editing(change: float, value: float | None, low: float | None, expected: bool) -> None:
    row = {"metrics": {"edited": entry(value, low)}}
    inputs = {"edited": np.array([0.0, 0.0, 0.0, 1.0, 0.0, np.nan]) if value is not None else np.array([np.nan])}
    assert is_edited(row, {"change": np.full(5, change)}, inputs) is expected
