"""Batches: a pure function of (seed, rank, step), with the truths and the light where they belong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import draw_face, make_face_set, png, row

from legan.core.conditions import LIGHTINGS
from legan.core.errors import ConfigError
from legan.core.images import from_network
from legan.data.batches import MIRRORED, DataConfig, FaceBatches, flip_images, flip_lightings
from legan.data.faces import FaceDataset
from legan.data.manifest import read_manifest, write_manifest

PLAIN = DataConfig(batch_size=8, flip=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return FaceDataset([make_face_set(tmp_path_factory.mktemp("data") / "drawn")], "train", size=32)


def test_the_same_key_gives_the_same_batch_and_others_do_not(dataset: FaceDataset) -> None:
    batches = FaceBatches(dataset, PLAIN, seed=3)
    batches(1, 0, 1)  # no memory of what was drawn before
    again = FaceBatches(dataset, PLAIN, seed=3)
    a, b = batches(5, 0, 1), again(5, 0, 1)
    assert all(torch.equal(a[name], b[name]) for name in a)
    others = [batches(6, 0, 1), batches(5, 1, 1), FaceBatches(dataset, PLAIN, seed=4)(5, 0, 1)]
    assert not any(torch.equal(a["x_real"], other["x_real"]) for other in others)
    assert len(batches(5, 1, 2)["x_real"]) == 4, "two processes share the batch"


def test_shapes_and_ranges(dataset: FaceDataset) -> None:
    batch = FaceBatches(dataset, PLAIN, 0)(0, 0, 1)
    assert batch["x_real"].shape == batch["x_true"].shape == (8, 3, 32, 32)
    assert batch["x_real"].dtype == torch.float32 and batch["x_real"].abs().max() <= 1
    for name, n in (("expression", 6), ("lighting", 20)):
        for role in ("src", "trg"):
            codes = batch[f"{name}_{role}"]
            assert codes.shape == (8, n) and (codes.sum(1) == 1).all()


@pytest.mark.parametrize("flip", [False, True])
def test_truth_is_the_target_of_the_same_person(dataset: FaceDataset, flip: bool) -> None:
    batches = FaceBatches(dataset, replace(PLAIN, flip=flip, batch_size=64), 0)
    draw = batches.draw(0, 64)
    batch = batches.collate(draw)
    assert draw.flipped.any() == flip and 0 < batch["has_true"].sum() < 64
    for i in range(64):
        person = int(dataset.rows[draw.source[i]]["key"][1:4])
        for name, role in (("x_real", "src"), ("x_true", "trg")):
            if role == "trg" and not batch["has_true"][i]:
                assert torch.equal(batch["x_true"][i], batch["x_real"][i])
                continue
            lighting = int(batch[f"lighting_{role}"][i].argmax())
            shown = from_network(batch[name][i : i + 1])[0]
            # Drawn faces are symmetric: a flipped one is the face with the mirrored light, but for rounding at the pixel grid.
            expected = draw_face(person, int(batch[f"expression_{role}"][i].argmax()), lighting, 32)
            assert np.abs(shown.astype(int) - expected).mean() < 1


def test_landmarks_come_with_the_images(tmp_path: Path) -> None:
    folder = make_face_set(tmp_path / "drawn", n_identities=9)
    frame = read_manifest(folder)
    points = [np.full(136, i, np.float32).tolist() for i in range(len(frame))]
    rows = frame.astype(object).where(frame.notna(), None).assign(landmarks=points).to_dict("records")
    rows[0]["landmarks"] = None
    write_manifest(rows, folder)
    data = FaceDataset([folder], "train", size=32)
    assert data.landmarks.shape == (len(data), 68, 2) and (data.landmarks[0] == -1).all()
    batches = FaceBatches(data, replace(PLAIN, flip=True), 0)
    draw, batch = batches.draw(0, 8), batches(0, 0, 1)
    known = (draw.truth > 0) & (draw.source > 0) & ~draw.flipped
    assert known.any()
    for name, index in (("points_real", draw.source), ("points_true", np.where(draw.truth < 0, draw.source, draw.truth))):
        np.testing.assert_allclose(batch[name][known, 0, 0], index[known] / 32)
        np.testing.assert_allclose(batch[name][draw.flipped, 0, 0], 1 - data.landmarks[index[draw.flipped], 0, 0])


def test_even_light_has_no_lighting_code(tmp_path: Path) -> None:
    folder = make_face_set(tmp_path / "drawn", n_identities=9)
    frame = read_manifest(folder)
    rows = frame.astype(object).where(frame.notna(), None).assign(lighting=frame["lighting"].replace("07", "even"))
    write_manifest(rows.to_dict("records"), folder)
    batch = FaceBatches(FaceDataset([folder], "train", size=32), replace(PLAIN, flip=True, batch_size=64), 0)(0, 0, 1)
    n_codes = batch["lighting_src"].sum(1)
    assert set(n_codes.tolist()) == {0, 1} and (batch["lighting_trg"].sum(1) == 1).all()


def test_even_weight_draws_photos_under_their_own_light_more_often(tmp_path: Path) -> None:
    def shares(weight: float) -> list[float]:
        config = DataConfig(batch_size=2000, even_weight=weight)
        drawn = FaceBatches(dataset, config, 0).draw(0, 2000).source
        return [float((drawn == index).mean()) for index in range(4)]

    rows = [row("a", "neutral", name, domain="relit", path=f"{name}.png") for name in ("01", "07", "13")]
    rows.append(row("a", "neutral", "even", domain="photo", path="even.png"))
    for each in rows:
        (tmp_path / str(each["path"])).write_bytes(png(np.zeros((32, 32, 3), np.uint8)))
    write_manifest(rows, tmp_path)
    dataset = FaceDataset([tmp_path], "train", size=32)
    even = int(np.flatnonzero(dataset.lighting < 0)[0])
    assert shares(1.0)[even] == pytest.approx(1 / 4, abs=0.04) and shares(3.0)[even] == pytest.approx(1 / 2, abs=0.04)
    assert min(shares(3.0)) == pytest.approx(1 / 6, abs=0.04)
    with pytest.raises(ConfigError, match="even_weight"):
        FaceBatches(dataset, DataConfig(even_weight=0), 0)


def test_pair_probability(dataset: FaceDataset) -> None:
    def share(probability: float) -> float:
        draw = FaceBatches(dataset, replace(PLAIN, pair_probability=probability), 0).draw(0, 2000)
        return float((draw.truth >= 0).mean())

    # 24 of the 120 conditions have a truth.
    assert share(1.0) == 1 and share(0.0) == pytest.approx(0.2, abs=0.04) and share(0.5) == pytest.approx(0.6, abs=0.05)


def test_tones_change_image_and_truth_alike(dataset: FaceDataset) -> None:
    plain, toned = (FaceBatches(dataset, replace(PLAIN, tone=t, pair_probability=1.0), 0)(0, 0, 1) for t in (0.0, 1.0))
    assert torch.equal(plain["lighting_trg"], toned["lighting_trg"])
    for i in range(8):  # eyes are level 20 before, and one level in image and truth after
        for channel in range(3):
            dark = plain["x_real"][i, channel] == 20 / 127.5 - 1
            dark_true = plain["x_true"][i, channel] == 20 / 127.5 - 1
            levels = {*toned["x_real"][i, channel][dark].tolist(), *toned["x_true"][i, channel][dark_true].tolist()}
            assert len(levels) == 1


def test_folder_weights(dataset: FaceDataset, tmp_path: Path) -> None:
    small = make_face_set(tmp_path / "small", n_identities=1, lightings=(0,))
    mixed = FaceDataset([dataset.folders[0], small], "train", size=32)
    for weights, expected in (((), 0.5), ((3.0, 1.0), 0.25), ((1.0, 0.0), 0.0)):
        draw = FaceBatches(mixed, replace(PLAIN, weights=weights), 0).draw(0, 2000)
        assert (mixed.folder[draw.source] == 1).mean() == pytest.approx(expected, abs=0.04)
    with pytest.raises(ConfigError, match="do not fit 2 folders"):
        FaceBatches(mixed, replace(PLAIN, weights=(1.0,)), 0)


def test_mirrored_lightings() -> None:
    names = [(1, 13), (7, 7), (14, 18), (15, 17), (16, 16), (19, 19), (0, 0)]
    assert all(MIRRORED[a] == b and MIRRORED[b] == a for a, b in names)
    assert sorted(MIRRORED) == list(range(len(LIGHTINGS)))
    flipped = np.array([True, False, True])
    assert flip_lightings(np.array([1, 1, 16]), flipped).tolist() == [13, 1, 16]
    images = np.arange(3 * 1 * 2 * 1, dtype=np.uint8).reshape(3, 1, 2, 1)
    assert flip_images(images, flipped).ravel().tolist() == [1, 0, 2, 3, 5, 4] and images.ravel().tolist() == [0, 1, 2, 3, 4, 5]
