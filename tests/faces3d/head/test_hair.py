"""Hair, shirt and expressions on a stand-in head (an ellipsoid), so that no head model has to be loaded."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConditionError
from legan_faces3d.head import accessories as collar
from legan_faces3d.head.expressions import ACTIONS, draw_actions, furrows
from legan_faces3d.head.hair import Scalp, cover, grow, to_ribbons
from legan_faces3d.head.hair_styles import MEN_SHARES, STYLES, WOMEN_SHARES, draw_hair

RADII = np.array([0.075, 0.10, 0.12])
CENTRE = np.array([0.0, 0.08, 0.02])  # from the point between the eyes
EYES = np.array([0.0, -0.2, 0.75])


@pytest.fixture(scope="module")
def scalp() -> Scalp:
    rows, columns = 60, 80
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    round_ = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
    sphere = np.stack([np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar) + 0 * round_], axis=-1)
    sphere = sphere.reshape(-1, 3)
    local = sphere * RADII + CENTRE
    normals = sphere / RADII
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b = at[:-1], np.roll(at, -1, axis=1)[:-1]
    c, d = at[1:], np.roll(at, -1, axis=1)[1:]
    triangles = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    ear = np.exp(-(((np.abs(local) - [0.075, 0.085, 0.0]) / 0.012) ** 2).sum(axis=1))
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return Scalp(local + EYES, unit, local, triangles, ear, EYES)


def traits_of(name: str, seed: int = 3):
    female = name in WOMEN_SHARES
    traits = draw_hair(np.random.default_rng(seed), female, 0.7, np.array([0.1, 0.2, 0.7]))
    return replace(traits, style=replace(STYLES[name], n_strands=400), curl=0.1)


def distance_to_head(points: np.ndarray) -> np.ndarray:
    """About the distance from the ellipsoid, negative inside."""
    scaled = (points - EYES - CENTRE) / RADII
    return (np.linalg.norm(scaled, axis=-1) - 1) * RADII.min()


@pytest.mark.parametrize("name", list(STYLES))
def test_strands_are_finite_start_in_the_hair_and_stay_outside_the_head(scalp, name):
    traits = traits_of(name)
    strands = grow(scalp, traits, np.random.default_rng(5))
    n, k = traits.style.n_strands, traits.style.n_points
    assert strands.points.shape == (n, k, 3) and strands.widths.shape == (n, k)
    assert np.isfinite(strands.points).all()
    assert (strands.widths >= 0).all() and strands.widths.max() < 0.008
    assert (cover(strands.local[:, 0], traits) > -0.012).all()
    assert np.mean(distance_to_head(strands.points) < -0.003) < 0.03
    steps = np.linalg.norm(np.diff(strands.points, axis=1), axis=-1).sum(axis=1)
    assert 0.3 * max(traits.style.length) < np.percentile(steps, 90) < 2.2 * max(traits.style.length)


def test_equal_seeds_grow_equal_hair_and_others_do_not(scalp):
    traits = traits_of("wavy")
    first, again, other = (grow(scalp, traits, np.random.default_rng(seed)).points for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_long_hair_hangs_and_leaves_the_face_free(scalp):
    strands = grow(scalp, traits_of("long"), np.random.default_rng(1))
    tips = strands.points[:, -1] - EYES
    assert np.median(tips[:, 2]) < -0.08
    points = strands.points.reshape(-1, 3) - EYES
    on_face = (np.abs(points[:, 0]) < 0.035) & (points[:, 1] < 0.03) & (np.abs(points[:, 2]) < 0.03)
    assert on_face.mean() < 0.005


def test_a_bob_ends_where_it_is_cut_and_a_bald_crown_is_bare(scalp):
    bob = grow(scalp, traits_of("bob"), np.random.default_rng(1))
    visible = bob.points[bob.widths > 0]
    assert visible[:, 2].min() - EYES[2] > STYLES["bob"].ends_above - 0.03
    bald = grow(scalp, traits_of("bald"), np.random.default_rng(1))
    full = grow(scalp, traits_of("full"), np.random.default_rng(1))
    assert bald.local[:, 0, 2].max() < 0.08 < full.local[:, 0, 2].max()


def test_a_fringe_covers_the_forehead_and_stops_above_the_eyes(scalp):
    traits = replace(traits_of("fringe"), fringe_sweep=0.0)
    strands = grow(scalp, traits, np.random.default_rng(1))
    root = strands.local[:, 0]
    fringe = (root[:, 1] < 0.055) & (np.abs(root[:, 0]) < 0.050) & (root[:, 2] > 0.055)
    ends = (strands.points[fringe, -1] - EYES)[:, 2]
    assert fringe.sum() > 10
    assert 0.0 < np.median(ends) < 0.055


def test_ribbons_carry_every_strand_and_keep_their_width(scalp):
    strands = grow(scalp, traits_of("short"), np.random.default_rng(1))
    ribbons = to_ribbons(strands, np.random.default_rng(2))
    n, k = strands.widths.shape
    assert ribbons.vertices.shape == (n * k * 2, 3) == ribbons.tangents.shape == ribbons.normals.shape
    assert ribbons.triangles.shape == (n * (k - 1) * 2, 3)
    assert ribbons.triangles.min() == 0 and ribbons.triangles.max() == n * k * 2 - 1
    pairs = ribbons.vertices.reshape(n, k, 2, 3)
    np.testing.assert_allclose(pairs.mean(axis=2), strands.points, atol=1e-6)
    widths = np.linalg.norm(pairs[:, :, 1] - pairs[:, :, 0], axis=-1)
    np.testing.assert_allclose(widths, strands.widths, atol=2e-5)


def test_styles_follow_gender_and_ancestry():
    assert sum(MEN_SHARES.values()) == pytest.approx(1) and sum(WOMEN_SHARES.values()) == pytest.approx(1)
    european, african = np.array([0.0, 0.1, 0.9]), np.array([0.95, 0.05, 0.0])
    for female, shares in ((True, WOMEN_SHARES), (False, MEN_SHARES)):
        drawn = [draw_hair(np.random.default_rng(seed), female, 0.7, european) for seed in range(200)]
        assert {traits.style.name for traits in drawn} == set(shares)
        assert all((traits.beard == 0) == female for traits in drawn)
    names = [draw_hair(np.random.default_rng(seed), False, 0.7, african).style.name for seed in range(200)]
    assert np.mean([name in ("coily", "buzz", "bald") for name in names]) > 0.7


def test_shirt_covers_the_shoulders_and_not_the_face():
    identity = SimpleNamespace(seed=4, room=SimpleNamespace(shirt=np.array([0.1, 0.2, 0.3])))
    head = SimpleNamespace(anchors=SimpleNamespace(eyes=EYES))
    face = EYES + np.array([[0, 0, -0.05], [0.03, 0, -0.1]])
    shoulder = EYES + np.array([[0.12, 0.1, -0.2], [0, 0.02, -0.22]])
    np.testing.assert_array_equal(collar.opacity(face, head, identity), 0)
    np.testing.assert_array_equal(collar.thickness(face, head, identity), 0)
    np.testing.assert_array_equal(collar.opacity(shoulder, head, identity), 1)
    assert (collar.thickness(shoulder, head, identity) > 0.001).all()
    np.testing.assert_allclose(collar.colour(shoulder, head, identity) / identity.room.shirt, 1, atol=0.4)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_actions_repeat_and_stay_in_range(expression):
    actions = draw_actions(7, expression)
    assert actions == draw_actions(7, expression) != draw_actions(8, expression)
    assert all(0 <= weight <= 1.3 for weight in actions.values())


def test_expressions_differ_round_eyes_and_mouth():
    drawn = {name: [draw_actions(seed, name) for seed in range(40)] for name in EXPRESSIONS}

    def mean(expression: str, action: str) -> float:
        return float(np.mean([actions.get(action, 0.0) for actions in drawn[expression]]))

    assert set(ACTIONS) == set(EXPRESSIONS)
    assert max(actions.get("eyeBlinkLeft", 0.0) for actions in drawn["squint"]) < 0.12  # narrowed, not closed
    assert mean("squint", "eyeSquintLeft") > 2 * mean("disgust", "eyeSquintLeft")
    assert mean("squint", "jawOpen") == mean("disgust", "jawOpen") == 0
    assert mean("scream", "jawOpen") > 0.7 > mean("surprise", "jawOpen") > 0.3
    assert mean("scream", "eyeBlinkLeft") > 0.5
    assert mean("neutral", "browDownLeft") == 0
    assert furrows(drawn["disgust"][0]).nasal > 0.8 > furrows(drawn["squint"][0]).nasal


def test_unknown_expression_is_refused_with_the_nearest_name():
    with pytest.raises(ConditionError, match="smile"):
        draw_actions(1, "smil")
