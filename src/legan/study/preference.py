"""What a preference study says: shares with bootstrap intervals, and Bradley-Terry strengths (by choix).

A share is the part of all answers that picked the model, so shares, ties and "none" add up to 1. Intervals are percentiles over
resampled raters, since one rater's answers hang together. Strengths follow Luce's choice model, which for two models is that of
Bradley and Terry (1952): natural logarithms with mean 0, so exp(a - b) is the odds that one is picked over the other. A tie counts
as an equal part of a pick for each model shown; "none" says nothing about the order of the models and is left out.
"""

from collections.abc import Sequence
from typing import Any

from legan.core.errors import StudyError
from legan.study.records import Record
from legan.study.tables import NONE, TIE

N_RESAMPLES = 2000
PRIOR = 0.01  # regularisation of the strengths: a model that nobody picked has a finite one


def analyse(records: Sequence[Record], models: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Return what `preference.json` holds.

    Args:
        records: of `read_records`; those that count are used.
        models: all models, in the order of the result.
        seed: of the resampling.

    Raises:
        StudyError: no answer yet, or choix is not installed.
    """
    import numpy as np

    counted = [record for record in records if record["counts"]]
    if not counted:
        raise StudyError("no answer counts yet: nothing to analyse")
    outcomes = [*models, TIE, NONE]
    raters = sorted({record["rater"] for record in counted})
    table = np.zeros((len(raters), len(outcomes)))
    for record in counted:
        table[raters.index(record["rater"]), outcomes.index(record["choice"])] += 1
    shares = table.sum(0) / table.sum()
    drawn = np.random.default_rng(seed).integers(0, len(raters), (N_RESAMPLES, len(raters)))
    resampled = table[drawn].sum(1)
    low, high = np.quantile(resampled / resampled.sum(1, keepdims=True), [0.025, 0.975], axis=0)
    strengths = bradley_terry(counted, models)
    return {
        "kind": "preference",
        "n_answers": len(counted),
        "n_raters": len(raters),
        "models": [
            {
                "name": name,
                "share": {"value": float(shares[i]), "low": float(low[i]), "high": float(high[i])},
                "bradley_terry": strengths[i],
            }
            for i, name in enumerate(models)
        ],
        "ties": float(shares[-2]),
        "none": float(shares[-1]),
        "simulated": any(record["rater"].startswith("simulated-") for record in counted),
    }


def bradley_terry(records: Sequence[Record], models: Sequence[str]) -> list[float]:
    """Strengths of the models, natural logarithms with mean 0.

    Raises:
        StudyError: choix is not installed.
    """
    try:
        import choix
    except ModuleNotFoundError:
        raise StudyError('the analysis of preferences needs choix: run `pip install "legan[study]"`') from None
    picks: list[tuple[int, tuple[int, ...]]] = []
    for record in records:
        shown = [models.index(name) for name in record["shown"]]
        # A pick is repeated as often as there are models, so that a tie can count as an equal part of one for each.
        winners = (
            shown
            if record["choice"] == TIE
            else [models.index(record["choice"])] * len(shown)
            if record["choice"] != NONE
            else []
        )
        picks += [(winner, tuple(other for other in shown if other != winner)) for winner in winners]
    if not picks:
        return [0.0] * len(models)
    strengths = choix.ilsr_top1(len(models), picks, alpha=PRIOR)
    return [float(value) for value in strengths - strengths.mean()]
