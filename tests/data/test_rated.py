"""The rated data set: labels meet their images; augmentation is a flip and a shift; batches are functions of the step."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.rated_sets import make_rated_set, write_labels

from legan.core.errors import DataError
from legan.core.images import from_network
from legan.data.rated import RatedBatches, RatedImages, shifted
from legan.data.ratings import read_labels


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("rated")
    data = make_rated_set(folder / "set", size=32)
    return data, read_labels(write_labels(data, folder / "labels.csv"))


def test_labels_meet_their_images(rated: tuple[Path, pd.DataFrame]) -> None:
    images = RatedImages([rated[0]], rated[1], "val", 32)
    assert len(images) == 8 and images.images.shape == (8, 32, 32, 3)
    for name, mean in zip(images.names, images.mean, strict=True):
        assert mean == pytest.approx(9 - 7 * float(name[5:-4]))
    assert images.facts()[0]["n_identities"] == 2 and set(images.kinds) == {"photo"}


def test_shift_moves_the_window() -> None:
    image = np.arange(6 * 6 * 3).reshape(6, 6, 3)
    moved = shifted(image, 1, -2, 2)
    assert moved.shape == image.shape
    assert np.array_equal(moved[:5, 2:], image[1:, :4])
    assert np.array_equal(shifted(image, 0, 0, 2), image)


def test_batches_hold_every_image_once_an_epoch_whatever_the_number_of_processes(rated: tuple[Path, pd.DataFrame]) -> None:
    images = RatedImages([rated[0]], rated[1], "train", 32)
    plain = RatedBatches(images, 8, shift=0, flip=False, seed=3)
    epoch = [plain(step, 0, 1) for step in range(len(images) // 8)]
    seen = from_network(torch.cat([batch["x"] for batch in epoch]))
    assert sorted(x.tobytes() for x in seen) == sorted(x.tobytes() for x in images.images)
    batches = RatedBatches(images, 8, shift=4, flip=True, seed=3)
    whole, halves = batches(5, 0, 1), [batches(5, rank, 2) for rank in range(2)]
    for name in ("x", "mean", "std"):
        assert torch.equal(whole[name], torch.stack([half[name] for half in halves], 1).flatten(0, 1))
    assert not torch.equal(whole["x"], batches(6, 0, 1)["x"])


def test_augmented_crops_are_flips_or_shifts_of_their_image(rated: tuple[Path, pd.DataFrame]) -> None:
    images = RatedImages([rated[0]], rated[1], "train", 32)
    batches = RatedBatches(images, 16, shift=3, flip=True, seed=0)
    pictures = from_network(batches(0, 0, 1)["x"])
    flips = 0
    for image, index in zip(pictures, batches._indices(0), strict=True):
        ways = {
            (y, x, flip): np.array_equal(image[:, ::-1] if flip else image, shifted(images.images[index], y, x, 3))
            for y in range(-3, 4)
            for x in range(-3, 4)
            for flip in (False, True)
        }
        assert any(ways.values())
        flips += all(not same or flip for (*_, flip), same in ways.items())
    assert 2 < flips < 14


def test_images_of_one_name(rated: tuple[Path, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match="two images are called"):
        RatedImages([rated[0], rated[0]], rated[1], "train", 32)
    with pytest.raises(DataError, match="no image of the split 'test'"):
        RatedImages([rated[0]], rated[1].query("split == 'val'"), "test", 32)
