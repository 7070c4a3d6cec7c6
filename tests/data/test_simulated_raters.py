"""Simulated raters: distances grow with damage, raters agree as little as asked for, and are called simulated."""

import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.conftest import textured
from tests.rated_sets import spoil

from legan.core.errors import DataError
from legan.data.simulated_raters import SimulationConfig, distance, naturalness, simulate_ratings
from legan.metrics.agreement import intraclass_correlation


def test_distance_grows_with_damage() -> None:
    clean = textured(128, 128)
    distances = [distance(np.asarray(spoil(clean, s, 0)), np.asarray(clean)) for s in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert distances[0] == 0 and all(a < b for a, b in itertools.pairwise(distances))


@pytest.mark.parametrize("damage", ["checkerboard", "tint", "blot"])
def test_distance_sees_each_kind_of_damage(damage: str) -> None:
    clean = np.asarray(textured(128, 128))
    spoilt = clean.astype(float)
    if damage == "checkerboard":
        spoilt += 20 * ((np.add.outer(np.arange(128), np.arange(128)) % 2) * 2 - 1)[..., None]
    elif damage == "tint":
        spoilt *= (1.2, 1, 0.8)
    else:
        spoilt[40:60, 40:60] += 90
    assert distance(spoilt.clip(0, 255).astype(np.uint8), clean) > 0.1


def test_distance_needs_one_size() -> None:
    with pytest.raises(DataError, match="another size"):
        distance(np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8))


def manifest(n: int = 400, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "kind": random.choice(["photo", "graded", "sample", "deepfakes"], n),
            "fault": random.uniform(0, 1, n),
            "naturalness_distance": random.uniform(0, 0.5, n),
            "domain": random.choice(["photo", "render"], n),
        }
    )


def test_naturalness_falls_with_distance_and_fault() -> None:
    table = manifest()
    perceived = naturalness(table)
    assert perceived.min() > 0 and perceived.max() < 10
    worse = naturalness(table.assign(naturalness_distance=table["naturalness_distance"] + 0.1))
    assert (worse < perceived).all()
    faulty = naturalness(table.assign(fault=(table["fault"] + 0.1)))
    assert (faulty <= perceived).all() and (faulty < perceived)[table["kind"] == "sample"].all()
    clean = table.assign(kind="photo", fault=0.0, naturalness_distance=0.0, domain="photo")
    assert naturalness(clean).min() > 9
    with pytest.raises(DataError, match="no column 'fault'"):
        naturalness(table.drop(columns="fault"))
    with pytest.raises(DataError, match="no naturalness_distance"):
        naturalness(table.assign(naturalness_distance=np.nan))


@pytest.mark.parametrize("icc", [0.25, 0.35])
def test_raters_agree_as_asked(icc: float) -> None:
    table = manifest()
    names = pd.Series([f"{i}.png" for i in range(len(table))])
    perceived = naturalness(table)
    ratings = simulate_ratings(names, perceived, SimulationConfig(icc=icc), seed=1)
    assert intraclass_correlation(ratings) == pytest.approx(icc, abs=0.01)
    assert ratings["rater"].str.startswith("simulated-").all()
    assert (ratings.groupby("image")["rater"].nunique() == 3).all() and ratings["rating"].between(0, 10).all()
    assert not ratings.duplicated(["rater", "image"]).any() and (ratings["seconds"] > 1).all()
    assert np.corrcoef(ratings.groupby("image")["rating"].mean()[names], perceived)[0, 1] > 0.4
    again = simulate_ratings(names, perceived, SimulationConfig(icc=icc), seed=1)
    pd.testing.assert_frame_equal(ratings, again)


def test_impossible_wishes() -> None:
    names, same = pd.Series([f"{i}.png" for i in range(40)]), np.full(40, 5.0)
    with pytest.raises(DataError, match="no noise gives an ICC"):
        simulate_ratings(names, same)
    for icc in (-0.5, 1.0):
        with pytest.raises(DataError, match=f"icc={icc:g} is out of range"):
            simulate_ratings(names, same, SimulationConfig(icc=icc))
    with pytest.raises(DataError, match="2 raters cannot give 3"):
        simulate_ratings(names, same, SimulationConfig(n_raters=2))


def test_an_image_equals_itself() -> None:
    image = np.asarray(Image.new("RGB", (16, 16), (90, 80, 70)))
    assert distance(image, image) == 0
