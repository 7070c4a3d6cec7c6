"""Distances of distributions: scipy's closed form, a kernel worked by hand, scikit-learn's neighbours, torchmetrics."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from legan.core.errors import DataError
from legan.metrics import distributions
from legan.metrics.distributions import DISTANCES, frechet_distance, kernel_distance, precision, recall


def samples(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated features of unequal size, float32 as networks give them."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return (random.normal(size=(n, d)) @ mix * np.linspace(0.1, 3, d) + shift).astype(np.float32)


def closed_form(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))


@pytest.mark.parametrize(("n", "m", "d", "shift"), [(300, 200, 40, 0.3), (150, 400, 12, 0.0), (90, 90, 60, 1.0)])
def test_fid_equals_scipys_closed_form(n: int, m: int, d: int, shift: float) -> None:
    real, fake = samples(n, d, 0), samples(m, d, 1, shift)
    assert frechet_distance(real, fake) == pytest.approx(closed_form(real, fake), rel=1e-6)


def test_fid_equals_torchmetrics_on_the_same_features() -> None:
    class Features(torch.nn.Identity):
        num_features = 20

    real, fake = samples(120, 20, 0), samples(80, 20, 1, 0.5)
    oracle = FrechetInceptionDistance(Features(), normalize=True).set_dtype(torch.float64)
    oracle.update(torch.from_numpy(real).double(), real=True)
    oracle.update(torch.from_numpy(fake).double(), real=False)
    assert frechet_distance(real, fake) == pytest.approx(float(oracle.compute()), rel=1e-6)


def test_fid_keeps_its_digits_with_fewer_images_than_features() -> None:
    """Features turned into a larger space are as far apart as before."""
    real, fake = samples(30, 8, 0).astype(np.float64), samples(25, 8, 1, 0.2).astype(np.float64)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(200, 200)))[0][:8]
    assert frechet_distance(real @ turn, fake @ turn) == pytest.approx(closed_form(real, fake), rel=1e-9)
    assert abs(frechet_distance(real, real[::-1])) < 1e-12 * np.cov(real, rowvar=False).trace() * 100


def test_kid_by_hand_and_as_torchmetrics() -> None:
    real, fake = np.array([[1.0, 0], [0, 2]]), np.array([[2.0, 2], [0, 0], [1, 1]])
    # (x.y / 2 + 1)^3 of every two different rows: real 1; fake 1, 27, 1; across 8, 1, 3.375 and 27, 1, 8.
    by_hand = 1 + (1 + 27 + 1) / 3 - 2 * (8 + 1 + 3.375 + 27 + 1 + 8) / 6
    assert kernel_distance(real, fake) == pytest.approx(by_hand, rel=1e-12)
    a, b = samples(50, 10, 0), samples(50, 10, 1, 0.1)
    oracle = poly_mmd(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    assert kernel_distance(a, b) == pytest.approx(float(oracle), rel=1e-9)


def test_kid_is_without_bias_where_fid_is_not() -> None:
    few = [(samples(20, 5, 2 * seed), samples(20, 5, 2 * seed + 1)) for seed in range(200)]
    kids = np.array([kernel_distance(*pair) for pair in few])
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))
    assert np.mean([frechet_distance(*pair) for pair in few]) > 5 * frechet_distance(samples(4000, 5, 0), samples(4000, 5, 1))


def covered(by: np.ndarray, points: np.ndarray) -> float:
    radii = NearestNeighbors(n_neighbors=4).fit(by).kneighbors(by)[0][:, 3]  # itself is the first
    distances, indices = NearestNeighbors(n_neighbors=len(by)).fit(by).kneighbors(points)
    return float((distances <= radii[indices]).any(1).mean())


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 0.4), (3.0, 1.0)])
def test_precision_and_recall_equal_scikit_learns_neighbours(shift: float, scale: float) -> None:
    real, fake = samples(120, 6, 0).astype(np.float64), samples(150, 6, 1).astype(np.float64) * scale + shift
    assert precision(real, fake) == pytest.approx(covered(real, fake), abs=1e-12)
    assert recall(real, fake) == pytest.approx(covered(fake, real), abs=1e-12)


def test_one_face_again_and_again_is_precise_and_recalls_little() -> None:
    real = samples(100, 6, 0)
    alike = real[:1] + np.random.default_rng(0).normal(size=(100, 6)) * 1e-3
    assert precision(real, alike) == 1 and recall(real, alike) < 0.05


@pytest.mark.parametrize("name", DISTANCES)
def test_order_and_blocks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = samples(70, 9, 0), samples(50, 9, 1, 0.2)
    value = DISTANCES[name](real, fake)
    random = np.random.default_rng(0)
    assert DISTANCES[name](random.permutation(real), random.permutation(fake)) == pytest.approx(value, rel=1e-9)
    monkeypatch.setattr(distributions, "_BLOCK_ROWS", 7)
    assert DISTANCES[name](real, fake) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", DISTANCES)
def test_what_has_no_distribution_is_refused(name: str) -> None:
    good = samples(20, 4, 0)
    with pytest.raises(DataError, match=r"^1 image: a distribution needs at least \d, give more images"):
        DISTANCES[name](good, good[:1])
    with pytest.raises(DataError, match=r"^0 images"):
        DISTANCES[name](good[:0], good)
    with pytest.raises(DataError, match="use one network for both"):
        DISTANCES[name](good, good[:, :3])
    bad = good.copy()
    bad[3, 2] = np.nan
    with pytest.raises(DataError, match="not a finite number: leave out images with NaN"):
        DISTANCES[name](good, bad)
