"""A batch of nothing: as much comes back as went in, or one line says that there is nothing to tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.recognition_weights import write_tiny_identity

import legan
from legan.core.errors import ConditionError, ImageError, LeganError
from legan.core.images import from_network, to_unit
from legan.faces.embeddings import load_embedding
from legan.metrics.distributions import frechet_distance, kernel_distance, precision, recall
from legan.metrics.images import psnr, ssim
from legan.metrics.verification import match_scores
from legan.models.editors import Codes, load_networks
from legan.quality.scorer import score_files

NONE = torch.zeros(0, 3, 128, 128)


def test_an_editor_gives_back_nothing_and_still_checks_the_edit(tiny_editor: Path) -> None:
    editor = legan.load_editor(tiny_editor)
    for words in ({"expression": "smile"}, {"lighting": -45}, {"expression": "smile", "strength": 0.3}):
        assert tuple(editor(NONE, **words).shape) == (0, 3, 128, 128)
    with pytest.raises(ConditionError, match="smille"):
        editor(NONE, expression="smille")
    with pytest.raises(ImageError, match="this editor edits 128x128"):
        editor(NONE[..., :64, :64], expression="smile")
    assert list(editor.edit_many([], "smile")) == []
    networks = load_networks(tiny_editor)
    own = networks.own_codes(NONE)
    assert tuple(own.expression.shape) == (0, 6) and tuple(own.lighting.shape) == (0, 20)
    assert tuple(networks.translate(NONE, Codes(own.expression, own.lighting)).image.shape) == (0, 3, 128, 128)


def test_scores_of_nothing(tiny_quality: Path) -> None:
    scorer = legan.load_quality(tiny_quality)
    assert tuple(scorer(NONE).shape) == (0,) and tuple(scorer(torch.zeros(0, 3, 99, 99)).shape) == (0,)
    assert tuple(scorer.predict_crops(np.zeros((0, 128, 128, 3), np.uint8)).score.shape) == (0,)
    assert list(score_files(scorer, [])) == []
    metric = legan.FaceQuality(tiny_quality)
    metric.update(torch.full((2, 3, 128, 128), 0.5))
    before = metric.compute()
    metric.update(NONE)
    assert metric.compute() == before


def test_a_loss_of_nothing_is_no_number_to_train_on(tiny_quality: Path) -> None:
    loss = legan.QualityLoss(tiny_quality)
    with pytest.raises(ImageError, match="no images has no quality loss: leave such a batch out"):
        loss(NONE)
    assert tuple(loss.scores(NONE).shape) == (0,)


def test_embeddings_and_matches_of_nothing(tmp_path: Path) -> None:
    embedding = load_embedding(write_tiny_identity(tmp_path / "w.safetensors"))
    empty: list[Image.Image] = []
    for crops in (NONE, empty):
        with pytest.raises(ImageError):
            embedding.embed(crops)
    assert match_scores(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision, recall])
def test_distributions_of_nothing(measure: Callable[..., Any]) -> None:
    with pytest.raises(LeganError, match="0 images"):
        measure(np.zeros((0, 4)), np.zeros((0, 4)))


def test_images_of_nothing() -> None:
    assert tuple(ssim(NONE, NONE).shape) == (0,) and tuple(psnr(NONE, NONE).shape) == (0,)
    assert from_network(NONE).shape == (0, 128, 128, 3) and tuple(to_unit(NONE).shape) == (0, 3, 128, 128)
