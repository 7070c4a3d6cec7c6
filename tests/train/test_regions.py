"""Region weights: where they peak, and that they keep the scale of the loss."""

import pytest
import torch

from legan.core.geometry import EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.train.legan import region_weights
from legan.train.probe import mouth_window, window


def test_weights_have_mean_one_and_peak_at_eyes_and_mouth() -> None:
    weights = region_weights(128, eyes=1.0, mouth=2.0)
    assert weights.shape == (1, 1, 128, 128) and weights.mean().item() == pytest.approx(1, abs=1e-5)
    plane = weights[0, 0]
    torch.testing.assert_close(plane, plane.flip(1))
    eye = plane[int(EYES_Y * 128), int((0.5 - EYE_DISTANCE / 2) * 128)]
    mouth, corner = plane[int(MOUTH_Y * 128), 64], plane[0, 0]
    assert (eye / corner).item() == pytest.approx(2, abs=0.05) and (mouth / corner).item() == pytest.approx(3, abs=0.15)
    assert torch.equal(region_weights(16, 0, 0), torch.ones(1, 1, 16, 16))


def test_window_by_hand() -> None:
    shape = window(10, (0.45, 0.25), (0.1, 0.2))
    assert shape[2, 4].item() == pytest.approx(1)
    assert shape[2, 5].item() == pytest.approx(2.718281828**-0.5) and shape[4, 4].item() == pytest.approx(2.718281828**-0.5)
    assert mouth_window(32).argmax().item() // 32 == int((MOUTH_Y + 0.02) * 32)
