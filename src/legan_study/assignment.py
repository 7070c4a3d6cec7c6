"""Each rater's plan, the assignment of items, and the answers to them; each item gets exactly `raters_per_item` answers.

An item's `n_taken` is its answers that count plus its open assignments. It changes only inside `Store.writing`, together with the
assignments themselves, so it never exceeds `raters_per_item`, however many requests arrive at once. All functions here run inside such a
transaction.
"""

import json
import random
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, case, func, insert, or_, select, update

from legan_study.config import StudyConfig
from legan_study.store import (
    ANSWERED,
    GOLD,
    INPUT,
    LOST,
    MAIN,
    OPEN,
    PRACTICE,
    REPEAT,
    RETURNED,
    SKIPPED,
    answer,
    assignment,
    item,
    rater,
)
from legan_study.study import Study

LETTERS = {"p": PRACTICE, "m": MAIN, "g": GOLD, "r": REPEAT}
NOTHING = "-"
AHEAD = 2  # open assignments of a rater: the item on the page, and the next one, whose images are preloaded


def make_plan(connection: Connection, config: StudyConfig) -> str:
    """Return a new rater's plan, a letter a position: practice first, then all others mixed, repeats late enough to be repeats."""
    query = select(item.c.role, func.count()).where(item.c.missing.is_(False)).group_by(item.c.role)
    counts = {row[0]: row[1] for row in connection.execute(query)}
    n_main = min(config.items_per_rater, counts.get(MAIN, 0))
    n_repeats = min(config.repeats_per_rater, max(0, n_main - config.repeat_distance))
    n_gold = min(config.gold_per_rater, counts.get(GOLD, 0))
    middle = ["m"] * n_main + ["g"] * n_gold
    draw = random.SystemRandom()
    draw.shuffle(middle)
    earliest = min(
        config.repeat_distance + n_gold + n_repeats, len(middle)
    )  # from here on enough main items lie at least `repeat_distance` before
    for _ in range(n_repeats):
        middle.insert(draw.randint(earliest, len(middle)), "r")
    return "p" * counts.get(PRACTICE, 0) + "".join(middle)


def has_room(connection: Connection, config: StudyConfig, now: float) -> bool:
    """Whether an item is left for a new rater."""
    expire_assignments(connection, config, now)
    return _free_item(connection, config, rater_id=0) is not None


@dataclass(frozen=True)
class RaterState:
    """The state of a rater.

    Args:
        pending: open assignments by position, at most `AHEAD`: what the page shows now, and what comes next. Empty: the end.
        n_done, n_total: of the items after the practice.
        last: the latest answered assignment, with `n_revisions`; None before the first answer.
    """

    pending: list[Row[Any]]
    n_done: int
    n_total: int
    last: Row[Any] | None


def assign_items(connection: Connection, study: Study, rater_row: Row[Any], now: float) -> RaterState:
    """Return the state of a rater, with up to `AHEAD` open assignments.

    Assigns new items by the plan, reopens returned assignments while their item has room, and ends the plan where no item is left.
    """
    expire_assignments(connection, study.config, now)
    held = {row.position: row for row in connection.execute(_HELD, {"rater_id": rater_row.id})}
    pending: list[Row[Any]] = []
    letters = list(rater_row.plan)
    for position, letter in enumerate(rater_row.plan):
        row = held.get(position)
        if letter == NOTHING or (row is not None and row.state == ANSWERED):
            continue
        if row is not None and not _keep(connection, study, row, now):
            row = None
        if row is None:
            row = _assign(connection, study, rater_row.id, position, LETTERS[letter], now)
        if row is not None:
            pending.append(row)
            if len(pending) == AHEAD:
                break
        elif letter == "m":  # no main item is left: gold items and repeats alone are not worth going on
            letters[position:] = NOTHING * (len(letters) - position)
            break
        else:
            letters[position] = NOTHING
    plan = "".join(letters)
    if plan != rater_row.plan:
        connection.execute(update(rater).where(rater.c.id == rater_row.id).values(plan=plan))
    answered = [row for row in held.values() if row.state == ANSWERED]
    n_done = sum(row.role != PRACTICE for row in answered)
    last = max(answered, key=lambda row: row.position, default=None)
    return RaterState(pending, n_done, len(plan) - plan.count(NOTHING) - plan.count("p"), last)


def expire_assignments(connection: Connection, config: StudyConfig, now: float) -> None:
    """Mark overdue assignments as returned, so that others may get the items.

    Also those assigned in what is now the future: the server's clock was set back, and they would stay open until then.
    """
    for row in connection.execute(_LATE, {"now": now, "latest": now + 2 * 60 * config.timeout_minutes}).all():
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(state=RETURNED))
        if row.role == MAIN:
            change_taken(connection, row.item_id, -1)


def reopen_assignment(connection: Connection, config: StudyConfig, row: Row[Any], now: float) -> bool:
    """Open a returned assignment again if its item has room, else mark it as lost; returns whether it is open."""
    free = row.role != MAIN or n_taken(connection, row.item_id) < config.raters_per_item
    values = {"state": OPEN, "expires_at": now + 60 * config.timeout_minutes} if free else {"state": LOST}
    connection.execute(update(assignment).where(assignment.c.id == row.id).values(values))
    if free and row.role == MAIN:
        change_taken(connection, row.item_id, 1)
    return free


def change_taken(connection: Connection, item_id: int, by: int) -> None:
    """Add `by` (1 or -1) to an item's count of answers and open assignments."""
    connection.execute(_CHANGE_TAKEN, {"key": item_id, "by": by})


def n_taken(connection: Connection, item_id: int) -> int:
    """An item's answers that count, plus its open assignments."""
    return connection.execute(select(item.c.n_taken).where(item.c.id == item_id)).scalar_one()


def _keep(connection: Connection, study: Study, row: Row[Any], now: float) -> bool:
    """Whether an earlier assignment can be shown: its images exist, and it is not overdue or its item has room; renews its time."""
    if row.missing:
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(state=LOST))
        if row.role == MAIN and row.state == OPEN:
            change_taken(connection, row.item_id, -1)
        return False
    if row.state == RETURNED:
        return reopen_assignment(connection, study.config, row, now)
    minutes = study.config.timeout_minutes
    if row.expires_at - now < 30 * minutes:  # more than half of the time has passed, and the rater is still active
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(expires_at=now + 60 * minutes))
    return True


def _assign(connection: Connection, study: Study, rater_id: int, position: int, role: str, now: float) -> Row[Any] | None:
    """Assign an item of a role to the rater; None where none is left."""
    if role == REPEAT:
        item_id = _repeatable(connection, study.config, rater_id, position)
    elif role == MAIN:
        item_id = _free_item(connection, study.config, rater_id)
    else:
        item_id = connection.execute(_OF_ROLE, {"role": role, "rater_id": rater_id}).scalar()
    if item_id is None:
        return None
    keys = study.of_item[item_id]
    shown = [key for key in keys if study.images[key].model != INPUT]
    random.SystemRandom().shuffle(shown)
    originals = [key for key in keys if study.images[key].model == INPUT]
    values = {
        "code": secrets.token_urlsafe(16), "rater_id": rater_id, "item_id": item_id, "role": role, "position": position,
        "layout": json.dumps([*shown, *originals]), "state": OPEN, "assigned_at": now,
        "expires_at": now + 60 * study.config.timeout_minutes,
    }  # fmt: skip
    if role == MAIN:
        change_taken(connection, item_id, 1)
    return connection.execute(_INSERT_ASSIGNMENT, values).one()


def _free_item(connection: Connection, config: StudyConfig, rater_id: int) -> int | None:
    """A main item with room that the rater has not had: one with the fewest answers, random among these."""
    return connection.execute(_FREE, {"most": config.raters_per_item, "rater_id": rater_id}).scalar()


def _repeatable(connection: Connection, config: StudyConfig, rater_id: int, position: int) -> int | None:
    """A main item that the rater answered at least `repeat_distance` positions before and that was not repeated yet."""
    return connection.execute(_REPEATABLE, {"rater_id": rater_id, "latest": position - config.repeat_distance}).scalar()


# Answers: stored once, however often the form is sent.


@dataclass(frozen=True)
class Reply:
    """An answer as the form holds it.

    Args:
        verdict: rated, picked, tie, none or skipped.
        rating: 0..10, of the verdict "rated".
        picture_id: key of the chosen image, of the verdict "picked".
        seconds: for which the page was visible with its images, measured by the browser.
        slider_start: where the slider was first put, 0..10.
        display_width, display_height: of an image on the screen, CSS pixels.
        pixel_ratio: device pixels a CSS pixel.
    """

    verdict: str
    rating: float | None = None
    picture_id: int | None = None
    seconds: float = 0.0
    slider_start: float | None = None
    display_width: float | None = None
    display_height: float | None = None
    pixel_ratio: float | None = None


class Outcome(Enum):
    """The result of saving an answer."""

    SAVED = "saved"
    KEPT = "kept"  # the item was answered before; that answer stays
    PASSED_ON = "passed on"  # not saved: the assignment was overdue and others have the item
    UNKNOWN = "unknown"  # not saved: no assignment of this rater


def assignment_of(connection: Connection, rater_id: int, code: str) -> Row[Any] | None:
    """The rater's assignment with a code; None if the rater has none with it."""
    return connection.execute(_BY_CODE, {"code": code, "rater_id": rater_id}).one_or_none()


def save_answer(
    connection: Connection, config: StudyConfig, rater_row: Row[Any], row: Row[Any], reply: Reply, now: float
) -> Outcome:
    """Save the answer to the rater's assignment `row`, or a revision of it after `go_back`.

    Returns:
        SAVED only if this call saved it.
    """
    if row.state == ANSWERED:
        return _revise(connection, config, rater_row, row, reply, now)
    if row.state == LOST or (row.state == RETURNED and not reopen_assignment(connection, config, row, now)):
        return Outcome.PASSED_ON
    server_seconds = _seconds_since(row, now)
    values = {**reply.__dict__, "assignment_id": row.id, "server_seconds": server_seconds, "answered_at": now}
    connection.execute(_INSERT_ANSWER, values)
    connection.execute(_ANSWERED, {"key": row.id})
    if row.role == MAIN and reply.verdict == SKIPPED:
        change_taken(connection, row.item_id, -1)
    return Outcome.SAVED


def _revise(
    connection: Connection, config: StudyConfig, rater_row: Row[Any], row: Row[Any], reply: Reply, now: float
) -> Outcome:
    if rater_row.revising != row.id:
        return Outcome.KEPT
    connection.execute(update(rater).where(rater.c.id == rater_row.id).values(revising=None))
    before = connection.execute(select(answer).where(answer.c.assignment_id == row.id)).one()
    # The item counts one answer more if a skip becomes an answer, one fewer the other way round.
    change = (before.verdict == SKIPPED) - (reply.verdict == SKIPPED)
    if row.role == MAIN and change:
        if change > 0 and n_taken(connection, row.item_id) >= config.raters_per_item:
            return Outcome.PASSED_ON  # skipped before, and given to another rater since
        change_taken(connection, row.item_id, change)
    start = reply.slider_start if before.slider_start is None else before.slider_start
    values = {**reply.__dict__, "seconds": before.seconds + reply.seconds, "slider_start": start}
    server_seconds = _seconds_since(row, now)
    connection.execute(
        update(answer)
        .where(answer.c.id == before.id)
        .values(**values, server_seconds=server_seconds, answered_at=now, n_revisions=before.n_revisions + 1)
    )
    return Outcome.SAVED


def _seconds_since(row: Row[Any], now: float) -> float:
    """Seconds since the item was shown; 0 where the server's clock was set back meanwhile."""
    return max(0.0, now - (row.shown_at or row.assigned_at))


def answered_shares(connection: Connection, rater_id: int | None = None) -> dict[int, float]:
    """Share of each rater's items (practice apart) that were answered and not skipped, 0..1; raters without any are left out.

    A skipped item with a missing or damaged image is not counted.

    Args:
        connection: to the database.
        rater_id: of one rater; None for all.
    """
    is_answer = answer.c.verdict != SKIPPED
    query = (
        select(assignment.c.rater_id, func.sum(case((is_answer, 1), else_=0)), func.count())
        .join(answer, answer.c.assignment_id == assignment.c.id)
        .join(item, item.c.id == assignment.c.item_id)
        .where(assignment.c.role != PRACTICE, is_answer | item.c.missing.is_(False))
        .group_by(assignment.c.rater_id)
    )
    if rater_id is not None:
        query = query.where(assignment.c.rater_id == rater_id)
    return {row[0]: row[1] / row[2] for row in connection.execute(query)}


def go_back(connection: Connection, rater_row: Row[Any]) -> None:
    """Let the rater revise the latest answer, if it was not revised before."""
    last = last_answer(connection, rater_row.id)
    if rater_row.revising is not None or last is None or last.n_revisions > 0:
        return
    connection.execute(update(rater).where(rater.c.id == rater_row.id).values(revising=last.assignment_id))


def last_answer(connection: Connection, rater_id: int) -> Row[Any] | None:
    """The rater's latest answer by position, with `position`."""
    query = (
        select(answer, assignment.c.position)
        .join(assignment, assignment.c.id == answer.c.assignment_id)
        .where(assignment.c.rater_id == rater_id)
    )
    return connection.execute(query.order_by(assignment.c.position.desc()).limit(1)).one_or_none()


def mark_shown(connection: Connection, row: Row[Any], now: float) -> None:
    """Store when an assignment was first shown."""
    if row.shown_at is None and row.state == OPEN:
        connection.execute(_SHOWN, {"key": row.id, "now": now})


# Statements of every answer, built once: building them takes longer than running them.
_RATER: BindParameter[int] = bindparam("rater_id")
_SEEN = select(assignment.c.item_id).where(assignment.c.rater_id == _RATER)
_LATE = select(assignment.c.id, assignment.c.item_id, assignment.c.role).where(
    assignment.c.state == OPEN,
    or_(assignment.c.expires_at < bindparam("now"), assignment.c.expires_at > bindparam("latest")),
)
_HELD = (
    select(assignment, item.c.missing, answer.c.n_revisions)
    .join(item, item.c.id == assignment.c.item_id)
    .join(answer, answer.c.assignment_id == assignment.c.id, isouter=True)
    .where(assignment.c.rater_id == _RATER, assignment.c.state != LOST)
)
_CHANGE_TAKEN = update(item).where(item.c.id == bindparam("key")).values(n_taken=item.c.n_taken + bindparam("by"))
_INSERT_ASSIGNMENT = insert(assignment).returning(*assignment.c)
_FREE = (
    select(item.c.id)
    .where(item.c.role == MAIN, item.c.n_taken < bindparam("most"), item.c.missing.is_(False), item.c.id.not_in(_SEEN))
    .order_by(item.c.n_taken, func.random())
    .limit(1)
)
_OF_ROLE = (
    select(item.c.id)
    .where(item.c.role == bindparam("role"), item.c.missing.is_(False), item.c.id.not_in(_SEEN))
    .order_by(func.random())
    .limit(1)
)
_REPEATABLE = (
    select(assignment.c.item_id)
    .join(answer, answer.c.assignment_id == assignment.c.id)
    .join(item, item.c.id == assignment.c.item_id)
    .where(assignment.c.rater_id == _RATER, assignment.c.role == MAIN, answer.c.verdict != SKIPPED)
    .where(assignment.c.position <= bindparam("latest"), item.c.missing.is_(False))
    .where(assignment.c.item_id.not_in(_SEEN.where(assignment.c.role == REPEAT)))
    .order_by(func.random())
    .limit(1)
)
_BY_CODE = select(assignment).where(assignment.c.code == bindparam("code"), assignment.c.rater_id == bindparam("rater_id"))
_INSERT_ANSWER = insert(answer)
_ANSWERED = update(assignment).where(assignment.c.id == bindparam("key")).values(state=ANSWERED)
_SHOWN = update(assignment).where(assignment.c.id == bindparam("key")).values(shown_at=bindparam("now"))
