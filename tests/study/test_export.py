"""Exports: exactly the answers, in the forms that `legan ratings` and `legan evaluate` read; the analysis of preferences; the status."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.study.studies import make_study, records_of, set_up, taker, write_compared, write_images
from typer.testing import CliRunner, Result

from legan.cli import app as cli
from legan.core.errors import StudyError
from legan.data.ratings import read_gold, read_ratings
from legan.requests import StudyRequest
from legan_study.config import StudyConfig
from legan_study.create import create_study
from legan_study.export import export_study
from legan_study.results import agreement_so_far, analyse, bradley_terry, in_words, status
from legan_study.serve import make_app
from legan_study.study import open_study


def legan(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def record(rater: str, choice: str, models: tuple[str, ...] = ("a", "b")) -> dict[str, object]:
    return {"rater": rater, "item": "x", "choice": choice, "shown": list(models), "counts": True}


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that three raters took part in, with gold and repeated items; one gives the same rating always."""
    folder = tmp_path_factory.mktemp("rated")
    source = write_images(folder / "pictures", 14)
    (folder / "gold.csv").write_text("image,low,high\nf00.png,5,10\n")
    create_study(StudyRequest(source, folder / "study", "rating", gold=folder / "gold.csv", n_practice=1))
    set_up(folder / "study", "repeats_per_rater = 2", "break_every = 0", "simulated = true")
    with open_study(folder / "study") as study:
        application = make_app(study)
        for index in range(3):
            rater = taker(application)
            page = rater.enter()
            while page.code is None:
                name = study.images[study.by_code[page.images[0]]].item_id % 8
                page = rater.answer(page, rating=str(4 if index == 2 else name + index))
    return folder / "study"


def test_ratings_file_holds_the_answers(rated: Path, tmp_path: Path) -> None:
    with open_study(rated) as study:
        export_study(study, tmp_path)
    records = records_of(rated)
    frame = read_ratings(tmp_path / "ratings.csv")
    wanted = {(r["rater"], r["item"]): r["rating"] for r in records if r["role"] in ("main", "gold")}
    assert {(row.rater, row.image): row.rating for row in frame.itertuples()} == wanted and len(frame) == 3 * 13
    assert (frame["seconds"] == 2.5).all() and frame["rater"].str.startswith("simulated-").all()
    assert read_gold(tmp_path / "gold.csv").to_dict("records") == [{"image": "f00.png", "low": 5.0, "high": 10.0}]
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert len(rows) == len(records) == 3 * 16
    assert sorted({row["role"] for row in rows}) == ["gold", "main", "practice", "repeat"]


def test_items_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    names = ["=HYPERLINK(1).png", "+1.png", "-2.png", "@SUM(1).png", "'=3.png", "plain.png"]
    (tmp_path / "pictures").mkdir()
    for name, path in zip(names, sorted(write_images(tmp_path / "drawn", 6).iterdir()), strict=True):
        path.rename(tmp_path / "pictures" / name)
    (tmp_path / "gold.csv").write_text("image,low,high\n'=HYPERLINK(1).png,0,10\n")
    create_study(StudyRequest(tmp_path / "pictures", tmp_path / "study", "rating", gold=tmp_path / "gold.csv", n_practice=0))
    set_up(tmp_path / "study", "repeats_per_rater = 0", "break_every = 0")
    with open_study(tmp_path / "study") as study:
        for _ in range(2):
            rater = taker(make_app(study))
            page = rater.enter()
            while page.is_item:
                page = rater.answer(page, rating=str(len(rater.saved)))
        export_study(study, tmp_path)
    for name in ("answers.csv", "ratings.csv", "gold.csv"):
        cells = [cell for row in csv.reader((tmp_path / name).open(newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] and "'=HYPERLINK(1).png" in cells
    assert set(read_ratings(tmp_path / "ratings.csv")["image"]) == set(names), "legan itself reads the names as they are"
    assert list(read_gold(tmp_path / "gold.csv")["image"]) == [names[0]]
    words = [tmp_path / "ratings.csv", "--gold", tmp_path / "gold.csv"]
    assert legan("ratings", "clean", *words, "-o", tmp_path / "clean.csv", "--min-seconds", 0).exit_code == 0
    assert set(read_ratings(tmp_path / "clean.csv")["image"]) == {*names} - {names[0]}
    assert ",'+1.png," in (tmp_path / "clean.csv").read_text()


def test_legan_ratings_reads_the_export(rated: Path, tmp_path: Path) -> None:
    assert legan("study", "export", rated, "-o", tmp_path).exit_code == 0
    words = [tmp_path / "ratings.csv", "--gold", tmp_path / "gold.csv"]
    result = legan("ratings", "summary", *words, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n_answers"] == 39 and found["simulated"] and found["excluded"]["constant rater"] == 13
    assert legan("ratings", "clean", *words, "-o", tmp_path / "clean.csv").exit_code == 0
    result = legan("ratings", "export", *words, "-o", tmp_path / "labels.csv")
    assert result.exit_code == 0 and len((tmp_path / "labels.csv").read_text().splitlines()) > 5


def test_status_tells_gold_repeats_and_agreement(rated: Path) -> None:
    with open_study(rated) as study:
        found = status(study)
    assert found["n_answers"] == found["n_wanted"] == 36 and found["n_items_by_answers"] == {0: 0, 3: 12}
    assert found["n_raters"] == found["n_finished"] == 3 and found["n_in_flight"] == 0
    by_failed = sorted(row["n_gold_failed"] for row in found["raters"])
    assert by_failed[-1] == 1 and all(row["repeat_change"] == 0 and row["n_gold"] == 1 for row in found["raters"])
    assert -1 <= found["agreement"]["icc"] <= 1 and "noise ceiling" in in_words(found)
    assert json.loads(legan("study", "status", rated, "--json").stdout)["n_answers"] == 36


def test_status_before_anybody_came(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=3)
    result = legan("study", "status", folder)
    assert result.exit_code == 0 and "0 of 9 answers" in result.stdout and "too few answers yet" in result.stdout
    result = legan("study", "export", folder, "-o", tmp_path / "out")
    assert result.exit_code == 2 and "has no answers yet" in result.stderr and not (tmp_path / "out").exists()


def test_status_while_all_say_the_same(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=5, n_practice=0)
    with open_study(folder) as study:
        for _ in range(2):
            rater = taker(make_app(study))
            rater.finish(rater.enter(), rating="5")
    result = legan("study", "status", folder)
    assert result.exit_code == 0 and "vary too little" in result.stdout
    # Two who agree about one item, and another choice that only one of them made.
    records = [record("r1", "a"), record("r2", "a"), {**record("r1", "b"), "item": "y"}]
    preferring = SimpleNamespace(config=StudyConfig(kind="preference"))
    assert "too few answers" in agreement_so_far(preferring, records)["note"]  # type: ignore[arg-type]


def test_preference_export(tmp_path: Path) -> None:
    create_study(StudyRequest(write_compared(tmp_path / "compared", 6), tmp_path / "study", "preference", n_practice=1))
    set_up(tmp_path / "study", "repeats_per_rater = 0", "break_every = 0")
    with open_study(tmp_path / "study") as study:
        application = make_app(study)
        for _ in range(3):
            rater = taker(application)
            page, turn = rater.enter(), 0
            while page.code is None:
                better = next(c for c in page.images if study.images[study.by_code[c]].model == "legan")
                page = rater.answer(page, choice={1: "tie", 2: "none"}.get(turn, better))
                turn += 1
        files = export_study(study, tmp_path / "out").files
        assert {path.name for path in files} == {"answers.csv", "preference.json"}
    found = json.loads((tmp_path / "out" / "preference.json").read_text())
    assert found["kind"] == "preference" and found["n_answers"] == 15 and found["n_raters"] == 3
    first, second = found["models"]
    assert (first["name"], second["name"]) == ("legan", "stargan")
    assert first["share"] == {"value": 0.6, "low": 0.6, "high": 0.6} and second["share"]["value"] == 0
    assert found["ties"] == found["none"] == pytest.approx(0.2)
    assert first["bradley_terry"] > 0 > second["bradley_terry"] and not found["simulated"]
    rows = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
    assert {row["choice"] for row in rows if row["role"] == "main"} == {"legan", "tie", "none"}
    assert {frozenset(row["shown"].split(" | ")) for row in rows} == {frozenset(("legan", "stargan"))}


def test_shares_and_their_intervals() -> None:
    random = np.random.default_rng(0)
    raters = [f"r{i}" for i in range(40)]
    records = [record(rater, "a" if random.random() < 0.7 else "b") for rater in raters for _ in range(10)]
    found = analyse(records, ["a", "b"])
    share = found["models"][0]["share"]
    # Raters alike: the interval is that of the binomial distribution, +- 1.96 * sqrt(0.7 * 0.3 / 400).
    assert share["value"] == sum(r["choice"] == "a" for r in records) / 400 and share["low"] < share["value"] < share["high"]
    assert share["high"] - share["low"] == pytest.approx(2 * 0.045, abs=0.02)
    # Raters of firm and different opinions: ten answers of one say little more than one answer.
    firm = [record(rater, "a" if i % 2 else "b") for i, rater in enumerate(raters) for _ in range(10)]
    wide = analyse(firm, ["a", "b"])["models"][0]["share"]
    assert wide["high"] - wide["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), abs=0.05)
    assert analyse(records, ["a", "b"]) == found
    with pytest.raises(StudyError, match="nothing to analyse"):
        analyse([], ["a", "b"])


def test_bradley_terry_against_the_closed_form() -> None:
    # Two models: the difference of the strengths is the logarithm of the odds.
    records = [record("r", "a")] * 300 + [record("r", "b")] * 100
    a, b = bradley_terry(records, ["a", "b"])
    assert a - b == pytest.approx(np.log(3), abs=0.01) and a + b == pytest.approx(0)
    tied = bradley_terry([*records, *([record("r", "tie")] * 400)], ["a", "b"])
    assert tied[0] - tied[1] == pytest.approx(np.log(500 / 300), abs=0.01)
    assert bradley_terry([*records, *([record("r", "none")] * 50)], ["a", "b"]) == pytest.approx([a, b])
    # Three models shown together: Luce's model gives the picks' own proportions.
    counts = {"a": 60, "b": 30, "c": 10}
    records = [record("r", name, ("a", "b", "c")) for name, n in counts.items() for _ in range(n)]
    strengths = np.exp(bradley_terry(records, ["a", "b", "c"]))
    assert strengths / strengths.sum() == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
