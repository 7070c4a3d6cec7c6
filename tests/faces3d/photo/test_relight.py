"""A rendered face stands for the photo, so that head, light and the answer are known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from legan.core.conditions import LIGHTING_NAMES
from legan.core.light import pixels_to_linear
from legan_faces3d.photo import even_light
from legan_faces3d.photo.checks import UnusablePhotoError, check_fit, check_light, check_size, confidence
from legan_faces3d.photo.geometry import cast_head, complete, fill
from legan_faces3d.photo.relight import Relighter, _without_glow

FRONT = LIGHTING_NAMES.index("07")


@pytest.fixture(scope="module")
def seen(fitter, portrait):
    """Fit, window and what of it lies in the photo."""
    fit = fitter.fit(portrait.landmarks, "neutral", on_photo=False)
    matrix, side = Relighter(fitter.head).window(fit)
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    window = cv2.warpAffine(portrait.images[FRONT], shifted, (side, side), borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones((160, 160), np.uint8), shifted, (side, side)) > 0
    return fit, window, inside


@pytest.fixture(scope="module")
def relit(fitter, seen):
    fit, window, inside = seen
    return Relighter(fitter.head).relight(window, np.ones_like(inside), fit, seed=1)


def brightness(image: np.ndarray, columns: slice) -> float:
    return float(pixels_to_linear(image)[24:36, columns].mean())


def test_shapes_types_and_ranges(relit, seen):
    size = seen[0].size
    assert relit.images.shape == (20, size, size, 3) and relit.images.dtype == np.uint8
    assert relit.original.shape == (size, size, 3) and relit.original.dtype == np.uint8
    assert relit.confidence.shape == (20,) and (relit.confidence > 0).all() and (relit.confidence <= 1).all()


def test_brightness_moves_to_the_lit_side(relit):
    """Left and right as in the image; the same test as the renderer's own."""
    left, right = slice(12, 20), slice(28, 36)
    for name, left_is_brighter in (("03", True), ("11", False), ("14", True), ("18", False)):
        image = relit.images[LIGHTING_NAMES.index(name)]
        ratio = brightness(image, left) / brightness(image, right)
        assert (ratio > 1.5) if left_is_brighter else (ratio < 1 / 1.5)
    ratio = brightness(relit.images[FRONT], left) / brightness(relit.images[FRONT], right)
    assert 0.75 < ratio < 1.33


def test_room_light_is_the_darkest_and_frontal_light_as_bright_as_in_the_render(relit, portrait):
    face = slice(14, 34)
    levels = [brightness(image, face) for image in relit.images]
    assert int(np.argmin(levels)) == 0 and levels[FRONT] > 2 * levels[0]
    true = cv2.resize(portrait.images[FRONT], (48, 48), interpolation=cv2.INTER_AREA)
    assert brightness(relit.images[FRONT], face) == pytest.approx(brightness(true, face), rel=0.4)


def test_relit_from_the_side_resembles_the_true_render(relit, portrait):
    """Of all twenty renders of the person, the one under the same flash shades the face most like the relit crop."""

    def pattern(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
        grey = np.log(pixels_to_linear(small).mean(axis=2)[16:40, 10:38] + 0.02)
        return (grey - grey.mean()) / grey.std()

    true = [pattern(image) for image in portrait.images]
    for name in ("01", "04", "10", "13", "15"):
        found = pattern(relit.images[LIGHTING_NAMES.index(name)])
        nearest = int(np.argmax([(found * other).mean() for other in true]))
        assert abs(nearest - LIGHTING_NAMES.index(name)) <= 1, f"{name} looks like {LIGHTING_NAMES[nearest]}"


def test_equal_seeds_give_equal_bytes(fitter, seen, relit):
    fit, window, inside = seen
    again = Relighter(fitter.head).relight(window, np.ones_like(inside), fit, seed=1)
    np.testing.assert_array_equal(again.images, relit.images)


def test_masks_find_face_eyes_and_backdrop(fitter, seen, renderer):
    fit, window, inside = seen
    relighter = Relighter(fitter.head)
    layers, gbuffer = relighter.see(window, inside, fit, renderer.person(4).identity)
    unit = layers.resolution / fit.size
    nose, eye = (fit.landmarks[30] * unit).astype(int), (fit.landmarks[36:42].mean(axis=0) * unit).astype(int)
    assert layers.skin[nose[1], nose[0]] > 0.9 and layers.person[nose[1], nose[0]] > 0.95
    assert layers.eyes[eye[1], eye[0]] > 0.5 and layers.mouth.max() <= 1
    assert layers.core.sum() > 300
    np.testing.assert_allclose(np.linalg.norm(gbuffer.normal, axis=1), 1, atol=1e-3)
    assert (np.einsum("ij,ij->i", gbuffer.normal, gbuffer.to_camera) > -0.05).all()


def test_completed_geometry_keeps_the_head_where_it_is_seen(fitter, seen, renderer):
    fit, window, inside = seen
    identity = renderer.person(4).identity
    layers, _ = Relighter(fitter.head).see(window, inside, fit, identity)
    bare = cast_head(fitter.head, fit, identity, layers.resolution)
    whole = complete(bare, layers, fit, fitter.head.anchors.eye_radius)
    on_skin = (layers.skin > 0.99).ravel() & (layers.eyes < 0.01).ravel()
    places = {pixel: k for k, pixel in enumerate(bare.pixels)}
    chosen = [k for k, pixel in enumerate(whole.pixels) if on_skin[pixel] and pixel in places]
    before = bare.position[[places[whole.pixels[k]] for k in chosen]]
    assert np.median(np.linalg.norm(whole.position[chosen] - before, axis=1)) < 0.001


def test_photos_that_cannot_be_used_say_why(seen):
    fit, _, inside = seen
    everywhere = np.ones_like(inside)
    check_fit(fit, everywhere)
    for change, reason in (({"yaw": 31.0}, "head turned"), ({"pitch": -40.0}, "head tilted")):
        with pytest.raises(UnusablePhotoError) as caught:
            check_fit(replace(fit, **change), everywhere)
        assert caught.value.reason == reason
    with pytest.raises(UnusablePhotoError, match=r"bad fit: landmarks 9\.0 mm"):
        check_fit(replace(fit, moves=np.full((68, 3), 0.009 / 3**0.5)), everywhere)
    cut = everywhere.copy()
    cut[: len(cut) // 3] = False
    with pytest.raises(UnusablePhotoError, match="cut off"):
        check_fit(fit, cut)
    with pytest.raises(UnusablePhotoError, match="face too small: eyes 16 pixels apart"):
        check_size(fit.landmarks * 16 / (fit.landmarks[42:48].mean(0) - fit.landmarks[36:42].mean(0))[0])
    with pytest.raises(UnusablePhotoError, match="the right half"):
        check_light(1.5)


def test_an_overexposed_face_is_told(fitter, seen):
    fit, window, inside = seen
    with pytest.raises(UnusablePhotoError, match="overexposed: 0 samples of the skin"):
        Relighter(fitter.head).relight(np.full_like(window, 255), np.ones_like(inside), fit, seed=1)


def test_confidence_falls_with_every_doubt(seen):
    fit = replace(seen[0], yaw=0.0, moves=np.full((68, 3), 0.0005))
    sure = confidence(fit, 100.0, 0.0)
    assert sure[FRONT] == 1 and sure[LIGHTING_NAMES.index("01")] == 0.75
    doubtful = [confidence(replace(fit, yaw=-10.0), 100.0, 0.0), confidence(fit, 40.0, 0.0), confidence(fit, 100.0, 0.8)]
    assert all(0 < other[FRONT] < 0.9 for other in doubtful)


def hemisphere(n: int = 4000) -> np.ndarray:
    normals = np.random.default_rng(0).normal(size=(n, 3))
    normals[:, 1] = -np.abs(normals[:, 1])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_even_light_is_told_from_side_light():
    normals, skin = hemisphere(), np.array([0.4, 0.28, 0.2])
    usual = np.maximum(even_light.harmonics(normals) @ even_light.USUAL, 0.05)
    found = even_light.estimate(skin * usual[:, None], normals, np.ones(len(normals)))
    assert abs(found.unevenness) < 0.4
    tilted = usual * np.exp(0.8 * normals[:, 0])
    lit = even_light.estimate(skin * tilted[:, None], normals, np.ones(len(normals)))
    assert lit.unevenness > found.unevenness + 0.5


def test_division_by_the_light_flattens_the_skin():
    normals = hemisphere()
    usual = np.maximum(even_light.harmonics(normals) @ even_light.USUAL, 0.05)
    light = np.outer(usual, [0.4, 0.28, 0.2])
    found = even_light.estimate(light, normals, np.ones(len(normals)))
    facing = normals[:, 1] < -0.6
    shade = even_light.shading_of(found, normals, np.ones(len(normals)), facing)
    before, after = light[facing, 0], light[facing, 0] / shade[facing]
    assert after.std() / after.mean() < 0.4 * before.std() / before.mean()


def test_highlights_are_dimmed_and_skin_is_kept():
    light = np.full((64, 64, 3), 1.0, np.float32) * np.array([0.4, 0.25, 0.18], np.float32)
    light[28:34, 28:34] += 0.3
    everywhere = np.ones((64, 64), np.float32)
    result = even_light.without_highlights(light, everywhere, everywhere > 0, 1.0)
    assert result[30, 30].mean() < light[30, 30].mean() - 0.12
    np.testing.assert_allclose(result[5, 5], light[5, 5], atol=0.01)


def test_skin_that_a_white_shirt_lights_is_no_brighter_skin():
    colour = np.full((64, 64, 3), 1.0, np.float32) * np.array([0.06, 0.04, 0.035], np.float32)
    colour[50:, :, 2] *= 3
    everywhere = np.ones((64, 64), np.float32)
    result = _without_glow(colour, everywhere, everywhere > 0, 1.0)
    assert result[60, 30, 2] == pytest.approx(0.035 * (1.25 + 0.25 * 1.75), rel=0.02)
    np.testing.assert_allclose(result[60, 30, :2], colour[60, 30, :2], rtol=1e-5)
    np.testing.assert_allclose(result[:40], colour[:40], rtol=1e-4)


def test_gaps_are_filled_from_their_surroundings():
    image = np.zeros((32, 32, 1), np.float32)
    image[:, :16] = 2.0
    image[:, 16:] = 4.0
    weight = np.ones((32, 32), np.float32)
    weight[12:20, 4:10] = 0
    filled = fill(image * weight[..., None], weight)
    assert filled[15, 7, 0] == pytest.approx(2.0, abs=0.3) and filled[5, 28, 0] == pytest.approx(4.0)
