"""The landmark network: soft-argmax, frames, determinism, weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.faces.face_images import frontal_landmarks, photo_with, rendered_faces

from legan.core.errors import WeightsError
from legan.core.geometry import transform
from legan.core.weights import packaged, save_weights
from legan.faces.landmarks import (
    INPUT_SIZE,
    MIRRORED,
    LandmarkNet,
    centres_of_mass,
    frame_of_box,
    frame_of_points,
    load_landmark_net,
    locate,
)


def new_net(seed: int = 0) -> LandmarkNet:
    torch.manual_seed(seed)
    return LandmarkNet().eval()


def test_centre_of_mass_is_finer_than_a_cell() -> None:
    y, x = torch.meshgrid(torch.arange(32) * 4 + 2.0, torch.arange(32) * 4 + 2.0, indexing="ij")
    truth = torch.tensor([[41.3, 77.9], [64.0, 30.5]])
    maps = torch.stack([torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 5**2)) for a, b in truth])
    maps = maps / maps.sum((1, 2), keepdim=True)
    assert torch.allclose(centres_of_mass(maps[None])[0], truth, atol=1e-3)


def test_shapes_and_range() -> None:
    points, log_maps = new_net()(torch.rand(3, 3, INPUT_SIZE, INPUT_SIZE) * 2 - 1)
    assert points.shape == (3, 68, 2)
    assert log_maps.shape == (3, 68, 32, 32)
    assert torch.allclose(log_maps.exp().sum((2, 3)), torch.ones(3, 68), atol=1e-4)
    assert 0 <= points.min() <= points.max() <= INPUT_SIZE


def test_batch_does_not_change_a_result() -> None:
    net, x = new_net(), torch.rand(4, 3, INPUT_SIZE, INPUT_SIZE) * 2 - 1
    with torch.no_grad():
        together, alone = net(x)[0], torch.cat([net(part)[0] for part in x.split(1)])
    assert torch.allclose(together, alone, atol=1e-3)


def test_small_enough_to_package() -> None:
    assert sum(p.numel() for p in new_net().state_dict().values()) * 2 < 4_000_000


def test_mirroring_twice_is_nothing_and_swaps_sides() -> None:
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))
    points = frontal_landmarks(centre=(256.0, 200.0))
    mirrored = (points * [-1, 1] + [512, 0])[MIRRORED]
    assert np.allclose(mirrored[17:48], points[17:48], atol=1e-3)  # a symmetric face looks the same


def test_frame_puts_the_eyes_in_their_places() -> None:
    points = frontal_landmarks(eye_distance=70) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    placed = transform(frame_of_points(points), points)
    assert placed[36:42].mean(axis=0) == pytest.approx([43, 40], abs=1.5)
    assert placed[42:48].mean(axis=0) == pytest.approx([85, 40], abs=1.5)
    frame = frame_of_box((100, 50, 300, 250))
    assert np.allclose(transform(frame, np.array([[200, 50 + 0.297 * 200]])), [[64, 40]], atol=1e-3)


def test_locate_repeats_itself_exactly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    net = new_net()
    first, second = (locate(image, (60, 40, 160, 140), net) for _ in range(2))
    assert first.shape == (68, 2)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(2)}, {})
    with pytest.raises(WeightsError, match="no landmark network"):
        load_landmark_net(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        load_landmark_net(tmp_path / "none.safetensors")


def test_packaged_network_follows_the_image() -> None:
    """Move and enlarge the photo: the landmarks move and grow with it."""
    packaged("landmarks")
    face = rendered_faces()[0]
    box = (140.0, 150.0, 380.0, 390.0)
    here = locate(np.asarray(photo_with(face)), box)
    moved = locate(
        np.asarray(photo_with(face, side=640, at=(170, 140))), tuple(v + d for v, d in zip(box, (60, 50) * 2, strict=True))
    )
    assert np.abs(moved - here - [60, 50]).max() < 1
    larger = locate(np.asarray(photo_with(face, side=1024, face_side=600, at=(220, 180))), tuple(2 * v for v in box))
    assert np.abs(larger / 2 - here)[17:].mean() < 1.5
    eyes = [here[36:42].mean(axis=0), here[42:48].mean(axis=0)]
    assert eyes[0][1] == pytest.approx(90 + 0.41 * 300, abs=10)
    assert eyes[1][0] - eyes[0][0] == pytest.approx(0.325 * 300, abs=10)
