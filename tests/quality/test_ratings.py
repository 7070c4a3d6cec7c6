"""The verbs of `legan ratings`, from simulated raters to a trained network's weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.rated_sets import make_rated_set
from typer.testing import CliRunner, Result

from legan.cli import app
from legan.core.weights import load_metadata
from legan.data.manifest import write_manifest


def legan(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rated_set(tmp_path_factory.mktemp("rated") / "set", size=64)


@pytest.fixture(scope="module")
def ratings(data: Path) -> Path:
    out = data.parent / "ratings.csv"
    result = legan("ratings", "simulate", data, "-o", out, "--set", "icc=0.35")
    assert result.exit_code == 0, result.output
    assert "240 ratings of 80 images by simulated raters" in result.stdout
    return out


def test_summary(data: Path, ratings: Path) -> None:
    found = json.loads(legan("ratings", "summary", ratings, "--data", data, "--json").stdout)
    assert found["simulated"] and found["n_answers"] == found["n_kept"] == 240
    assert found["agreement"]["icc"] == pytest.approx(0.35, abs=0.02)
    assert found["agreement"]["ceiling"] == pytest.approx(np.sqrt(3 * 0.35 / 1.7), abs=0.02)
    assert found["by_kind"]["photo"]["n_images"] == 80
    words = legan("ratings", "summary", ratings).stdout
    assert "SIMULATED raters" in words and "noise ceiling" in words


def test_simulated_ratings_follow_the_damage(data: Path, ratings: Path) -> None:
    frame = pd.read_csv(ratings)
    means = frame.groupby(frame["image"].str.extract(r"_(.+)\.png")[0].to_numpy())["rating"].mean()
    assert means["0"] > means["0.3"] > means["1"]


def test_clean_and_export(data: Path, ratings: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(ratings)
    extra = pd.DataFrame(
        [["x", "elsewhere.png", 3, 4, 1], [*frame.iloc[0][["rater", "image"]], 1, 4, 2]], columns=frame.columns
    )
    pd.concat([frame, extra]).to_csv(tmp_path / "raw.csv", index=False)
    result = legan("ratings", "clean", tmp_path / "raw.csv", "--data", data, "-o", tmp_path / "clean.csv", "--json")
    assert json.loads(result.stdout)["excluded"] == {"duplicate": 1, "unknown image": 1}
    result = legan("ratings", "export", tmp_path / "clean.csv", "--data", data, "-o", tmp_path / "labels.csv", "--json")
    assert {"train": 64, "val": 8, "test": 8}.items() <= json.loads(result.stdout).items()
    labels = pd.read_csv(tmp_path / "labels.csv")
    assert list(labels.columns) == ["name", "mean", "std", "split", "raters"] and set(labels["raters"]) == {"simulated"}


def test_weights_trained_on_simulated_raters_say_so(data: Path, ratings: Path, tmp_path: Path) -> None:
    words = ["network.size=64", "network.width=4", "network.n_hidden=8", "batch_size=8", "loop.n_steps=2"]
    settings = [part for word in words for part in ("--set", word)]
    result = legan("train", "quality", "--data", data, "--ratings", ratings, "--run", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    result = legan("export", tmp_path / "run", "-o", tmp_path / "q.safetensors", "--fault", "trained for two steps")
    assert result.exit_code == 0 and "2 steps" in result.stdout, result.output
    metadata = load_metadata(tmp_path / "q.safetensors")
    assert "raters: simulated" in metadata["data"] and metadata["known_faults"] == ["trained for two steps"]
    assert "version" in metadata


def test_too_few_answers_say_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("rater,image,rating\na,x.png,3\nb,x.png,4\na,y.png,3\n")
    result = legan("ratings", "summary", tmp_path / "r.csv")
    assert result.exit_code == 2 and "left out before, 1 answers: too few raters" in result.stderr


def test_answers_are_never_lost(data: Path, ratings: Path, tmp_path: Path) -> None:
    own = tmp_path / "ratings.csv"
    own.write_text(ratings.read_text().replace("simulated-", "person-"))
    for words in (("clean", own, "-o", own), ("export", own, "-o", own), ("simulate", data, "-o", own)):
        result = legan("ratings", *words)
        assert result.exit_code == 2 and "give another name with -o" in result.stderr
    assert len(own.read_text().splitlines()) == 241


def test_bad_wishes(data: Path, ratings: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    write_manifest([], tmp_path / "bare")
    lost = make_rated_set(tmp_path / "lost", n_identities=10, size=16)
    (lost / "p003_0.png").unlink()
    for words, message in (
        (["simulate", lost, "-o", tmp_path / "r.csv"], "names a missing image"),
        (["simulate", tmp_path / "bare", "-o", tmp_path / "r.csv"], "no column 'kind'"),
        (["simulate", data, "-o", tmp_path / "r.csv", "--set", "icc=0.99"], "no noise gives an ICC"),
        (["import", "lago22", tmp_path, "-o", tmp_path / "r.csv"], "did you mean 'lago2022'"),
        (["summary", tmp_path / "none.csv"], "does not exist"),
    ):
        result = legan("ratings", *words)
        assert result.exit_code == 2 and message in result.stderr, result.output
        assert not (tmp_path / "r.csv").exists()
