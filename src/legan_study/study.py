"""An opened study: its folder, settings, secrets, database and images; a damaged database is refused."""

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
from legan_study.config import IMAGES, KINDS, Keys, StudyConfig, read_keys, read_settings
from legan_study.store import BUSY_SECONDS, Store, answer, assignment, item, rater, study


@dataclass(frozen=True)
class StudyImage:
    """An image of a study: the random code of its URL, the file, its size in pixels, and what it shows."""

    code: str
    path: Path
    width: int
    height: int
    item_id: int
    model: str


@dataclass
class Study:
    """A study that can be served, inspected and exported; a context manager that closes the database.

    `images` maps the key of an image (its row in the database) to the image, `by_code` a code to the key, `of_item` an item to its keys.
    `tag` (8 hexadecimal digits) identifies the study in names of cookies; it never changes.
    """

    folder: Path
    config: StudyConfig
    keys: Keys
    store: Store
    models: tuple[str, ...]
    images: dict[int, StudyImage]
    tag: str

    def __post_init__(self) -> None:
        self.by_code = {image.code: key for key, image in self.images.items()}
        self.of_item: dict[int, list[int]] = {}
        for key, image in self.images.items():
            self.of_item.setdefault(image.item_id, []).append(key)

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()


def open_study(folder: Path, busy_seconds: float = BUSY_SECONDS) -> Study:
    """Open a study.

    Raises:
        StudyError: no study, secrets that others may read, or a database that is damaged or does not belong to it.
        DataError: an image that lies outside of the study's folder.
        StoreError: the database cannot be reached.
    """
    folder = Path(folder)
    config, keys = read_settings(folder), read_keys(folder)
    if keys.database.startswith("sqlite:///") and not (folder / keys.database.removeprefix("sqlite:///")).is_file():
        raise StudyError(
            f"the database of {folder} is missing ({keys.database}): restore it from a copy, or make the study again"
        )
    store = Store(keys.database, folder, busy_seconds)
    check_structure(store)
    store.create_tables()
    check_values(store)
    with store.reading() as connection:
        about = connection.execute(select(study)).first()
        rows = connection.execute(select(tables.image)).all()
    if about is None:
        raise StudyError(f"the database of {folder} holds no study: restore it from a copy, or check LEGAN_STUDY_DATABASE")
    if about.kind != config.kind:
        raise StudyError(f'{folder} is a {about.kind} study: set kind = "{about.kind}" in study.toml')
    place = folder / IMAGES
    images = {r.id: StudyImage(r.code, path_inside(place, r.file), r.width, r.height, r.item_id, r.model) for r in rows}
    tag = keys.digest("tag", repr(about.created_at))[:8]
    return Study(folder, config, keys, store, tuple(json.loads(about.models)), images, tag)


def is_readable(image: StudyImage) -> bool:
    """Whether the image's file exists and can be decoded."""
    try:
        with decoded(image.path):
            return True
    except ImageError:
        return False


def mark_missing(opened: Study) -> list[str]:
    """Mark the items with a missing image file, so that they are not assigned, unmark restored ones; return the names of marked items."""
    gone = {image.item_id for image in opened.images.values() if not image.path.is_file()}
    with opened.store.reading() as connection:
        marked = set(connection.execute(select(item.c.id).where(item.c.missing.is_(True))).scalars())
    # An item marked as damaged while the study was served stays marked until its file can be read again.
    gone |= {image.item_id for image in opened.images.values() if image.item_id in marked and not is_readable(image)}
    if gone != marked:
        with opened.store.writing() as connection:
            for item_id in gone ^ marked:
                connection.execute(update(item).where(item.c.id == item_id).values(missing=item_id in gone))
    with opened.store.reading() as connection:
        return list(connection.execute(select(item.c.name).where(item.c.missing.is_(True)).order_by(item.c.name)).scalars())


# Integrity checks of a SQLite file. SQLite itself finds a broken structure, but not overwritten values: these are checked against the types
# of the columns, the values that legan writes, and each other.


_ROLES = (tables.MAIN, tables.GOLD, tables.PRACTICE)
_PLAN = frozenset("pmgr-")  # the letters of a plan, see `assignment.LETTERS` and `assignment.NOTHING`
_CHOICES = (
    (tables.study.c.kind, KINDS),
    (item.c.role, _ROLES),
    (assignment.c.role, (*_ROLES, tables.REPEAT)),
    (assignment.c.state, (tables.OPEN, tables.ANSWERED, tables.RETURNED, tables.LOST)),
    (answer.c.verdict, (tables.RATED, tables.PICKED, tables.TIE, tables.NONE, tables.SKIPPED)),
)


def check_structure(store: Store) -> None:
    """Run SQLite's integrity check.

    Raises:
        StudyError: the file is damaged.
    """
    if store.is_sqlite:
        with store.reading() as connection:
            result = connection.execute(text("PRAGMA integrity_check(1)")).scalar()
        if result != "ok":
            raise _damaged(store, str(result).splitlines()[-1])


def check_values(store: Store) -> None:
    """Check all values against what legan writes into tables of this version.

    Raises:
        StudyError: the database is damaged.
    """
    if store.is_sqlite:
        with store.reading() as connection:
            fault = next(_faults(connection), None)
        if fault:
            raise _damaged(store, fault)


def _damaged(store: Store, fault: str) -> StudyError:
    return StudyError(f"the database {store.name} is damaged ({fault}): restore it from a copy")


def _faults(connection: Connection) -> Iterator[str]:
    for table in tables.metadata.sorted_tables:
        wrong = or_(*(not_(_fits(column)) for column in table.c))
        if _has(connection, table, wrong):
            yield f"wrong values in the table {table.name}"
    for column, allowed in _CHOICES:
        if _has(connection, column.table, column.not_in(allowed)):
            yield f"an unknown {column.table.name}.{column.name}"
    if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
        yield "rows that refer to missing rows"
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
    """Verdicts without their rating or choice, and assignments whose state contradicts their answer."""
    rated, picked = answer.c.verdict == tables.RATED, answer.c.verdict == tables.PICKED
    if _has(connection, answer, or_(rated != answer.c.rating.is_not(None), picked != answer.c.picture_id.is_not(None))):
        yield "answers without a rating or a choice"
    if _has(connection, answer, or_(answer.c.rating < 0, answer.c.rating > 10)):
        yield "ratings outside 0..10"
    answered = select(answer.c.assignment_id)
    if _has(connection, assignment, (assignment.c.state == tables.ANSWERED) != assignment.c.id.in_(answered)):
        yield "assignments whose state contradicts their answer"
    if _has(connection, rater, and_(rater.c.revising.is_not(None), rater.c.revising.not_in(answered))):
        yield "a revised answer that does not exist"


def _wrong_texts(connection: Connection) -> Iterator[str]:
    """Texts that hold lists: models, plans, and the order of images."""
    models = [_list(encoded) for encoded in connection.execute(select(tables.study.c.models)).scalars()]
    if None in models or not all(isinstance(name, str) for names in models for name in names or ()):
        yield "unreadable models"
    if not all(set(plan) <= _PLAN for plan in connection.execute(select(rater.c.plan)).scalars()):
        yield "an unreadable plan"
    images_of: dict[int, set[object]] = {}
    for row in connection.execute(select(tables.image.c.id, tables.image.c.item_id)):
        images_of.setdefault(row.item_id, set()).add(row.id)
    for row in connection.execute(select(assignment.c.item_id, assignment.c.layout)):
        shown = _list(row.layout) or []
        # The types first: a damaged list may hold lists, which cannot be put into a set.
        are_numbers = all(isinstance(key, int) for key in shown)
        if not are_numbers or set(shown) != images_of.get(row.item_id) or len({*shown}) < len(shown):
            yield "an unreadable order of images"


def _list(encoded: str) -> list[object] | None:
    try:
        decoded_list = json.loads(encoded)
    except (ValueError, RecursionError):
        return None
    return decoded_list if isinstance(decoded_list, list) else None
