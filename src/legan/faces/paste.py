"""An edited crop, put back into its photo.

The crop is far coarser than most photos. So it gives only the coarse part of the picture, and the photo's own detail, the
difference between the photo and its crop enlarged, is laid over it again:

    result = up(edited) + k (photo - up(crop))

k says how much of the crop's local structure the edit kept: the slope of the edited crop on the crop in a small window, as in the
guided filter (He et al., ECCV 2010). Where an edit only dims the light, k is the dimming; where it puts teeth over a lip line, k is
near 0 and the line goes; where nothing was edited, k is 1 and the photo comes out as it was, bit for bit.

The edit reaches the person, and of the background only what the person now covers. Towards the crop's border it fades out.
"""

import cv2
import numpy as np
from PIL import Image

from legan.core.errors import ImageError
from legan.faces.align import AlignedCrop
from legan.faces.matte import matte_of
from legan.faces.resample import indexed

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


def _enlarged(picture: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(picture, indexed(matrix), shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _enlarged_mask(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask in photo pixels, exactly 0 outside the crop."""
    enlarged = cv2.warpAffine(
        mask, indexed(matrix), shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.where(enlarged < 1e-3, 0, enlarged)
