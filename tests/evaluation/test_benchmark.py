"""An evaluation from end to end: known results for known editors, the same whatever the batch and the processes, files, bad input."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.evaluation.sets import write_images
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError, DataError, ImageError, LeganError, WeightsError
from legan.core.images import from_network, to_network
from legan.evaluation import measure as measures
from legan.evaluation import measure as run
from legan.evaluation.benchmark import evaluate
from legan.evaluation.measure import INPUT, REAL
from legan.evaluation.statistics import METRICS, within
from legan.metrics.agreement import Interval
from legan.models.editors import Attempt, Codes, load_networks
from legan.requests import EvaluationNetworks, EvaluationRequest

N = 24


def request_of(data: Path, *editors: object, **others: Any) -> EvaluationRequest:
    return EvaluationRequest((str(data),), tuple(map(str, editors)), n=N, n_resamples=20, **others)


@pytest.fixture(scope="module")
def done(data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    evaluate(request_of(data, f"a={tiny_editor}", f"b={tiny_editor}"), out, choice)
    return out


def rows(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / "report.json").read_text())
    return {entry["name"]: entry for entry in [*report["models"], *report["references"]]}


def test_report_has_the_form_that_others_read(done: Path) -> None:
    report = json.loads((done / "report.json").read_text())
    assert [model["name"] for model in report["models"]] == ["a", "b"]
    assert [row["name"] for row in report["references"]] == [INPUT, REAL]
    model = report["models"][0]
    assert model["data"] == "drawn/test" and model["n"] == N
    assert {"fid", "lpips", "ssim", "match", "quality", "preference"} <= set(model["metrics"])
    for name, entry in model["metrics"].items():
        assert {"value", "low", "high"} <= set(entry)
        if name != "preference":
            assert entry["low"] <= entry["value"] <= entry["high"], name
    assert model["metrics"]["fid"]["network"] == "tiny-net.safetensors" and len(report["networks"]["fid"]["sha256"]) == 64
    assert model["metrics"]["preference"]["value"] is None
    assert report["models"][0]["metrics"] == report["models"][1]["metrics"], "the same editor under two names"
    assert any("fewer than 2,000" in note for note in report["notes"])
    assert str(done) not in (done / "report.json").read_text(), "paths belong to one machine"


def test_references_are_what_they_say(done: Path) -> None:
    found = rows(done)
    nothing, real, model = (found[name]["metrics"] for name in (INPUT, REAL, "a"))
    assert nothing["match"]["value"] is None and real["ssim"]["value"] is None and 0 < real["match"]["value"] <= 1
    assert nothing["ssim"]["n"] == N and nothing["ssim"]["value"] > model["ssim"]["value"], "the tiny editor spoils faces"
    assert real["fid"]["value"] < model["fid"]["value"] and nothing["fid"]["value"] < model["fid"]["value"]


def test_figures_of_images_are_those_of_the_edits(done: Path, data: Path, tiny_editor: Path) -> None:
    from skimage.metrics import structural_similarity

    with open(done / "images.csv") as file:
        table = [line for line in csv.DictReader(file) if line["model"] == "a"]
    assert len(table) == N
    networks, line = load_networks(tiny_editor), table[5]
    person = line["source"].split("_")[0]
    expressions = ["neutral", "smile", "surprise"]
    truth = data / f"{person}_{expressions.index(line['expression'])}_{int(line['lighting'])}.png"
    x = to_network(Image.open(data / line["source"]))
    codes = networks.target_codes(x, line["expression"], line["lighting"])
    edit = from_network(networks.translate(x, codes).image)[0]
    oracle = structural_similarity(
        edit, np.asarray(Image.open(truth)), channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(line["ssim"]) == pytest.approx(oracle, abs=1e-3)


@pytest.mark.slow
def test_batch_size_and_processes_do_not_change_a_figure(
    done: Path, data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path
) -> None:
    report = evaluate(request_of(data, f"a={tiny_editor}"), tmp_path / "out", choice, n_workers=2, batch_size=7)
    before = rows(done)
    for row in [*report["models"], *report["references"]]:
        for name, entry in row["metrics"].items():
            for key in ("value", "low", "high"):
                expected = before[row["name"]]["metrics"][name][key]
                assert entry[key] == (expected if expected is None else pytest.approx(expected, rel=1e-4, abs=1e-5)), (
                    name,
                    key,
                )


def test_again_measures_only_what_is_new(
    done: Path, data: Path, choice: EvaluationNetworks, tiny_editor: Path, tiny_generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    measure = run._measure

    def counted(job: run.Job) -> Any:
        asked.append(job.candidate)
        return measure(job)

    monkeypatch.setattr(run, "_measure", counted)
    before = (done / "report.json").read_bytes()
    evaluate(request_of(data, f"a={tiny_editor}", f"b={tiny_editor}"), done, choice)
    assert asked == [] and (done / "report.json").read_bytes() == before
    evaluate(request_of(data, f"a={tiny_editor}", f"new={tiny_generator}"), done, choice)
    assert set(asked) == {3}, "the other rows and the reference are there already"
    evaluate(request_of(data, f"a={tiny_editor}", f"b={tiny_editor}"), done, choice)
    assert set(asked) == {3} and (done / "report.json").read_bytes() == before


def test_tables_and_page(done: Path) -> None:
    markdown, latex = (done / "table.md").read_text(), (done / "table.tex").read_text()
    assert "FID (tiny-net.safetensors) ↓" in markdown and "| FID ↓" not in markdown and "LPIPS (" not in markdown
    assert "not comparable with published FID" in markdown
    assert latex.count(r"\\") == 5 and r"\toprule" in latex and "input (nothing done)" in latex
    with open(done / "table.csv") as file:
        table = {line["name"]: line for line in csv.DictReader(file)}
    for name, row in rows(done).items():
        assert table[name]["fid"] == str(row["metrics"]["fid"]["value"]) and table[name]["preference"] == ""
    page = (done / "report.html").read_text()
    assert page.count("data:image/webp") == 12 * 4, "twelve rows: input, two models, truth"
    words = re.sub(r"base64,[^\"]*", "", page)
    assert "http" not in words and "$" not in words and page.count("<svg") > 4
    assert "lighting only" in words and not re.search(r"\b(nan|None)\b", words)


def test_preference_of_a_study(done: Path, data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path) -> None:
    share = {"value": 0.4, "low": 0.3, "high": 0.5}
    models = [{"name": "a", "share": share, "bradley_terry": 0.1}, {"name": "other", "share": share, "bradley_terry": -0.1}]
    study = {
        "kind": "preference",
        "n_answers": 90,
        "n_raters": 3,
        "models": models,
        "ties": 0.1,
        "none": 0.1,
        "simulated": True,
    }
    path = tmp_path / "preference.json"
    path.write_text(json.dumps(study))
    report = evaluate(request_of(data, f"a={tiny_editor}", f"b={tiny_editor}", preference=path), done, choice)
    assert report["models"][0]["metrics"]["preference"] == {**share, "n": 90}
    assert report["models"][1]["metrics"]["preference"]["value"] is None
    assert "preferred (simulated raters)" in (done / "table.md").read_text()
    for bad, message in (
        ({**study, "kind": "rating"}, "is of a study of the kind 'rating'"),
        ({**study, "models": models[1:]}, "rates other and none of a, b: name the editors as the study does"),
        ({"x": 1}, "is not a preference.json"),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(DataError, match=message):
            evaluate(request_of(data, f"a={tiny_editor}", f"b={tiny_editor}", preference=path), done, choice)


def test_folders_of_results(tmp_path: Path, choice: EvaluationNetworks) -> None:
    inputs = write_images(tmp_path / "in", 20, size=96)
    good, bad = (write_images(tmp_path / f"change{c}", 20, size=96, change=c, ending="webp") for c in (4, 40))
    asked = EvaluationRequest((str(inputs),), results=(f"good={good}", f"bad={bad}"), truth=inputs, n=100, n_resamples=20)
    found = {row["name"]: row["metrics"] for row in evaluate(asked, tmp_path / "out", choice)["models"]}
    for name, sign in (("ssim", 1), ("psnr", 1), ("match", 1), ("lpips", -1), ("fid", -1), ("kid", -1)):
        assert sign * found["good"][name]["value"] > sign * found["bad"][name]["value"], name
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["references"][0]["metrics"]["fid"]["value"] is None, "inputs are at no distance from themselves"
    assert any("scaled from 96 to 128 pixels, bilinear, antialiased" in note for note in report["notes"])
    assert "data:image/webp" in (tmp_path / "out" / "report.html").read_text()


def test_fewer_real_images_than_results(tmp_path: Path, choice: EvaluationNetworks) -> None:
    inputs, real = write_images(tmp_path / "in", 20), write_images(tmp_path / "real", 24, change=3)
    asked = EvaluationRequest((str(inputs),), results=(f"same={inputs}",), real=real, n_resamples=20)
    report = evaluate(asked, tmp_path / "out", choice)
    assert {row["name"]: row["n"] for row in report["references"]} == {INPUT: 20, REAL: 12}
    nothing, same = report["references"][0]["metrics"], report["models"][0]["metrics"]
    assert nothing["fid"] == same["fid"] and nothing["fid"]["value"] > 0 and same["match"]["value"] == pytest.approx(1)


def test_results_that_do_not_belong(tmp_path: Path, choice: EvaluationNetworks) -> None:
    inputs = write_images(tmp_path / "in", 20)
    few, small = write_images(tmp_path / "few", 18), write_images(tmp_path / "small", 20, size=64)
    (tmp_path / "none").mkdir()
    for results, kind, message in (
        (few, DataError, r"few lacks a result for 2 of 20 inputs, the first is 1[89]: give each result the name of its input"),
        (small, DataError, r"0\.png is 64x64 pixels and others are 128x128"),
        (tmp_path / "none", ImageError, "no images in"),
    ):
        with pytest.raises(kind, match=message):
            evaluate(EvaluationRequest((str(inputs),), results=(f"x={results}",), n_resamples=0), tmp_path / "out", choice)


def test_an_editor_that_gives_no_numbers_is_named(
    data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        size = 128

        def attempt(self, x: torch.Tensor, codes: Codes, batch_size: int) -> Attempt:
            return Attempt(x * float("nan"), np.zeros(len(x), bool))

    monkeypatch.setattr(measures, "load_crop_editor", lambda weights, device: Broken())
    with pytest.raises(ImageError, match=r"^mine: image values must lie in \[-1, 1\], found nan"):
        evaluate(request_of(data, f"mine={tiny_editor}"), tmp_path / "out", choice)


def test_refused_images_count_as_they_were_and_are_reported(
    data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        size = 128

        def attempt(self, x: torch.Tensor, codes: Codes, batch_size: int) -> Attempt:
            return Attempt(x, np.ones(len(x), bool))

    monkeypatch.setattr(measures, "load_crop_editor", lambda weights, device: Refusing())
    report = evaluate(request_of(data, f"mine={tiny_editor}"), tmp_path / "out", choice)
    assert f"drawn/test: mine refuses {N} of {N} images, which count as they were." in report["notes"]
    found = rows(tmp_path / "out")
    assert found["mine"]["metrics"]["ssim"] == found[INPUT]["metrics"]["ssim"] and not found["mine"]["edits"]


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ({}, ConfigError, "nothing to evaluate"),
        ({"editors": ("e",), "results": ("r=r",)}, ConfigError, "evaluated on different data"),
        ({"editors": ("e",), "data": ()}, ConfigError, "no data"),
        ({"editors": ("e",), "real": Path("r")}, ConfigError, "--truth and --real go with --results"),
        ({"editors": ("e",), "n": 0}, ConfigError, "--n must be at least 1"),
        ({"editors": ("e",), "seed": -1}, ConfigError, "--seed must be at least 0"),
        ({"editors": ("packaged",), "preference": Path("none.json")}, DataError, "none.json does not exist"),
        ({"editors": ("none.safetensors",)}, WeightsError, "none.safetensors does not exist: name a file of `legan export`"),
        ({"results": ("r=r",)}, ConfigError, "is a data set"),
        ({"editors": ("packaged", "x=packaged", "packaged")}, ConfigError, "two models are named 'packaged'"),
        ({"editors": ("packaged",), "data": ("nowhere",)}, LeganError, "nowhere is not a data set"),
    ],
)
def test_bad_wishes(
    words: dict[str, Any], kind: type[LeganError], message: str, data: Path, choice: EvaluationNetworks, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        evaluate(EvaluationRequest(**{"data": (str(data),), "n": N, **words}), tmp_path / "out", choice)
    assert not (tmp_path / "out" / "report.json").exists() and not list((tmp_path / "out").rglob("*.npz")), (
        "nothing was measured"
    )


def test_reports_of_others_are_left_alone(data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("theirs")
    with pytest.raises(DataError, match="holds other files"):
        evaluate(request_of(data, f"a={tiny_editor}"), tmp_path, choice)
    assert (tmp_path / "report.html").read_text() == "theirs"


def test_editors_need_a_data_set(tmp_path: Path, choice: EvaluationNetworks, tiny_editor: Path) -> None:
    with pytest.raises(DataError, match="is not a data set"):
        evaluate(request_of(write_images(tmp_path / "in", 20), tiny_editor), tmp_path / "out", choice)


def test_command(data: Path, choice: EvaluationNetworks, tiny_editor: Path, tmp_path: Path) -> None:
    words = [
        "evaluate",
        "--editor",
        f"a={tiny_editor}",
        "--data",
        f"{data}:test",
        "--split",
        "val",
        "--report",
        str(tmp_path / "out"),
    ]
    words += ["--n", "16", "--resamples", "0", "--fid-network", choice.fid_network, "--lpips-network", choice.lpips_network]
    words += ["--identity", choice.identity, "--quality", str(choice.quality)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "| a | drawn/test | 16 |" in result.stdout and "report.html" in result.stdout
    again = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(again.stdout)["models"][0]["n"] == 16
    wrong = CliRunner().invoke(app, [*words, "--fid-network", "incepion"])
    assert wrong.exit_code == 2 and "did you mean 'inception'?" in wrong.stderr


def test_intervals_end_where_the_metric_does() -> None:
    assert within(Interval(0.02, -0.01, 0.04), METRICS["precision"].bounds) == Interval(0.02, 0, 0.04)
    assert within(Interval(0.98, 0.95, 1.01), METRICS["recall"].bounds) == Interval(0.98, 0.95, 1)
    assert within(Interval(-1.0, -2.0, 0.5), METRICS["kid"].bounds) == Interval(-1.0, -2.0, 0.5), (
        "KID has no bias, and may be negative"
    )
    unknown = within(Interval(0.5, float("nan"), float("nan")), (0, 1))
    assert unknown is not None and np.isnan([unknown.low, unknown.high]).all()


def test_reports_hold_no_path_of_this_machine(done: Path) -> None:
    assert str(done.parent) not in (done / "report.json").read_text()
