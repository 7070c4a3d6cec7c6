"""The fit finds what the renderer drew: pose, framing and landmarks are known exactly."""

import numpy as np
import pytest

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConditionError
from legan.core.geometry import EYE_DISTANCE, EYES_Y, fit_similarity
from legan_faces3d.head.expressions import draw_actions
from legan_faces3d.render import camera as cameras
from legan_faces3d.render.camera import View


def photographed(renderer, seed: int, expression: str, yaw: float = 0.0, size: int = 512):
    """True landmarks (68, 2) in pixels of a `size` image, camera, posed base vertices and posed eye centres of a person."""
    person = renderer.person(seed)
    base = renderer.head.with_actions(person.neutral, draw_actions(seed, expression))
    eyes = renderer.head.eye_centres(person.neutral)
    pose = cameras.turned_pose(np.radians(yaw), 0.0, np.radians(4), eyes)
    posed_eyes = pose.apply(renderer.head.eye_centres(base))
    mouth = renderer.head.mouth_centre(person.neutral)
    camera = cameras.draw_camera(seed, expression, View.WIDE, eyes, mouth, posed_eyes)
    points = camera.project(pose.apply(renderer.landmarks.on_face(base)), size)
    return points, camera, pose.apply(base), camera.project(posed_eyes, size)


@pytest.mark.parametrize("expression", ["neutral", "smile", "scream"])
@pytest.mark.parametrize("yaw", [-20.0, 0.0, 9.0])
def test_fit_recovers_turn_and_surface(renderer, fitter, expression, yaw):
    points, camera, posed, _ = photographed(renderer, 3, expression, yaw)
    fit = fitter.fit(points, expression, on_photo=False)
    assert fit.yaw == pytest.approx(yaw, abs=4)
    assert fit.roll == pytest.approx(4, abs=1.5)
    assert fit.rms < 1.0
    # the face's surface lies where the true one does, in millimetres of the image
    used = renderer.head.used
    offset = renderer.head.canonical_base[used] - renderer.head.anchors.eyes
    face = used[(offset[:, 1] < 0.03) & (np.abs(offset[:, 2] + 0.04) < 0.07)]
    found = fit.camera.project(fit.pose.apply(fit.vertices(renderer.head))[face], fit.size)
    back = np.linalg.inv(np.vstack([fit.matrix, [0, 0, 1]]))[:2]
    error = np.linalg.norm(found @ back[:, :2].T + back[:, 2] - camera.project(posed[face], 512), axis=1)
    assert np.median(error) / (512 / camera.height / 1000) < 1.6


def test_crop_holds_the_eyes_at_their_place(renderer, fitter):
    points, _, _, eyes = photographed(renderer, 5, "neutral")
    fit = fitter.fit(points, "neutral", on_photo=False)
    found = (eyes @ fit.matrix[:, :2].T + fit.matrix[:, 2]) / fit.size
    assert found[:, 1].mean() == pytest.approx(EYES_Y, abs=0.02)
    assert found[:, 0].mean() == pytest.approx(0.5, abs=0.02)
    assert found[1, 0] - found[0, 0] == pytest.approx(EYE_DISTANCE, abs=0.03)
    assert abs(found[1, 1] - found[0, 1]) < 0.01  # upright


def test_fit_moves_with_the_photo(renderer, fitter):
    """Another place, size and turn of the photo changes the matrix and nothing else."""
    points, _, _, _ = photographed(renderer, 6, "smile")
    turn = np.array([[0.8, -0.3], [0.3, 0.8]])
    one, other = fitter.fit(points, "smile", on_photo=False), fitter.fit(points @ turn.T + [40, -7], "smile", on_photo=False)
    np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.15)
    assert one.yaw == pytest.approx(other.yaw, abs=0.3)


def test_actions_stay_in_bounds_and_speak_of_the_expression(renderer, fitter):
    for expression in EXPRESSIONS:
        points, _, _, _ = photographed(renderer, 7, expression)
        actions = fitter.fit(points, on_photo=False).actions  # the expression is not told
        assert min(actions.values()) >= 0 and max(actions.values()) <= 1.3
        if expression in ("neutral", "scream"):
            assert (actions["jawOpen"] > 0.35) == (expression == "scream")


def test_other_actions_open_the_mouth_of_the_same_person(renderer, fitter):
    points, _, _, _ = photographed(renderer, 8, "neutral")
    fit = fitter.fit(points, "neutral", on_photo=False)
    shut, opened = (
        renderer.landmarks.on_face(fit.vertices(renderer.head, actions)) for actions in (fit.actions, {"jawOpen": 1.0})
    )
    assert opened[62, 2] - opened[66, 2] > shut[62, 2] - shut[66, 2] + 0.02
    np.testing.assert_allclose(opened[27:30], shut[27:30], atol=0.003)


def test_noise_and_one_wrong_landmark_do_little_harm(renderer, fitter):
    points, camera, _, _ = photographed(renderer, 9, "neutral")
    millimetre = 512 / camera.height / 1000
    noisy = points + np.random.default_rng(0).normal(0, millimetre, points.shape)
    noisy[54] += [25 * millimetre, 0]
    good, bad = fitter.fit(points, "neutral", on_photo=False), fitter.fit(noisy, "neutral", on_photo=False)
    seen = [
        fit.camera.project(fit.pose.apply(renderer.landmarks.on_face(fit.vertices(renderer.head))), 128) for fit in (good, bad)
    ]
    error = np.linalg.norm(seen[0] - seen[1], axis=1)
    assert np.median(error) < 1.5 and error[54] < 8
    assert bad.errors[54] > 12


def test_unknown_expression_names_the_nearest(renderer, fitter):
    with pytest.raises(ConditionError, match="smile"):
        fitter.fit(np.zeros((68, 2)), "smille")


def test_similarity_is_exact_for_similar_points():
    points = np.random.default_rng(0).normal(size=(10, 2))
    matrix = np.array([[1.2, -0.5, 3.0], [0.5, 1.2, -2.0]])
    np.testing.assert_allclose(fit_similarity(points, points @ matrix[:, :2].T + matrix[:, 2]), matrix, atol=1e-9)


def test_many_faces_at_once_are_the_same_faces(renderer):
    from legan_faces3d.head.identity import draw_identity

    head = renderer.head
    shape = draw_identity(12).shape
    (many,) = head.rest_shapes([shape.phenotype], [shape.local_changes])
    alone = head.neutral(shape.phenotype, shape.local_changes)
    alone = alone + head.anchors.eyes - head.eye_centres(alone).mean(axis=0)
    np.testing.assert_allclose(many, alone[head.used], atol=2e-4)
