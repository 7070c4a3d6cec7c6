"""The figures of a verification protocol: accuracy over folds, AUC, equal error rate, TAR at FAR; and one-vs-rest AUC of classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from legan.metrics.match import N_FOLDS, auc, equal_error_rate, fold_accuracies, tar_at_far


@dataclass(frozen=True)
class Figures:
    """How well scores tell pairs of one person from pairs of two.

    Args:
        n_same, n_other: pairs.
        accuracy, accuracy_std: mean and standard deviation over the folds, each judged at the threshold that is best on the others;
            None where there are fewer pairs than folds.
        auc: area under the ROC.
        eer: equal error rate.
        tar: TAR by FAR, both in 0..1.
    """

    n_same: int
    n_other: int
    accuracy: float | None
    accuracy_std: float | None
    auc: float
    eer: float
    tar: dict[float, float]

    def as_json(self) -> dict[str, Any]:
        """As plain values, rates by their names."""
        return {**asdict(self), "tar": {f"{far:g}": tar for far, tar in self.tar.items()}}


def verification_figures(scores: np.ndarray, same: np.ndarray, fars: Sequence[float], n_folds: int = N_FOLDS) -> Figures:
    """Return the figures of scores (n,) of pairs, `same` (n,) bool; folds are consecutive.

    Raises:
        DataError: as `legan.metrics.match.roc`.
    """
    same = np.asarray(same, bool)
    area, rate = auc(scores, same), equal_error_rate(scores, same)
    folds = fold_accuracies(scores, same, n_folds) if len(scores) >= 2 * n_folds else None
    return Figures(
        n_same=int(same.sum()),
        n_other=int((~same).sum()),
        accuracy=None if folds is None else float(folds.mean()),
        accuracy_std=None if folds is None else float(folds.std()),
        auc=area,
        eer=rate,
        tar={far: tar_at_far(scores, same, far) for far in fars},
    )


def one_vs_rest_auc(probabilities: np.ndarray, label: np.ndarray) -> list[float]:
    """Return the AUC of each class against all others; NaN for a class that has no image, or all.

    Args:
        probabilities: (n, c), or any scores that rise with them.
        label: (n,) true classes.
    """
    found = []
    for number in range(probabilities.shape[1]):
        is_class = np.asarray(label) == number
        some = is_class.any() and not is_class.all()
        found.append(auc(probabilities[:, number], is_class) if some else float("nan"))
    return found
