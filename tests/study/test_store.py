"""The database: its tables and their version, databases of earlier versions, and its errors, after which all saved answers are there."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Float, Integer, String, Table, event, select
from tests.study.studies import make_study, records_of, taker
from typer.testing import CliRunner, Result

from legan.cli import app as cli
from legan.core.errors import StudyError
from legan_study import raters
from legan_study import store as tables
from legan_study.serve import make_app
from legan_study.store import VERSION, Store, StoreError
from legan_study.study import Study, mark_missing, open_study

# A database of version 1 as Alembic made it, until legan 0.1. It stays as it is: a change of the tables needs a new version.
VERSION_1 = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
CREATE TABLE study (id INTEGER NOT NULL, kind VARCHAR(16) NOT NULL, models TEXT NOT NULL, source TEXT NOT NULL, created_at
    FLOAT NOT NULL, CONSTRAINT pk_study PRIMARY KEY (id));
CREATE TABLE item (id INTEGER NOT NULL, name TEXT NOT NULL, role VARCHAR(16) NOT NULL, n_taken INTEGER NOT NULL, missing
    BOOLEAN NOT NULL, low FLOAT, high FLOAT, best TEXT, CONSTRAINT pk_item PRIMARY KEY (id), CONSTRAINT uq_item_name_role
    UNIQUE (name, role));
CREATE INDEX ix_item_role_n_taken ON item (role, n_taken);
CREATE TABLE picture (id INTEGER NOT NULL, code VARCHAR(32) NOT NULL, item_id INTEGER NOT NULL, model TEXT NOT NULL, file TEXT
    NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, CONSTRAINT pk_picture PRIMARY KEY (id), CONSTRAINT
    fk_picture_item_id FOREIGN KEY(item_id) REFERENCES item (id), CONSTRAINT uq_picture_code UNIQUE (code));
CREATE INDEX ix_picture_item_id ON picture (item_id);
CREATE TABLE invitation (id INTEGER NOT NULL, token_hash VARCHAR(64) NOT NULL, created_at FLOAT NOT NULL, expires_at FLOAT NOT
    NULL, CONSTRAINT pk_invitation PRIMARY KEY (id), CONSTRAINT uq_invitation_token_hash UNIQUE (token_hash));
CREATE TABLE rater (id INTEGER NOT NULL, name VARCHAR(32) NOT NULL, session VARCHAR(32) NOT NULL, panel_hash VARCHAR(64),
    invitation_id INTEGER, "plan" TEXT NOT NULL, consented_at FLOAT NOT NULL, instructed_at FLOAT, finished_at FLOAT,
    excluded_at FLOAT, rested INTEGER NOT NULL, revising INTEGER, CONSTRAINT pk_rater PRIMARY KEY (id), CONSTRAINT
    fk_rater_invitation_id FOREIGN KEY(invitation_id) REFERENCES invitation (id), CONSTRAINT uq_rater_invitation_id UNIQUE
    (invitation_id), CONSTRAINT uq_rater_name UNIQUE (name), CONSTRAINT uq_rater_panel_hash UNIQUE (panel_hash), CONSTRAINT
    uq_rater_session UNIQUE (session));
CREATE TABLE assignment (id INTEGER NOT NULL, code VARCHAR(32) NOT NULL, rater_id INTEGER NOT NULL, item_id INTEGER NOT NULL,
    role VARCHAR(16) NOT NULL, position INTEGER NOT NULL, layout TEXT NOT NULL, state VARCHAR(16) NOT NULL, assigned_at FLOAT
    NOT NULL, expires_at FLOAT NOT NULL, shown_at FLOAT, CONSTRAINT pk_assignment PRIMARY KEY (id), CONSTRAINT
    fk_assignment_item_id FOREIGN KEY(item_id) REFERENCES item (id), CONSTRAINT fk_assignment_rater_id FOREIGN KEY(rater_id)
    REFERENCES rater (id), CONSTRAINT uq_assignment_code UNIQUE (code), CONSTRAINT uq_assignment_rater_id_item_id_role UNIQUE
    (rater_id, item_id, role));
CREATE INDEX ix_assignment_item_id ON assignment (item_id);
CREATE INDEX ix_assignment_state_expires_at ON assignment (state, expires_at);
CREATE TABLE answer (id INTEGER NOT NULL, assignment_id INTEGER NOT NULL, verdict VARCHAR(16) NOT NULL, rating FLOAT,
    picture_id INTEGER, seconds FLOAT NOT NULL, server_seconds FLOAT NOT NULL, slider_start FLOAT, display_width FLOAT,
    display_height FLOAT, pixel_ratio FLOAT, answered_at FLOAT NOT NULL, n_revisions INTEGER NOT NULL, CONSTRAINT pk_answer
    PRIMARY KEY (id), CONSTRAINT fk_answer_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignment (id), CONSTRAINT
    fk_answer_picture_id FOREIGN KEY(picture_id) REFERENCES picture (id), CONSTRAINT uq_answer_assignment_id UNIQUE
    (assignment_id));
INSERT INTO alembic_version VALUES ('0001');
"""


def write_old_database(path: Path) -> None:
    """A rating study of legan 0.1: one item, one rater, one answer of 6.5."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("INSERT INTO study VALUES (1, 'rating', '[]', '/data/faces', 1700000000.5)")
        connection.execute("INSERT INTO item VALUES (1, 'f00.png', 'main', 1, 0, NULL, NULL, NULL)")
        connection.execute("INSERT INTO picture VALUES (1, 'codeofimage', 1, '', 'codeofimage.png', 64, 64)")
        rater = (1, "r-abcdefgh", "sessionofrater", None, None, "m", 1700000001.0, 1700000002.0, None, None, 0, None)
        connection.execute(f"INSERT INTO rater VALUES ({', '.join('?' * 12)})", rater)
        given = (1, "codeofassignment", 1, 1, "main", 0, "[1]", "answered", 1700000002.0, 1700000902.0, 1700000002.0)
        connection.execute(f"INSERT INTO assignment VALUES ({', '.join('?' * 11)})", given)
        answer = (1, 1, "rated", 6.5, None, 2.5, 3.0, 5.0, 420.0, 420.0, 2.0, 1700000005.0, 0)
        connection.execute(f"INSERT INTO answer VALUES ({', '.join('?' * 13)})", answer)
        connection.commit()


def schema(path: Path) -> set[frozenset[str]]:
    """The columns and constraints of each table and index, in any order, without the tables of the version."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name NOT LIKE '%_version'")
        return {frozenset("".join(row[0].split()).replace("(", ",").replace(")", "").split(",")) for row in rows}


def test_new_tables(tmp_path: Path) -> None:
    store = Store("sqlite:///new.sqlite", tmp_path)
    store.create_tables()
    store.create_tables()
    with store.reading() as connection:
        assert connection.execute(select(tables.schema_version.c.version)).scalars().all() == [VERSION]
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    store.close()
    write_old_database(tmp_path / "old.sqlite")
    assert VERSION == 1 and schema(tmp_path / "new.sqlite") == schema(tmp_path / "old.sqlite")


def test_a_database_of_legan_0_1(study: Study) -> None:
    path = study.folder / "study.sqlite"
    study.store.close()
    path.unlink()
    write_old_database(path)
    assert [record["rating"] for record in records_of(study.folder)] == [6.5]
    with open_study(study.folder) as opened:
        assert opened.images[1].path == study.folder / "pictures" / "codeofimage.png"
        with opened.store.reading() as connection:
            assert connection.execute(select(tables.schema_version.c.version)).scalars().all() == [1]


def test_two_programs_open_an_old_database_at_once(tmp_path: Path) -> None:
    write_old_database(tmp_path / "old.sqlite")
    stores = [Store("sqlite:///old.sqlite", tmp_path) for _ in range(2)]
    threads = [threading.Thread(target=store.create_tables) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with stores[0].reading() as connection:
        assert connection.execute(select(tables.schema_version.c.version)).scalars().all() == [1]
    for store in stores:
        store.close()


def test_a_database_of_a_newer_version_is_left_alone(study: Study) -> None:
    with study.store.writing() as connection:
        connection.execute(tables.schema_version.update().values(version=9999))
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
        Store("postgresql://nobody@127.0.0.1:1/none", tmp_path).create_tables()


def test_image_deleted(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    for _ in range(3):
        page = rater.answer(page)
    one = study.images[study.by_code[page.images[0]]]
    data = one.path.read_bytes()
    one.path.unlink()
    assert rater.client.get(f"/picture/{one.code}").status_code == 404
    after = rater.get()
    assert after.is_item and after.images != page.images, "another item is given at once"
    late = rater.answer(page)
    assert late.status == 200 and "went to someone else" in late.text
    assert rater.finish(late).code
    assert one.code not in rater.saved and len(records_of(study.folder)) == 2 + 11
    assert len(mark_missing(study)) == 1
    one.path.write_bytes(data)
    assert mark_missing(study) == []
    second = taker(make_app(study))
    second.finish(second.enter())
    assert len(second.saved) == 14, "the restored item is assigned again"


def test_all_images_deleted(tmp_path: Path) -> None:
    with open_study(make_study(tmp_path / "study", n=3, n_practice=0)) as study:
        rater = taker(make_app(study))
        rater.enter()
        for one in study.images.values():
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
        "version": data.replace(b"schema_version", b"schema_vershun"),
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
