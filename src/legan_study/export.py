"""Export: ratings.csv of rating studies, preference.json of preference studies."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from legan.core.errors import StudyError
from legan.core.files import make_folder, write_atomic
from legan.core.table import escaped
from legan_study.results import Record, ratings_rows, read_records
from legan_study.store import GOLD, NONE, TIE
from legan_study.study import Study

# Analysis of a preference study: shares with bootstrap intervals, and Bradley-Terry strengths (by choix).
#
# A share is the part of all answers that picked the model, so shares, ties and "none" add up to 1. Intervals are percentiles over
# resampled raters, since one rater's answers are not independent. Strengths follow Luce's choice model, which for two models is that of
# Bradley and Terry (1952): natural logarithms with mean 0, so exp(a - b) is the odds that one is picked over the other. A tie counts
# as an equal part of a pick for each model shown; "none" gives no order of the models and is left out.


N_RESAMPLES = 2000
PRIOR = 0.01  # regularisation of the strengths: keeps that of a model without picks finite


def analyse(records: Sequence[Record], models: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Return the content of `preference.json`.

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
        raise StudyError("no answer that counts yet: nothing to analyse")
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
        # A pick is repeated once for each model shown, so that a tie can count as one equal part for each.
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


# `legan study export`: answers as files that `legan ratings` and `legan evaluate` read.
#
# A rating study gives `ratings.csv` (and `gold.csv`), a preference study `preference.json`; both give `answers.csv` with all details
# of all answers, including excluded raters, practice and repeats.


RATING_COLUMNS = ("rater", "image", "rating", "seconds", "order")
GOLD_COLUMNS = ("image", "low", "high")
ANSWER_COLUMNS = (
    "rater", "excluded", "item", "role", "order", "verdict", "rating", "choice", "shown", "passed", "seconds", "server_seconds",
    "slider_start", "display_width", "display_height", "pixel_ratio", "n_revisions", "answered",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The files written, and their number of answers (practice, gold, repeats and skipped ones included)."""

    files: tuple[Path, ...]
    n_answers: int

    def __str__(self) -> str:
        return "\n".join(str(path) for path in self.files)


def export_study(study: Study, out: Path) -> Exported:
    """Write the files to the folder `out`.

    Raises:
        StudyError: no answers yet.
        LeganError: the folder cannot be written.
    """
    with study.store.reading() as connection:
        records = read_records(study, connection)
    if not records:
        raise StudyError(f"the study in {study.folder} has no answers yet: nothing to export")
    folder, paths = make_folder(out), []
    for name, data in files_of(study, records).items():
        write_atomic(folder / name, data)
        paths.append(folder / name)
    return Exported(tuple(paths), len(records))


def files_of(study: Study, records: list[Record]) -> dict[str, bytes]:
    """Name and content of each file."""
    files = {"answers.csv": _csv(ANSWER_COLUMNS, [_answer_row(record) for record in records])}
    if study.config.kind == "preference":
        if any(record["counts"] for record in records):
            files["preference.json"] = (json.dumps(analyse(records, study.models), indent=2) + "\n").encode()
        return files
    files["ratings.csv"] = _csv(RATING_COLUMNS, ratings_rows(records))
    gold = {r["item"]: {"image": r["item"], "low": r["low"], "high": r["high"]} for r in records if r["role"] == GOLD}
    if gold:
        files["gold.csv"] = _csv(GOLD_COLUMNS, list(gold.values()))
    return files


def _answer_row(record: Record) -> Record:
    answered = datetime.fromtimestamp(record["answered_at"], UTC).isoformat(timespec="seconds")
    return {**record, "shown": " | ".join(record["shown"]), "answered": answered}


def _csv(columns: Sequence[str], rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(row[name]) for name in columns})
    return buffer.getvalue().encode()


def _plain(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else escaped(value)
