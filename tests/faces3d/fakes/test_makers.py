"""Makers: what is planned is what is drawn."""

import numpy as np
import pytest
from tests.faces3d.fakes.sets import landmarks_of, make_rendered_set

from legan_faces3d.fakes.eigenfaces import fit_model
from legan_faces3d.fakes.images import Catalogue, PlannedImage
from legan_faces3d.fakes.make import Makers


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return Catalogue([make_rendered_set(tmp_path_factory.mktemp("renders") / "set", 10)])


@pytest.fixture(scope="module")
def makers(catalogue):
    rows = list(range(0, len(catalogue), 24))
    model = fit_model(np.stack([catalogue.image(i) for i in rows]), np.stack([catalogue.points(i) for i in rows]))
    return Makers(catalogue, {}, model, [0])


def planned_image(kind, setting, sources, **more):
    return PlannedImage(
        "x.png", kind, f"{kind}/{setting}", 0.5, tuple(sources), 3, {"lighting": "00", "expression": "neutral"}, **more
    )


def made(makers, *images):
    return [image for _, image in makers.make([list(images)])]


def row_of(catalogue, identity, expression, lighting):
    return catalogue.takes[(0, identity, expression)][lighting]


def test_clean_images_are_the_source(catalogue, makers):
    np.testing.assert_array_equal(made(makers, planned_image("render", "clean", [5]))[0], catalogue.image(5))


def test_degraded_versions_follow_their_image(catalogue, makers):
    clean, blurred = made(
        makers, planned_image("render", "clean", [5]), planned_image("render", "clean", [5], degradation="blur", strength=1.0)
    )
    assert np.abs(np.diff(blurred.astype(int), axis=0)).max() < np.abs(np.diff(clean.astype(int), axis=0)).max()


def test_a_warp_moves_the_mouth_towards_the_goal(catalogue, makers):
    start, goal = (row_of(catalogue, "d001", expression, "07") for expression in ("neutral", "scream"))
    warped = made(makers, planned_image("warp", "spline", [start, start, goal]))[0]
    lips = slice(96, 112), slice(58, 70)
    truth, before = (catalogue.image(row)[lips].astype(int) for row in (goal, start))
    assert np.abs(warped[lips] - truth).mean() < np.abs(before - truth).mean()


def test_a_swap_keeps_the_hosts_corners(catalogue, makers):
    host, donor = (row_of(catalogue, name, "smile", "07") for name in ("d001", "d002"))
    image = made(makers, planned_image("swap", "hard-unmatched", [host, donor]))[0]
    np.testing.assert_array_equal(image[:5], catalogue.image(host)[:5])
    assert np.abs(image[70:80, 50:78].astype(int) - catalogue.image(donor)[70:80, 50:78]).mean() < 4


@pytest.mark.parametrize("setting", ["eigen-t1.0", "morph-2"])
def test_samples_are_like_no_source(catalogue, makers, setting):
    rows = [row_of(catalogue, name, "smile", "07") for name in ("d001", "d002")] if setting == "morph-2" else []
    image = made(makers, planned_image("sample", setting, rows))[0]
    distances = [np.abs(image.astype(int) - catalogue.image(i)).mean() for i in range(0, len(catalogue), 4)]
    assert image.shape == (128, 128, 3) and min(distances) > 1


def test_landmarks_come_from_the_manifest_and_else_from_the_network(catalogue, monkeypatch):
    row = row_of(catalogue, "d001", "smile", "07")
    np.testing.assert_allclose(catalogue.points(row), landmarks_of(1, 1), atol=1e-3)
    from PIL import Image
    from tests.faces.face_images import rendered_faces

    from legan.core.geometry import EYE_DISTANCE

    face = np.asarray(Image.open(rendered_faces()[0]).convert("RGB"))
    catalogue.points.cache_clear()
    monkeypatch.setitem(catalogue.rows[row], "landmarks", None)
    monkeypatch.setattr(catalogue, "image", lambda number: face)
    points = catalogue.points(row)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    assert abs(eyes[1][0] - eyes[0][0] - 128 * EYE_DISTANCE) < 8 and abs(eyes[0][1] - 53) < 6
