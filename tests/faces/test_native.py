"""Native rendering: the fields act on the photo's own pixels, the person moves over what lies behind, the rest stays bit for bit."""

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.faces.face_images import frontal_landmarks

from legan.core.errors import ImageError
from legan.core.geometry import inverse, scale_of
from legan.faces import native
from legan.faces.align import AlignedCrop, align
from legan.faces.native import CropFields, Person, PhotoFields, fill, find_person

SIZE = 128


def fields_of(displacement: tuple[float, float] = (0, 0), gain: float = 0.0, bias: float = 0.0, size: int = SIZE) -> CropFields:
    """The same everywhere; displacement in crop pixels."""
    moves = np.full((size, size, 2), displacement, np.float32) / size
    return CropFields(moves, np.full((size, size, 3), gain, np.float32), np.full((size, size, 3), bias, np.float32))


def noise(width: int = 640, height: int = 512, kind: type = np.uint8) -> np.ndarray:
    """Noise at every scale round a middle grey."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    slow = 110 + 40 * np.sin(x / 70)[..., None] * np.cos(y / 50)[..., None]
    levels = np.clip(slow + random.normal(0, 12, (height, width, 3)), 0, 255) / 255
    largest = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    return (levels * largest).astype(np.float32) if kind is np.float32 else np.rint(levels * largest).astype(kind)


def turned_crop(size: int = SIZE, eye_distance: float = 90) -> AlignedCrop:
    points = frontal_landmarks(eye_distance=eye_distance, centre=(0.0, 0.0)) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) + [
        330,
        220,
    ]
    return align(Image.fromarray(noise()), points, size)


def everything(crop: AlignedCrop) -> Person:
    """Every pixel of the frame belongs to the person."""
    margin = round(native.MARGIN * crop.size)
    matrix = crop.matrix.copy()
    matrix[:, 2] += margin
    return Person(inverse(matrix), margin, np.ones((2 * (crop.size + 2 * margin),) * 2, np.float32))


def photo_fields(fields: CropFields, crop: AlignedCrop, pixels: np.ndarray) -> PhotoFields:
    return PhotoFields(fields, everything(crop), pixels.shape[1], pixels.shape[0])


def middle_of(crop: AlignedCrop, half: int = 60) -> tuple[slice, slice]:
    x, y = (crop.inverse @ [crop.size / 2, crop.size / 2, 1]).astype(int)
    return slice(y - half, y + half), slice(x - half, x + half)


def scene(wall: tuple[int, int, int] = (205, 210, 215)) -> tuple[np.ndarray, AlignedCrop, np.ndarray]:
    """A drawn head with a neck before a wall that grows brighter to the right, its crop, and its true outline."""
    random = np.random.default_rng(1)
    height, width = 512, 640
    person = np.zeros((height, width), np.uint8)
    pixels = np.full((height, width, 3), wall, np.float32) + np.linspace(-8, 8, width, dtype=np.float32)[:, None]
    for centre, axes, colour in (
        ((320, 470), (70, 130), (190, 140, 120)),
        ((320, 215), (120, 150), (60, 40, 30)),
        ((320, 250), (100, 140), (200, 150, 130)),
    ):
        cv2.ellipse(pixels, centre, axes, 0, 0, 360, colour, -1)
        cv2.ellipse(person, centre, axes, 0, 0, 360, 1, -1)
    pixels = np.clip(pixels + random.normal(0, 1.5, pixels.shape), 0, 255).astype(np.uint8)
    return pixels, align(Image.fromarray(pixels), frontal_landmarks(eye_distance=84, centre=(320.0, 225.0))), person > 0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_nothing_edited_is_the_photo(kind: type) -> None:
    pixels = noise(kind=kind)
    result = photo_fields(fields_of(), turned_crop(), pixels).apply(pixels)
    assert result.dtype == kind and result is not pixels
    if kind is np.float32:
        np.testing.assert_allclose(result, pixels, atol=1e-6)
    else:
        assert np.array_equal(result, pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_gain_and_bias_act_on_each_pixel(kind: type) -> None:
    """(x + 1) exp(gain) - 1 + bias for x in [-1, 1] is v exp(gain) + bias / 2 for v in [0, 1]."""
    pixels, crop = noise(kind=kind), turned_crop()
    largest = 1 if kind is np.float32 else np.iinfo(kind).max
    result = photo_fields(fields_of(gain=np.log(0.5), bias=0.1), crop, pixels).apply(pixels)
    window = middle_of(crop)
    expected = pixels[window].astype(np.float64) * 0.5 + 0.05 * largest
    np.testing.assert_allclose(result[window], expected, atol=0.51 if largest > 1 else 1e-6, rtol=1e-6)


def test_values_stay_in_range() -> None:
    pixels, crop = noise(kind=np.uint16), turned_crop()
    assert photo_fields(fields_of(gain=3.0), crop, pixels).apply(pixels)[middle_of(crop)].min() == 65535
    assert photo_fields(fields_of(bias=-2.5), crop, pixels).apply(pixels)[middle_of(crop)].max() == 0


def test_beyond_the_frame_nothing_changes() -> None:
    pixels, crop = noise(), turned_crop()
    result = photo_fields(fields_of((4, 3), 0.5, 0.2), crop, pixels).apply(pixels)
    changed = np.argwhere((result != pixels).any(axis=2))[:, ::-1] + 0.5
    places = (changed @ crop.matrix[:, :2].T + crop.matrix[:, 2]) / crop.size
    assert len(changed) > 50_000
    assert places.min() > -native.MARGIN and places.max() < 1 + native.MARGIN


def test_light_fades_round_the_crop_without_a_band() -> None:
    """Along any line outwards the factor goes to 1 steadily, in steps that no eye sees as an edge."""
    pixels, crop = noise(), turned_crop()
    fields = photo_fields(fields_of(gain=-1.0), crop, pixels)
    factor = np.exp(fields.gain[..., 0])
    assert factor.min() == pytest.approx(np.exp(-1), abs=1e-3)
    steps = np.abs(np.diff(factor, axis=0)).max(), np.abs(np.diff(factor, axis=1)).max()
    width = native.MARGIN * crop.size * scale_of(crop.inverse)  # of the fade, in photo pixels
    assert max(steps) < 2.5 * (1 - np.exp(-1)) / width
    row = factor[factor.shape[0] // 2]
    assert (np.diff(row[: row.size // 2]) <= 1e-4).all() and (np.diff(row[row.size // 2 :]) >= -1e-4).all()


def test_displacement_takes_pixels_from_its_end_in_a_turned_crop() -> None:
    pixels, crop = noise(), turned_crop()
    # A whole number of photo pixels, (6, -4), as the crop sees it.
    there = crop.matrix[:, :2] @ [6, -4]
    fields = photo_fields(fields_of(tuple(there)), crop, pixels)
    rows, columns = middle_of(crop)
    np.testing.assert_allclose(
        fields.displacement[rows.start - fields.box[1] + 50, columns.start - fields.box[0] + 50], [6, -4], atol=1e-3
    )
    result = fields.apply(pixels)
    np.testing.assert_allclose(
        result[rows, columns].astype(int), pixels[rows.start - 4 : rows.stop - 4, columns.start + 6 : columns.stop + 6], atol=1
    )


def test_half_the_strength_moves_half_the_way() -> None:
    pixels = np.full((512, 640, 3), 180, np.uint8)
    pixels[:, 330:] = 40
    crop = turned_crop()
    there = crop.matrix[:, :2] @ [20, 0]
    edges = []
    for strength in (0.0, 0.5, 1.0, 1.5):
        result = photo_fields(fields_of(tuple(there)).scaled(strength), crop, pixels).apply(pixels)
        row = result[middle_of(crop)[0].start + 60, :, 0]
        assert ((row > 60) & (row < 160)).sum() <= 2, "one edge, no mix of two"
        edges.append(int((row > 110).sum()))
    np.testing.assert_allclose(edges, [330, 320, 310, 300], atol=1)


@pytest.mark.parametrize("side", [64, 100])
def test_tiles_do_not_show(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, crop, _ = scene()
    random = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(random.normal(0, 1, (SIZE, SIZE, 8)).astype(np.float32), (0, 0), 8)
    fields = CropFields(smooth[..., :2] * 0.3, smooth[..., 2:5] * 5, smooth[..., 5:])
    whole = PhotoFields(fields, find_person(pixels, crop), 640, 512)
    once = whole.apply(pixels)
    monkeypatch.setattr(native, "_TILE", side)
    again = whole.apply(pixels)
    assert (once != pixels).mean() > 0.2
    # Antialiasing takes slopes at a tile's border from one side.
    assert (np.abs(once.astype(int) - again) > 2).mean() < 1e-3


def test_stripes_drawn_together_are_averaged() -> None:
    """Stripes of one pixel under a map that takes every second and a half pixel: grey, not stripes of another width."""
    pixels = np.full((512, 640, 3), 60, np.uint8)
    pixels[:, ::2] = 200
    crop = align(Image.fromarray(pixels), frontal_landmarks(eye_distance=90, centre=(330.0, 220.0)))
    x = (np.arange(SIZE, dtype=np.float32) + 0.5 - SIZE / 2) / SIZE
    moves = np.zeros((SIZE, SIZE, 2), np.float32)
    moves[..., 0] = 1.5 * np.clip(x, -0.2, 0.2)
    fields = CropFields(moves, np.zeros((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE, 3), np.float32))
    result = photo_fields(fields, crop, pixels).apply(pixels)[middle_of(crop, 25)]
    assert result.mean() == pytest.approx(130, abs=4)
    assert result.std() < 12


def test_person_moves_over_the_wall_without_a_halo() -> None:
    pixels, crop, outline = scene()
    person = find_person(pixels, crop)
    per_pixel = scale_of(crop.inverse)
    fields = PhotoFields(fields_of((8 / per_pixel, 0)), person, 640, 512)
    result = fields.apply(pixels).astype(int)
    moved = np.roll(outline, -8, axis=1)
    either = cv2.dilate((outline | moved).astype(np.uint8), np.ones((7, 7))) > 0
    assert np.array_equal(result[~either], pixels[~either]), "the wall stays, bit for bit"
    # Uncovered: rows of the face, in the middle of the strip that the face left on its right.
    y = 250
    right = int(np.flatnonzero(outline[y]).max())
    uncovered = result[y - 20 : y + 20, right - 4 : right - 2]
    assert np.abs(uncovered - [211, 216, 221]).max() < 12
    left = int(np.flatnonzero(outline[y]).min())
    covered = result[y - 20 : y + 20, left - 5 : left - 3]
    assert covered.mean() < 110, "the hair stands there now"


def test_light_leaves_the_wall_and_reaches_the_outline() -> None:
    pixels, crop, outline = scene()
    result = PhotoFields(fields_of(gain=-0.7), find_person(pixels, crop), 640, 512).apply(pixels)
    beyond = cv2.dilate(outline.astype(np.uint8), np.ones((7, 7))) == 0
    assert np.array_equal(result[beyond], pixels[beyond])
    inside = cv2.erode(outline.astype(np.uint8), np.ones((5, 5))) > 0
    face = np.zeros_like(outline)
    face[140:370, 190:450] = True
    ratio = result[inside & face].astype(float) / pixels[inside & face]
    assert np.quantile(ratio, 0.98) < np.exp(-0.7) + 0.06


@pytest.mark.parametrize("centre", [(20.0, 30.0), (900.0, 900.0)])
def test_frame_that_reaches_beyond_the_photo_or_misses_it(centre: tuple[float, float]) -> None:
    pixels = noise(160, 140)
    crop = align(Image.fromarray(pixels), frontal_landmarks(eye_distance=80, centre=centre))
    person = find_person(pixels, crop)
    assert np.array_equal(PhotoFields(fields_of(), person, 160, 140).apply(pixels), pixels)
    darker = PhotoFields(fields_of(gain=-1.0), person, 160, 140).apply(pixels)
    assert (darker.mean() < pixels.mean() - 5) == (centre[0] < 160)


def test_photo_coarser_than_the_crop() -> None:
    pixels = noise(100, 80)
    crop = align(Image.fromarray(pixels), frontal_landmarks(eye_distance=14, centre=(50.0, 35.0)))
    result = PhotoFields(fields_of(gain=np.log(0.5)), everything(crop), 100, 80).apply(pixels)
    x, y = (crop.inverse @ [64, 64, 1]).astype(int)
    np.testing.assert_allclose(result[y - 8 : y + 8, x - 8 : x + 8], pixels[y - 8 : y + 8, x - 8 : x + 8] * 0.5, atol=1)


def test_wrong_pixels_are_refused() -> None:
    pixels, crop = noise(), turned_crop()
    fields = photo_fields(fields_of(), crop, pixels)
    with pytest.raises(ImageError, match="must be uint8, uint16 or float32, not float64"):
        fields.apply(pixels / 255)
    for other in (pixels[:-1], pixels[..., 0], np.dstack([pixels, pixels[..., :1]])):
        with pytest.raises(ImageError, match=r"RGB pixels \(512, 640, 3\)"):
            fields.apply(other)


def test_fill_keeps_what_is_known_and_continues_it() -> None:
    y, x = np.mgrid[:60, :80].astype(np.float32)
    values = np.stack([x / 80, y / 60], 2)
    weight = np.zeros((60, 80), np.float32)
    weight[20:40, 20:60] = 1
    hidden = np.where(weight[..., None] > 0, values, 99)
    filled = fill(hidden, weight)
    assert np.array_equal(filled[20:40, 20:60], values[20:40, 20:60])
    assert filled.min() >= 0 and filled.max() <= 1, "nothing comes from what is not known"
    assert np.abs(np.diff(filled, axis=1)).max() < 0.06 and np.abs(np.diff(filled, axis=0)).max() < 0.06
    assert np.ptp(fill(np.full((33, 47, 1), 0.25, np.float32), weight[:33, :47])) < 1e-5
