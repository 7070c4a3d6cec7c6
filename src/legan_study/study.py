"""An open study: its folder, database and images, checked for soundness."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    and_,
    func,
    not_,
    or_,
    select,
    text,
    update,
)

from legan.core.errors import ImageError, StudyError
from legan.core.files import path_inside
from legan.core.images import decoded
from legan_study import store as tables
from legan_study.config import KINDS, PICTURES, Keys, StudyConfig, read_keys, read_settings
from legan_study.store import BUSY_SECONDS, Store, answer, assignment, item, picture, rater, study

# Whether a study's SQLite database can be believed: a file that was damaged on its disk is refused before anything is made of it.
#
# SQLite finds a broken structure by itself, but not values that were overwritten: those are held against the tables' columns, and against
# each other.


_ROLES = (tables.MAIN, tables.GOLD, tables.PRACTICE)
_PLAN = frozenset("pmgr-")  # letters of `assignment.LETTERS`, and for nothing
_CHOICES = (
    (tables.study.c.kind, KINDS),
    (item.c.role, _ROLES),
    (assignment.c.role, (*_ROLES, tables.REPEAT)),
    (assignment.c.state, (tables.OPEN, tables.ANSWERED, tables.RETURNED, tables.LOST)),
    (answer.c.verdict, (tables.RATED, tables.PICKED, tables.TIE, tables.NONE, tables.SKIPPED)),
)


def check_structure(store: Store) -> None:
    """Let SQLite look through its file.

    Raises:
        StudyError: it is damaged.
    """
    if store.is_sqlite:
        with store.reading() as connection:
            words = connection.execute(text("PRAGMA integrity_check(1)")).scalar()
        if words != "ok":
            raise _damaged(store, str(words).splitlines()[-1])


def check_values(store: Store) -> None:
    """Hold the values against what this version of legan writes; for tables of this version.

    Raises:
        StudyError: the database is damaged.
    """
    if store.is_sqlite:
        with store.reading() as connection:
            found = next(_faults(connection), None)
        if found:
            raise _damaged(store, found)


def _damaged(store: Store, words: str) -> StudyError:
    return StudyError(f"the database {store.name} is damaged ({words}): restore it from a copy")


def _faults(connection: Connection) -> Iterator[str]:
    for table in tables.metadata.sorted_tables:
        wrong = or_(*(not_(_fits(column)) for column in table.c))
        if _has(connection, table, wrong):
            yield f"wrong values in the table {table.name}"
    for column, allowed in _CHOICES:
        if _has(connection, column.table, column.not_in(allowed)):
            yield f"an unknown {column.table.name}.{column.name}"
    if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
        yield "rows that belong to nothing"
    yield from _wrong_answers(connection)
    yield from _wrong_texts(connection)


def _fits(column: Column) -> ColumnElement[bool]:
    """Whether a value is of its column's type, as SQL; SQLite takes values of any type in each column."""
    kind = func.typeof(column)
    if isinstance(column.type, Boolean):
        fits = and_(kind == "integer", column.in_([True, False]))
    elif isinstance(column.type, Integer):
        fits = kind == "integer"
    elif isinstance(column.type, Float):
        fits = and_(kind.in_(["real", "integer"]), func.abs(column) < 1e15)
    else:
        fits = and_(kind == "text", func.instr(column, "\0") == 0)
    return or_(kind == "null", fits) if column.nullable else fits


def _has(connection: Connection, table: FromClause, condition: ColumnElement[bool]) -> bool:
    return connection.execute(select(1).select_from(table).where(condition).limit(1)).first() is not None


def _wrong_answers(connection: Connection) -> Iterator[str]:
    """Verdicts without what belongs to them, and assignments whose state is not that of their answer."""
    rated, picked = answer.c.verdict == tables.RATED, answer.c.verdict == tables.PICKED
    if _has(connection, answer, or_(rated != answer.c.rating.is_not(None), picked != answer.c.picture_id.is_not(None))):
        yield "answers without what was answered"
    if _has(connection, answer, or_(answer.c.rating < 0, answer.c.rating > 10)):
        yield "ratings outside 0..10"
    answered = select(answer.c.assignment_id)
    if _has(connection, assignment, (assignment.c.state == tables.ANSWERED) != assignment.c.id.in_(answered)):
        yield "assignments and answers that do not agree"
    if _has(connection, rater, and_(rater.c.revising.is_not(None), rater.c.revising.not_in(answered))):
        yield "a revised answer that there is none of"


def _wrong_texts(connection: Connection) -> Iterator[str]:
    """Texts that hold lists: models, plans, and images as shown."""
    models = [_list(words) for words in connection.execute(select(tables.study.c.models)).scalars()]
    if None in models or not all(isinstance(name, str) for names in models for name in names or ()):
        yield "unreadable models"
    if not all(set(plan) <= _PLAN for plan in connection.execute(select(rater.c.plan)).scalars()):
        yield "an unreadable plan"
    own: dict[int, set[object]] = {}
    for row in connection.execute(select(picture.c.id, picture.c.item_id)):
        own.setdefault(row.item_id, set()).add(row.id)
    for row in connection.execute(select(assignment.c.item_id, assignment.c.layout)):
        shown = _list(row.layout) or []
        # One by one: what is damaged may hold lists, which no set takes.
        if not all(isinstance(key, int) for key in shown) or set(shown) != own.get(row.item_id) or len({*shown}) < len(shown):
            yield "unreadable images of an assignment"


def _list(words: str) -> list[object] | None:
    try:
        found = json.loads(words)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


# An opened study: its folder, settings, secrets and database, and where each image lies.


@dataclass(frozen=True)
class Picture:
    """An image as the page needs it: the file, and its size in pixels."""

    code: str
    path: Path
    width: int
    height: int
    item_id: int
    model: str


@dataclass
class Study:
    """A study that can be served, looked at and exported; a context manager that closes the database.

    `tag` is short and no other study's; it stays the same. Images are known by their number; `by_code` gives the number of a code,
    `of_item` those of an item.
    """

    folder: Path
    config: StudyConfig
    keys: Keys
    store: Store
    models: tuple[str, ...]
    pictures: dict[int, Picture]
    tag: str

    def __post_init__(self) -> None:
        self.by_code = {one.code: key for key, one in self.pictures.items()}
        self.of_item: dict[int, list[int]] = {}
        for key, one in self.pictures.items():
            self.of_item.setdefault(one.item_id, []).append(key)

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()


def open_study(folder: Path, busy_seconds: float = BUSY_SECONDS) -> Study:
    """Open a study; brings its tables up to date.

    Raises:
        StudyError: no study, secrets that others may read, or a database that is damaged or does not belong to it.
        DataError: an image that lies outside of the study's folder.
        StoreError: the database cannot be reached.
    """
    import json

    folder = Path(folder)
    config, keys = read_settings(folder), read_keys(folder)
    if keys.database.startswith("sqlite:///") and not (folder / keys.database.removeprefix("sqlite:///")).is_file():
        raise StudyError(
            f"the database of {folder} is missing ({keys.database}): restore it from a copy, or make the study again"
        )
    store = Store(keys.database, folder, busy_seconds)
    check_structure(store)
    store.migrate()
    check_values(store)
    with store.reading() as connection:
        about = connection.execute(select(study)).first()
        rows = connection.execute(select(picture)).all()
    if about is None:
        raise StudyError(f"the database of {folder} holds no study: restore it from a copy, or check LEGAN_STUDY_DATABASE")
    if about.kind != config.kind:
        raise StudyError(f'{folder} was made as a {about.kind} study: set kind = "{about.kind}" in study.toml')
    place = folder / PICTURES
    pictures = {r.id: Picture(r.code, path_inside(place, r.file), r.width, r.height, r.item_id, r.model) for r in rows}
    tag = keys.digest("tag", repr(about.created_at))[:8]
    return Study(folder, config, keys, store, tuple(json.loads(about.models)), pictures, tag)


def is_whole(one: Picture) -> bool:
    """Whether an image's file is there and can be shown."""
    try:
        with decoded(one.path):
            return True
    except ImageError:
        return False


def note_missing(opened: Study) -> list[str]:
    """Mark the items of which an image's file is gone, so that nobody gets them, and those whose images came back; return the names."""
    gone = {one.item_id for one in opened.pictures.values() if not one.path.is_file()}
    with opened.store.reading() as connection:
        marked = set(connection.execute(select(item.c.id).where(item.c.missing.is_(True))).scalars())
    # What a rater found broken stays so until its file is restored.
    gone |= {one.item_id for one in opened.pictures.values() if one.item_id in marked and not is_whole(one)}
    if gone != marked:
        with opened.store.writing() as connection:
            for item_id in gone ^ marked:
                connection.execute(update(item).where(item.c.id == item_id).values(missing=item_id in gone))
    with opened.store.reading() as connection:
        return list(connection.execute(select(item.c.name).where(item.c.missing.is_(True)).order_by(item.c.name)).scalars())
