"""A small version of benchmarks/study.py: many simulated raters at once over HTTP, a server killed in the middle, on both databases."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.study import Load, Outcome, Result, compare, make, run
from sqlalchemy import create_engine, select, text
from tests.study.studies import counts_are_true, free_port, make_study, taker

from legan_study import store as tables
from legan_study.results import coverage
from legan_study.serve import make_app
from legan_study.store import _LOCK, Store
from legan_study.study import open_study


def load(folder: Path, wanted: Load) -> tuple[Result, Outcome]:
    study = make(folder, wanted)
    result = asyncio.run(run(study, wanted))
    with open_study(study) as opened:
        assert counts_are_true(opened)
    return result, compare(study, result)


def all_there(outcome: Outcome, wanted: Load) -> bool:
    n_items = wanted.n_answers // wanted.raters_per_item
    return outcome.n_lost == outcome.n_double == 0 and outcome.per_item == {wanted.raters_per_item: n_items}


def test_raters_at_once(tmp_path: Path) -> None:
    wanted = Load(n_raters=10, n_answers=60, raters_per_item=3, think=0.05)
    result, outcome = load(tmp_path, wanted)
    assert all_there(outcome, wanted) and outcome.n_unheard == 0
    assert len(result.saved) == outcome.n_answers == 60 and result.n_entered >= 10


@pytest.mark.slow
def test_acknowledged_answers_survive_kill_9(tmp_path: Path) -> None:
    wanted = Load(n_raters=6, n_answers=90, raters_per_item=3, think=0.3, n_kills=2)
    result, outcome = load(tmp_path, wanted)
    assert result.n_kills == 2 and result.n_repeated >= 1
    assert all_there(outcome, wanted) and outcome.n_answers == 90


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of an empty database on a PostgreSQL server of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("this test needs PostgreSQL: apt-get install postgresql")
    folder, port = Path(tempfile.mkdtemp(prefix="legan-postgres-")), free_port()
    # The server refuses to run as root.
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = None if os.getuid() else "postgres" if "postgres" in names else "nobody"
    if user:
        shutil.chown(folder, user)
    programs, data = Path(initdb).resolve().parent, folder / "data"
    command = [initdb, "-D", str(data), "-U", "legan", "--auth=trust", "--no-sync"]
    subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen(
        [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)],
        user=user, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"postgresql://legan@127.0.0.1:{port}/postgres"
    try:
        for _ in range(300):
            try:
                probe = Store(url, folder)
                probe.revision()
                probe.close()
                break
            except Exception:  # noqa: BLE001  # whatever a server that starts up says
                time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # asks it to end at once, whoever is connected
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _database(postgres: str, name: str) -> str:
    engine = create_engine(postgres.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.removesuffix("postgres") + name


@pytest.mark.postgres
def test_postgres(postgres: str, tmp_path: Path) -> None:
    wanted = Load(n_raters=8, n_answers=60, raters_per_item=3, think=0.05, database=_database(postgres, "load"))
    result, outcome = load(tmp_path, wanted)
    assert all_there(outcome, wanted) and len(result.saved) == outcome.n_answers == 60


@pytest.mark.postgres
def test_postgres_reads_one_view_and_takes_any_form(postgres: str, tmp_path: Path) -> None:
    with open_study(make_study(tmp_path / "study", n=3, n_practice=0, database=_database(postgres, "views"))) as study:
        rater = taker(make_app(study))
        page = rater.enter()
        with study.store.reading() as connection:
            assert coverage(study, connection)["n_raters"] == 1
            other = taker(make_app(study))
            other.enter()
            assert coverage(study, connection)["n_raters"] == 1, "what others store meanwhile is not seen"
        with study.store.reading() as connection:
            assert coverage(study, connection)["n_raters"] == 2
        assert rater.post("/answer", token=page.field("token"), assignment="\0", rating="1").status == 404
        assert rater.answer(page).status == 200


@pytest.mark.postgres
def test_postgres_database_of_legan_0_1(postgres: str, tmp_path: Path) -> None:
    store = Store(_database(postgres, "tables"), tmp_path)
    with store.writing() as connection:
        tables.metadata.create_all(
            connection, [table for table in tables.metadata.sorted_tables if table.name != "schema_version"]
        )
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
    store.create_tables()
    with store.reading() as connection:
        assert connection.execute(select(tables.schema_version.c.version)).scalars().all() == [1]
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("held", ["SELECT pg_advisory_xact_lock({lock})", "LOCK TABLE rater IN ACCESS EXCLUSIVE MODE"])
@pytest.mark.slow
def test_postgres_that_another_program_holds(postgres: str, tmp_path: Path, held: str) -> None:
    url = _database(postgres, "held" if "advisory" in held else "held_table")
    with open_study(make_study(tmp_path / "study", n=3, n_practice=0, database=url), busy_seconds=0.3) as study:
        rater, other = taker(make_app(study)), Store(url, tmp_path)
        page = rater.enter()
        with other.engine.begin() as connection:
            connection.execute(text(held.format(lock=_LOCK)))
            start = time.monotonic()
            assert rater.answer(page).status == 503 and time.monotonic() - start < 20
        assert rater.answer(page).status == 200
        other.close()
