"""Studies in a real browser: headless Chromium by Playwright, with axe for accessibility. Skipped where Chromium is not installed."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.browser import NEEDS_CHROMIUM, axe_faults, new_page
from tests.study.studies import make_study, records_of, serving, set_up, write_compared

from legan.requests import StudyRequest
from legan_study.create import create_study
from legan_study.export import export_study
from legan_study.study import open_study

pytestmark = NEEDS_CHROMIUM


def ready(page: Any) -> None:
    """Wait until the item's images are drawn and its clock runs."""
    page.wait_for_function("() => document.getElementById('answer') && shownAt > 0 && !sending")


def gone(page: Any, assignment: str) -> None:
    """Wait until the page shows something else than this item."""
    page.wait_for_function(f"() => !sending && document.querySelector('input[name=assignment]')?.value !== '{assignment}'")


def test_rating_by_keyboard_with_a_reload(browser: Any, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", "items_per_rater = 10", n=12, n_practice=2)
    page, faults = new_page(browser)
    with serving(folder) as (url, _):
        page.goto(url)
        assert axe_faults(page) == []
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        page.wait_for_selector("form[action='/start']")
        assert axe_faults(page) == []
        page.keyboard.press("Enter")
        given: dict[str, float] = {}
        for turn in range(12):
            ready(page)
            assert page.locator(".practice").count() == (1 if turn < 2 else 0)
            assert page.get_attribute("#rating", "aria-valuetext") == "Move the slider to give your rating."
            assert page.locator("button[name=save]").is_disabled()
            if turn == 3:
                assert axe_faults(page) == []
            if turn == 5:  # Enter without a rating: the browser by itself would press Skip
                before = page.get_attribute("input[name=assignment]", "value")
                page.keyboard.press("Enter")
                page.wait_for_timeout(500)
                assert page.get_attribute("input[name=assignment]", "value") == before
            if turn == 6:  # a reload in the middle shows the same item
                before = page.get_attribute("input[name=assignment]", "value")
                page.reload()
                ready(page)
                assert page.get_attribute("input[name=assignment]", "value") == before
            page.keyboard.press(str(turn % 10))
            if turn % 2:
                page.keyboard.press("ArrowRight")
            assignment = page.get_attribute("input[name=assignment]", "value")
            given[str(assignment)] = turn % 10 + (0.5 if turn % 2 else 0)
            page.keyboard.press("Enter")
            gone(page, assignment)
        code = page.text_content("#code")
        assert axe_faults(page) == []
        # The tab stays open after the last page, and a reload shows it again.
        page.reload()
        assert page.text_content("#code") == code
    assert faults == []
    records = records_of(folder)
    assert len(records) == 12 and sum(r["role"] == "practice" for r in records) == 2
    assert [r["rating"] for r in sorted(records, key=lambda r: int(str(r["order"])))] == list(given.values())
    assert all(0 < float(str(r["seconds"])) < 60 and r["display_width"] == 420 and r["pixel_ratio"] == 2 for r in records)
    with open_study(folder) as study:
        export_study(study, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "ratings.csv").open()))
    assert [float(row["rating"]) for row in rows] == list(given.values())[2:]
    assert len({row["image"] for row in rows}) == 10 and [int(row["order"]) for row in rows] == list(range(3, 13))


def test_preference_on_a_phone(browser: Any, tmp_path: Path) -> None:
    create_study(StudyRequest(write_compared(tmp_path / "compared", 7), tmp_path / "study", "preference", n_practice=1))
    set_up(tmp_path / "study", "repeats_per_rater = 0", "break_every = 3")
    page, faults = new_page(browser, phone=True, scheme="dark")
    choices = ["tie", "picked", "picked", "none", "picked", "picked", "picked"]
    with serving(tmp_path / "study") as (url, _):
        page.goto(url)
        page.tap("text=I have read this")
        page.tap("text=Begin")
        page.tap("button:has-text('Start')")
        for turn, choice in enumerate(choices):
            ready(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
            if turn == 1:
                assert axe_faults(page) == []
            page.tap({"tie": "text=No difference", "none": "text=None is acceptable", "picked": ".version >> nth=0"}[choice])
            box = page.locator("button[name=save]").bounding_box()
            assert box["y"] + box["height"] <= 780, "the button is below the screen"
            assignment = page.get_attribute("input[name=assignment]", "value")
            page.tap("button[name=save]")
            gone(page, assignment)
            if turn in (3, 6) and turn != len(choices) - 1:
                page.tap("button:has-text('Go on')")
        page.wait_for_selector("#code")
    assert faults == []
    records = records_of(tmp_path / "study")
    assert [r["verdict"] for r in records] == choices
    with open_study(tmp_path / "study") as study:
        export_study(study, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "preference.json").read_text())
    picked = [r["choice"] for r in records if r["verdict"] == "picked" and r["role"] == "main"]
    assert found["n_answers"] == 6 and found["none"] == pytest.approx(1 / 6) and found["ties"] == 0
    for model in found["models"]:
        assert model["share"]["value"] == pytest.approx(picked.count(model["name"]) / 6)


def test_answer_survives_a_server_that_is_away(browser: Any, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=3, n_practice=0)
    page, _ = new_page(browser)
    with serving(folder) as (url, process):
        port = int(url.rsplit(":", 1)[1])
        page.goto(url)
        page.check("input[name=agree]")
        page.click("text=Begin")
        page.click("text=Start")
        ready(page)
        process.kill()
        process.wait()
        page.keyboard.press("7")
        page.keyboard.press("Enter")
        page.wait_for_selector("#unsaved:not([hidden])")
        assert "not saved yet" in str(page.text_content("#unsaved"))
    with serving(folder, port=port):
        page.wait_for_selector("#unsaved", state="hidden")
        ready(page)
    assert [r["rating"] for r in records_of(folder)] == [7.0]


def test_time_away_before_the_image_came_is_not_taken_off(browser: Any, tmp_path: Path) -> None:
    page, waiting = new_page(browser)[0], []
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.away === true })")
    turn_to = "(away) => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); }"
    page.route("**/picture/*", lambda route: waiting.append(route))
    with serving(make_study(tmp_path / "study", n=3, n_practice=0)) as (url, _):
        page.goto(url)
        page.check("input[name=agree]")
        page.click("text=Begin")
        page.click("text=Start")
        page.wait_for_selector("#answer")
        page.evaluate(turn_to, True)
        page.wait_for_timeout(1500)
        page.evaluate(turn_to, False)
        while waiting:
            waiting.pop().continue_()
        ready(page)
        page.wait_for_timeout(700)
        page.evaluate(turn_to, True)
        page.wait_for_timeout(300)
        page.evaluate(turn_to, False)
        seconds, since = page.evaluate("[seconds(), (performance.now() - shownAt) / 1000]")
    assert seconds >= 0.7 and since - seconds >= 0.25, "only the time away after that"
