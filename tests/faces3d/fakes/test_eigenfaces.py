"""The face model: it learns means and spreads, samples faces, and grows wilder with temperature."""

import numpy as np
import pytest
from tests.face_sets import draw_face
from tests.faces.face_images import frontal_landmarks

from legan.core.errors import DataError
from legan_faces3d.fakes.eigenfaces import fit_model, morph, sample_face


@pytest.fixture(scope="module")
def faces():
    images = np.stack([draw_face(i, i % 3, 7, 64) for i in range(30)])
    points = np.stack([frontal_landmarks(20.8, (32.0, 26.0)) + np.random.default_rng(i).normal(0, 0.6, 2) for i in range(30)])
    return images, points.astype(np.float32)


@pytest.fixture(scope="module")
def model(faces):
    return fit_model(*faces, n_shape=5, n_texture=12)


def test_axes_are_orthonormal_and_means_are_the_datas(faces, model):
    np.testing.assert_allclose(model.texture_axes @ model.texture_axes.T, np.eye(12), atol=1e-3)
    np.testing.assert_allclose(model.mean_points.reshape(-1, 2), faces[1].mean(axis=0), atol=1e-3)
    assert model.size == 64


def test_spread_is_the_covariance_of_the_scores(faces, model):
    textures = faces[0].reshape(30, -1).astype(float)
    explained = np.square(model.spread[5:]).sum()
    assert 0.5 < explained / textures.var(axis=0, ddof=1).sum() < 1.1


def test_no_temperature_gives_the_mean_and_more_gives_more_distance(model):
    mean = model.mean_texture.reshape(64, 64, 3)
    spread = [
        np.mean([np.abs(sample_face(model, np.random.default_rng(i), t, bend=False) - mean).mean() for i in range(8)])
        for t in (0.0, 0.4, 0.8, 1.4)
    ]
    assert spread[0] < 0.6 and spread == sorted(spread)


def test_samples_are_images_and_seeds_decide(model):
    first, again, other = (sample_face(model, np.random.default_rng(seed), 1.0) for seed in (1, 1, 2))
    assert first.dtype == np.uint8 and first.shape == (64, 64, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_morph_of_one_face_is_the_face_and_of_two_lies_between(faces):
    images, points = faces
    alone = morph(images[:2], points[:2], np.array([1.0, 0.0]))
    assert np.abs(alone.astype(int) - images[0]).mean() < 3
    both = morph(images[:2], points[:2], np.array([0.5, 0.5]))[5, 5]
    assert (both >= images[:2, 5, 5].min(0) - 2).all() and (both <= images[:2, 5, 5].max(0) + 2).all()


def test_too_few_faces_are_refused(faces):
    with pytest.raises(DataError, match="at least 8"):
        fit_model(faces[0][:3], faces[1][:3])
