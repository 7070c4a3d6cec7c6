"""An edited crop back into its photo, and the matte that says which pixels belong to the person."""

import cv2
import numpy as np
from PIL import Image

from legan.core.errors import ImageError
from legan.core.geometry import indexed
from legan.faces.align import AlignedCrop

# Which pixels of a face crop belong to the person: face, hair, ears and neck against whatever is behind.
#
# GrabCut (Rother et al., SIGGRAPH 2004): colours of person and background are learnt from a first guess, which an aligned crop makes
# easy, since the face stands on fixed pixels. Where the two share their colours the guess remains, and the matte is rough there.


_N_ROUNDS = 3
_PLAIN = 2.0  # standard deviation of the colours, of 255
_SOFTNESS = 1.2  # standard deviation of the matte's edge at 128 pixels
# Ellipses as fractions of the crop's side: centre x, centre y, half width, half height.
_SURELY_FACE = (0.5, 0.60, 0.26, 0.32)
_PERHAPS_HEAD = (0.5, 0.48, 0.42, 0.56)
_PERHAPS_NECK = (0.5, 1.00, 0.30, 0.25)
# The same for a frame that shows more than the crop: the whole head, and shoulders.
_PERHAPS_HAIR = (0.5, 0.42, 0.46, 0.66)
_PERHAPS_LONG_NECK = (0.5, 1.10, 0.30, 0.35)
_PERHAPS_SHOULDERS = (0.5, 1.45, 0.62, 0.30)

_EDGE = 2  # pixels of the frame on each side of GrabCut's outline that the guided filter decides
_EDGE_NOISE = 1e-4  # variance (of 1) below which the guided filter sees no edge
_SURE = 0.08  # shares nearer to 0 or 1 than this are rounded to it


def matte_of(crop: np.ndarray) -> np.ndarray:
    """Return the share of each pixel that is the person's.

    Args:
        crop: RGB uint8 (size, size, 3), an aligned face.

    Returns:
        float32 (size, size) in [0, 1].
    """
    size = crop.shape[0]
    if _is_plain(crop):
        return np.ones((size, size), np.float32)
    person = _person(crop, 0, size, (_PERHAPS_NECK, _PERHAPS_HEAD))
    return cv2.GaussianBlur(person, (0, 0), _SOFTNESS * size / 128, borderType=cv2.BORDER_REPLICATE)


def frame_matte(frame: np.ndarray, margin: int, fine: np.ndarray) -> np.ndarray:
    """Return the matte of a frame: an aligned crop with a margin round it.

    GrabCut's outline, a frame's pixel wide, is brought to the edges of the finer image by a guided filter (He et al., ECCV 2010).

    Args:
        frame: RGB uint8 (n, n, 3).
        margin: width of the margin in pixels.
        fine: the same frame, RGB uint8 (k n, k n, 3).

    Returns:
        float32 (k n, k n) in [0, 1]: exactly 0 where nothing of the person is, exactly 1 inside.
    """
    if _is_plain(frame):
        return np.ones(fine.shape[:2], np.float32)
    size, k = frame.shape[0] - 2 * margin, fine.shape[0] // frame.shape[0]
    person = _person(frame, margin, size, (_PERHAPS_SHOULDERS, _PERHAPS_LONG_NECK, _PERHAPS_HAIR))
    side = fine.shape[:2][::-1]
    coarse = cv2.resize(person, side, interpolation=cv2.INTER_LINEAR)
    guide = cv2.cvtColor(fine, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    share = _guided(guide, coarse, _EDGE * k)
    # Only near the outline: within the person a dark eye is no background.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _EDGE + 1, 2 * _EDGE + 1))
    inside, within = (
        cv2.resize(change(person, kernel, borderType=cv2.BORDER_REPLICATE), side, interpolation=cv2.INTER_LINEAR)
        for change in (cv2.erode, cv2.dilate)
    )
    share = np.clip((share - _SURE) / (1 - 2 * _SURE), inside, within)
    return share.astype(np.float32)


def _is_plain(image: np.ndarray) -> bool:
    """Whether there is nothing to tell apart."""
    return bool(image.reshape(-1, 3).std(axis=0).max() < _PLAIN)


def _person(image: np.ndarray, margin: int, size: int, guesses: tuple[tuple[float, float, float, float], ...]) -> np.ndarray:
    """GrabCut's answer, 0 or 1, for a crop of side `size` with a margin round it."""
    marks = np.full(image.shape[:2], cv2.GC_PR_BGD, np.uint8)
    for ellipse, mark in (*((guess, cv2.GC_PR_FGD) for guess in guesses), (_SURELY_FACE, cv2.GC_FGD)):
        x, y, half_width, half_height = (round(size * part) for part in ellipse)
        cv2.ellipse(marks, (margin + x, margin + y), (half_width, half_height), 0, 0, 360, int(mark), -1)
    cv2.setRNGSeed(0)  # GrabCut starts with k-means: the same crop must give the same matte
    cv2.grabCut(
        np.ascontiguousarray(image), marks, None, np.zeros((1, 65)), np.zeros((1, 65)), _N_ROUNDS, cv2.GC_INIT_WITH_MASK
    )
    return np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


def _guided(guide: np.ndarray, values: np.ndarray, radius: int) -> np.ndarray:
    """The guided filter with a grey guide: values (H, W) as a linear function of the guide (H, W) in each window."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    guide_mean, value_mean = mean(guide), mean(values)
    variance = mean(guide * guide) - guide_mean**2
    slope = (mean(guide * values) - guide_mean * value_mean) / (variance + _EDGE_NOISE)
    offset = value_mean - slope * guide_mean
    return mean(slope) * guide + mean(offset)


# An edited crop, put back into its photo.
#
# The crop is far coarser than most photos. So it gives only the coarse part of the image, and the photo's own detail, the
# difference between the photo and its crop enlarged, is laid over it again:
#
#     result = up(edited) + k (photo - up(crop))
#
# k says how much of the crop's local structure the edit kept: the slope of the edited crop on the crop in a small window, as in the
# guided filter (He et al., ECCV 2010). Where an edit only dims the light, k is the dimming; where it puts teeth over a lip line, k is
# near 0 and the line goes; where nothing was edited, k is 1 and the photo comes out as it was, bit for bit.
#
# The edit reaches the person, and of the background only what the person now covers. Towards the crop's border it fades out.


# Width of the fade at the crop's border, as fractions of its side. The chin ends near the lower border.
_FADE_SIDES, _FADE_TOP, _FADE_BOTTOM = 0.12, 0.10, 0.08
_CORNER = 3.0  # how round the fade's corners are: 2 a circle, larger squarer

_WINDOW = 2.0  # standard deviation of the window for k, crop pixels
_FLAT = (6 / 255) ** 2  # variance below which structure is taken for noise: there k is the change of brightness
_MAX_DETAIL = 1.5  # detail is not strengthened more than this: noise and JPEG blocks would show
_DARK = 8 / 255  # keeps the change of brightness finite in black
_MOVED = 14 / 255  # what is left of the edited crop's structure, after the crop's own, where something moved
_MOVED_REACH = 9  # pixels that a moved edge brings along, at 128


def paste(photo: Image.Image, crop: AlignedCrop, edited: Image.Image | np.ndarray) -> Image.Image:
    """Put an edited crop back. Beyond the crop's border no pixel changes.

    Args:
        photo: RGB, the photo that `crop` was cut from.
        crop: what `align` returned for it.
        edited: the crop as edited: RGB of the crop's size, a PIL image or uint8 (size, size, 3).

    Returns:
        a new photo of the same size, mode RGB.

    Raises:
        ImageError: `edited` has another size or type than the crop.
    """
    before, after = np.asarray(crop.image), np.asarray(edited.convert("RGB") if isinstance(edited, Image.Image) else edited)
    if after.shape != before.shape or after.dtype != np.uint8:
        raise ImageError(f"the edited crop must be uint8 {before.shape}, as the crop is, not {after.dtype} {after.shape}")
    pixels = np.array(photo.convert("RGB"))
    left, top, right, bottom = _covered(crop, pixels.shape[1], pixels.shape[0])
    if right <= left or bottom <= top:
        return Image.fromarray(pixels)
    # From crop pixels to the part of the photo that the crop covers.
    matrix = crop.inverse.copy()
    matrix[:, 2] -= [left, top]
    shape = (right - left, bottom - top)

    before_light, after_light = before.astype(np.float32) / 255, after.astype(np.float32) / 255
    part = pixels[top:bottom, left:right]
    light = part.astype(np.float32) / 255
    detail = light - _enlarged(before_light, matrix, shape)
    kept = _enlarged(detail_kept(before_light, after_light), matrix, shape)[..., None]
    result = _enlarged(after_light, matrix, shape) + kept * detail
    weight = fade_mask(crop.size) * np.maximum(matte_of(before), moved(before_light, after_light))
    mask = _enlarged_mask(weight, matrix, shape)[..., None]
    blended = np.clip(np.rint(255 * (light + mask * (result - light))), 0, 255).astype(np.uint8)
    np.copyto(part, blended, where=mask > 0)
    return Image.fromarray(pixels)


def detail_kept(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the factor k (H, W) for the photo's detail; `before` and `after` are crops float32 (H, W, 3) in [0, 1]."""
    change = _Change(before, after)
    return np.clip((change.covariance + _FLAT * change.brighter) / (change.variance + _FLAT), 0, _MAX_DETAIL)


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return where the edit moved something (H, W) float32 in [0, 1]: an opened jaw covers what was background before."""
    change = _Change(before, after)
    # Variance of what is left of `after` when `before`, made brighter or darker, is taken away.
    left = change.variance_after - 2 * change.brighter * change.covariance + change.brighter**2 * change.variance
    new = np.clip(np.sqrt(np.maximum(left, 0)) / _MOVED - 1, 0, 1)
    reach = round(_MOVED_REACH * before.shape[0] / 128) | 1
    spread = cv2.dilate(new, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return _mean(spread)


class _Change:
    """Local statistics of two crops' brightness, each (H, W)."""

    def __init__(self, before: np.ndarray, after: np.ndarray) -> None:
        luma = np.array([0.299, 0.587, 0.114], np.float32)
        x, y = before @ luma, after @ luma
        x_mean, y_mean = _mean(x), _mean(y)
        self.variance = np.maximum(_mean(x * x) - x_mean**2, 0)
        self.variance_after = np.maximum(_mean(y * y) - y_mean**2, 0)
        self.covariance = _mean(x * y) - x_mean * y_mean
        self.brighter = (y_mean + _DARK) / (x_mean + _DARK)


def fade_mask(size: int) -> np.ndarray:
    """Return the weight of the edit (size, size) float32: 1 inside, smoothly down to 0 at the border, corners rounded."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    # Depth into the fade, 0 where it begins and 1 at the border, for each axis.
    across = np.clip(1 - np.minimum(place, 1 - place) / _FADE_SIDES, 0, 1)
    down = np.maximum(np.clip(1 - place / _FADE_TOP, 0, 1), np.clip(1 - (1 - place) / _FADE_BOTTOM, 0, 1))
    depth = np.minimum((across[None] ** _CORNER + down[:, None] ** _CORNER) ** (1 / _CORNER), 1)
    inside = 1 - depth
    return inside * inside * (3 - 2 * inside)


def _mean(x: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(x, (0, 0), _WINDOW, borderType=cv2.BORDER_REFLECT)


def _covered(crop: AlignedCrop, width: int, height: int) -> tuple[int, int, int, int]:
    """The box of photo pixels that the crop covers: left, top, right, bottom."""
    side = crop.size
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ crop.inverse[:, :2].T + crop.inverse[:, 2]
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), [width, height]).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _enlarged(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(image, indexed(matrix), shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _enlarged_mask(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask in photo pixels, exactly 0 outside the crop."""
    enlarged = cv2.warpAffine(
        mask, indexed(matrix), shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.where(enlarged < 1e-3, 0, enlarged)
