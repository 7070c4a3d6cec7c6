"""Resampling: positions, antialiasing, inverse."""

import numpy as np
import pytest
from skimage.transform import AffineTransform
from skimage.transform import warp as skimage_warp

from legan.core.geometry import inverse, scale_of, transform, warp


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[scale * np.cos(a), -scale * np.sin(a), x], [scale * np.sin(a), scale * np.cos(a), y]])


def blob(side: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A Gaussian spot at (x, y), pixel centres at +0.5."""
    places = np.arange(side) + 0.5
    spot = np.exp(-((places - x)[None] ** 2 + (places - y)[:, None] ** 2) / (2 * sigma**2))
    return (255 * spot).round().astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    weights = image.astype(float)
    places = np.arange(image.shape[0]) + 0.5
    return np.array([weights.sum(0) @ places, weights.sum(1) @ places]) / weights.sum()


@pytest.mark.parametrize("scale", [0.07, 0.33, 0.5, 1.0, 1.7])
def test_a_spot_lands_where_the_matrix_says(scale: float) -> None:
    matrix = similarity(scale, 20, 3.0, -2.0)
    target = np.array([33.3, 28.8])
    source = transform(inverse(matrix), target[None])[0]
    side = int(np.ceil(source.max() + 40 / scale))
    move = np.eye(2, 3)
    move[:, 2] = [25 / scale, 25 / scale]  # keep the spot well inside the image
    image = blob(side + int(50 / scale), *(source + 25 / scale), sigma=4 / scale)
    shifted = matrix.copy()
    shifted[:, 2] -= matrix[:, :2] @ move[:, 2]
    assert np.allclose(centre(warp(image, shifted, 64)), target, atol=0.05)


def test_identity_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(warp(image, np.eye(2, 3), 40), image)


def test_fine_stripes_become_grey_and_not_moire() -> None:
    stripes = np.zeros((800, 800), np.uint8)
    stripes[:, ::2] = 255
    small = warp(stripes, similarity(0.13, 12, 5, 5), 64)[20:44, 20:44]
    assert abs(float(small.mean()) - 127.5) < 4
    assert small.std() < 8


def test_agrees_with_scikit_image_where_no_antialiasing_is_needed() -> None:
    image = blob(80, 38, 41, 9).astype(np.float32) / 255
    matrix = similarity(1.0, 31, 12.0, -9.0)
    # scikit-image puts pixel centres on whole numbers
    centred = np.vstack([matrix, [0, 0, 1]])
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    oracle = skimage_warp(
        image, AffineTransform(np.linalg.inv(np.linalg.inv(shift) @ centred @ shift)), output_shape=(64, 64), mode="edge"
    )
    assert np.abs(warp(image, matrix, 64) - oracle).max() < 0.01


def test_very_large_faces_are_averaged_first() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1200, 1200), dtype=np.uint8)
    small = warp(image, similarity(0.01, 5, 1, 0), 10)
    assert np.abs(small[2:8, 2:8].astype(float) - 127.5).max() < 6


def test_inverse_undoes() -> None:
    matrix = similarity(0.4, -70, 8, 90)
    points = np.random.default_rng(1).normal(0, 100, (5, 2))
    assert np.allclose(transform(inverse(matrix), transform(matrix, points)), points, atol=1e-3)
    assert scale_of(matrix) == pytest.approx(0.4)
