"""Mixtures of lamps: light adds up, a single class comes out as itself, drawn mixtures are lamps."""

import numpy as np
import pytest

from legan.core.conditions import LIGHTINGS
from legan.data.edits import Lamps, developed, draw_lamps, mixed


def _linear(light: np.ndarray) -> np.ndarray:
    """An image of light that stays below the tone curve's bend."""
    return developed(light.astype(np.float32))


@pytest.fixture
def lights() -> tuple[np.ndarray, np.ndarray]:
    """Linear light (5, 16, 16, 3): the room's, and what four flashes add."""
    random = np.random.default_rng(0)
    return random.uniform(0.02, 0.15, (16, 16, 3)), random.uniform(0, 0.25, (4, 16, 16, 3))


def test_a_class_comes_out_as_itself(lights: tuple[np.ndarray, np.ndarray]) -> None:
    room, flashes = _linear(lights[0]), np.stack([_linear(lights[0] + f) for f in lights[1]])
    for k in range(4):
        found = mixed(room, flashes[k : k + 1], Lamps(np.ones(3), np.array([k + 1]), np.ones((1, 3))))
        assert np.abs(found.astype(int) - flashes[k]).max() <= 1
    assert np.abs(mixed(room, flashes[:0], Lamps(np.ones(3), np.zeros(0, int), np.zeros((0, 3)))).astype(int) - room).max() <= 1


def test_light_adds_up(lights: tuple[np.ndarray, np.ndarray]) -> None:
    room, flashes = _linear(lights[0]), np.stack([_linear(lights[0] + f) for f in lights[1]])
    weights = np.array([[0.5, 0.4, 0.3], [0.6, 0.6, 0.6], [0.2, 0.3, 0.4], [0, 0, 0]])
    found = mixed(room, flashes, Lamps(np.array([0.7, 1.0, 1.2]), np.arange(1, 5), weights))
    truth = _linear(lights[0] * [0.7, 1.0, 1.2] + (weights[:, None, None] * lights[1]).sum(0))
    assert np.abs(found.astype(int) - truth).max() <= 3  # 8 bits in, 8 bits out


def test_the_tone_curve_is_undone_up_to_where_it_saturates() -> None:
    light = np.linspace(0, 1.6, 500, dtype=np.float32).reshape(1, -1, 1).repeat(3, 2)
    once = developed(light)
    again = mixed(once, once[None][:0], Lamps(np.ones(3), np.zeros(0, int), np.zeros((0, 3))))
    assert (np.diff(once[0, :, 0].astype(int)) >= 0).all(), "brighter light never gives a darker pixel"
    assert np.abs(again.astype(int) - once).max() <= 1


def test_drawn_mixtures_are_lamps_of_many_kinds() -> None:
    drawn = [draw_lamps(np.random.default_rng(seed)) for seed in range(200)]
    for lamps in drawn:
        assert lamps.flashes.shape == (len(lamps.classes), 3) and (lamps.flashes >= 0).all() and (lamps.room >= 0).all()
        assert len(set(lamps.classes)) == len(lamps.classes)
        assert all(0 < c < len(LIGHTINGS) for c in lamps.classes)
    assert {len(lamps.classes) for lamps in drawn} >= {0, 1, 2, 3, 5}
    assert min(lamps.room.max() for lamps in drawn) < 0.1, "some rooms are dark"
