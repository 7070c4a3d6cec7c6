"""Handing out items: exactly as many answers as asked for, whoever asks at once, and what was abandoned comes back."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.study.conftest import Clock
from tests.study.studies import Taker, counts_are_true, make_study, records_of, set_up, taker, write_images

from legan.requests import StudyRequest
from legan_study import raters
from legan_study.assignment import make_plan
from legan_study.config import StudyConfig
from legan_study.create import create_study
from legan_study.results import in_words, status
from legan_study.serve import make_app
from legan_study.study import Study, mark_missing, open_study


def test_every_item_gets_exactly_k_raters(study: Study) -> None:
    app, codes = make_app(study), set()
    for _ in range(3):
        rater = taker(app)
        page = rater.finish(rater.enter())
        assert page.code and len(rater.saved) == 14  # two of them practice
        codes.add(page.code)
    assert len(codes) == 3
    late = taker(app)
    assert "No images are left" in late.get().text
    records = records_of(study.folder)
    counted = [record for record in records if record["counts"]]
    assert set(Counter(record["item"] for record in counted).values()) == {3} and len(counted) == 36
    assert max(Counter((record["rater"], record["item"]) for record in records).values()) == 1
    assert counts_are_true(study)


def test_least_covered_first_in_an_order_of_ones_own(study: Study) -> None:
    app, orders = make_app(study), []
    for _ in range(2):
        rater = taker(app)
        page = rater.enter()
        for _ in range(8):  # two of practice, six that count
            page = rater.answer(page)
        orders.append([code for code in rater.saved][2:])
    counted = Counter(str(record["item"]) for record in records_of(study.folder) if record["counts"])
    # The first rater holds the seventh and eighth item still, the second takes the four left and two of the others.
    assert sum(counted.values()) == 12 and sorted(counted.values()).count(1) >= 8
    assert orders[0] != orders[1]


def test_raters_at_once_take_no_place_twice(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", "items_per_rater = 5", n=10, n_practice=0, raters_per_item=2)
    with open_study(folder) as opened:
        app = make_app(opened)

        def take_part(_: int) -> Taker:
            rater = taker(app)
            page = rater.enter()
            assert counts_are_true(opened)
            rater.finish(page)
            return rater

        with ThreadPoolExecutor(12) as pool:
            raters = list(pool.map(take_part, range(12)))
        saved = [code for rater in raters for code in rater.saved]
        assert len(saved) == len(set(saved)) <= 20
        while "/consent" in taker(app).get().text:  # places given back by raters who could not use them
            last = taker(app)
            last.finish(last.enter())
        assert counts_are_true(opened)
    counted = Counter(record["item"] for record in records_of(folder) if record["counts"])
    assert set(counted.values()) == {2} and len(counted) == 10


def test_abandoned_items_go_to_others_and_come_back_while_there_is_room(tmp_path: Path, clock: Clock) -> None:
    folder = make_study(tmp_path / "study", n=2, n_practice=0, raters_per_item=1)
    with open_study(folder) as opened:
        app = make_app(opened, clock=clock)
        away = taker(app)
        page = away.enter()
        assert "No images are left" in taker(app).get().text  # both are assigned
        clock.now += 60 * opened.config.timeout_minutes + 1
        # Nobody else has come: the answer is taken as if nothing had happened.
        page = away.answer(page)
        assert page.status == 200 and "went to someone else" not in page.text
        clock.now += 60 * opened.config.timeout_minutes + 1
        other = taker(app)
        assert other.finish(other.enter()).code
        after = away.answer(page)
        assert "went to someone else" in after.text or after.code
        records = records_of(folder)
        assert len(records) == 2 and len({record["rater"] for record in records}) == 2
        assert counts_are_true(opened)


def test_a_rater_who_is_there_keeps_the_item(study: Study, clock: Clock) -> None:
    app = make_app(study, clock=clock)
    rater = taker(app)
    page = rater.enter()
    for _ in range(4):  # longer than the timeout in all
        clock.now += 40 * study.config.timeout_minutes
        again = rater.get()
        assert again.field("assignment") == page.field("assignment")


def test_plan_mixes_gold_and_repeats_late_enough(tmp_path: Path) -> None:
    source = write_images(tmp_path / "pictures", 34)
    gold = tmp_path / "gold.csv"
    gold.write_text("image,low,high\nf00.png,6,10\nf01.png,0,4\n")
    create_study(StudyRequest(source, tmp_path / "study", "rating", gold=gold, n_practice=2))
    with open_study(tmp_path / "study") as opened:
        config = StudyConfig(items_per_rater=20, gold_per_rater=5, repeats_per_rater=4, repeat_distance=10)
        plans = set()
        for _ in range(50):
            with opened.store.reading() as connection:
                plan = make_plan(connection, config)
            assert re.fullmatch("pp[mgr]+", plan) and Counter(plan) == {"p": 2, "m": 20, "g": 2, "r": 4}
            assert plan.index("r") >= 12
            plans.add(plan)
        assert len(plans) > 45


def test_gold_and_repeats_are_told_apart_in_the_records_only(tmp_path: Path) -> None:
    source = write_images(tmp_path / "pictures", 16)
    gold = tmp_path / "gold.csv"
    gold.write_text("image,low,high\nf00.png,6,10\nf01.png,0,4\n")
    create_study(StudyRequest(source, tmp_path / "study", "rating", gold=gold, n_practice=2))
    set_up(tmp_path / "study", "repeats_per_rater = 2", "break_every = 5", "gold_per_rater = 2")
    with open_study(tmp_path / "study") as opened:
        rater = taker(make_app(opened))
        page, shapes, n_breaks = rater.enter(), set(), 0
        while page.code is None:
            if "/go-on" in page.text:
                n_breaks += 1
                page = rater.post("/go-on", token=page.field("token"))
            hidden = re.sub(r'(value|src|data-images)="[^"]*"', "", page.text)
            if "Practice" not in page.text:
                shapes.add(re.sub(r"\d+ of \d+|disabled", "", hidden))
            page = rater.answer(page, rating="8")
    assert len(shapes) == 1, "pages of gold and repeated items differ from others"
    records = records_of(tmp_path / "study")
    assert Counter(record["role"] for record in records) == {"main": 12, "gold": 2, "repeat": 2, "practice": 2}
    assert n_breaks == 3
    assert {record["item"]: record["passed"] for record in records if record["role"] == "gold"} == {
        "f00.png": True,
        "f01.png": False,
    }
    orders = {(record["item"], record["role"]): int(str(record["order"])) for record in records}
    for (name, role), order in orders.items():
        assert role != "repeat" or order - orders[name, "main"] >= 10


@pytest.mark.parametrize("kept", [True, False])
def test_skipped_items_are_given_to_others(tmp_path: Path, kept: bool) -> None:
    folder = make_study(tmp_path / "study", f"allow_skip = {str(kept).lower()}", n=3, n_practice=0, raters_per_item=1)
    with open_study(folder) as opened:
        app = make_app(opened)
        rater = taker(app)
        page = rater.enter()
        after = rater.answer(page, skip="yes")
        if not kept:
            assert after.status == 400 and records_of(folder) == []
            return
        assert rater.finish(after).code
        second = taker(app)
        second.finish(second.enter())
        assert Counter(str(record["verdict"]) for record in records_of(folder)) == {"rated": 3, "skipped": 1}
        assert counts_are_true(opened)


def test_skipping_earns_no_completion_code(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", 'entry = "panel"', n=10, n_practice=3)
    with open_study(folder) as opened:
        app = make_app(opened)
        skipper, lazy, honest = (taker(app, f"/?PROLIFIC_PID=rater{i}") for i in range(3))
        end = skipper.finish(skipper.enter(), skip="yes")
        assert end.code is None and "Too few answers" in end.text and "return your submission" in end.text
        assert skipper.get().code is None and skipper.get(skipper.link).code is None
        pages = [lazy.enter(), honest.enter()]
        for i in range(13):  # three of practice, which do not count, then four answers of ten, and six
            pages[0] = lazy.answer(pages[0], **({"rating": "5"} if i < 7 else {"skip": "broken"}))
            pages[1] = honest.answer(pages[1], **({"skip": "yes"} if i < 7 else {"rating": "5"}))
        assert pages[0].code is None and pages[1].code
        back = honest.post("/back", token=honest.token)
        assert honest.answer(back, skip="yes").code, "half is enough"
        # Being left out brings no code either.
        with opened.store.writing() as connection:
            raters.exclude(connection, 1, 0.0)
        assert skipper.get().code is None
        flags = {row["rater"]: (row["too_few"], row["finished"]) for row in status(opened)["raters"]}
        assert sorted(flags.values()) == [(False, True), (True, True), (True, True)]
        assert in_words(status(opened)).count("no completion code: too many skipped") == 2


@pytest.mark.parametrize("least", ["0", "1"])
def test_the_share_is_the_study_s(tmp_path: Path, least: str) -> None:
    with open_study(make_study(tmp_path / "study", f"min_answered = {least}", n=3, n_practice=0)) as opened:
        rater = taker(make_app(opened))
        page = rater.answer(rater.answer(rater.enter()))
        assert bool(rater.answer(page, skip="yes").code) is (least == "0")


def test_a_browser_is_not_believed_that_an_image_is_broken(tmp_path: Path) -> None:
    with open_study(make_study(tmp_path / "study", "allow_skip = false", n=4, n_practice=0)) as opened:
        rater = taker(make_app(opened))
        page = rater.enter()
        assert rater.answer(page, skip="broken").status == 400 and records_of(opened.folder) == []
        one = opened.images[opened.by_code[page.images[0]]]
        whole = one.path.read_bytes()
        one.path.write_bytes(whole[:100])
        page = rater.answer(page, skip="broken")
        assert page.status == 200 and page.is_item and len(records_of(opened.folder)) == 1
        assert rater.finish(page).code, "what nobody could have answered is not held against the rater"
        other = taker(make_app(opened))
        assert other.finish(other.enter()).code and len(other.saved) == 3, "nobody else gets it"
        assert len(mark_missing(opened)) == 1
        one.path.write_bytes(whole)
        assert mark_missing(opened) == [] and counts_are_true(opened)
