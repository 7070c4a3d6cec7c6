"""Alignment: against scikit-image's least-squares similarity, and what must not change it."""

import numpy as np
import pytest
from PIL import Image
from skimage.transform import SimilarityTransform
from tests.faces.face_images import frontal_landmarks

from legan.core.geometry import fit_similarity, inverse, scale_of, transform
from legan.faces.align import align, alignment, anchors


def turned(points: np.ndarray, degrees: float, scale: float = 1.0) -> np.ndarray:
    a = np.radians(degrees)
    return points @ (scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])) + [310, 50]


def test_fit_agrees_with_scikit_image() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        source, target = random.normal(0, 50, (2, 7, 2))
        oracle = SimilarityTransform.from_estimate(source, target)
        assert np.allclose(fit_similarity(source, target), oracle.params[:2], atol=1e-9)


def test_weights_act_like_repeated_points() -> None:
    random = np.random.default_rng(1)
    source, target = random.normal(0, 50, (2, 4, 2))
    counts = np.array([1, 3, 2, 1])
    oracle = SimilarityTransform.from_estimate(np.repeat(source, counts, axis=0), np.repeat(target, counts, axis=0))
    assert np.allclose(fit_similarity(source, target, counts), oracle.params[:2], atol=1e-9)


@pytest.mark.parametrize("degrees", [-40, 0, 15])
@pytest.mark.parametrize("scale", [0.2, 1.0, 6.0])
def test_eyes_land_on_their_places_whatever_the_photo(degrees: float, scale: float) -> None:
    points = turned(frontal_landmarks(), degrees, scale)
    placed = anchors(transform(alignment(points, 128), points))
    assert placed[0, 1] == pytest.approx(placed[1, 1], abs=0.01)  # no roll is left
    assert placed[:2].mean(axis=0) == pytest.approx([64, 53.8], abs=2)
    assert placed[1, 0] - placed[0, 0] == pytest.approx(40.2, abs=3)


def test_size_scales_the_crop() -> None:
    points = frontal_landmarks()
    assert np.allclose(alignment(points, 256), 2 * alignment(points, 128))


def test_an_open_mouth_hardly_shrinks_the_face() -> None:
    shut = frontal_landmarks(eye_distance=100)
    wide = shut.copy()
    wide[[48, 54, 60, 64], 1] += 20  # the corners drop by a fifth of the eye distance
    wide[55:60, 1] += 60
    wide[65:68, 1] += 60
    wide[:17, 1] += 40
    ratio = scale_of(alignment(wide)) / scale_of(alignment(shut))
    assert ratio == pytest.approx(1, abs=0.01)


def test_crop_and_inverse_agree() -> None:
    """The pixel of the photo that an eye stands on is found in the crop where the matrix says."""
    points = turned(frontal_landmarks(eye_distance=60), 20)
    photo = np.full((400, 600, 3), 90, np.uint8)
    x, y = points[36:42].mean(axis=0)
    photo[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5] = 255
    crop = align(Image.fromarray(photo), points)
    bright = np.argwhere(np.asarray(crop.image)[..., 0] > 200)[:, ::-1].mean(axis=0) + 0.5
    expected = transform(crop.matrix, np.array([[int(x) + 0.5, int(y) + 0.5]]))[0]
    assert np.allclose(bright, expected, atol=0.6)
    assert np.allclose(transform(crop.inverse, expected[None]), [[int(x) + 0.5, int(y) + 0.5]], atol=1e-3)
    assert np.allclose(crop.inverse, inverse(crop.matrix))
    assert crop.image.size == (128, 128)
    assert crop.size == 128


def test_a_face_at_the_photos_edge_goes_on_with_the_border() -> None:
    photo = Image.new("RGB", (200, 200), (10, 200, 30))
    crop = align(photo, frontal_landmarks(eye_distance=80, centre=(20.0, 20.0)))
    assert np.asarray(crop.image).reshape(-1, 3).std(axis=0).max() == 0
