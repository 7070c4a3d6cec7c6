"""What `legan match` answers, and the rates behind each answer."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.recognition_weights import write_tiny_identity
from typer.testing import CliRunner

from legan import matching as module
from legan.cli import app
from legan.core.weights import load_weights, save_weights
from legan.faces.embeddings import Embedding, Thresholds, load_embedding
from legan.matching import match_images

THRESHOLDS = Thresholds(0.8, 0.6, 0.001, 0.95, 0.97, 0.01, 5000, 200)


def crops() -> tuple[Image.Image, Image.Image]:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 256, (2, 128, 128, 3), np.uint8)
    return Image.fromarray(first), Image.fromarray(second)


def use(monkeypatch: pytest.MonkeyPatch, cosine: float, thresholds: Thresholds | None) -> None:
    """Let the first two crops embedded have this cosine."""
    vectors = iter([np.array([[1.0, 0.0]]), np.array([[cosine, np.sqrt(1 - cosine**2)]])])
    embedding = Embedding("known", lambda x: next(vectors), {}, thresholds)
    monkeypatch.setattr(module, "kept_embedding", lambda *_: embedding)


@pytest.mark.parametrize(
    ("cosine", "answer", "two", "one"),
    [(0.9, "same", 0.001, 0.97), (0.7, "unsure", 0.049, 0.02), (0.2, "different", 0.95, 0.01)],
)
def test_answers_by_thresholds_with_their_rates(
    monkeypatch: pytest.MonkeyPatch, cosine: float, answer: str, two: float, one: float
) -> None:
    use(monkeypatch, cosine, THRESHOLDS)
    found = match_images(*crops())
    assert found.answer == answer and found.score == pytest.approx(cosine)
    assert (found.two_people, found.one_person) == (pytest.approx(two), pytest.approx(one))
    assert str(found).startswith(f"{answer}: match score {cosine:.3f}") and f"{two:.2%} of pairs of two people" in str(found)


def test_thresholds_themselves() -> None:
    assert [THRESHOLDS.answer(score) for score in (0.8, 0.6, 0.5999)] == ["same", "unsure", "different"]


def test_without_thresholds_only_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, 0.9, None)
    found = match_images(*crops())
    assert found.answer is None and "no thresholds are known" in str(found)


def test_thresholds_come_from_the_weights(tmp_path: Path) -> None:
    path = write_tiny_identity(tmp_path / "a.safetensors")
    assert load_embedding(path).thresholds is None
    tensors, metadata = load_weights(path)
    save_weights(path, tensors, metadata | {"thresholds": asdict(THRESHOLDS)})
    assert load_embedding(path).thresholds == THRESHOLDS


def test_packaged_network_on_packaged_people() -> None:
    """Rendered, so far from what it learned from; but one and the same image is the same person."""
    face = Path(module.__file__).parent / "assets" / "faces" / "r000009.png"
    result = CliRunner().invoke(app, ["match", str(face), str(face), "--json"])
    found = json.loads(result.stdout)
    assert found["answer"] == "same" and found["score"] == pytest.approx(1) and 0 < found["two_people"] < 0.01
