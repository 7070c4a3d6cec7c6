"""A preference study made from an evaluation, taken by programs (so named), and its shares in the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.study.studies import set_up, taker

from legan.core.errors import ConfigError, DataError
from legan.evaluation.benchmark import evaluate
from legan.evaluation.preference_study import answers_needed, in_blocks
from legan.requests import EvaluationNetworks, EvaluationRequest, StudyRequest
from legan_study.create import create_study
from legan_study.export import export_study
from legan_study.serve import make_app
from legan_study.study import open_study


def request_of(data: Path, *editors: str, **others: Any) -> EvaluationRequest:
    return EvaluationRequest((str(data),), editors, n=16, n_resamples=0, **others)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_how_many_answers_tell_a_share_from_chance() -> None:
    """Against the exact binomial test: so many answers have the power asked for, a tenth fewer have less."""
    from scipy.stats import binom

    for share in (0.55, 0.6, 0.7):
        n = answers_needed(share)
        powers = []
        for answers in (n, round(0.8 * n)):
            least = int(binom.ppf(0.975, answers, 0.5)) + 1
            powers.append(1 - binom.cdf(least - 1, answers, share))
        assert powers[0] == pytest.approx(0.8, abs=0.06) and powers[1] < powers[0] - 0.04
    assert answers_needed(0.45) == answers_needed(0.55) == 783 < answers_needed(0.55, 0.9) == 1047
    for share in (0.5, 0.0, 1.0):
        with pytest.raises(ConfigError, match="differ from"):
            answers_needed(share)


def test_simulated_raters_answer_it_and_the_shares_come_into_the_report(
    data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path
) -> None:
    editors = (f"a={tiny_editor}", f"b={tiny_editor}")
    report = evaluate(request_of(data, *editors, study=tmp_path / "images", study_items=8), tmp_path / "out", choice)
    assert (report["study"]["n_items"], report["study"]["n_checks"], report["study"]["models"]) == (8, 3, ["a", "b"])
    compared = tmp_path / "images" / "compared"
    names = {folder.name: sorted(path.name for path in folder.iterdir()) for folder in compared.iterdir()}
    assert set(names) == {"a", "b", "input"} and names["a"] == names["b"] == names["input"]
    assert names["a"] == [*(f"{k:04d}.png" for k in range(1, 9)), *(f"check-0{k}.png" for k in (1, 2, 3))]
    assert (pixels(compared / "a" / "0003.png") == pixels(compared / "b" / "0003.png")).all(), "one editor under two names"
    assert (pixels(compared / "a" / "0003.png") != pixels(compared / "input" / "0003.png")).any()
    assert (tmp_path / "images" / "gold.csv").read_text().split() == ["image,best", "check-01,a", "check-02,b", "check-03,a"]
    first = pixels(compared / "input" / "check-01.png")
    assert (pixels(compared / "a" / "check-01.png") == first).all()
    assert (pixels(compared / "b" / "check-01.png") == in_blocks(first)).all()
    assert "0.55,0.8,783" in (tmp_path / "images" / "power.csv").read_text()

    # Programs take part and pick `a` always: its share is 1 but for nothing.
    request = StudyRequest(compared, tmp_path / "study", "preference", gold=tmp_path / "images" / "gold.csv", n_practice=1)
    create_study(request)
    set_up(tmp_path / "study", "repeats_per_rater = 0", "break_every = 0", "simulated = true")
    with open_study(tmp_path / "study") as study:
        application = make_app(study)
        for _ in range(3):
            rater = taker(application)
            page = rater.enter()
            while page.code is None:
                shown = {study.images[study.by_code[code]].model: code for code in page.images}
                page = rater.answer(page, choice=shown["a"])
        export_study(study, tmp_path / "exported")
    preference = tmp_path / "exported" / "preference.json"
    assert json.loads(preference.read_text())["simulated"]
    again = evaluate(request_of(data, *editors, preference=preference), tmp_path / "out", choice)
    shares = {row["name"]: row["metrics"]["preference"]["value"] for row in again["models"]}
    assert shares == {"a": 1.0, "b": 0.0} and again["preference"]["simulated"]


def test_what_cannot_be_a_study_is_refused_before_anything_is_measured(
    data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path
) -> None:
    one = (f"a={tiny_editor}",)
    two = (*one, f"b={tiny_editor}")
    for editors, others, words in (
        (one, {}, "compares 2 to 4 models, not 1"),
        ((*one, f"input={tiny_editor}"), {}, "cannot be called 'input'"),
        (two, {"study_items": 0}, "--study-items must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(request_of(data, *editors, study=tmp_path / "images", **others), tmp_path / "out", choice)
    assert not (tmp_path / "images").exists() and not list((tmp_path / "out").glob("cache/*.npz"))
    (tmp_path / "images" / "compared" / "other").mkdir(parents=True)
    with pytest.raises(DataError, match="holds images of other"):
        evaluate(request_of(data, *two, study=tmp_path / "images"), tmp_path / "out", choice)
