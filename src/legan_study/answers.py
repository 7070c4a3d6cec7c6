"""Storing answers: once, whatever is sent twice, and on the disk before the page says so. All functions run inside `Store.writing`."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, insert, select, update

from legan_study.assignment import change_taken, n_taken, reopen_assignment
from legan_study.config import StudyConfig
from legan_study.store import ANSWERED, LOST, MAIN, OPEN, PRACTICE, RETURNED, SKIPPED, answer, assignment, item, rater


@dataclass(frozen=True)
class Reply:
    """What a rater answered.

    Args:
        verdict: rated, picked, tie, none or skipped.
        rating: 0..10, of the verdict "rated".
        image_id: of the verdict "picked".
        seconds: for which the page was visible with its images, as the browser tells.
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
    """What became of an answer."""

    SAVED = "saved"
    KEPT = "kept"  # it was answered before, and that answer stays
    PASSED_ON = "passed on"  # its time ran out and others have the item; not stored
    UNKNOWN = "unknown"  # no assignment of this rater


def assignment_of(connection: Connection, rater_id: int, code: str) -> Row[Any] | None:
    """The rater's assignment with a code; None for another rater's."""
    return connection.execute(_FOUND, {"code": code, "rater_id": rater_id}).one_or_none()


def save_answer(
    connection: Connection, config: StudyConfig, rater_row: Row[Any], row: Row[Any], reply: Reply, now: float
) -> Outcome:
    """Store an answer to the rater's assignment `row`, or the revised one of the item that the rater went back to.

    Returns:
        what became of it; SAVED only if this call stored it.
    """
    if row.state == ANSWERED:
        return _revise(connection, config, rater_row, row, reply, now)
    if row.state == LOST or (row.state == RETURNED and not reopen_assignment(connection, config, row, now)):
        return Outcome.PASSED_ON
    server_seconds = _seconds_since(row, now)
    values = {**reply.__dict__, "assignment_id": row.id, "server_seconds": server_seconds, "answered_at": now}
    connection.execute(_INSERT, values)
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

    An item that cannot be shown, as the server itself sees, may be skipped and is not counted.

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


def go_back(connection: Connection, rater_row: Row[Any]) -> bool:
    """Let the rater revise the answer before; once an item. Returns whether that is allowed."""
    last = last_answer(connection, rater_row.id)
    if rater_row.revising is not None or last is None or last.n_revisions > 0:
        return False
    connection.execute(update(rater).where(rater.c.id == rater_row.id).values(revising=last.assignment_id))
    return True


def last_answer(connection: Connection, rater_id: int) -> Row[Any] | None:
    """The rater's latest answer by position, with `position`."""
    query = (
        select(answer, assignment.c.position)
        .join(assignment, assignment.c.id == answer.c.assignment_id)
        .where(assignment.c.rater_id == rater_id)
    )
    return connection.execute(query.order_by(assignment.c.position.desc()).limit(1)).one_or_none()


def mark_shown(connection: Connection, row: Row[Any], now: float) -> None:
    """Note when an assignment was first on the page."""
    if row.shown_at is None and row.state == OPEN:
        connection.execute(_SHOWN, {"key": row.id, "now": now})


# Statements of every answer, built once.
_FOUND = select(assignment).where(assignment.c.code == bindparam("code"), assignment.c.rater_id == bindparam("rater_id"))
_INSERT = insert(answer)
_ANSWERED = update(assignment).where(assignment.c.id == bindparam("key")).values(state=ANSWERED)
_SHOWN = update(assignment).where(assignment.c.id == bindparam("key")).values(shown_at=bindparam("now"))
