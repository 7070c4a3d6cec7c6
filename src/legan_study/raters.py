"""Raters: entry by link, invitation or panel, completion codes, exclusion and its undoing, erasure. No names, no network addresses.

Functions with a connection run inside `Store.writing`; those that only look up a rater also inside `Store.reading`.
"""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select, update

from legan.core.errors import StudyError
from legan_study.assignment import change_taken, make_plan
from legan_study.config import Keys, StudyConfig
from legan_study.store import ANSWERED, LOST, MAIN, OPEN, RETURNED, SKIPPED, answer, assignment, invitation, item, rater
from legan_study.study import open_study

SIMULATED = "simulated"  # prefix of names by which `legan.data.ratings` recognises simulated raters
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
    """Add a rater who has given consent, and return the row; `session` identifies the rater from now on."""
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
    """The rater of a session; None if it has ended."""
    return connection.execute(_BY_SESSION, {"session": session}).one_or_none()


def returning(connection: Connection, column: Any, value: object) -> Row[Any] | None:
    """The rater who entered by the same invitation or panel name before, with a new session; earlier sessions end."""
    row = connection.execute(select(rater).where(column == value)).one_or_none()
    if row is None:
        return None
    connection.execute(update(rater).where(rater.c.id == row.id).values(session=secrets.token_urlsafe(16)))
    return connection.execute(select(rater).where(rater.c.id == row.id)).one()


def invite(connection: Connection, keys: Keys, n: int, now: float, days: float) -> list[str]:
    """Add invitations and return their tokens, of which only keyed hashes are stored."""
    tokens = [secrets.token_urlsafe(16) for _ in range(n)]
    rows = [
        {"token_hash": keys.digest("invitation", token), "created_at": now, "expires_at": now + 86400 * days}
        for token in tokens
    ]
    connection.execute(insert(invitation), rows)
    return tokens


def invitation_of(connection: Connection, keys: Keys, token: str, now: float) -> int | None:
    """Key of a valid invitation; None if it is forged or expired, or its rater has finished."""
    query = select(invitation).where(invitation.c.token_hash == keys.digest("invitation", token))
    row = connection.execute(query).one_or_none()
    if row is None or row.expires_at < now:
        return None
    used = select(rater.c.finished_at).where(rater.c.invitation_id == row.id, rater.c.finished_at.is_not(None))
    return None if connection.execute(used).first() else row.id


def came_by(connection: Connection, keys: Keys, session: str, token: str) -> bool:
    """Whether the rater of a session entered by this invitation."""
    query = select(rater.c.id).join(invitation, invitation.c.id == rater.c.invitation_id)
    query = query.where(rater.c.session == session, invitation.c.token_hash == keys.digest("invitation", token))
    return connection.execute(query).first() is not None


def find(connection: Connection, keys: Keys, word: str) -> Row[Any]:
    """The rater with a name, a completion code, or a panel's name for a person.

    Raises:
        StudyError: there is none.
    """
    for column, value in ((rater.c.name, word), (rater.c.panel_hash, keys.digest("panel", word))):
        row = connection.execute(select(rater).where(column == value)).one_or_none()
        if row is not None:
            return row
    for row in connection.execute(select(rater)):
        if keys.code(row.name) == word.strip().upper():
            return row
    raise StudyError(f"no rater '{word}': give a name (r-...), a rater's own completion code, or the panel's name")


def finish(connection: Connection, rater_id: int, now: float) -> None:
    """Store that the rater has reached the end."""
    connection.execute(update(rater).where(rater.c.id == rater_id, rater.c.finished_at.is_(None)).values(finished_at=now))


def exclude(connection: Connection, rater_id: int, now: float) -> None:
    """Exclude a rater: the answers stay in the database but no longer count, so others get the items."""
    row = connection.execute(select(rater).where(rater.c.id == rater_id)).one()
    if row.excluded_at is None:
        _change_places(connection, rater_id, -1)
        connection.execute(update(assignment).where(_open_of(rater_id)).values(state=LOST))
        connection.execute(update(rater).where(rater.c.id == rater_id).values(excluded_at=now))


def include(connection: Connection, rater_id: int) -> None:
    """Undo `exclude`: the answers count again, in addition to those of others who got the items since."""
    row = connection.execute(select(rater).where(rater.c.id == rater_id)).one()
    if row.excluded_at is not None:
        _change_places(connection, rater_id, 1)
        connection.execute(update(rater).where(rater.c.id == rater_id).values(excluded_at=None))


def forget(connection: Connection, rater_id: int) -> int:
    """Erase a rater with all answers and return their number; others get the items."""
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
    """For each main item, `n_taken` and the number of answers that count plus open assignments: equal, or a bug of legan."""
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


# Names that panels give to people, as opposed to the placeholder of a link that the panel did not fill in.
#
# Panels write placeholders in many ways: `{{%PROLIFIC_PID%}}`, `${workerId}`, `[%RID%]`, `%%id%%`, `<id>`, `#{id}`, `$id`. All of them have
# a character that no panel's names have, or are the bare name of a parameter. Taken for a name, a placeholder would make everybody the
# same rater.


_NAME_MARKS = frozenset("-_.@+=/:~ ")  # besides letters and digits: of e-mail addresses, base64 and namespaced names
_NOT_NAMES = frozenset((
    "assignmentid", "assignmentidnotavailable", "empty", "externalid", "hitid", "id", "insertidhere", "memberid", "na",
    "nan", "none", "notavailable", "null", "panelid", "panelistid", "participant", "participantid", "person", "personid",
    "pid", "placeholder", "prolificid", "prolificpid", "psid", "respondent", "respondentid", "responseid", "rid", "session",
    "sessionid", "sid", "studyid", "subject", "subjectid", "surveycode", "tid", "transactionid", "transid", "undefined",
    "unknown", "user", "userid", "uid", "worker", "workerid", "xxx", "yourid",
))  # fmt: skip


def is_name(text: str, parameter: str) -> bool:
    """Whether a link's value can be a person's name in a panel: neither a placeholder nor a program's word for nothing.

    Args:
        text: the value, as the browser sent it.
        parameter: its parameter in the link, such as PROLIFIC_PID.
    """
    if not all(letter.isalnum() or letter in _NAME_MARKS for letter in text):
        return False
    bare = _bare(text)
    return bool(bare) and bare != _bare(parameter) and bare not in _NOT_NAMES


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


# `legan study invite` and `legan study forget`.


def make_links(folder: Path, n: int, url: str, days: float) -> list[str]:
    """Add `n` invitations and return their links.

    Raises:
        StudyError: raters of this study enter another way.
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
    """Erase a rater; return the name and the number of answers.

    Raises:
        StudyError: there is no such rater.
    """
    with open_study(folder) as study:
        with study.store.writing() as connection:
            row = find(connection, study.keys, word)
            n_answers = forget(connection, row.id)
        study.store.empty_log()
    return row.name, n_answers
