"""The probe: which faces it shows, and that its figures are the plain distances."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import make_face_set, row
from torch import Tensor

from legan.core.conditions import EXPRESSIONS
from legan.core.images import to_network
from legan.data.faces import FaceDataset
from legan.data.manifest import write_manifest
from legan.train.probe import TARGETS, Probe

SIZE = 32


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return FaceDataset([make_face_set(tmp_path_factory.mktemp("data") / "drawn", 4)], "train", size=SIZE)


def nothing(x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
    return x


def test_doing_nothing_scores_as_the_copy_whatever_the_batch_size(dataset: FaceDataset) -> None:
    figures = Probe(dataset, n_pairs=10).figures(nothing)
    assert figures["val/drawn/l1"] == figures["val/drawn/copy_l1"] > 0
    assert figures["val/drawn/mouth_l1"] == figures["val/drawn/copy_mouth_l1"]
    assert Probe(dataset, n_pairs=10, batch_size=3).figures(nothing) == figures
    source, truth = Probe(dataset, n_pairs=10).pairs[0][:, [0, 3]].T
    error = np.abs(dataset.images(source) / 127.5 - dataset.images(truth) / 127.5).mean()
    assert figures["val/drawn/copy_l1"] == pytest.approx(error, rel=1e-5)


def test_a_perfect_edit_scores_zero_and_fills_the_image(dataset: FaceDataset) -> None:
    probe = Probe(dataset, n_faces=3, n_pairs=10)

    def perfect(x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        """Look the person up by the image, and return the image asked for; black where there is none."""
        found = []
        for image, e, l in zip(x, expression.argmax(1), lighting.argmax(1), strict=True):  # noqa: E741
            index = next(i for i in range(len(dataset)) if torch.equal(to_network(dataset.images([i]))[0], image))
            truth = dataset.truth[dataset.take[index], int(e), int(l)]
            found.append(to_network(dataset.images([truth]))[0] if truth >= 0 else torch.full_like(image, -1))
        return torch.stack(found)

    assert probe.figures(perfect)["val/drawn/l1"] == 0
    picture = probe.image(perfect)
    assert picture.shape == (3 * 2 * SIZE, (1 + len(TARGETS)) * SIZE, 3)
    for face in range(3):
        edits, truths = picture[2 * face * SIZE : (2 * face + 1) * SIZE], picture[(2 * face + 1) * SIZE : (2 * face + 2) * SIZE]
        np.testing.assert_array_equal(edits, truths)


def test_faces_come_from_all_folders_in_turn_neutral_first(dataset: FaceDataset, tmp_path: Path) -> None:
    other = make_face_set(tmp_path / "other", 2, lightings=(0, 1))
    probe = Probe(FaceDataset([dataset.folders[0], other], "train", size=SIZE), n_faces=5)
    data = probe.dataset
    assert data.folder[probe.faces].tolist() == [0, 1, 0, 1, 0]
    assert len(set(data.identity[probe.faces])) == 5
    assert {EXPRESSIONS[e] for e in data.expression[probe.faces]} == {"neutral"}
    assert set(probe.figures(nothing)) == {
        f"val/{folder}/{name}" for folder in ("drawn", "other") for name in ("l1", "mouth_l1", "copy_l1", "copy_mouth_l1")
    }


def test_photos_without_truths_are_shown_and_not_measured(tmp_path: Path) -> None:
    folder = make_face_set(tmp_path / "photos", 1, lightings=(0,))
    rows = FaceDataset([folder], "train", size=SIZE).rows
    write_manifest([row("a", "neutral", "00", domain="photo", **place) for place in rows[:1]], folder)
    probe = Probe(FaceDataset([folder], "train", size=SIZE))
    assert probe.figures(nothing) == {}
    assert probe.image(nothing).shape[0] == SIZE, "one row: edits without truths below"
