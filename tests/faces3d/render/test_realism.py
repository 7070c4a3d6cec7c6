"""Graded realism on the real head: nothing left out is the rendered set's image; what is left out is seen."""

import numpy as np
import pytest

from legan.core.conditions import LIGHTINGS
from legan_faces3d.render.realism import FULL, GRADES, Realism, clustered, clusters, facet_normals

SIDE_LIGHT = [LIGHTINGS[3]]


@pytest.fixture(scope="module")
def full(renderer):
    return renderer.render(1, "smile", lightings=SIDE_LIGHT).images[0]


def rendered(renderer, realism):
    return renderer.render(1, "smile", realism=realism, lightings=SIDE_LIGHT).images[0]


def test_the_default_leaves_nothing_out(renderer, full):
    np.testing.assert_array_equal(rendered(renderer, Realism()), full)
    assert Realism() == FULL and FULL not in [realism for realism, _ in GRADES.values()]


@pytest.mark.parametrize("name", ["no-scattering", "no-shadows", "plain-skin", "flat-low-poly"])
def test_every_grade_is_seen(renderer, full, name):
    image = rendered(renderer, GRADES[name][0])
    assert image.shape == full.shape and np.abs(image.astype(int) - full).mean() > 0.1


def test_unlit_faces_show_no_form(renderer, full):
    """Light from the left makes the left cheek brighter, but not without shading."""

    def contrast(image):
        left, right = image[26:32, 14:20].mean(), image[26:32, 28:34].mean()
        return abs(left - right) / (left + right)

    assert contrast(rendered(renderer, GRADES["flat"][0])) < 0.4 * contrast(full)


def test_faults_lie_between_clean_and_worst():
    faults = [fault for _, fault in GRADES.values()]
    assert min(faults) > 0 and max(faults) == 1


def test_clusters_share_their_mean():
    points = np.array([[0.1, 0, 0], [0.3, 0, 0], [1.2, 0, 0]], np.float32)
    cluster = clusters(points, 1.0)
    assert cluster[0] == cluster[1] != cluster[2]
    np.testing.assert_allclose(clustered(points, cluster), [[0.2, 0, 0], [0.2, 0, 0], [1.2, 0, 0]], atol=1e-6)


def test_facets_have_the_triangles_normal():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(facet_normals(vertices, np.array([[0, 1, 2]])), [[0, 0, 1]], atol=1e-6)
