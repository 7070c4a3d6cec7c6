"""Answers: stored once, revised once, and with what was measured beside them."""

import pytest
from tests.study.conftest import Clock
from tests.study.studies import counts_are_true, records_of, taker

from legan_study.serve import make_app
from legan_study.study import Study


def test_sent_twice_is_stored_once(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    first, second = rater.answer(page, rating="3"), rater.answer(page, rating="9")
    assert first.status == second.status == 200
    assert first.field("assignment") == second.field("assignment")
    assert [record["rating"] for record in records_of(study.folder)] == [3.0]


def test_what_is_stored_with_an_answer(study: Study, clock: Clock) -> None:
    rater = taker(make_app(study, clock=clock))
    page = rater.enter()
    clock.now += 7
    form = {"rating": "6.5", "slider_start": "2", "display_width": "420", "display_height": "420", "pixel_ratio": "2.5"}
    rater.answer(page, **form)
    (record,) = records_of(study.folder)
    assert record["rating"] == 6.5 and record["slider_start"] == 2 and record["order"] == 1 and record["seconds"] == 2.5
    assert record["display_width"] == 420 and record["pixel_ratio"] == 2.5 and record["server_seconds"] == 7


@pytest.mark.parametrize(
    "form",
    [
        {"rating": "11"}, {"rating": "-0.5"}, {"rating": "nan"}, {"rating": "3.3"}, {"rating": ""}, {"rating": "1e400"},
        {"choice": "tie"}, {"rating": "five"},
    ],
)  # fmt: skip
def test_answers_that_cannot_be(study: Study, form: dict[str, str]) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    assert rater.answer(page, **form).status == 400
    assert records_of(study.folder) == [] and rater.get().field("assignment") == page.field("assignment")


def test_back_once(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    assert "disabled" in page.text.split('form="back"')[1].split(">")[0]
    second = rater.answer(page, rating="3")
    back = rater.post("/back", token=second.field("token"))
    assert back.field("assignment") == page.field("assignment")
    assert 'value="3.0"' in back.text and "disabled" in back.text.split('form="back"')[1].split(">")[0]
    assert rater.get().field("assignment") == page.field("assignment"), "a reload stays there"
    after = rater.answer(back, rating="8")
    assert after.field("assignment") == second.field("assignment")
    again = rater.post("/back", token=after.field("token"))
    assert again.field("assignment") == second.field("assignment"), "the same item cannot be changed twice"
    third = rater.answer(again, rating="1")
    assert rater.post("/back", token=third.field("token")).field("assignment") == second.field("assignment")
    records = sorted(records_of(study.folder), key=lambda record: int(str(record["order"])))
    assert [record["rating"] for record in records] == [8.0, 1.0]
    assert [record["n_revisions"] for record in records] == [1, 0]
    assert [record["seconds"] for record in records] == [5.0, 2.5]


def test_back_from_a_skip_and_to_one(study: Study) -> None:
    rater = taker(make_app(study))
    page = rater.enter()
    for _ in range(2):
        page = rater.answer(page)
    for first, then in (({"skip": "yes"}, {"rating": "4"}), ({"rating": "4"}, {"skip": "yes"})):
        after = rater.answer(page, **first)
        assert counts_are_true(study)
        page = rater.answer(rater.post("/back", token=after.field("token")), **then)
        assert counts_are_true(study)
    verdicts = [record["verdict"] for record in records_of(study.folder) if record["role"] == "main"]
    assert sorted(map(str, verdicts)) == ["rated", "skipped"]
