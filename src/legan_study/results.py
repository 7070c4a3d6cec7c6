"""Results of a study: answers as records, the analysis of preferences (Bradley-Terry), and the status of items and raters."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from legan.core.errors import DataError, StudyError
from legan_study.assignment import answered_shares
from legan_study.store import (
    ANSWERED,
    GOLD,
    INPUT,
    MAIN,
    NONE,
    OPEN,
    PICKED,
    RATED,
    REPEAT,
    SKIPPED,
    TIE,
    answer,
    assignment,
    item,
    rater,
)
from legan_study.study import Study

Record = dict[str, Any]


def read_records(study: Study, connection: Connection) -> list[Record]:
    """All answers, by rater and position. Key `counts`: to a main item, of a rater who is not excluded; `passed`: of a gold item."""
    query = (
        select(
            rater.c.name.label("rater"), rater.c.excluded_at, assignment.c.role, assignment.c.position, assignment.c.layout,
            item.c.name.label("item"), item.c.low, item.c.high, item.c.best, answer,
        )
        .select_from(answer)
        .join(assignment, assignment.c.id == answer.c.assignment_id)
        .join(item, item.c.id == assignment.c.item_id)
        .join(rater, rater.c.id == assignment.c.rater_id)
        .order_by(rater.c.name, assignment.c.position)
    )  # fmt: skip
    return [_record(study, dict(row._mapping)) for row in connection.execute(query)]


def _record(study: Study, row: Record) -> Record:
    shown = [study.images[key].model for key in json.loads(row["layout"])]
    picked = study.images[row["picture_id"]].model if row["picture_id"] else ""
    excluded = row["excluded_at"] is not None
    record = {**row, "order": row["position"] + 1, "choice": picked if row["verdict"] == PICKED else row["verdict"]}
    record |= {"excluded": excluded, "counts": row["role"] == MAIN and not excluded and row["verdict"] != SKIPPED}
    return record | {"shown": [model for model in shown if model != INPUT], "passed": _passed(row, picked)}


def _passed(row: Record, picked: str) -> bool | None:
    """Whether the answer to a gold item is right; None for other items and skipped ones."""
    if row["role"] != GOLD or row["verdict"] == SKIPPED:
        return None
    if row["verdict"] == RATED:
        return bool(row["low"] <= row["rating"] <= row["high"])
    return picked == row["best"]


def ratings_rows(records: list[Record]) -> list[Record]:
    """Lines of `ratings.csv`: main and gold items of raters who are not excluded; a skipped item has no rating."""
    chosen = [record for record in records if record["role"] in (MAIN, GOLD) and not record["excluded"]]
    return [
        {"rater": r["rater"], "image": r["item"], "rating": r["rating"], "seconds": r["seconds"], "order": r["order"]}
        for r in chosen
    ]


def coverage(study: Study, connection: Connection) -> dict[str, Any]:
    """Progress: items by number of answers, open assignments, and items with a missing image file."""
    k = study.config.raters_per_item
    taken = select(item.c.n_taken, func.count()).where(item.c.role == MAIN).group_by(item.c.n_taken)
    n_by_taken = {row[0]: row[1] for row in connection.execute(taken)}
    in_flight = select(func.count()).where(assignment.c.state == OPEN, assignment.c.role == MAIN)
    n_open = connection.execute(in_flight).scalar_one()
    n_items = sum(n_by_taken.values())
    n_answers = sum(n * count for n, count in n_by_taken.items()) - n_open
    missing = select(item.c.name).where(item.c.missing.is_(True)).order_by(item.c.name)
    return {
        "n_items": n_items, "raters_per_item": k, "n_answers": n_answers, "n_wanted": n_items * k, "n_in_flight": n_open,
        "n_items_by_answers": _by_answers(connection, n_items),
        "n_raters": connection.execute(select(func.count()).select_from(rater)).scalar_one(),
        "n_finished": connection.execute(select(func.count()).where(rater.c.finished_at.is_not(None))).scalar_one(),
        "n_gold": connection.execute(select(func.count()).where(item.c.role == GOLD)).scalar_one(),
        "missing": list(connection.execute(missing).scalars()),
    }  # fmt: skip


def _by_answers(connection: Connection, n_items: int) -> dict[int, int]:
    """Number of items by their number of answers that count."""
    done = (
        select(assignment.c.item_id, func.count().label("n"))
        .join(answer, answer.c.assignment_id == assignment.c.id)
        .join(rater, rater.c.id == assignment.c.rater_id)
        .where(assignment.c.role == MAIN, assignment.c.state == ANSWERED)
        .where(answer.c.verdict != SKIPPED, rater.c.excluded_at.is_(None))
        .group_by(assignment.c.item_id)
        .subquery()
    )
    counts = {row[0]: row[1] for row in connection.execute(select(done.c.n, func.count()).group_by(done.c.n))}
    return {0: n_items - sum(counts.values()), **dict(sorted(counts.items()))}


def rater_rows(study: Study, records: list[Record], connection: Connection) -> list[dict[str, Any]]:
    """Figures of each rater: number of answers, seconds, failed gold items, mean difference of repeats.

    `too_few`: so many items were skipped that the rater gets no completion code.
    """
    shares, least = answered_shares(connection), study.config.min_answered
    known = connection.execute(select(rater).order_by(rater.c.consented_at)).all()
    own: dict[str, list[Record]] = {row.name: [] for row in known}
    for record in records:
        own[record["rater"]].append(record)
    return [
        {
            "id": row.id, "rater": row.name, "finished": row.finished_at is not None, "excluded": row.excluded_at is not None,
            "too_few": shares.get(row.id, 1.0) < least, **_rater_figures(own[row.name]),
        }
        for row in known
    ]  # fmt: skip


def _rater_figures(records: list[Record]) -> dict[str, Any]:
    from statistics import mean, median

    main = {record["item"]: record for record in records if record["role"] == MAIN}
    gold = [record["passed"] for record in records if record["passed"] is not None]
    pairs = [(main[r["item"]], r) for r in records if r["role"] == REPEAT and r["verdict"] != SKIPPED]
    pairs = [(first, again) for first, again in pairs if first["verdict"] != SKIPPED]
    changes = [
        abs(a["rating"] - b["rating"]) if a["rating"] is not None else float(a["choice"] != b["choice"]) for a, b in pairs
    ]
    answered = [record for record in records if record["verdict"] != SKIPPED]
    return {
        "n_answers": sum(record["role"] == MAIN for record in answered),
        "n_skipped": len(records) - len(answered),
        "median_seconds": median([record["seconds"] for record in answered]) if answered else None,
        "n_gold": len(gold),
        "n_gold_failed": gold.count(False),
        "repeat_change": mean(changes) if changes else None,
    }


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


# The status: progress, agreement and noise ceiling so far, and each rater.


MIN_ITEMS = 5  # for agreement of ratings


def status(study: Study) -> dict[str, Any]:
    """The figures of the admin page and of `legan study status`."""
    with study.store.reading() as connection:
        records = read_records(study, connection)
        progress = coverage(study, connection)
        raters = rater_rows(study, records, connection)
    return {
        "title": study.config.title, "kind": study.config.kind, "models": list(study.models), **progress,
        "agreement": agreement_so_far(study, records), "raters": raters,
    }  # fmt: skip


def agreement_so_far(study: Study, records: list[Record]) -> dict[str, Any]:
    """ICC, alpha and noise ceiling of ratings, or alpha of choices; or `note`, the reason why there is none."""
    try:
        return _alpha_of_choices(records) if study.config.kind == "preference" else _agreement_of_ratings(records)
    except DataError as error:
        return {"note": str(error)}


def _agreement_of_ratings(records: list[Record]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    from legan.metrics.agreement import agreement

    gold = {record["item"] for record in records if record["role"] == GOLD}
    rows = [row for row in ratings_rows(records) if row["image"] not in gold]
    frame = pd.DataFrame(rows, columns=["rater", "image", "rating", "seconds", "order"]).dropna(subset=["rating"])
    frame = frame[frame.groupby("image")["rating"].transform("count") >= 2].astype({"rating": float})
    if frame["image"].nunique() < MIN_ITEMS:
        raise DataError(f"too few answers yet: {MIN_ITEMS} items with two ratings or more are needed")
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = agreement(frame).as_json()
    if figures["icc"] is None:
        raise DataError("the ratings so far vary too little")
    return figures


def _alpha_of_choices(records: list[Record]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    try:
        import krippendorff
    except ModuleNotFoundError:
        raise DataError('agreement of raters needs krippendorff: run `pip install "legan[ratings]"`') from None
    too_few = "too few answers yet: items with two answers or more, and two different choices are needed"
    frame = pd.DataFrame([{"rater": r["rater"], "item": r["item"], "choice": r["choice"]} for r in records if r["counts"]])
    if frame.empty or frame.groupby("item").size().max() < 2 or frame["choice"].nunique() < 2:
        raise DataError(too_few)
    codes = {name: index for index, name in enumerate(sorted(frame["choice"].unique()))}
    table = frame.assign(code=frame["choice"].map(codes)).pivot(index="rater", columns="item", values="code")
    with np.errstate(invalid="ignore"):
        alpha = float(krippendorff.alpha(table.to_numpy(np.float64), level_of_measurement="nominal"))
    if np.isnan(alpha):  # all different choices belong to items with one answer
        raise DataError(too_few)
    return {"alpha": alpha}


def in_words(figures: Mapping[str, Any]) -> str:
    """A status as lines of text."""
    by_answers = ", ".join(f"{count} with {n}" for n, count in figures["n_items_by_answers"].items() if count)
    lines = [
        f"{figures['title']} ({figures['kind']}): {figures['n_answers']} of {figures['n_wanted']} answers, "
        f"{figures['n_in_flight']} open assignments",
        f"{figures['n_items']} items: {by_answers} answers; {figures['raters_per_item']} wanted each",
        f"{figures['n_raters']} raters, {figures['n_finished']} finished",
        agreement_in_words(figures["agreement"]),
    ]
    if figures["missing"]:
        lines.append(
            f"{len(figures['missing'])} items left out, their image files are missing: {', '.join(figures['missing'][:5])}"
        )
    for row in figures["raters"]:
        lines.append("  " + rater_in_words(row))
    return "\n".join(lines)


def agreement_in_words(agreement: Mapping[str, Any]) -> str:
    """Agreement as one line."""
    if "note" in agreement:
        return f"agreement: {agreement['note']}"
    if "icc" not in agreement:
        return f"Krippendorff's alpha of the choices {agreement['alpha']:.3f}"
    alpha = "-" if agreement["alpha"] is None else f"{agreement['alpha']:.3f}"
    return f"ICC(1) {agreement['icc']:.3f}, Krippendorff's alpha {alpha}, noise ceiling {agreement['ceiling']:.3f}"


def rater_in_words(row: Mapping[str, Any]) -> str:
    """A rater as one line."""
    speed = "" if row["median_seconds"] is None else f", {row['median_seconds']:.1f} s an item"
    gold = f", gold failed {row['n_gold_failed']} of {row['n_gold']}" if row["n_gold"] else ""
    change = "" if row["repeat_change"] is None else f", repeats differ by {row['repeat_change']:.1f}"
    state = "excluded" if row["excluded"] else "finished" if row["finished"] else "under way"
    state += " (no completion code: too many skipped)" if row["too_few"] else ""
    return f"{row['rater']}: {row['n_answers']} answers, {row['n_skipped']} skipped{speed}{gold}{change}, {state}"
