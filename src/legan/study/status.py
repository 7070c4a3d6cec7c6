"""How a study is going: coverage, agreement and noise ceiling so far, and each rater."""

from collections.abc import Mapping
from typing import Any

from legan.core.errors import DataError
from legan.study.records import Record, coverage, rater_rows, ratings_rows, read_records
from legan.study.study import Study
from legan.study.tables import GOLD

MIN_ITEMS = 5  # that agreement of ratings can be told from


def status(study: Study) -> dict[str, Any]:
    """Everything that the admin page and `legan study status` show."""
    with study.store.reading() as connection:
        records = read_records(study, connection)
        found = coverage(study, connection)
        raters = rater_rows(study, records, connection)
    return {
        "title": study.config.title, "kind": study.config.kind, "models": list(study.models), **found,
        "agreement": agreement_so_far(study, records), "raters": raters,
    }  # fmt: skip


def agreement_so_far(study: Study, records: list[Record]) -> dict[str, Any]:
    """ICC, alpha and noise ceiling of ratings, or alpha of choices; `note` says why there is none."""
    try:
        return _alpha_of_choices(records) if study.config.kind == "preference" else _agreement_of_ratings(records)
    except DataError as error:
        return {"note": str(error)}


def _agreement_of_ratings(records: list[Record]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    from legan.data.agreement import agreement

    gold = {record["item"] for record in records if record["role"] == GOLD}
    rows = [row for row in ratings_rows(records) if row["image"] not in gold]
    frame = pd.DataFrame(rows, columns=["rater", "image", "rating", "seconds", "order"]).dropna(subset=["rating"])
    frame = frame[frame.groupby("image")["rating"].transform("count") >= 2].astype({"rating": float})
    if frame["image"].nunique() < MIN_ITEMS:
        raise DataError(f"too few answers to tell yet: {MIN_ITEMS} items with two ratings or more are needed")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = agreement(frame).as_json()
    if found["icc"] is None:
        raise DataError("the ratings so far are too much alike to tell")
    return found


def _alpha_of_choices(records: list[Record]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    try:
        import krippendorff
    except ModuleNotFoundError:
        raise DataError('agreement of raters needs krippendorff: run `pip install "legan[ratings]"`') from None
    too_few = "too few answers to tell yet: items with two answers or more, and two different choices are needed"
    frame = pd.DataFrame([{"rater": r["rater"], "item": r["item"], "choice": r["choice"]} for r in records if r["counts"]])
    if frame.empty or frame.groupby("item").size().max() < 2 or frame["choice"].nunique() < 2:
        raise DataError(too_few)
    codes = {name: index for index, name in enumerate(sorted(frame["choice"].unique()))}
    table = frame.assign(code=frame["choice"].map(codes)).pivot(index="rater", columns="item", values="code")
    with np.errstate(invalid="ignore"):
        alpha = float(krippendorff.alpha(table.to_numpy(np.float64), level_of_measurement="nominal"))
    if np.isnan(alpha):  # the different choices were all made for items with one answer
        raise DataError(too_few)
    return {"alpha": alpha}


def in_words(found: Mapping[str, Any]) -> str:
    """A status as lines of text."""
    by_answers = ", ".join(f"{count} with {n}" for n, count in found["n_items_by_answers"].items() if count)
    lines = [
        f"{found['title']} ({found['kind']}): {found['n_answers']} of {found['n_wanted']} answers, {found['n_in_flight']} in flight",
        f"{found['n_items']} items: {by_answers} answers; {found['raters_per_item']} wanted each",
        f"{found['n_raters']} raters, {found['n_finished']} finished",
        agreement_in_words(found["agreement"]),
    ]
    if found["missing"]:
        lines.append(f"{len(found['missing'])} items left out, their pictures are gone: {', '.join(found['missing'][:5])}")
    for row in found["raters"]:
        lines.append("  " + rater_in_words(row))
    return "\n".join(lines)


def agreement_in_words(found: Mapping[str, Any]) -> str:
    """Agreement as one line."""
    if "note" in found:
        return f"agreement: {found['note']}"
    if "icc" not in found:
        return f"Krippendorff's alpha of the choices {found['alpha']:.3f}"
    alpha = "-" if found["alpha"] is None else f"{found['alpha']:.3f}"
    return f"ICC(1) {found['icc']:.3f}, Krippendorff's alpha {alpha}, noise ceiling {found['ceiling']:.3f}"


def rater_in_words(row: Mapping[str, Any]) -> str:
    """A rater as one line."""
    speed = "" if row["median_seconds"] is None else f", {row['median_seconds']:.1f} s an item"
    gold = f", gold failed {row['n_gold_failed']} of {row['n_gold']}" if row["n_gold"] else ""
    change = "" if row["repeat_change"] is None else f", repeats differ by {row['repeat_change']:.1f}"
    state = "excluded" if row["excluded"] else "finished" if row["finished"] else "under way"
    state += " (no completion code: too many skipped)" if row["too_few"] else ""
    return f"{row['rater']}: {row['n_answers']} answers, {row['n_skipped']} skipped{speed}{gold}{change}, {state}"
