"""Raters: consent, sessions, invitations, and who may take part."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from legan.core.errors import StudyError
from legan_study.assignment import change_taken, make_plan
from legan_study.config import Keys, StudyConfig
from legan_study.store import ANSWERED, LOST, MAIN, OPEN, RETURNED, SKIPPED, answer, assignment, invitation, item, rater
from legan_study.study import open_study

# Raters: how they come in, their completion codes, exclusion and its undoing, and being forgotten. No names, no network addresses.
#
# All functions run inside `Store.writing`, those that only find a rater inside `Store.reading` too.


SIMULATED = "simulated"  # as `data.ratings` knows simulated raters
_BY_SESSION = select(rater).where(rater.c.session == bindparam("session"))
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike


def join(
    connection: Connection,
    config: StudyConfig,
    now: float,
    session: str,
    panel_hash: str | None = None,
    invitation_id: int | None = None,
) -> Row[Any]:
    """Enter a rater who has agreed to take part, and return the row; `session` is what the rater is known by from now on."""
    kind = SIMULATED if config.simulated else "r"
    values = {
        "name": f"{kind}-{''.join(secrets.choice(_LETTERS) for _ in range(8))}",
        "session": session,
        "panel_hash": panel_hash,
        "invitation_id": invitation_id,
        "plan": make_plan(connection, config),
        "consented_at": now,
    }
    return connection.execute(insert(rater).values(values).returning(*rater.c)).one()


def by_session(connection: Connection, session: str) -> Row[Any] | None:
    """The rater of a session; None where there is none any more."""
    return connection.execute(_BY_SESSION, {"session": session}).one_or_none()


def returning(connection: Connection, column: Any, value: object) -> Row[Any] | None:
    """The rater who came by the same invitation or panel name before, on a new session that ends the ones before."""
    row = connection.execute(select(rater).where(column == value)).one_or_none()
    if row is None:
        return None
    connection.execute(update(rater).where(rater.c.id == row.id).values(session=secrets.token_urlsafe(16)))
    return connection.execute(select(rater).where(rater.c.id == row.id)).one()


def invite(connection: Connection, keys: Keys, n: int, now: float, days: float) -> list[str]:
    """Make invitations and return their tokens, which are stored as keyed hashes only."""
    tokens = [secrets.token_urlsafe(16) for _ in range(n)]
    rows = [
        {"token_hash": keys.digest("invitation", token), "created_at": now, "expires_at": now + 86400 * days}
        for token in tokens
    ]
    connection.execute(insert(invitation), rows)
    return tokens


def invitation_of(connection: Connection, keys: Keys, token: str, now: float) -> int | None:
    """Number of a valid invitation; None for one that is forged or out of date, or whose rater has finished."""
    found = select(invitation).where(invitation.c.token_hash == keys.digest("invitation", token))
    row = connection.execute(found).one_or_none()
    if row is None or row.expires_at < now:
        return None
    used = select(rater.c.finished_at).where(rater.c.invitation_id == row.id, rater.c.finished_at.is_not(None))
    return None if connection.execute(used).first() else row.id


def came_by(connection: Connection, keys: Keys, session: str, token: str) -> bool:
    """Whether the rater of a session came by an invitation."""
    query = select(rater.c.id).join(invitation, invitation.c.id == rater.c.invitation_id)
    query = query.where(rater.c.session == session, invitation.c.token_hash == keys.digest("invitation", token))
    return connection.execute(query).first() is not None


def find(connection: Connection, keys: Keys, word: str) -> Row[Any]:
    """The rater of a name, a completion code, or a panel's name for a person.

    Raises:
        StudyError: nobody is known by it.
    """
    for column, value in ((rater.c.name, word), (rater.c.panel_hash, keys.digest("panel", word))):
        row = connection.execute(select(rater).where(column == value)).one_or_none()
        if row is not None:
            return row
    for row in connection.execute(select(rater)):
        if keys.code(row.name) == word.strip().upper():
            return row
    raise StudyError(f"no rater is known by '{word}': give a name (r-...), a completion code of their own, or the panel's name")


def finish(connection: Connection, rater_id: int, now: float) -> None:
    """Note that the rater has reached the end."""
    connection.execute(update(rater).where(rater.c.id == rater_id, rater.c.finished_at.is_(None)).values(finished_at=now))


def exclude(connection: Connection, rater_id: int, now: float) -> None:
    """Leave a rater out: the answers stay in the database but no longer count, so others get the items."""
    row = connection.execute(select(rater).where(rater.c.id == rater_id)).one()
    if row.excluded_at is None:
        _change_places(connection, rater_id, -1)
        connection.execute(update(assignment).where(_open_of(rater_id)).values(state=LOST))
        connection.execute(update(rater).where(rater.c.id == rater_id).values(excluded_at=now))


def include(connection: Connection, rater_id: int) -> None:
    """Undo `exclude`: the answers count again, beside those of others who got the items since."""
    row = connection.execute(select(rater).where(rater.c.id == rater_id)).one()
    if row.excluded_at is not None:
        _change_places(connection, rater_id, 1)
        connection.execute(update(rater).where(rater.c.id == rater_id).values(excluded_at=None))


def forget(connection: Connection, rater_id: int) -> int:
    """Erase a rater with all answers and return how many these were; others get the items."""
    row = connection.execute(select(rater).where(rater.c.id == rater_id)).one()
    if row.excluded_at is None:
        _change_places(connection, rater_id, -1)
    own = select(assignment.c.id).where(assignment.c.rater_id == rater_id)
    n_answers = connection.execute(delete(answer).where(answer.c.assignment_id.in_(own))).rowcount
    connection.execute(delete(assignment).where(assignment.c.rater_id == rater_id))
    connection.execute(delete(rater).where(rater.c.id == rater_id))
    return n_answers


def _open_of(rater_id: int) -> Any:
    return (assignment.c.rater_id == rater_id) & assignment.c.state.in_((OPEN, RETURNED))


def _change_places(connection: Connection, rater_id: int, by: int) -> None:
    """Free (-1) or take (1) the places of the rater's answers and open assignments."""
    for item_id in _places(connection, rater_id):
        change_taken(connection, item_id, by)


def _places(connection: Connection, rater_id: int) -> Sequence[int]:
    query = (
        select(assignment.c.item_id)
        .join(answer, answer.c.assignment_id == assignment.c.id, isouter=True)
        .where(assignment.c.rater_id == rater_id, assignment.c.role == MAIN)
        .where((assignment.c.state == OPEN) | ((assignment.c.state == ANSWERED) & (answer.c.verdict != SKIPPED)))
    )
    return connection.execute(query).scalars().all()


def true_counts(connection: Connection) -> dict[int, tuple[int, int]]:
    """For each main item, what `n_taken` says and what the answers and open assignments add up to: equal, or a fault of legan."""
    from sqlalchemy import case, func

    counts = case(
        (rater.c.excluded_at.is_not(None), 0),
        (assignment.c.state == OPEN, 1),
        ((assignment.c.state == ANSWERED) & (answer.c.verdict != SKIPPED), 1),
        else_=0,
    )
    query = (
        select(item.c.id, item.c.n_taken, func.coalesce(func.sum(counts), 0))
        .select_from(item)
        .join(assignment, (assignment.c.item_id == item.c.id) & (assignment.c.role == MAIN), isouter=True)
        .join(rater, rater.c.id == assignment.c.rater_id, isouter=True)
        .join(answer, answer.c.assignment_id == assignment.c.id, isouter=True)
        .where(item.c.role == MAIN)
        .group_by(item.c.id, item.c.n_taken)
    )
    return {row[0]: (row[1], int(row[2])) for row in connection.execute(query)}


# Inviting raters, and forgetting one.


def make_links(folder: Path, n: int, url: str, days: float) -> list[str]:
    """Make `n` invitations and return their links.

    Raises:
        StudyError: the study lets people in another way.
    """
    with open_study(folder) as study:
        if study.config.entry != "invitation":
            raise StudyError(
                f'this study is entered by {study.config.entry} link: set entry = "invitation" in {folder}/study.toml'
            )
        with study.store.writing() as connection:
            tokens = invite(connection, study.keys, n, time.time(), days)
    return [f"{url.rstrip('/')}/?invitation={token}" for token in tokens]


def forget_rater(folder: Path, word: str) -> tuple[str, int]:
    """Erase a rater; return the name and how many answers there were.

    Raises:
        StudyError: nobody is known by `word`.
    """
    with open_study(folder) as study:
        with study.store.writing() as connection:
            row = find(connection, study.keys, word)
            n_answers = forget(connection, row.id)
        study.store.empty_log()
    return row.name, n_answers
