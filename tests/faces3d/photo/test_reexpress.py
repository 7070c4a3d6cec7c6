"""A rendered face stands for the photo: the renderer knows what the same person looks like with another expression."""

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest

from legan.core.conditions import LIGHTING_NAMES
from legan.core.errors import ConditionError
from legan_faces3d.head import skin
from legan_faces3d.head.expressions import Furrows, draw_actions, usual_actions
from legan_faces3d.head.identity import draw_identity
from legan_faces3d.head.landmarks import FacePoints
from legan_faces3d.photo.checks import UnusablePhotoError
from legan_faces3d.photo.fine_fit import check_at_rest, check_fine_fit, closing_lips
from legan_faces3d.photo.reexpress import SAMPLES_PER_AXIS, Reexpresser, broad_smile, new_actions
from legan_faces3d.photo.reexpress_light import white_of_photo
from legan_faces3d.photo.reexpress_motion import find_iris, gap
from legan_faces3d.photo.view import FRONT_CHIN, FRONT_DEPTH, places_in, view_face
from legan_faces3d.render.gbuffer import Material, RayScene

FRONT = LIGHTING_NAMES.index("07")
SEED = 4  # of `portrait`


@pytest.fixture(scope="module")
def reexpresser(fitter) -> Reexpresser:
    return Reexpresser(fitter.head, fitter.places)


@pytest.fixture(scope="module")
def fit(fitter, portrait):
    return fitter.fit(portrait.landmarks, "neutral", on_photo=False)


@pytest.fixture(scope="module")
def window(reexpresser, fit, portrait):
    """The rendered photo, cut out."""
    return cut(portrait.images[FRONT], *reexpresser.window(fit))


@pytest.fixture(scope="module")
def subject(reexpresser, fit, window):
    return reexpresser.prepare(window, fit, "neutral")


@pytest.fixture(scope="module")
def surprised(renderer):
    """The same person in the same pose, surprised."""
    larger = copy.copy(renderer)
    larger._size = 160
    return larger.render(SEED, "surprise")


@pytest.fixture(scope="module")
def made(reexpresser, subject):
    return reexpresser.make(subject, "surprise", seed=1, actions=draw_actions(SEED, "surprise"))


def cut(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, shifted, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def box_of(points: np.ndarray, margin: float) -> tuple[slice, slice]:
    (left, top), (right, bottom) = points.min(axis=0) - margin, points.max(axis=0) + margin
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def test_surprise_comes_near_the_true_render(reexpresser, fit, window, made, surprised):
    matrix, side = reexpresser.window(fit)
    truth = cut(surprised.images[FRONT], matrix, side).astype(int)
    points = surprised.landmarks @ matrix[:, :2].T + matrix[:, 2]
    for part, least in ((slice(48, 68), 0.75), (slice(17, 27), 0.9)):
        box = box_of(points[part], 6)
        before, after = (np.abs(image.astype(int)[box] - truth[box]).mean() for image in (window, made.window))
        assert after < least * before


def test_landmarks_of_the_new_fit_are_those_of_the_true_render(fit, made, surprised):
    true = surprised.landmarks @ fit.matrix[:, :2].T + fit.matrix[:, 2]
    moved = np.linalg.norm(true - fit.landmarks, axis=1)[17:]
    left = np.linalg.norm(true - made.fit.landmarks, axis=1)[17:]
    assert left.mean() < 0.45 * moved.mean()
    # the new fit maps the window to the same crop
    middle = made.window.shape[0] / 2
    np.testing.assert_allclose(made.fit.matrix @ [middle, middle, 1], [fit.size / 2] * 2)


def test_same_actions_change_almost_nothing(reexpresser, subject, window):
    same = reexpresser.make(subject, "surprise", seed=1, actions=dict(subject.fit.actions))
    difference = np.abs(same.window.astype(int) - window)
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) < 16
    side = window.shape[0]
    grid = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), axis=-1)
    assert np.abs(same.motion.places - grid).mean() < 0.05


def test_far_from_the_face_nothing_moves(made, window):
    edge = np.abs(made.window.astype(int) - window)[:8]
    assert edge.max() <= 1


def test_equal_seeds_give_equal_images(reexpresser, subject):
    first, second = (reexpresser.make(subject, "disgust", seed=3).window for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("target", ["smile", "squint", "disgust", "scream"])
def test_expressions_do_what_they_say(reexpresser, subject, target):
    result = reexpresser.make(subject, target, seed=2)
    old, new = subject.fit.landmarks, result.fit.landmarks
    mouth_opens = (new[66] - new[62])[1] - (old[66] - old[62])[1]
    eyes_open = (new[[41, 46]] - new[[37, 44]])[:, 1].mean() - (old[[41, 46]] - old[[37, 44]])[:, 1].mean()
    widens = np.ptp(new[[48, 54], 0]) - np.ptp(old[[48, 54], 0])
    holds = {
        "smile": widens > 1 and new[[48, 54], 1].mean() < old[[48, 54], 1].mean(),
        "squint": eyes_open < -0.4 and abs(mouth_opens) < 0.6,
        "disgust": new[[31, 35], 1].mean() < old[[31, 35], 1].mean(),
        "scream": mouth_opens > 5 and eyes_open < -0.4,
    }
    assert holds[target]
    assert result.window.dtype == np.uint8 and result.window.shape == subject.light.shape


def test_open_mouth_shows_dark_and_teeth_in_the_photos_white(made, window, reexpresser, fit):
    matrix, _ = reexpresser.window(fit)
    scale = np.hypot(*matrix[:, 0]) / np.hypot(*fit.matrix[:, 0])
    margin = (window.shape[0] - fit.size * SAMPLES_PER_AXIS) / 2
    inner = made.fit.landmarks[60:68] * scale + margin
    mask = np.zeros(window.shape[:2], np.uint8)
    cv2.fillPoly(mask, [inner.astype(np.int32)], 1)
    inside = made.window[mask > 0].mean(axis=1)
    assert np.percentile(inside, 30) < 60  # the cavity
    assert np.percentile(inside, 30) < 0.5 * window[mask > 0].mean()


def test_closing_lips_closes_them(fitter, fit):
    head = fitter.head
    base = fit.vertices(head, {"jawOpen": 0.12})
    moved = base + closing_lips(base, head, fitter.places)

    def height(vertices):
        points = fitter.places.on_face(vertices)
        return np.abs(points[[61, 62, 63], 2] - points[[67, 66, 65], 2]).max()

    assert height(moved) < 0.25 * height(base)


def test_places_of_a_view_in_itself_are_its_own(fitter, fit):
    view = view_face(fitter.head, fit.vertices(fitter.head), fit.pose, fit.camera, 48)
    found = places_in(view, view)
    rows, columns = np.divmod(view.gbuffer.pixels, 48)
    np.testing.assert_allclose(found.places, np.stack([columns, rows], axis=1) + 0.5, atol=0.02)
    assert found.hidden.mean() < 0.02


def test_a_view_sees_the_front_of_the_head_as_all_of_its_mesh_does(fitter, fit):
    head, n = fitter.head, 64
    view = view_face(head, fit.vertices(head), fit.pose, fit.camera, n)
    whole = RayScene(view.vertices, head.solid.triangles).first_hits(*fit.camera.rays(n))
    body = head.solid.part_of_triangle[whole.triangle] == int(Material.BODY)
    local = (head.solid.canonical[head.solid.triangles[whole.triangle]] - head.anchors.eyes).max(axis=1)
    front = whole.found & body & (local[:, 1] < FRONT_DEPTH) & (local[:, 2] > FRONT_CHIN)
    seen = np.isin(np.arange(n * n), view.gbuffer.pixels)
    assert front.sum() > 800 and seen[front].all()
    depth = view.gbuffer.image(np.linalg.norm(view.gbuffer.position - fit.camera.position, axis=1)).ravel()
    assert np.median(np.abs(depth[front] - whole.distance[front])) < 1e-4


def test_folds_are_what_the_height_of_the_skin_falls_by(fitter):
    points = FacePoints.of(fitter.head.parts["body"].canonical[::50], fitter.head.anchors)
    identity, none, some = draw_identity(3), Furrows(0, 0, 0, 0), Furrows(0.7, 0.5, 0.4, 0.9)
    fallen = skin.height(points, identity, none) - skin.height(points, identity, some)
    found = skin.folds(points, identity, some)
    assert found.max() > 1e-4
    np.testing.assert_allclose(found, fallen, atol=1e-8)


def test_closed_lips_hide_what_an_open_mouth_shows(fitter, fit):
    head = fitter.head
    closed = view_face(head, fit.vertices(head), fit.pose, fit.camera, 64)
    opened = view_face(head, fit.vertices(head, {"jawOpen": 0.8}), fit.pose, fit.camera, 64)
    inside = head.masks.mouth(opened.gbuffer.uv) > 0.9
    assert places_in(opened, closed).hidden[inside].mean() > 0.8


def test_iris_is_found_under_a_glint():
    y, x = np.mgrid[0:60, 0:90]
    eye = ((x - 45) / 30.0) ** 2 + ((y - 30) / 13.0) ** 2 < 1
    image = np.where(eye, 0.6, 0.3).astype(np.float32)
    image[np.hypot(x - 38, y - 29) < 12] = 0.08
    image[np.hypot(x - 36, y - 25) < 3] = 1.0
    centre = find_iris(image, eye, 12.0)
    assert np.linalg.norm(centre - [38.5, 29.5]) < 3
    assert find_iris(image, np.zeros_like(eye), 12.0) is None


def test_persons_own_actions_stay_in_part_and_openings_do_not(fit):
    shy = replace(fit, actions=usual_actions("neutral") | {"mouthLeft": 0.4, "jawOpen": 0.2})
    actions = new_actions(shy, "neutral", "squint", seed=0)
    assert actions["mouthLeft"] == pytest.approx(0.2) and actions["jawOpen"] == 0
    with pytest.raises(ConditionError, match="shows neutral already"):
        new_actions(fit, "neutral", "neutral", seed=0)
    with pytest.raises(ConditionError, match="unknown expression"):
        new_actions(fit, "neutral", "smirk", seed=0)


def test_a_broad_smile_opens_the_lips_and_keeps_what_else_the_face_does(fit):
    modest = new_actions(replace(fit, actions=usual_actions("neutral") | {"mouthLeft": 0.4}), "neutral", "smile", seed=3)
    broad = broad_smile(modest, seed=3)
    assert broad_smile(modest, seed=3) == broad != broad_smile(modest, seed=4)
    assert all(broad[name] >= value for name, value in modest.items())
    assert broad["mouthUpperUpLeft"] >= 0.6 > modest["mouthUpperUpLeft"] and broad["mouthLeft"] == modest["mouthLeft"]


def test_bad_fits_and_faces_not_at_rest_are_refused(fitter, fit):
    check_fine_fit(fit, fitter.head, fitter.places)
    check_at_rest(fit)
    wild = fit.landmarks + np.random.default_rng(0).normal(0, 3, fit.landmarks.shape).astype(np.float32)
    with pytest.raises(UnusablePhotoError, match="bad fit"):
        check_fine_fit(replace(fit, landmarks=wild), fitter.head, fitter.places)
    with pytest.raises(UnusablePhotoError, match="not at rest"):
        check_at_rest(replace(fit, actions=fit.actions | {"jawOpen": 0.6}))


def test_wide_smile_cannot_be_closed_but_has_a_mouth(reexpresser, fitter, renderer):
    larger = copy.copy(renderer)
    larger._size = 160
    scream = larger.render(SEED, "scream")
    fit = fitter.fit(scream.landmarks, "scream", on_photo=False)
    subject = reexpresser.prepare(cut(scream.images[FRONT], *reexpresser.window(fit)), fit, "scream")
    assert gap(subject.parts) > 20
    with pytest.raises(UnusablePhotoError, match="mouth too open"):
        reexpresser.make(subject, "neutral", seed=0)


def test_white_follows_the_whites_of_the_eyes(subject):
    unit = subject.light.shape[0] / 1.5 / 128
    bright, dark = (white_of_photo(subject.light * factor, subject.parts, unit) for factor in (1.0, 0.5))
    assert (dark < bright).all()
