"""Noise: the same everywhere and for ever, of unit variance, smooth."""

import numpy as np

from legan_faces3d.head.noise import fractal_noise, noise

POINTS = np.random.default_rng(3).uniform(-1, 1, (20000, 3))


def test_equal_seeds_give_equal_noise_and_others_do_not():
    np.testing.assert_array_equal(noise(POINTS, 50, 7), noise(POINTS, 50, 7))
    assert abs(np.corrcoef(noise(POINTS, 50, 7), noise(POINTS, 50, 8))[0, 1]) < 0.05


def test_noise_never_changes():
    """Pins the field: data sets are defined by it."""
    points = np.array([[0, 0, 0], [0.01, 0.02, 0.03], [-0.2, 0.1, 0.4]])
    np.testing.assert_allclose(noise(points, 100, 5), [0.859338, 0.679218, -0.153429], atol=1e-5)


def test_noise_has_zero_mean_and_about_unit_variance():
    for field in (noise(POINTS, 50, 1), fractal_noise(POINTS, 50, 1)):
        assert field.shape == (len(POINTS),)
        assert abs(field.mean()) < 0.1
        assert 0.4 < field.std() < 1.2


def test_noise_is_smooth_at_its_own_scale():
    near = noise(POINTS + 1e-5, 50, 1) - noise(POINTS, 50, 1)
    assert np.abs(near).max() < 0.02


def test_large_seeds_keep_their_precision():
    field = noise(POINTS, 50, 2**32 - 1)
    assert 0.4 < field.std() < 1.2
