"""Images of the real head, small: light from the right side, landmarks on the face, equal seeds, equal bytes."""

import sys

import numpy as np
import pytest

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES, LIGHTINGS
from legan.core.errors import ConditionError, LeganError
from legan.core.geometry import EYE_DISTANCE, EYES_Y
from legan_faces3d.head.head import Head
from legan_faces3d.render.camera import View
from legan_faces3d.render.renderer import MAX_EXTREMENESS, extremeness
from legan_faces3d.render.shading import image_direction

SIZE = 48
LEFT_HALF, RIGHT_HALF = slice(8, 22), slice(26, 40)


@pytest.fixture(scope="module")
def faces(renderer):
    """One person with every expression."""
    return {expression: renderer.render(1, expression) for expression in EXPRESSIONS}


@pytest.fixture
def neutral(faces):
    return faces["neutral"]


def test_flash_directions_follow_the_image():
    by_name = {lighting.name: image_direction(lighting) for lighting in LIGHTINGS}
    assert by_name["00"] is None
    assert by_name["01"][0] < -0.9 and by_name["13"][0] > 0.9  # from the left, from the right
    assert by_name["07"][1] < -0.9  # from the camera
    assert by_name["19"][2] > 0.8  # from above
    assert all(abs(np.linalg.norm(d) - 1) < 1e-6 for d in by_name.values() if d is not None)


def test_negative_azimuth_lights_the_left_side_of_the_image(neutral):
    for name, left_is_brighter in (("03", True), ("11", False)):  # azimuth -60 and 60
        image = neutral.images[LIGHTING_NAMES.index(name)].astype(float)
        left, right = image[20:38, LEFT_HALF].mean(), image[20:38, RIGHT_HALF].mean()
        assert (left > right * 1.2) if left_is_brighter else (right > left * 1.2)


def test_flashes_add_light_to_the_room(neutral):
    brightness = neutral.images[:, 16:40, 12:36].mean(axis=(1, 2, 3))
    assert brightness.argmin() == 0
    assert brightness[LIGHTING_NAMES.index("07")] > 1.3 * brightness[0]


def test_shape_type_and_names(neutral):
    assert neutral.images.shape == (20, SIZE, SIZE, 3) and neutral.images.dtype == np.uint8
    assert neutral.lightings == LIGHTING_NAMES
    assert neutral.landmarks.shape == (68, 2) and neutral.eyes.shape == (2, 2)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_landmarks_lie_in_the_image_and_in_order(faces, expression):
    points = faces[expression].landmarks
    face = points[17:]  # the chin of a wide open mouth leaves the crop
    assert (face > 0).all() and (face < SIZE).all()
    x, y = points.T
    assert x[36] < x[39] < x[42] < x[45] and x[48] < x[51] < x[54]
    assert y[27] < y[30] < y[33] < y[51] < y[62] <= y[66] + 0.3 and y[66] < y[57] < y[8]
    assert (np.diff(x[17:27]) > 0).all() and (np.diff(x[3:14]) > 0).all()
    assert (np.diff(x[:17]) > -0.5).all()  # the sides of the face stand upright


def test_crops_of_a_person_differ_in_the_face_only(faces):
    """Same pose, camera and hair: the eyes stay, and the top changes far less than the mouth."""
    for expression in EXPRESSIONS:
        np.testing.assert_allclose(faces[expression].eyes, faces["neutral"].eyes, atol=0.05)
    difference = np.abs(faces["surprise"].images.astype(int) - faces["neutral"].images).mean(axis=(0, 3))
    assert difference[:6].mean() < 0.45 * difference[30:42, 16:32].mean()


def test_expressions_open_the_mouth_and_close_the_eyes(faces):
    def openings(expression: str) -> tuple[float, float]:
        y = faces[expression].landmarks[:, 1]
        return float(y[66] - y[62]), float(y[41] + y[40] + y[47] + y[46] - y[37] - y[38] - y[43] - y[44])

    mouth, eyes = ({name: openings(name)[k] for name in EXPRESSIONS} for k in (0, 1))
    assert mouth["scream"] > mouth["surprise"] > mouth["neutral"] + 1
    assert eyes["surprise"] > eyes["neutral"] > eyes["squint"]


def test_landmarks_sit_on_what_the_image_shows(renderer, neutral):
    """The eye landmarks enclose the true eye centres, which the crop holds at their place."""
    points, eyes = neutral.landmarks, neutral.eyes
    for eye, ring in zip(eyes, (points[36:42], points[42:48]), strict=True):
        assert ring[:, 0].min() < eye[0] < ring[:, 0].max()
        assert np.abs(ring.mean(axis=0) - eye).max() < 2
    assert eyes[:, 1].mean() / SIZE == pytest.approx(EYES_Y, abs=0.02)
    assert (eyes[1, 0] - eyes[0, 0]) / SIZE == pytest.approx(EYE_DISTANCE, abs=0.03)


def test_equal_seeds_give_equal_bytes_whatever_was_rendered_before(renderer, neutral):
    renderer.render(2, "smile")
    renderer.person.cache_clear()
    again = renderer.render(1, "neutral")
    np.testing.assert_array_equal(again.images, neutral.images)
    np.testing.assert_array_equal(again.landmarks, neutral.landmarks)
    assert np.abs(renderer.render(2, "neutral").images.astype(int) - neutral.images).mean() > 5


def test_wide_images_show_the_whole_face_under_few_lights(renderer):
    rendering = renderer.render(1, "scream", View.WIDE)
    assert rendering.images.shape == (4, SIZE, SIZE, 3)
    assert len(set(rendering.lightings)) == 4 and set(rendering.lightings) <= set(LIGHTING_NAMES)
    assert (rendering.landmarks > 0).all() and (rendering.landmarks < SIZE).all()
    assert 0.3 < np.ptp(rendering.landmarks[:, 0]) / SIZE < 0.7


def test_turned_heads_are_framed_as_alignment_frames_them(renderer):
    """Eyes and lips stay where crops have them, whatever the yaw; all expressions of a person share one pose."""
    anchors = []
    for seed in range(6):
        rendering = renderer.render(seed, "neutral", View.TURNED)
        assert rendering.images.shape == (20, SIZE, SIZE, 3)
        points = rendering.landmarks / SIZE
        anchors.append([points[36:42].mean(0), points[42:48].mean(0), points[50:53].mean(0)])
        smile = renderer.render(seed, "smile", View.TURNED)
        np.testing.assert_allclose(smile.eyes, rendering.eyes, atol=0.05)
    expected = [[0.343, 0.4203], [0.657, 0.4203], [0.5, 0.733]]
    assert np.abs(np.array(anchors) - expected).max() < 0.09 and np.abs(np.mean(anchors, axis=0) - expected).max() < 0.04


def test_the_matte_is_the_person(renderer, neutral):
    flashes = neutral.images[1:].astype(int).mean(0) - neutral.images[0]  # a face gains from a flash, the wall in steps
    inside, outside = neutral.matte == 255, neutral.matte == 0
    assert neutral.matte.shape == (SIZE, SIZE) and inside.mean() > 0.3 and outside.any()
    ratio = flashes.sum(2) / (neutral.images[0].astype(int).sum(2) + 1)
    assert np.std(ratio[inside]) > 2 * np.std(ratio[outside]), "only the person has form"


def test_people_are_not_grotesque(renderer):
    for seed in range(6):
        neutral = renderer.person(seed).neutral
        assert extremeness(renderer.landmarks.on_face(neutral), renderer.head.eye_centres(neutral)) < MAX_EXTREMENESS


def test_landmarks_are_symmetric_on_the_canonical_head(renderer):
    points = renderer.landmarks.on_face(renderer.head.canonical_base)
    partners = {0: 16, 3: 13, 17: 26, 21: 22, 31: 35, 36: 45, 39: 42, 41: 46, 48: 54, 49: 53, 60: 64, 61: 63, 59: 55, 67: 65}
    for left, right in partners.items():
        np.testing.assert_allclose(points[left] * [-1, 1, 1], points[right], atol=0.0006)


def test_unknown_expression_names_the_nearest(renderer):
    with pytest.raises(ConditionError, match="smile"):
        renderer.render(1, "smille")


def test_missing_head_model_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(LeganError, match=r'pip install "legan\[render\]"'):
        Head()


def test_missing_ray_caster_says_what_to_install(monkeypatch):
    from legan_faces3d.render.gbuffer import RayScene

    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    with pytest.raises(LeganError, match=r'pip install "legan\[render\]"'):
        RayScene(np.eye(3), np.array([[0, 1, 2]]))
