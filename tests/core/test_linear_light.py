"""Linear light: values of the standard, and ways there and back."""

import numpy as np

from legan.core.light import to_linear, to_srgb, with_tone, without_tone


def test_values_of_the_standard() -> None:
    # Half of white's light is 188 of 255, and middle grey, 18% of it, is 118.
    assert np.allclose(255 * to_srgb(np.array([0.0, 0.18, 0.5, 1.0])), [0, 117.7, 187.5, 255], atol=0.5)
    assert np.allclose(to_linear(np.array([0, 117.7, 187.5, 255]) / 255), [0, 0.18, 0.5, 1], atol=0.002)


def test_there_and_back() -> None:
    values = np.linspace(0, 1, 1001)
    assert np.abs(to_srgb(to_linear(values)) - values).max() < 1e-4  # the standard's two parts do not meet exactly
    light = np.linspace(0, 1.9, 1001)
    assert np.abs(without_tone(with_tone(light)) - light).max() < 1e-9
    assert with_tone(light).max() < 1 and np.array_equal(with_tone(light[light < 0.7]), light[light < 0.7])


def test_float32_stays() -> None:
    for function in (to_linear, to_srgb, with_tone, without_tone):
        assert function(np.linspace(0, 1, 5, dtype=np.float32)).dtype == np.float32
