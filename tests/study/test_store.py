"""The database: migrations, what goes wrong with it, and what is then still there."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Float, Integer, String, Table, event, select
from tests.study.studies import make_study, records_of, taker
from typer.testing import CliRunner, Result

from legan.cli import app as cli
from legan.core.errors import StudyError
from legan_study import raters
from legan_study import store as tables
from legan_study.store import MIGRATIONS, Store, StoreError
from legan_study.study import Study, note_missing, open_study
from legan_study.web import make_app


def test_migrations_make_the_tables(tmp_path: Path) -> None:
    store = Store("sqlite:///new.sqlite", tmp_path)
    assert store.revision() is None
    store.migrate()
    store.migrate()
    assert store.revision() == tables.REVISION == ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(study: Study) -> None:
    with study.store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StudyError, match="newer version of legan"):
        open_study(study.folder)


def test_a_failed_transaction_leaves_nothing(study: Study) -> None:
    with pytest.raises(RuntimeError), study.store.writing() as connection:
        connection.execute(tables.invitation.insert().values(token_hash="x", created_at=0, expires_at=0))
        raise RuntimeError
    with study.store.reading() as connection:
        assert connection.execute(select(tables.invitation)).all() == []


@pytest.fixture
def locked(study: Study) -> Iterator[tuple[Study, sqlite3.Connection]]:
    """A study whose database another program holds."""
    with open_study(study.folder, busy_seconds=0.1) as impatient:
        other = sqlite3.connect(study.folder / "study.sqlite", isolation_level=None)
        yield impatient, other
        other.close()


def test_locked_database(locked: tuple[Study, sqlite3.Connection], caplog: pytest.LogCaptureFixture) -> None:
    study, other = locked
    rater = taker(make_app(study))
    page = rater.answer(rater.enter(), rating="2")
    other.execute("BEGIN IMMEDIATE")
    refused = rater.answer(page, rating="7")
    assert refused.status == 503 and "What you saved is kept" in refused.text and refused.response.headers["retry-after"]
    assert "locked" not in refused.text and "locked by another program" in caplog.text
    assert page.field("assignment") not in rater.saved
    other.execute("ROLLBACK")
    assert rater.answer(page, rating="7").status == 200
    assert [record["rating"] for record in records_of(study.folder)] == [2.0, 7.0]


def test_full_disk(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    rater = taker(make_app(study))
    page = rater.answer(rater.enter(), rating="2")

    # SQLite's own limit gives the error of a full disk.
    def fill(connection: sqlite3.Connection, *others: object) -> None:
        n_pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {n_pages}")

    study.store.close()
    event.listen(study.store.engine, "connect", fill)
    saved, code = dict(rater.saved), 200
    for _ in range(200):
        after = rater.answer(page)
        if after.status != 200:
            code = after.status
            break
        saved, page = dict(rater.saved), after if after.is_item else page
        if after.code:
            break
    if code == 200:  # answers fit in pages that were there: invitations do not
        with pytest.raises(StoreError, match="disk is full"), study.store.writing() as connection:
            rows = [{"token_hash": str(i) * 9, "created_at": 0, "expires_at": 0} for i in range(9999)]
            connection.execute(tables.invitation.insert(), rows)
    else:
        assert code == 503 and "disk is full" in caplog.text
    assert len(records_of(study.folder)) == len(saved)


def test_database_gone(study: Study, tmp_path: Path) -> None:
    (study.folder / "study.sqlite").rename(tmp_path / "elsewhere.sqlite")
    with pytest.raises(StudyError, match="is missing"):
        open_study(study.folder)
    with pytest.raises(StoreError, match="cannot be reached"):
        Store("postgresql://nobody@127.0.0.1:1/none", tmp_path).revision()


def test_picture_deleted(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    for _ in range(3):
        page = rater.answer(page)
    one = study.pictures[study.by_code[page.pictures[0]]]
    data = one.path.read_bytes()
    one.path.unlink()
    assert rater.client.get(f"/picture/{one.code}").status_code == 404
    after = rater.get()
    assert after.is_item and after.pictures != page.pictures, "another item is given at once"
    late = rater.answer(page)
    assert late.status == 200 and "went to someone else" in late.text
    assert rater.finish(late).code
    assert one.code not in rater.saved and len(records_of(study.folder)) == 2 + 11
    assert len(note_missing(study)) == 1
    one.path.write_bytes(data)
    assert note_missing(study) == []
    second = taker(make_app(study))
    second.finish(second.enter())
    assert len(second.saved) == 14, "the restored image is given out again"


def test_all_pictures_deleted(tmp_path: Path) -> None:
    with open_study(make_study(tmp_path / "study", n=3, n_practice=0)) as study:
        rater = taker(make_app(study))
        rater.enter()
        for one in study.pictures.values():
            one.path.unlink()
        assert "No images are left" in rater.get().text


def verbs(folder: Path, tmp_path: Path) -> list[Result]:
    """What the four verbs say of a study, each in a copy of its own."""
    results = []
    for words in (["serve"], ["status"], ["check"], ["check", "--rater", "x"], ["export", "-o", tmp_path / "out"]):
        place = tmp_path / f"copy{len(results)}"
        shutil.copytree(folder, place)
        results.append(CliRunner().invoke(cli, ["study", words[0], str(place), *map(str, words[1:])]))
        shutil.rmtree(place)
    return results


@pytest.mark.parametrize("damage", ["empty", "short", "text", "zeros", "header", "page", "schema", "rows", "version"])
def test_damaged_databases_are_told_in_one_line(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server: None)
    rater = taker(make_app(study))
    rater.finish(rater.enter())
    study.store.close()
    path = study.folder / "study.sqlite"
    data = path.read_bytes()
    changed = {
        "empty": b"", "short": data[: len(data) // 2], "text": b"not a database" * 99, "zeros": bytes(len(data)),
        "header": bytes(100) + data[100:], "page": data[:20480] + bytes(4096) + data[24576:],
        "schema": data.replace(b"CREATE TABLE", b"CREATE TXBLE"), "rows": data.replace(b"answered", bytes(8)),
        "version": data.replace(b"alembic_version", b"alembic_vershun"),
    }  # fmt: skip
    assert changed[damage] != data
    path.write_bytes(changed[damage])
    for result in verbs(study.folder, tmp_path):
        lines = result.stderr.strip().splitlines()
        assert result.exit_code == 2 and len(lines) == 1 and "restore it from a copy" in lines[0], result.output
        assert "study.sqlite" in lines[0] or "the database of" in lines[0]


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
def test_values_that_were_overwritten(study: Study, table: Table) -> None:
    rater = taker(make_app(study))
    rater.finish(rater.enter())
    with study.store.writing() as connection:
        raters.invite(connection, study.keys, 1, 0.0, 1.0)
    study.store.close()
    path = study.folder / "study.sqlite"
    data = path.read_bytes()
    for column in table.c:
        for value in (b"\0\0\0\0", "x" if isinstance(column.type, (Integer, Float)) else 2**40):
            path.write_bytes(data)
            with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table.name} SET {column.name} = ?", [value])
                connection.commit()
            stored = path.read_bytes() != data
            if stored and column.name != "id" and not (isinstance(value, int) and isinstance(column.type, String)):
                with pytest.raises(StudyError, match=r"is damaged \(.*\): restore it from a copy"):
                    open_study(study.folder)


def test_a_database_that_is_damaged_while_it_is_served(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    study.store.close()
    path = study.folder / "study.sqlite"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    assert rater.answer(page).status == 503 and rater.get().status == 503
    assert "study.sqlite is damaged" in caplog.text
