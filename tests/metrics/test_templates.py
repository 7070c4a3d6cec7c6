"""Features of templates: by hand, against the published procedure written plainly, and what is refused."""

import numpy as np
import pytest

from legan.core.errors import DataError
from legan.metrics.verification import template_features


def test_media_first_then_templates_by_hand() -> None:
    """A video of three frames, all (1, 0), and a photo (0, 1): the mean of the two media is on the diagonal."""
    features = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], float)
    found = template_features(features, np.array([7, 7, 7, 7, 3]), np.array([1, 1, 1, 2, 1]))
    assert list(found.ids) == [3, 7]
    assert found.features[0] == pytest.approx([0, 1]) and found.features[1] == pytest.approx([0.5**0.5, 0.5**0.5])


def test_equals_the_published_procedure() -> None:
    """`image2template_feature` of insightface's evaluation: mean of each medium, sum of the media, unit length."""
    random = np.random.default_rng(0)
    features, template, medium = random.normal(size=(300, 8)), random.integers(0, 40, 300), random.integers(0, 5, 300)
    expected = []
    for one in np.unique(template):
        means = [features[(template == one) & (medium == m)].mean(0) for m in np.unique(medium[template == one])]
        total = np.sum(means, 0)
        expected.append(total / np.linalg.norm(total))
    found = template_features(features, template, medium)
    assert np.allclose(found.features, expected, atol=1e-6)
    shuffled = random.permutation(300)
    again = template_features(features[shuffled], template[shuffled], medium[shuffled])
    assert np.allclose(again.features, found.features, atol=1e-6)
    assert list(found.rows_of(np.array([found.ids[5], found.ids[0]]))) == [5, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="2 features, 1 templates"):
        template_features(np.eye(2), np.array([1]), np.array([1]))
    with pytest.raises(DataError, match="cancel out"):
        template_features(np.array([[1.0, 0], [-1.0, 0]]), np.array([1, 1]), np.array([1, 2]))
    found = template_features(np.eye(2), np.array([1, 4]), np.array([1, 1]))
    for absent in (3, 9):
        with pytest.raises(DataError, match=f"template {absent} is in the list of pairs"):
            found.rows_of(np.array([1, absent]))
