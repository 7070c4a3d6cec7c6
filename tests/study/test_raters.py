"""Coming in by invitation or panel, being left out, and being forgotten."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, select
from tests.study.conftest import Clock
from tests.study.studies import counts_are_true, make_study, records_of, set_up, taker

from legan.core.errors import StudyError
from legan_study import raters
from legan_study import store as tables
from legan_study.check import look_up
from legan_study.export import files_of
from legan_study.raters import forget_rater, make_links
from legan_study.results import coverage, read_records
from legan_study.serve import make_app
from legan_study.study import Study, open_study


def everything_in(study: Study) -> str:
    """All that the database holds, as text."""
    with study.store.reading() as connection:
        return "\n".join(str(row) for table in tables.metadata.tables.values() for row in connection.execute(select(table)))


def test_invitations(tmp_path: Path, clock: Clock) -> None:
    folder = make_study(tmp_path / "study", 'entry = "invitation"', n=4, n_practice=0)
    links = make_links(folder, 2, "http://127.0.0.1/", days=1e6)
    with open_study(folder) as study:
        app = make_app(study, clock=clock)
        token = links[0].split("=")[1]
        assert token not in everything_in(study)
        assert taker(app).get().status == 403
        assert taker(app).get("/?invitation=" + "x" * 22).status == 403
        first = taker(app, links[0].removeprefix("http://127.0.0.1"))
        page = first.enter()
        assert token not in page.text and page.is_item
        # The same link elsewhere goes on with the same rater, and ends the session before.
        elsewhere = taker(app, first.link)
        again = elsewhere.get(first.link)
        assert again.field("assignment") == page.field("assignment")
        assert first.answer(page).status == 403
        code = elsewhere.finish(again).code
        assert code
        # Once finished, it lets nobody in; in the rater's own browser it leads to the code.
        assert taker(app).get(first.link).status == 403
        assert elsewhere.get(first.link).code == elsewhere.get().code == code
        # A replay of the consent form makes no second rater.
        second = taker(app, links[1].removeprefix("http://127.0.0.1"))
        form = second.get(second.link)
        assert second.post("/consent", token=form.field("token"), agree="yes").status == 200
        assert second.post("/consent", token=form.field("token"), agree="yes").status == 403
        assert {row[0] for row in [(r["rater"],) for r in records_of(folder)]} and len(_raters(study)) == 2


def test_invitations_run_out(tmp_path: Path, clock: Clock) -> None:
    folder = make_study(tmp_path / "study", 'entry = "invitation"', n=3)
    with open_study(folder) as study:
        with study.store.writing() as connection:
            (token,) = raters.invite(connection, study.keys, 1, clock.now, days=2)
        app = make_app(study, clock=clock)
        assert taker(app).get(f"/?invitation={token}").status == 200
        clock.now += 3 * 86400
        assert taker(app).get(f"/?invitation={token}").status == 403
    with pytest.raises(StudyError, match='set entry = "invitation"'):
        make_links(make_study(tmp_path / "open", n=3), 1, "http://x", 1)


def test_panel(tmp_path: Path) -> None:
    settings = ('entry = "panel"', 'completion_code = "C0DE"', 'completion_url = "https://panel.example/done?cc={code}"')
    folder = make_study(tmp_path / "study", *settings, n=4, n_practice=0)
    with open_study(folder) as study:
        app = make_app(study)
        assert taker(app).get().status == 403
        assert "preview" in taker(app).get("/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&workerId=A1").text
        person = taker(app, "/?PROLIFIC_PID=5f3a9c&STUDY_ID=1")
        page = person.enter()
        page = person.answer(page)
        # The same person again, in another browser, goes on where they were.
        back = taker(app, person.link)
        again = back.get(back.link)
        assert again.field("assignment") == page.field("assignment")
        done = back.finish(again)
        assert done.code == "C0DE" and 'href="https://panel.example/done?cc=C0DE"' in done.text
        assert "5f3a9c" not in everything_in(study) and len(_raters(study)) == 1
    assert look_up(folder, "5f3a9c")["n_answers"] == 4
    with pytest.raises(StudyError, match="no rater '"):
        look_up(folder, "5f3a9d")


PLACEHOLDERS = (
    "{{%PROLIFIC_PID%}}", "{{%25PROLIFIC_PID%25}}", "{{PROLIFIC_PID}}", "{PROLIFIC_PID}", "%PROLIFIC_PID%",
    "%%PROLIFIC_PID%%", "PROLIFIC_PID", "prolific_pid", "__PROLIFIC_PID__", ":PROLIFIC_PID", "${workerId}", "$workerId",
    "$WORKER_ID", "workerId", "worker_id", "#{workerId}", "@{workerId}", "[workerId]", "[[workerId]]", "[%RID%]",
    "[%25RID%25]", "<your id>", "<%= id %>", "${e://Field/PROLIFIC_PID}", "*|ID|*", "{0}", "%s", "{{", "***", "?",
    "undefined", "null", "None", "NaN", "N/A", "ASSIGNMENT_ID_NOT_AVAILABLE", "   ", "--", "a\0b", "%7B%7Bid%7D%7D",
)  # fmt: skip
NAMES = (
    "5f0c0ffee0c0ffee0c0ffee0",
    "A1B2C3D4E5F6G7",
    "a",
    "17",
    "ann@example.org",
    "3f2b-11ee-be56",
    "YWJjZA==",
    "jörg_7",
    "sona:1234",
)


@pytest.mark.parametrize("parameter", ["PROLIFIC_PID", "workerId", "code"])
def test_placeholders_that_a_panel_did_not_fill_in(tmp_path: Path, parameter: str) -> None:
    folder = make_study(tmp_path / "study", 'entry = "panel"', f'panel_parameter = "{parameter}"', n=2)
    with open_study(folder) as study:
        app = make_app(study)
        for name in (*PLACEHOLDERS, parameter, f"{{{{%{parameter}%}}}}"):
            stranger = taker(app)
            answer = stranger.client.get("/", params={parameter: name}, follow_redirects=True)
            assert answer.status_code == 403 and "did not fill it in" in answer.text, name
            assert stranger.get().status == 403 and not stranger.client.cookies, "and nothing of it is kept"
        for name in NAMES:
            assert taker(app).client.get("/", params={parameter: name}, follow_redirects=True).status_code == 200, name


@pytest.mark.parametrize(
    ("settings", "shown", "absent"),
    [
        (('entry = "panel"',), ["Please return your submission"], ['class="code"', "href=\"https"]),
        (('entry = "panel"', 'full_code = "OUT"'), ['class="code">OUT<'], ["Please return", "href=\"https"]),
        (
            ('entry = "panel"', 'full_code = "O&T"', 'full_url = "https://panel.example/?a=1&cc={code}"', 'completion_code = "C0DE"'),
            ['class="code">O&amp;T<', 'href="https://panel.example/?a=1&amp;cc=O&amp;T"'],
            ["Please return", "C0DE"],
        ),
        (('entry = "panel"', 'full_url = "https://panel.example/"'), ['href="https://panel.example/"'], ["Please return", 'class="code"']),
        ((), [], ["Please return", 'class="code"']),
    ],
)  # fmt: skip
def test_a_full_study_has_a_way_back(tmp_path: Path, settings: tuple[str, ...], shown: list[str], absent: list[str]) -> None:
    folder = make_study(tmp_path / "study", *settings, n=2, n_practice=0, raters_per_item=1)
    with open_study(folder) as study:
        app = make_app(study)
        early, first = taker(app, "/?PROLIFIC_PID=a"), taker(app, "/?PROLIFIC_PID=b")
        form = early.get(early.link)
        assert first.finish(first.enter()).code
        late = taker(app, "/?PROLIFIC_PID=c")
        # Who finds it full on arrival, and who agreed to take part while the last places went.
        pages = [late.get(late.link), early.post("/consent", token=form.field("token"), agree="yes")]
    for page in pages:
        assert page.status == 200 and "No images are left" in page.text and page.code is None
        assert all(words in page.text for words in shown) and not any(words in page.text for words in absent)


def test_completion_codes_are_found_again(study: Study) -> None:
    rater = taker(make_app(study))
    code = rater.finish(rater.enter()).code
    assert code and look_up(study.folder, code)["finished"]
    assert rater.get().code == code


def test_declining_stores_nothing(study: Study) -> None:
    rater = taker(make_app(study))
    rater.get()
    assert "not been entered" in rater.get("/declined").text
    page = rater.get()
    assert "/consent" in rater.post("/consent", token=page.field("token")).text, "the box must be ticked"
    assert _raters(study) == []


def test_refusals_are_in_the_study_s_language(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", 'entry = "panel"', n=2)
    words = {
        "preview": "Vorschau",
        "needs_link": "Ohne Link",
        "outdated": "Veraltet",
        "unreadable": "Nicht lesbar",
        "no_page": "Leer",
    }
    set_up(folder, texts=tuple(f'{name} = "{word}"' for name, word in words.items()))
    with open_study(folder) as study:
        app = make_app(study)
        stranger, rater = taker(app), taker(app, "/?PROLIFIC_PID=a")
        assert "Vorschau" in stranger.get("/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&workerId=A1").text
        assert "Ohne Link" in stranger.get().text and "Leer" in stranger.get("/nothing").text
        assert "Veraltet" in stranger.post("/consent", token="x", agree="yes").text
        assert "Veraltet" in stranger.post("/start", token="x").text
        page = rater.enter()
        assert "Nicht lesbar" in rater.post("/answer", token=page.field("token"), assignment="999").text


def test_declining_leads_a_panel_s_rater_back(tmp_path: Path) -> None:
    for entry, is_told in (("panel", True), ("open", False)):
        folder = make_study(tmp_path / entry, f'entry = "{entry}"', n=2)
        with open_study(folder) as study:
            rater = taker(make_app(study), "/?PROLIFIC_PID=a")
            rater.get(rater.link)
            assert ("return your submission" in rater.get("/declined").text) is is_told


def test_excluding_gives_the_items_to_others(study: Study) -> None:
    app = make_app(study)
    takers = [taker(app) for _ in range(3)]
    for one in takers:
        one.finish(one.enter())
    assert "No images are left" in taker(app).get().text
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
        raters.exclude(connection, 1, 0.0)  # twice is once
    assert counts_are_true(study)
    assert takers[0].get().code, "who had finished keeps the completion code"
    fourth = taker(app)
    assert fourth.finish(fourth.enter()).code
    counted = [record for record in records_of(study.folder) if record["counts"]]
    assert len(counted) == 36 and len({record["rater"] for record in counted}) == 3
    assert counts_are_true(study)


def test_included_again(study: Study) -> None:
    app = make_app(study, clock=lambda: 1_700_000_000.0)
    first, second, third = (taker(app) for _ in range(3))
    page = first.enter()
    for _ in range(6):  # two of practice
        page = first.answer(page)
    page = first.answer(page, skip="yes")
    second.finish(second.enter())
    with study.store.reading() as connection:
        before = files_of(study, read_records(study, connection))
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
    with study.store.reading() as connection:
        assert files_of(study, read_records(study, connection)) != before
    with study.store.writing() as connection:
        raters.include(connection, 1)
        raters.include(connection, 1)  # twice is once
        raters.include(connection, 2)  # who was not left out
    with study.store.reading() as connection:
        assert files_of(study, read_records(study, connection)) == before
    assert counts_are_true(study)
    # What was on the page when the rater was left out is lost; they go on with others.
    assert "went to someone else" in first.answer(page).text
    assert first.finish(first.get()).code and counts_are_true(study)
    third.finish(third.enter())
    assert counts_are_true(study)


def test_included_when_others_have_the_places(study: Study) -> None:
    app = make_app(study)
    takers = [taker(app) for _ in range(4)]
    for one in takers[:3]:
        one.finish(one.enter())
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
    takers[3].finish(takers[3].enter())
    with study.store.writing() as connection:
        raters.include(connection, 1)
    with study.store.reading() as connection:
        assert set(raters.true_counts(connection).values()) == {(4, 4)}
        assert coverage(study, connection)["n_items_by_answers"] == {0: 0, 4: 12}
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
    assert counts_are_true(study)


def test_excluded_in_a_break_takes_no_places(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=6, n_practice=0)
    set_up(folder, "break_every = 2")
    with open_study(folder) as study:
        rater = taker(make_app(study))
        page = rater.answer(rater.answer(rater.enter()))
        with study.store.writing() as connection:
            raters.exclude(connection, 1, 0.0)
        full = rater.post("/go-on", token=page.field("token"))
        assert "No images are left" in full.text and full.code is None
        assert counts_are_true(study)


def test_excluded_in_the_middle(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.answer(rater.answer(rater.answer(rater.enter())))
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
    assert rater.answer(page).status == 400
    assert counts_are_true(study) and not any(record["counts"] for record in records_of(study.folder))


def test_forgetting_leaves_nothing(study: Study) -> None:
    app = make_app(study)
    stays, goes = taker(app), taker(app)
    stays.finish(stays.enter())
    page = goes.enter()
    for _ in range(5):
        page = goes.answer(page)
    with study.store.reading() as connection:
        name = str(connection.execute(select(tables.rater.c.name).where(tables.rater.c.id == 2)).scalar_one())
    assert name in everything_in(study)
    assert forget_rater(study.folder, name) == (name, 5)
    assert name not in everything_in(study) and goes.answer(page).status == 403
    assert len(records_of(study.folder)) == 14 and counts_are_true(study)
    for file in study.folder.glob("study.sqlite*"):  # the log too, though a server has it open
        assert name.encode() not in file.read_bytes(), file
    study.store.close()
    assert name.encode() not in (study.folder / "study.sqlite").read_bytes()


def test_no_column_for_names_or_addresses(study: Study) -> None:
    with study.store.reading() as connection:
        columns = {
            column["name"] for table in ("rater", "assignment", "answer") for column in inspect(connection).get_columns(table)
        }
    assert not columns & {"ip", "address", "email", "user_agent", "panel_id"}


def _raters(study: Study) -> list[object]:
    with study.store.reading() as connection:
        return list(connection.execute(select(tables.rater.c.id)).scalars())
