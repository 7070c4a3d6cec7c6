"""The database of a study: tables, connections, transactions, and errors that name the fix."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from legan.core.errors import StudyError

# Tables. Times are seconds since 1970 (UTC); no table holds a name or a network address. Tables and columns keep the names that databases
# of earlier versions have: an image of the study is a `picture` there.


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
VERSION = (
    1  # of the tables below: a change of them needs a new number, and code that brings databases of the number before up to it
)

INPUT = "input"  # the "model" of originals, and the name of their folder
# Roles of items, and of assignments (which may also be a repeat).
MAIN, GOLD, PRACTICE, REPEAT = "main", "gold", "practice", "repeat"
# States of an assignment. Returned: its time ran out, and it may be reopened while the item has room; lost: the item had none.
OPEN, ANSWERED, RETURNED, LOST = "open", "answered", "returned", "lost"
# Verdicts of an answer.
RATED, PICKED, TIE, NONE, SKIPPED = "rated", "picked", "tie", "none", "skipped"

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))  # one row
study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("models", Text, nullable=False),  # JSON list of names; empty for ratings
    Column("source", Text, nullable=False),  # where the images came from
    Column("created_at", Float, nullable=False),
)
item = Table(
    "item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("n_taken", Integer, nullable=False, default=0),  # answers that count, plus open assignments
    Column("missing", Boolean, nullable=False, default=False),  # an image file is missing or damaged
    Column("low", Float),  # of gold items: the right answer lies between
    Column("high", Float),
    Column("best", Text),  # of gold items: the right model
    UniqueConstraint("name", "role"),
    Index(None, "role", "n_taken"),
)
image = Table(
    "picture",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(32), nullable=False, unique=True),  # in URLs and forms: random
    Column("item_id", Integer, ForeignKey("item.id"), nullable=False, index=True),
    Column("model", Text, nullable=False),  # "" for ratings, INPUT for the original
    Column("file", Text, nullable=False),  # in the folder `config.IMAGES`
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
)
invitation = Table(
    "invitation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)
rater = Table(
    "rater",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # random
    Column("session", String(32), nullable=False, unique=True),  # random; a new one ends the sessions before
    Column("panel_hash", String(64), unique=True),
    Column("invitation_id", Integer, ForeignKey("invitation.id"), unique=True),
    Column("plan", Text, nullable=False),  # a letter a position: p(ractice), m(ain), g(old), r(epeat), - (nothing was left)
    Column("consented_at", Float, nullable=False),
    Column("instructed_at", Float),
    Column("finished_at", Float),
    Column("excluded_at", Float),
    Column("rested", Integer, nullable=False, default=0),  # answers given when the last break was taken
    Column("revising", Integer),  # the assignment that the rater went back to
)
assignment = Table(
    "assignment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(32), nullable=False, unique=True),  # in URLs and forms: random
    Column("rater_id", Integer, ForeignKey("rater.id"), nullable=False),
    Column("item_id", Integer, ForeignKey("item.id"), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("position", Integer, nullable=False),
    Column("layout", Text, nullable=False),  # JSON list of the images' ids in the order shown
    Column("state", String(16), nullable=False),
    Column("assigned_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("shown_at", Float),
    UniqueConstraint("rater_id", "item_id", "role"),
    Index(None, "state", "expires_at"),
)
answer = Table(
    "answer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("assignment_id", Integer, ForeignKey("assignment.id"), nullable=False, unique=True),
    Column("verdict", String(16), nullable=False),
    Column("rating", Float),
    Column("picture_id", Integer, ForeignKey("picture.id")),
    Column("seconds", Float, nullable=False),  # that the page was visible with its images, measured by the browser
    Column("server_seconds", Float, nullable=False),  # from the page to the answer, by the server's clock; 0: it was set back
    Column("slider_start", Float),  # where the rater first put the slider
    Column("display_width", Float),  # of an image on the screen, CSS pixels
    Column("display_height", Float),
    Column("pixel_ratio", Float),
    Column("answered_at", Float, nullable=False),
    Column("n_revisions", Integer, nullable=False, default=0),
)


# Connections and transactions.
#
# SQLite runs in WAL mode with full synchronisation: what was committed survives a killed process and a power cut. Writers take turns:
# within a process by a lock, between processes by BEGIN IMMEDIATE (SQLite) or an advisory lock (PostgreSQL), so that counting an
# item's answers and handing it out is one step.


BUSY_SECONDS = 5.0
# time.monotonic() at the arrival of the request that is being answered; None outside of requests.
ARRIVED: ContextVar[float | None] = ContextVar("arrived", default=None)
_LOCK = 0x6C6567616E  # any number that all servers of this study share: "legan"


class StoreError(StudyError):
    """The database cannot answer just now: nothing that was saved is lost, and the same request may be sent again."""


class Store:
    """A study's database.

    Args:
        url: as SQLAlchemy writes it; `sqlite:///file`, `postgresql://user:password@host/name`.
        folder: that relative SQLite files lie in.
        busy_seconds: how long to wait for others' transactions, in this process and in others, from a request's arrival on: those who
            have waited for their turn that long already try once.

    Raises:
        StudyError: an URL that cannot be read, or of another kind, or a driver that is not installed.
    """

    def __init__(self, url: str, folder: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = _engine(url, Path(folder), busy_seconds)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.name = str(self.engine.url.database) if self.is_sqlite else "PostgreSQL"
        self._busy_seconds, self._turn = busy_seconds, threading.Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", self._prepare)
            event.listen(self.engine, "begin", self._begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the data.

        Raises:
            StoreError: the database cannot answer.
        """
        with self._translated_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                # By itself PostgreSQL shows each statement what others have stored since the one before.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                self._limit_locks(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction with no other writer; committed, and on the disk, when the block ends without an error.

        Raises:
            StoreError: the database is locked, full, or gone; nothing was written.
        """
        with self._translated_errors(), self._own_turn(), self.engine.connect() as plain:
            connection = plain.execution_options(immediate=True)
            with connection.begin():
                if not self.is_sqlite:
                    self._limit_locks(connection)
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                yield connection

    def create_tables(self) -> None:
        """Create the tables of a new database; of any other, check the version of its tables.

        Raises:
            StudyError: tables of a newer version, or tables without a version.
            StoreError: the database cannot be reached.
        """
        with self.reading() as connection:
            is_done = self._is_current(connection)
        if not is_done:
            with self.writing() as connection:
                if not self._is_current(connection):  # another process may have been faster
                    metadata.create_all(connection)
                    connection.execute(insert(schema_version).values(version=VERSION))

    def _is_current(self, connection: Connection) -> bool:
        """Whether the tables of `VERSION` and its row exist; False for a new database, and for one whose version Alembic wrote."""
        tables = set(inspect(connection).get_table_names())
        if schema_version.name in tables:
            version = connection.execute(select(schema_version.c.version)).scalar()
        elif "alembic_version" in tables:  # until legan 0.1 Alembic kept the version, as text
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        elif rater.name in tables:
            version = None
        else:
            return False
        number = str(version)
        if not number.isdecimal():
            raise StudyError(f"the database {self.name} is damaged (it has no schema version): restore it from a copy")
        if int(number) != VERSION:
            raise StudyError(
                f"the database {self.name} was written by a newer version of legan (tables {int(number)}, not {VERSION}): "
                "update legan"
            )
        return schema_version.name in tables

    def empty_log(self) -> None:
        """Fold SQLite's log into the file and empty it, so that what was erased is not in it either, though others have it open."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections; SQLite then folds its log into the file."""
        self.engine.dispose()

    def _seconds_left(self) -> float:
        """Seconds left to wait for other transactions."""
        arrived = ARRIVED.get()
        return self._busy_seconds if arrived is None else max(0.0, arrived + self._busy_seconds - time.monotonic())

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._seconds_left()):
            raise StoreError("the database is too busy: try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    def _limit_locks(self, connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL lock_timeout = {int(1000 * self._seconds_left()) + 1}"))  # ms; 0 would be no limit

    def _prepare(self, connection: sqlite3.Connection, record: object) -> None:
        # sqlite3 begins a transaction at the first write, which is too late: `_begin` does it.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._seconds_left())}")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def _begin(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * self._seconds_left())}")
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise StoreError("the database is too busy: try again in a moment") from error
        except DBAPIError as error:
            message = _message(error)
            if message is None:
                raise
            raise StoreError(message.format(name=self.name)) from error


def _engine(url: str, folder: Path, busy_seconds: float) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StudyError("the database URL cannot be read: write postgresql://user:password@host/name") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StudyError(f"{parsed.get_backend_name()} databases are not supported: choose sqlite or postgresql")
    options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": busy_seconds}
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(database=str(folder / (parsed.database or "")))
        options["connect_args"] = {"timeout": busy_seconds, "check_same_thread": False}
    else:
        options["connect_args"] = {"connect_timeout": max(2, round(busy_seconds))}  # seconds; psycopg's minimum is 2
    try:
        engine = create_engine(parsed, **options)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StudyError('PostgreSQL needs psycopg: run `pip install "legan[study-postgres]"`') from None
    return engine


def _message(error: DBAPIError) -> str | None:
    """What is wrong and what to do about it, with `{name}` for the database; None for a bug of legan."""
    cause = error.orig
    words = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if "locked" in words or "busy" in words or "lock timeout" in words:
        return "the database is locked by another program: close it, then try again"
    if "full" in words or "disk I/O" in words or "No space" in words:
        return "the disk is full: free some space, then try again"
    words = words.replace("{", "{{").replace("}", "}}")
    if "readonly" in words or "unable to open" in words:
        return f"the database cannot be written ({words}): check its place and permissions"
    # SQLite reports a damaged file by the plain class, or by one of these messages where the damaged part could be parsed.
    if type(cause) is sqlite3.DatabaseError or any(part in words for part in _DAMAGE_MESSAGES):
        return f"the database {{name}} is damaged ({words}): restore it from a copy"
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return f"the database cannot be reached ({words}): check that it runs"
    return None


_DAMAGE_MESSAGES = ("malformed", "not a database", "no such table", "no such column", "Could not decode to UTF-8", "corrupt")
