"""Training of the landmark network: images keep their points, batches are functions of the step, a short run gives weights."""

import signal
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.face_sets import row
from tests.train.tasks import same
from tools.landmarks import images as landmark_images
from tools.landmarks.images import held_out_image, pattern, training_image
from tools.landmarks.train import RECIPE, WEIGHTS, LandmarkBatches, LandmarkTask, MarkedFaces, map_loss
from torch.distributions import Categorical, kl_divergence

from legan.core.errors import ConfigError, DataError
from legan.core.weights import load_metadata
from legan.data.manifest import split_of, write_manifest
from legan.faces.landmarks import load_landmark_net
from legan.train.loop import Outcome, Rehearsal
from legan.train.run_folder import newest_checkpoint

SIZE = 256


def train_landmarks(data: Path, run: Path, settings: Sequence[str] = ()) -> Outcome | Rehearsal:
    return RECIPE.train("default", [data], run, settings)


def plain_face(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """An image of spots, one at each of 68 points that stand like a face's."""
    random = np.random.default_rng(3)
    points = np.zeros((68, 2))
    points[:17] = [[40 + 11 * i, 130 + 95 * np.sin(np.pi * i / 16)] for i in range(17)]
    points[17:27] = [[60 + 15 * i, 90] for i in range(10)]
    points[27:31] = [[128, 105 + 12 * i] for i in range(4)]
    points[31:36] = [[112 + 8 * i, 152] for i in range(5)]
    points[36:42] = [[82, 110], [90, 106], [98, 106], [106, 110], [98, 114], [90, 114]]
    points[42:48] = [[150, 110], [158, 106], [166, 106], [174, 110], [166, 114], [158, 114]]
    points[48:68] = [[128 + 32 * np.cos(a), 185 + 12 * np.sin(a)] for a in np.linspace(-np.pi, np.pi, 20)]
    points += shift + random.normal(0, 0.4, points.shape)
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    for x, y in points[[36, 39, 42, 45, 30, 8]]:
        cv2.circle(image, (round((x - 0.5) * 16), round((y - 0.5) * 16)), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image, points.astype(np.float32)


def write_set(folder: Path, n_identities: int = 10, landmarks: bool = True) -> Path:
    """A set of plain faces as image files."""
    rows = []
    for identity in range(n_identities):
        image, points = plain_face(shift=identity)
        folder.mkdir(exist_ok=True)
        path = folder / f"{identity}.png"
        cv2.imwrite(str(path), image)
        known = points.ravel().tolist() if landmarks else None
        rows.append(row(str(identity), "neutral", "00", path=path.name, split=split_of(identity), landmarks=known))
    write_manifest(rows, folder)
    return folder


def brightest_near(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Centre of the bright spot about a point."""
    x, y = point.astype(int)
    window = image[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6].astype(float).mean(axis=2)
    weights = np.maximum(window - 150, 0)
    down, across = np.mgrid[: window.shape[0], : window.shape[1]]
    return np.array([(weights * across).sum(), (weights * down).sum()]) / weights.sum() + [max(x - 5, 0), max(y - 5, 0)] + 0.5


def test_bent_images_carry_their_points_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """With colours, covers and blur left out, each spot stands where its point says."""
    for step in ("made_up", "_on_background", "_covered", "_shaded", "_coloured", "_blurred", "_recorded"):
        monkeypatch.setattr(landmark_images, step, lambda light, *_: light)
    monkeypatch.setattr(landmark_images, "_GAZE", np.zeros(2, np.float32))
    image, points = plain_face()
    errors = []
    for seed in range(12):
        light, moved = training_image(image, points, np.random.default_rng(seed))
        picture = 255 * light
        for number in (36, 45, 30):
            if moved[number].min() > 6 and moved[number].max() < 122:
                errors.append(np.linalg.norm(brightest_near(picture, moved[number]) - moved[number]))
    assert len(errors) > 20
    assert np.mean(errors) < 0.2


def test_images_are_functions_of_the_random_state() -> None:
    image, points = plain_face()
    first, second = (training_image(image, points, np.random.default_rng(5)) for _ in range(2))
    other = training_image(image, points, np.random.default_rng(6))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (128, 128, 3)
    assert first[0].dtype == np.uint8


def test_held_out_images_show_the_face_upright_in_its_place() -> None:
    image, points = plain_face()
    placed = np.mean([held_out_image(image, points, np.random.default_rng(i))[1] for i in range(40)], axis=0)
    assert placed[36:42].mean(axis=0) == pytest.approx([43, 40], abs=5)
    assert placed[42:48].mean(axis=0) == pytest.approx([85, 40], abs=5)


def test_pattern_is_in_range() -> None:
    images = np.stack([pattern(np.random.default_rng(i)) for i in range(20)])
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std(axis=(1, 2, 3)).min() > 0.01


def test_map_loss_is_the_divergence_from_a_gaussian() -> None:
    torch.manual_seed(0)
    log_maps = torch.randn(2, 3, 32, 32).flatten(2).log_softmax(2).view(2, 3, 32, 32)
    points = torch.rand(2, 3, 2) * 128
    places = (torch.arange(32) + 0.5) * 4
    squares = (places[None, :] - points[..., 0, None, None]) ** 2 + (places[:, None] - points[..., 1, None, None]) ** 2
    target = Categorical(logits=(-squares / (2 * 3.0**2)).flatten(2))
    oracle = kl_divergence(target, Categorical(logits=log_maps.flatten(2))).mean()
    assert map_loss(log_maps, points, 3.0) == pytest.approx(float(oracle), rel=1e-4)
    assert map_loss(target.logits.view(2, 3, 32, 32), points, 3.0) == pytest.approx(0, abs=1e-4)


def test_batches_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    batches = LandmarkBatches(MarkedFaces(write_set(tmp_path / "set"), "train"), batch_size=4, seed=1)
    whole = batches(7, 0, 1)
    halves = [batches(7, rank, 2) for rank in range(2)]
    assert torch.equal(whole["image"], torch.cat([half["image"] for half in halves]))
    assert torch.equal(whole["points"], torch.cat([half["points"] for half in halves]))
    assert not torch.equal(whole["image"], batches(8, 0, 1)["image"])
    assert -1 <= whole["image"].min() <= whole["image"].max() <= 1


def test_photos_take_their_share_of_the_images(tmp_path: Path) -> None:
    renders = MarkedFaces(write_set(tmp_path / "renders"), "train")
    photos = MarkedFaces(write_set(tmp_path / "photos", n_identities=1), "train")
    without, few, all_photos = (LandmarkBatches(renders, 64, 1, photos, share) for share in (0.0, 0.25, 1.0))
    assert not torch.equal(without(0, 0, 1)["points"], all_photos(0, 0, 1)["points"])
    with_few = few(0, 0, 1)["image"]
    n_photos = sum(torch.equal(a, b) for a, b in zip(with_few, all_photos(0, 0, 1)["image"], strict=True))
    assert 8 <= n_photos <= 26  # 16 expected, binomial


def test_short_training_writes_weights_and_continues(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set")
    photos = write_set(tmp_path / "photos", n_identities=3)
    few = ["data.batch_size=2", "loop.n_steps=2", f"data.photos={photos}"]
    outcome = train_landmarks(data, tmp_path / "run", few)
    assert outcome.finished
    weights = tmp_path / "run" / WEIGHTS
    load_landmark_net(weights)
    metadata = load_metadata(weights)
    assert metadata["model"] == "legan-landmarks"
    assert metadata["steps"] == 2
    assert metadata["data"] == "drawn: 8 people, 8 images; drawn: 3 people, 3 images"
    assert metadata["data_folders"][0]["n_identities"] == 8
    assert metadata["licence"] == "CC0-1.0"
    assert str(tmp_path) not in str(metadata)
    assert weights.stat().st_size < 4_000_000
    before = weights.read_bytes()
    again = train_landmarks(data, tmp_path / "run", few)  # nothing left to do
    assert again.n_steps_done == 2 and weights.read_bytes() == before


def test_one_step_and_one_equal_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of the batch normalisation are in the checkpoint and in the average."""
    data = write_set(tmp_path / "set")
    words = ["data.batch_size=2", "loop.n_steps=2"]
    train_landmarks(data, tmp_path / "whole", words)
    with monkeypatch.context() as patch:
        plain = LandmarkTask.after_step
        patch.setattr(LandmarkTask, "after_step", lambda self, step: (plain(self, step), signal.raise_signal(signal.SIGINT)))
        assert train_landmarks(data, tmp_path / "parts", words).n_steps_done == 1
    assert train_landmarks(data, tmp_path / "parts", words).finished
    whole, parts = newest_checkpoint(tmp_path / "whole"), newest_checkpoint(tmp_path / "parts")
    assert whole is not None and same(whole, parts)
    average = whole["networks"]["ema"]
    moved = [name for name in average if name.endswith("running_mean") and average[name].abs().sum() > 0]
    assert moved, "the average has statistics too"


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="landmarks"):
        train_landmarks(write_set(tmp_path / "bare", landmarks=False), tmp_path / "run")
    with pytest.raises(DataError, match="val"):
        train_landmarks(write_set(tmp_path / "few", n_identities=5), tmp_path / "run2")
    with pytest.raises(ConfigError, match="batch_size"):
        train_landmarks(write_set(tmp_path / "set"), tmp_path / "run3", ["data.batch_size=1"])
