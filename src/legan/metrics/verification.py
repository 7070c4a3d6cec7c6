"""Face verification: match scores, ROC curves, accuracy over folds, and templates of several images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from legan.core.errors import DataError

# Match scores of identity embeddings, and how well they tell people apart.
#
# The match score is the cosine of two embeddings. Verification: of pairs of crops, some of one person (`same`) and some of two, TAR
# is the share of same pairs accepted and FAR the share of others accepted, at a threshold (Huang et al., LFW, 2007).


N_FOLDS = 10


class Pairs(NamedTuple):
    """Pairs of crops: `first` and `second` (n,) indices, `same` (n,) bool, whether both show one person."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


class Roc(NamedTuple):
    """Receiver operating characteristic: at `threshold` (n,), falling, the rates `far` and `tar` (n,), rising from 0 to 1."""

    far: np.ndarray
    tar: np.ndarray
    threshold: np.ndarray


def match_scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return cosines (n,) float64 in [-1, 1] of the rows of `a` and `b` (n, d); each depends on its own two rows alone."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    if not (lengths > 0).all():
        raise DataError("an embedding is zero, it has no direction: leave that crop out")
    return ((a * b).sum(1) / lengths).clip(-1, 1)


def all_pairs(identities: np.ndarray) -> Pairs:
    """Return every pair of different entries of `identities` (n,), once."""
    identities = np.asarray(identities)
    first, second = np.triu_indices(len(identities), 1)
    return Pairs(first, second, identities[first] == identities[second])


def draw_pairs(identities: np.ndarray, n_pairs: int, random: np.random.Generator) -> Pairs:
    """Draw different pairs, one of one person and one of two by turns, so that consecutive folds hold both.

    Args:
        identities: (n,) who each image shows. Of pairs of one person, every person with two images is drawn as often.
        n_pairs: wanted; there are fewer where the images have not so many. The halves are of one size.
        random: where the numbers come from.

    Raises:
        DataError: no person has two images, or there is one person only.
    """
    identities = np.asarray(identities)
    people, counts = np.unique(identities, return_counts=True)
    members = {person: np.flatnonzero(identities == person) for person in people}
    several = people[counts > 1]
    if len(several) == 0 or len(people) < 2:
        raise DataError("pairs need a person with two images, and two people: give a folder of a subfolder a person")
    n_same = int((counts * (counts - 1) // 2).sum())
    n_other = len(identities) * (len(identities) - 1) // 2 - n_same
    n_each = min(n_pairs // 2, n_same, n_other)

    def two_of_one() -> tuple[int, int]:
        first, second = random.choice(members[several[random.integers(len(several))]], 2, replace=False)
        return int(first), int(second)

    def one_of_two() -> tuple[int, int]:
        a, b = random.choice(len(people), 2, replace=False)
        return int(random.choice(members[people[a]])), int(random.choice(members[people[b]]))

    drawn = []
    for draw, n_all in ((two_of_one, n_same), (one_of_two, n_other)):
        if 3 * n_each >= n_all:  # nearly all: drawing would hit the same ones again and again
            every = _pairs_of_one(members) if draw is two_of_one else _pairs_of_two(identities)
            drawn.append(random.permutation(every)[:n_each])
            continue
        unique: dict[tuple[int, int], None] = {}
        for _ in range(20 * n_each):
            pair = draw()
            unique[min(pair), max(pair)] = None
            if len(unique) == n_each:
                break
        else:  # most people have few images, and what is left is of few people
            rest = random.permutation(_pairs_of_one(members) if draw is two_of_one else _pairs_of_two(identities))
            unique |= dict.fromkeys((min(pair), max(pair)) for pair in rest.tolist())
        unique = dict.fromkeys(list(unique)[:n_each])
        drawn.append(np.array(list(unique), np.int64))
    both = np.stack(drawn, 1).reshape(-1, 2)
    return Pairs(both[:, 0], both[:, 1], np.arange(len(both)) % 2 == 0)


def _pairs_of_one(members: dict[int, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.stack([own[i] for i in np.triu_indices(len(own), 1)], 1) for own in members.values()])


def _pairs_of_two(identities: np.ndarray) -> np.ndarray:
    pairs = all_pairs(identities)
    return np.stack([pairs.first, pairs.second], 1)[~pairs.same]


def score_pairs(embeddings: np.ndarray, pairs: Pairs, batch_size: int = 65536) -> np.ndarray:
    """Return match scores (n,) of pairs of the rows of `embeddings` (m, d), `batch_size` at a time."""
    parts = range(0, len(pairs.first), batch_size)
    scores = [match_scores(*(embeddings[side[i : i + batch_size]] for side in pairs[:2])) for i in parts]
    return np.concatenate(scores) if scores else np.zeros(0)


def roc(scores: np.ndarray, same: np.ndarray) -> Roc:
    """Return the rates at every threshold that changes them; a pair is accepted when its score is at least the threshold.

    Raises:
        DataError: no pair of one person, or none of two, or a score that is not a number.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if not same.any() or same.all():
        raise DataError(f"verification needs pairs of one person and of two: here are {same.sum()} and {(~same).sum()}")
    if not np.isfinite(scores).all():
        raise DataError("a match score is not a number: leave that pair out")
    order = np.argsort(-scores, kind="stable")
    scores, same = scores[order], same[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # pairs of equal score are accepted together
    tar, far = np.cumsum(same)[last] / same.sum(), np.cumsum(~same)[last] / (~same).sum()
    return Roc(np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, scores[last]))


def auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Return the area under the ROC: the chance that a pair of one person scores above a pair of two (half for equal scores)."""
    curve = roc(scores, same)
    return float(np.trapezoid(curve.tar, curve.far))


def tar_at_far(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    """Return the largest TAR whose FAR is at most `far`; 0 where even one wrong pair is too many."""
    curve = roc(scores, same)
    return float(curve.tar[curve.far <= far].max())


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """Return the rate at which as many same pairs are refused as others are accepted, interpolated along the ROC."""
    curve = roc(scores, same)
    gap = curve.far - (1 - curve.tar)  # rises from -1 to 1
    i = int(np.argmax(gap >= 0))
    share = -gap[i - 1] / (gap[i] - gap[i - 1])
    return float(curve.far[i - 1] + share * (curve.far[i] - curve.far[i - 1]))


def fold_accuracies(scores: np.ndarray, same: np.ndarray, n_folds: int = N_FOLDS) -> np.ndarray:
    """Return the accuracy (n_folds,) on each fold at the threshold that is best on the others, as LFW's protocol asks.

    Folds are consecutive, as in LFW's list of pairs: give the pairs in its order.

    Raises:
        DataError: fewer pairs than folds.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if len(scores) < n_folds:
        raise DataError(f"{len(scores)} pairs cannot be split into {n_folds} folds: give more pairs")
    found = []
    for fold in np.array_split(np.arange(len(scores)), n_folds):
        others = np.ones(len(scores), bool)
        others[fold] = False
        threshold = best_threshold(scores[others], same[others])
        found.append(((scores[fold] >= threshold) == same[fold]).mean())
    return np.array(found)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """Return the score that, as threshold, judges most pairs rightly; the highest of several."""
    curve = roc(scores, same)
    n_same, n_other = same.sum(), (~np.asarray(same, bool)).sum()
    n_right = curve.tar * n_same + (1 - curve.far) * n_other
    return float(curve.threshold[int(np.argmax(np.round(n_right)))])


# The figures of a verification protocol: accuracy over folds, AUC, equal error rate, TAR at FAR; and one-vs-rest AUC of classes.


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
        DataError: as `legan.metrics.verification.roc`.
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


# Features of templates, sets of images of one person, as IJB-B and IJB-C ask for (Whitelam et al., CVPR Workshops 2017).
#
# Images of one medium (a video) are averaged first, then the media of a template, so that a long video weighs as much as a photo.


class Templates(NamedTuple):
    """`ids` (t,), rising, and the unit features (t, d) of the templates."""

    ids: np.ndarray
    features: np.ndarray

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Rows of templates by their ids.

        Raises:
            DataError: a template that has no images; the message names it.
        """
        at = np.searchsorted(self.ids, ids).clip(0, len(self.ids) - 1)
        if (self.ids[at] != ids).any():
            raise DataError(f"template {np.asarray(ids)[self.ids[at] != ids][0]} is in the list of pairs and has no images")
        return at


def template_features(features: np.ndarray, template: np.ndarray, medium: np.ndarray) -> Templates:
    """Average unit features of images to unit features of templates.

    Args:
        features: (n, d), one row an image.
        template, medium: (n,) whole numbers; a medium belongs to the template that it is named with.

    Raises:
        DataError: lists of different lengths, or features that cancel out.
    """
    if not len(features) == len(template) == len(medium) or not len(features):
        raise DataError(f"{len(features)} features, {len(template)} templates and {len(medium)} media: give one each an image")
    order = np.lexsort((medium, template))
    rows, template, medium = np.asarray(features, np.float64)[order], np.asarray(template)[order], np.asarray(medium)[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(template) != 0) | (np.diff(medium) != 0)])
    media = np.add.reduceat(rows, starts) / np.diff(np.r_[starts, len(rows)])[:, None]
    firsts = np.flatnonzero(np.r_[True, np.diff(template[starts]) != 0])
    means = np.add.reduceat(media, firsts) / np.diff(np.r_[firsts, len(media)])[:, None]
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise DataError("the features of a template cancel out: leave that template out")
    return Templates(template[starts][firsts], (means / lengths).astype(np.float32))
