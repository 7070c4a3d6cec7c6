"""Who judges what: each rater's plan, and handing out items so that each gets exactly as many answers as asked for.

An item's `n_taken` counts the answers that count and the assignments in flight. It changes only inside `Store.writing`, together with
the assignments themselves, so it never goes past `raters_per_item`, however many raters ask at once. All functions here run inside
such a transaction.
"""

import json
import random
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, func, insert, or_, select, update

from legan_study.config import StudyConfig
from legan_study.sources import INPUT
from legan_study.store import (
    ANSWERED,
    GOLD,
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
AHEAD = 2  # the item on the page, and the next one, whose images load meanwhile


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
    earliest = min(config.repeat_distance + n_gold + n_repeats, len(middle))  # so many main items lie far enough before
    for _ in range(n_repeats):
        middle.insert(draw.randint(earliest, len(middle)), "r")
    return "p" * counts.get(PRACTICE, 0) + "".join(middle)


def has_room(connection: Connection, config: StudyConfig, now: float) -> bool:
    """Whether a new rater would find an item to judge."""
    expire_assignments(connection, config, now)
    return _free_item(connection, config, rater_id=0) is not None


@dataclass(frozen=True)
class Turn:
    """Where a rater stands.

    Args:
        given: open assignments in order, two at most: what the page shows now, and what comes next. Empty: the end.
        n_done, n_total: of the items after the practice.
        last: the latest answered assignment, with `n_revisions`; None before the first answer.
    """

    given: list[Row[Any]]
    n_done: int
    n_total: int
    last: Row[Any] | None


def assign_items(connection: Connection, study: Study, rater_row: Row[Any], now: float) -> Turn:
    """Tell where a rater stands, with items to go on with.

    Gives out items where there are none, takes up again those whose time ran out while the item has room, and ends the plan where
    no item is left.
    """
    expire_assignments(connection, study.config, now)
    held = {row.position: row for row in connection.execute(_HELD, {"rater_id": rater_row.id})}
    given: list[Row[Any]] = []
    letters = list(rater_row.plan)
    for position, letter in enumerate(rater_row.plan):
        row = held.get(position)
        if letter == NOTHING or (row is not None and row.state == ANSWERED):
            continue
        if row is not None and not _keep(connection, study, row, now):
            row = None
        if row is None:
            row = _give(connection, study, rater_row.id, position, LETTERS[letter], now)
        if row is not None:
            given.append(row)
            if len(given) == AHEAD:
                break
        elif letter == "m":  # main items are what the rest of the plan is about: without one, the rater is done
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
    return Turn(given, n_done, len(plan) - plan.count(NOTHING) - plan.count("p"), last)


def expire_assignments(connection: Connection, config: StudyConfig, now: float) -> None:
    """Return the assignments whose time has run out, so that others may have the items.

    So are those that were given out in what is now the future: the server's clock was set back, and they would be held until then.
    """
    for row in connection.execute(_LATE, {"now": now, "latest": now + 2 * 60 * config.timeout_minutes}).all():
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(state=RETURNED))
        if row.role == MAIN:
            change_taken(connection, row.item_id, -1)


def reopen_assignment(connection: Connection, config: StudyConfig, row: Row[Any], now: float) -> bool:
    """Open a returned assignment again if its item has room; otherwise it is lost."""
    free = row.role != MAIN or n_taken(connection, row.item_id) < config.raters_per_item
    values = {"state": OPEN, "expires_at": now + 60 * config.timeout_minutes} if free else {"state": LOST}
    connection.execute(update(assignment).where(assignment.c.id == row.id).values(values))
    if free and row.role == MAIN:
        change_taken(connection, row.item_id, 1)
    return free


def change_taken(connection: Connection, item_id: int, by: int) -> None:
    """Count one answer or assignment more (1) or fewer (-1) for an item."""
    connection.execute(_CHANGE_TAKEN, {"key": item_id, "by": by})


def n_taken(connection: Connection, item_id: int) -> int:
    """An item's answers that count, and assignments in flight."""
    return connection.execute(select(item.c.n_taken).where(item.c.id == item_id)).scalar_one()


def _keep(connection: Connection, study: Study, row: Row[Any], now: float) -> bool:
    """Whether an assignment given out before can be shown: its images are there, and its time is not up or the item has room."""
    if row.missing:
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(state=LOST))
        if row.role == MAIN and row.state == OPEN:
            change_taken(connection, row.item_id, -1)
        return False
    if row.state == RETURNED:
        return reopen_assignment(connection, study.config, row, now)
    minutes = study.config.timeout_minutes
    if row.expires_at - now < 30 * minutes:  # half the time is gone, and the rater is still here
        connection.execute(update(assignment).where(assignment.c.id == row.id).values(expires_at=now + 60 * minutes))
    return True


def _give(connection: Connection, study: Study, rater_id: int, position: int, role: str, now: float) -> Row[Any] | None:
    """Give the rater an item of a role; None where there is none."""
    if role == REPEAT:
        item_id = _repeatable(connection, study.config, rater_id, position)
    elif role == MAIN:
        item_id = _free_item(connection, study.config, rater_id)
    else:
        item_id = connection.execute(_OF_ROLE, {"role": role, "rater_id": rater_id}).scalar()
    if item_id is None:
        return None
    pictures = study.of_item[item_id]
    shown = [key for key in pictures if study.pictures[key].model != INPUT]
    random.SystemRandom().shuffle(shown)
    originals = [key for key in pictures if study.pictures[key].model == INPUT]
    values = {
        "code": secrets.token_urlsafe(16), "rater_id": rater_id, "item_id": item_id, "role": role, "position": position,
        "layout": json.dumps([*shown, *originals]), "state": OPEN, "assigned_at": now,
        "expires_at": now + 60 * study.config.timeout_minutes,
    }  # fmt: skip
    if role == MAIN:
        change_taken(connection, item_id, 1)
    return connection.execute(_INSERT, values).one()


def _free_item(connection: Connection, config: StudyConfig, rater_id: int) -> int | None:
    """An item with room that the rater has not had: the least covered, at random among equals."""
    return connection.execute(_FREE, {"most": config.raters_per_item, "rater_id": rater_id}).scalar()


def _repeatable(connection: Connection, config: StudyConfig, rater_id: int, position: int) -> int | None:
    """An item that the rater answered long enough ago and has not seen twice."""
    return connection.execute(_REPEATABLE, {"rater_id": rater_id, "latest": position - config.repeat_distance}).scalar()


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
_INSERT = insert(assignment).returning(*assignment.c)
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
