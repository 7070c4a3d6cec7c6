"""The database of a study: connections, transactions, migrations, and errors that say what is wrong.

SQLite runs in WAL mode with full synchronisation: what was committed survives a killed process and a power cut. Writers take turns:
within a process by a lock, between processes by BEGIN IMMEDIATE (SQLite) or an advisory lock (PostgreSQL), so that counting an
item's answers and handing it out is one step.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from legan.core.errors import StudyError
from legan.study.tables import REVISION

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 5.0
# When the request that is being answered arrived, as time.monotonic() tells; None outside of requests.
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
        with self._explained(), self.engine.connect() as connection:
            if not self.is_sqlite:
                # By itself PostgreSQL shows each statement what others have stored since the one before.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                self._limit_locks(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer runs beside; committed, and on the disk, when the block ends without an error.

        Raises:
            StoreError: the database is locked, full, or gone; nothing was written.
        """
        with self._explained(), self._own_turn(), self.engine.connect() as plain:
            connection = plain.execution_options(immediate=True)
            with connection.begin():
                if not self.is_sqlite:
                    self._limit_locks(connection)
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's; a new database gets them all.

        Raises:
            StudyError: tables of a newer version.
            StoreError: the database cannot be reached.
        """
        revision = self.revision()
        if revision is None and self._has_tables():
            raise StudyError(f"the database {self.name} is damaged (it has lost its version): restore it from a copy")
        if revision != REVISION:
            from alembic import command
            from alembic.config import Config
            from alembic.util import CommandError

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            try:
                with self.writing() as connection:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            except CommandError as error:
                raise StudyError(
                    f"the study's database was made by a newer version of legan ({error}): update legan"
                ) from error

    def revision(self) -> str | None:
        """The migration that the tables are at; None before the first."""
        with self.reading() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def _has_tables(self) -> bool:
        with self.reading() as connection:
            return inspect(connection).has_table("rater")

    def empty_log(self) -> None:
        """Fold SQLite's log into the file and empty it, so that what was erased is not in it either, though others have it open."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections; SQLite then folds its log into the file."""
        self.engine.dispose()

    def _patience(self) -> float:
        """Seconds that may still be waited for others."""
        arrived = ARRIVED.get()
        return self._busy_seconds if arrived is None else max(0.0, arrived + self._busy_seconds - time.monotonic())

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._patience()):
            raise StoreError("the database is too busy: try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    def _limit_locks(self, connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL lock_timeout = {int(1000 * self._patience()) + 1}"))  # ms; 0 would be no limit

    def _prepare(self, connection: sqlite3.Connection, record: object) -> None:
        # The module's own transactions begin too late (at the first write), so they are begun here.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._patience())}")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def _begin(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * self._patience())}")
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise StoreError("the database is too busy: try again in a moment") from error
        except DBAPIError as error:
            words = _in_words(error)
            if words is None:
                raise
            raise StoreError(words.format(name=self.name)) from error


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
        options["connect_args"] = {"connect_timeout": max(2, round(busy_seconds))}  # seconds; psycopg knows no less than 2
    try:
        engine = create_engine(parsed, **options)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StudyError('PostgreSQL needs psycopg: run `pip install "legan[study-postgres]"`') from None
    return engine


def _in_words(error: DBAPIError) -> str | None:
    """What is wrong and what to do about it, with `{name}` for the database; None for a fault of legan's."""
    cause = error.orig
    words = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if "locked" in words or "busy" in words or "lock timeout" in words:
        return "the database is locked by another program: close it, then try again"
    if "full" in words or "disk I/O" in words or "No space" in words:
        return "the disk is full: free some space, then try again"
    words = words.replace("{", "{{").replace("}", "}}")
    if "readonly" in words or "unable to open" in words:
        return f"the database cannot be written ({words}): check its place and permissions"
    # SQLite tells of a damaged file by the plain class, or so where a damaged part still looks like one.
    if type(cause) is sqlite3.DatabaseError or any(sign in words for sign in _SIGNS_OF_DAMAGE):
        return f"the database {{name}} is damaged ({words}): restore it from a copy"
    if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return f"the database cannot be reached ({words}): check that it runs"
    return None


_SIGNS_OF_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "Could not decode to UTF-8", "corrupt")
