"""What a rater sees next: instructions, an item, a break, or the end. All state is in the database, so a reload changes nothing."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, select, update

from legan.core.cells import read_number
from legan.study import answers, raters
from legan.study.answers import Outcome, Reply
from legan.study.assignment import Turn, hand_out
from legan.study.sources import INPUT
from legan.study.study import Picture, Study, is_whole
from legan.study.tables import NONE, PICKED, PRACTICE, RATED, SKIPPED, TIE, answer, assignment, item

MAX_SECONDS = 86400.0


@dataclass(frozen=True)
class View:
    """A page: the template's name, and what it shows."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)


def next_view(study: Study, connection: Connection, rater: Row[Any], now: float, notice: str = "") -> View:
    """Return the page for a rater; hands out items, so it runs inside `Store.writing`."""
    if rater.excluded_at is not None:
        return View("full.html") if rater.finished_at is None else _done(study, connection, rater)
    if rater.instructed_at is None:
        return View("instructions.html")
    turn = _turn(study, connection, rater, now)
    if rater.revising is None:
        if not turn.given:
            return _end(study, connection, rater, turn, now)
        every = study.config.break_every
        if every and turn.n_done and turn.n_done % every == 0 and rater.rested != turn.n_done:
            return View("break.html", {"n_done": turn.n_done, "n_total": turn.n_total})
    return _item_view(study, connection, rater, turn, now, notice)


def _turn(study: Study, connection: Connection, rater: Row[Any], now: float) -> Turn:
    """Where the rater stands, with assignments whose pictures are all there: an item without its file is marked, and another given."""
    while True:
        turn = hand_out(connection, study, rater, now)
        gone = [row.item_id for row in turn.given if not all(one.path.is_file() for one in _pictures(study, row))]
        if not gone:
            return turn
        connection.execute(update(item).where(item.c.id.in_(gone)).values(missing=True))


def _pictures(study: Study, row: Row[Any]) -> list[Picture]:
    return [study.pictures[key] for key in json.loads(row.layout)]


def _end(study: Study, connection: Connection, rater: Row[Any], turn: Turn, now: float) -> View:
    if turn.n_done == 0:
        return View("full.html")
    raters.finish(connection, rater.id, now)
    return _done(study, connection, rater)


def _done(study: Study, connection: Connection, rater: Row[Any]) -> View:
    if answers.answered_shares(connection, rater.id).get(rater.id, 1.0) < study.config.min_answered:
        return View("too_few.html", {"name": rater.name})
    code = study.config.completion_code or study.keys.code(rater.name)
    link = study.config.completion_url.replace("{code}", code)
    return View("done.html", {"code": code, "link": link, "name": rater.name})


def _item_view(study: Study, connection: Connection, rater: Row[Any], turn: Turn, now: float, notice: str) -> View:
    row, before = turn.given[0] if turn.given else None, None
    if rater.revising is not None:
        row = connection.execute(select(assignment).where(assignment.c.id == rater.revising)).one()
        before = connection.execute(select(answer).where(answer.c.assignment_id == row.id)).one()
    assert row is not None
    answers.mark_shown(connection, row, now)
    shown = _pictures(study, row)
    judged = [one for one in shown if one.model != INPUT]
    return View(
        f"{study.config.kind}.html",
        {
            "n_done": turn.n_done,
            "n_total": turn.n_total,
            "assignment": row.code,
            "practice": row.role == PRACTICE,
            "pictures": judged,
            "original": next((one for one in shown if one.model == INPUT), None),
            "preload": [one.code for other in turn.given if other.id != row.id for one in _pictures(study, other)],
            "can_go_back": rater.revising is None and turn.last is not None and turn.last.n_revisions == 0,
            "before": before,
            "picked": study.pictures[before.picture_id].code if before is not None and before.picture_id else "",
            "notice": notice,
        },
    )


def read_reply(study: Study, row: Row[Any], form: dict[str, str], is_broken: bool = False) -> Reply | None:
    """Read an answer's form; None where it says nothing that this item can be answered with.

    Args:
        study: that it belongs to.
        row: the assignment.
        form: as it was sent.
        is_broken: whether a picture of the item cannot be shown; then it may be skipped in any study.
    """
    skipped = Reply(
        SKIPPED,
        seconds=_number(form.get("seconds"), 0, MAX_SECONDS) or 0.0,
        slider_start=_number(form.get("slider_start"), 0, 10),
        display_width=_number(form.get("display_width"), 0, 20_000),
        display_height=_number(form.get("display_height"), 0, 20_000),
        pixel_ratio=_number(form.get("pixel_ratio"), 0, 20),
    )
    if form.get("skip"):
        return skipped if study.config.allow_skip or is_broken else None
    if study.config.kind == "rating":
        rating = _number(form.get("rating"), 0, 10)
        on_grid = rating is not None and abs(rating / study.config.step - round(rating / study.config.step)) < 1e-6
        return replace(skipped, verdict=RATED, rating=rating) if on_grid else None
    choice = form.get("choice", "")
    if choice in (TIE, NONE):
        return replace(skipped, verdict=choice)
    key = study.by_code.get(choice)
    if key is None or study.pictures[key].item_id != row.item_id or study.pictures[key].model == INPUT:
        return None
    return replace(skipped, verdict=PICKED, picture_id=key)


def _number(text: str | None, low: float, high: float) -> float | None:
    value = read_number(text)
    return value if value is not None and low <= value <= high else None


def take_answer(
    study: Study, connection: Connection, rater: Row[Any], code: str, form: dict[str, str], now: float
) -> Outcome | None:
    """Store what a form says; None where it cannot be read."""
    row = answers.assignment_of(connection, rater.id, code)
    if row is None:
        return Outcome.UNKNOWN
    # The browser may have found a picture broken, but who sends the form may say anything.
    is_broken = form.get("skip") == "broken" and not all(is_whole(one) for one in _pictures(study, row))
    reply = read_reply(study, row, form, is_broken)
    if reply is None or rater.excluded_at is not None:
        return None
    if is_broken:
        connection.execute(update(item).where(item.c.id == row.item_id).values(missing=True))
    return answers.save_answer(connection, study.config, rater, row, reply, now)
