"""The database of a study: connections, transactions, migrations, and errors that say what is wrong.

SQLite runs in WAL mode with full synchronisation: what was committed survives a killed process and a power cut. Writers take turns:
within a process by a lock, between processes by BEGIN IMMEDIATE (SQLite) or an advisory lock (PostgreSQL), so that counting an
item's answers and handing it out is one step.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
_LOCK = 0x6C6567616E  # any number that all servers of this study share: "legan"


class StoreError(StudyError):
    """The database cannot answer just now: nothing that was saved is lost, and the same request may be sent again."""


class Store:
    """A study's database.

    Args:
        url: as SQLAlchemy writes it; `sqlite:///file`, `postgresql://user:password@host/name`.
        folder: that relative SQLite files lie in.
        busy_seconds: how long to wait for another process's transaction.

    Raises:
        StudyError: an URL that cannot be read, or of another kind, or a driver that is not installed.
    """

    def __init__(self, url: str, folder: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = _engine(url, Path(folder), busy_seconds)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the data.

        Raises:
            StoreError: the database cannot answer.
        """
        with _explained(), self.engine.connect() as connection:
            # By itself PostgreSQL shows each statement what others have stored since the one before.
            yield connection if self.is_sqlite else connection.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer runs beside; committed, and on the disk, when the block ends without an error.

        Raises:
            StoreError: the database is locked, full, or gone; nothing was written.
        """
        with _explained(), self._turn, self.engine.connect() as plain:
            connection = plain.execution_options(immediate=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's; a new database gets them all.

        Raises:
            StudyError: tables of a newer version.
            StoreError: the database cannot be reached.
        """
        if self.revision() != REVISION:
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

    def empty_log(self) -> None:
        """Fold SQLite's log into the file and empty it, so that what was erased is not in it either, though others have it open."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections; SQLite then folds its log into the file."""
        self.engine.dispose()


def _engine(url: str, folder: Path, busy_seconds: float) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StudyError("the database URL cannot be read: write postgresql://user:password@host/name") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StudyError(f"{parsed.get_backend_name()} databases are not supported: choose sqlite or postgresql")
    options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20}
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(database=str(folder / (parsed.database or "")))
        options["connect_args"] = {"timeout": busy_seconds, "check_same_thread": False}
    try:
        engine = create_engine(parsed, **options)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise StudyError('PostgreSQL needs psycopg: run `pip install "legan[study-postgres]"`') from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    # The module's own transactions begin too late (at the first write), so they are begun here.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreError("the database is too busy: try again in a moment") from error
    except DBAPIError as error:
        words = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if "locked" in words or "busy" in words:
            raise StoreError("the database is locked by another program: close it, then try again") from error
        if "full" in words or "disk I/O" in words or "No space" in words:
            raise StoreError("the disk is full: free some space, then try again") from error
        if "readonly" in words or "unable to open" in words:
            raise StoreError(f"the database cannot be written ({words}): check its place and permissions") from error
        if error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
            raise StoreError(f"the database cannot be reached ({words}): check that it runs") from error
        raise
