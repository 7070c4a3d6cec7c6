"""`legan recognize`: probabilities of images, and figures on a data set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.face_sets import draw_face, make_face_set, png
from tests.recognition_weights import TINY
from typer.testing import CliRunner

from legan.cli import app
from legan.core.config import config_to_dict
from legan.core.errors import DataError, WeightsError
from legan.core.images import to_network
from legan.core.weights import save_weights
from legan.data.faces import LabelledFaces
from legan.evaluation.expression import ExpressionClassifier, evaluate_expressions, expression_figures, recognize_images
from legan.models.lightcnn import LightCNN

LABELS = ["neutral", "smile", "sad"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "expression.safetensors"
    config = replace(TINY, n_classes=len(LABELS))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = LightCNN(config)
    save_weights(path, net.state_dict(), {"lightcnn": config_to_dict(config), "labels": LABELS, "model": "legan-expression"})
    return path


def test_images_get_the_networks_probabilities(weights: Path, tmp_path: Path) -> None:
    crops = np.stack([draw_face(i, i, 0, 128) for i in range(3)])
    for i, crop in enumerate(crops):
        (tmp_path / f"{i}.png").write_bytes(png(crop))
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = recognize_images([tmp_path], weights)
    assert [Path(one.image).name for one in found] == ["0.png", "1.png", "2.png", "broken.png"]
    classifier = ExpressionClassifier(weights)
    expected = classifier._net.logits(to_network(crops)).softmax(1).numpy()
    for one, row in zip(found, expected, strict=False):
        assert list(one.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert one.expression == LABELS[row.argmax()] and one.expression in str(one)
    assert found[3].probabilities == {} and not found[3].readable and "no expression" in str(found[3])
    each = np.concatenate([classifier.probabilities(crops[i : i + 1]) for i in range(3)])
    assert each == pytest.approx(expected, abs=1e-5), "whatever the batch"


def test_a_table_goes_on_where_it_stopped(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(png(draw_face(i, i, 0, 128)))
    whole = recognize_images([folder], weights, out=tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines(keepends=True)
    assert lines[0].startswith("image,expression,neutral,smile,sad,reason") and len(lines) == 4
    (tmp_path / "part.csv").write_text("".join(lines[:2]) + lines[2][:9])  # cut off by a kill
    seen = []
    plain = ExpressionClassifier.probabilities
    monkeypatch.setattr(
        ExpressionClassifier, "probabilities", lambda self, crops: seen.append(len(crops)) or plain(self, crops)
    )
    assert recognize_images([folder], weights, out=tmp_path / "part.csv") == whole and seen == [2]
    assert sorted((tmp_path / "part.csv").read_text().splitlines()) == sorted("".join(lines).splitlines())


def test_figures_equal_scikit_learns(weights: Path, tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "data", n_identities=20, size=128, lightings=(0, 13))
    found = evaluate_expressions(data, weights)
    faces = LabelledFaces([data], "test")
    known = np.isin(faces.label, LABELS)
    probabilities = ExpressionClassifier(weights).probabilities(faces.images(np.flatnonzero(known)))
    for number, name in enumerate(LABELS[:2]):
        assert found.auc[name] == pytest.approx(roc_auc_score(faces.label[known] == name, probabilities[:, number]))
    assert found.auc["sad"] is None and found.n_images == {"neutral": 4, "smile": 4, "sad": 0} and found.n_left_out == 16
    assert found.mean_auc == pytest.approx(np.mean([found.auc["neutral"], found.auc["smile"]]))
    assert "sad: AUC -" in str(found) and "left out: 16" in str(found)
    perfect = expression_figures(np.eye(3), np.array(LABELS), LABELS)
    assert perfect.accuracy == 1 and perfect.mean_auc == 1


def test_the_verb(weights: Path, tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "data", n_identities=10, size=128, lightings=(0,))
    result = CliRunner().invoke(app, ["recognize", "--data", str(data), "--weights", str(weights), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["n_images"]["smile"] == 1
    (tmp_path / "a.png").write_bytes(png(draw_face(0, 0, 0, 128)))
    result = CliRunner().invoke(app, ["recognize", str(tmp_path / "a.png"), "--weights", str(weights), "--json"])
    assert sum(json.loads(result.stdout)[0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_images_or_a_data_set(weights: Path, tmp_path: Path) -> None:
    for words in ([], [str(tmp_path), "--data", str(tmp_path)]):
        result = CliRunner().invoke(app, ["recognize", *words, "--weights", str(weights)])
        assert result.exit_code == 2 and "name images to recognize, or a data set" in result.stderr


def test_what_cannot_be_used_is_refused(weights: Path, tiny_quality: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no expression classifier"):
        ExpressionClassifier(tiny_quality)
    data = make_face_set(tmp_path / "data", n_identities=10, size=128, lightings=(0,))
    other = tmp_path / "other.safetensors"
    net = ExpressionClassifier(weights)._net
    save_weights(other, net.state_dict(), {"lightcnn": config_to_dict(net.config), "labels": ["a", "b", "c"]})
    with pytest.raises(DataError, match="has one of the labels a, b, c"):
        evaluate_expressions(data, other)
