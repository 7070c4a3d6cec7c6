"""Face swaps: the donor's face inside, the host outside, blended and coloured as asked."""

import numpy as np
import pytest
from tests.face_sets import draw_face
from tests.faces.face_images import frontal_landmarks

from legan.core.errors import ConfigError
from legan_faces3d.fakes.warps_and_swaps import SWAPS, SwapRecipe, matched, swap_face

POINTS = frontal_landmarks(41.6, (64.0, 52.5))
HOST, DONOR = np.full((128, 128, 3), 200, np.uint8), np.full((128, 128, 3), (90, 60, 50), np.uint8)
CHEEK, CORNER = (75, 64), (3, 3)


def swapped(recipe, host=HOST, donor=DONOR, seed=0):
    return swap_face(host, POINTS, donor, POINTS, recipe, np.random.default_rng(seed))


@pytest.mark.parametrize("name", SWAPS)
def test_every_recipe_changes_the_face_and_leaves_the_corners(name):
    host, donor = (draw_face(identity, 0, 7, 128) for identity in (1, 2))
    result = swapped(SWAPS[name][0], host, donor)
    assert result.dtype == np.uint8 and result.shape == host.shape
    assert np.abs(result.astype(int) - host)[40:110, 35:95].mean() > 0.5
    np.testing.assert_allclose(result[:6].astype(int), host[:6], atol=1)


def test_unmatched_hard_swap_shows_the_donor_inside_and_the_host_outside():
    result = swapped(SwapRecipe("hard", match=False))
    np.testing.assert_allclose(result[CHEEK], DONOR[CHEEK], atol=1)
    np.testing.assert_array_equal(result[CORNER], HOST[CORNER])


def test_feathering_is_softer_than_a_hard_edge_and_poisson_hides_the_tone():
    steps = {
        blend: np.abs(np.diff(swapped(SwapRecipe(blend, match=False)).astype(int), axis=1)).max()
        for blend in ("hard", "feather")
    }
    assert steps["feather"] < 0.3 * steps["hard"]
    poisson = swapped(SwapRecipe("poisson", match=False))
    assert np.abs(poisson.astype(int) - HOST).max() < 12


def test_matching_gives_the_hosts_colours():
    mask = np.ones((128, 128), np.float32)
    donor, host = (draw_face(identity, 0, 7, 128) for identity in (1, 5))
    before, after = (np.abs(x.mean((0, 1)) - host.mean((0, 1))).max() for x in (donor, matched(donor, host, mask)))
    assert after < 0.3 * before


def test_misalignment_is_drawn_from_the_seed():
    donor = draw_face(2, 0, 7, 128)
    first, again, other = (swapped(SWAPS["misaligned"][0], donor=donor, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 0.3


def test_unknown_blend_is_named():
    with pytest.raises(ConfigError, match="poisson"):
        swapped(SwapRecipe("magic"))
