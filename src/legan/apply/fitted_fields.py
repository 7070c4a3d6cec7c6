"""What the fitted head makes of a window of a photo, brought to the photo's own pixels."""

import cv2
import numpy as np

from legan.core.crop import CROP_SIZE
from legan.core.linear_light import to_linear, to_srgb, with_tone
from legan.faces.fields import CropFields
from legan.faces.resample import indexed, inverse, transform
from legan.synthesis.reexpress import Reexpressed
from legan.synthesis.vectors import smoothstep

_DARK = 0.02  # of 2, as for mixtures of lights
_LEAST_LIGHT = 0.002  # linear; keeps ratios finite in black
_MAX_RATIO = 8.0
_BORDER = 0.12  # of the window's side, in which an expression fades out
_EXPOSURE = 1.3  # of the rendered set's sensor (`synthesis.sensor`)
_UNCHANGED = 1e-3


def apply_motion(pixels: np.ndarray, matrix: np.ndarray, made: Reexpressed, before: np.ndarray) -> np.ndarray:
    """Give a photo another expression at its own pixels.

    Args:
        pixels: uint8 (H, W, 3).
        matrix: (2, 3), its pixels -> the window's.
        made: what was made of the window.
        before: the window's linear light (N, N, 3) as photographed.
    """
    n = made.light.shape[0]
    grid = np.stack(np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5), axis=-1).astype(np.float32)
    fade = _faded(n)
    places = made.motion.places
    moved = cv2.remap(before, places[..., 0] - 0.5, places[..., 1] - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    ratio = (made.light + _LEAST_LIGHT) / (np.maximum(moved, 0) + _LEAST_LIGHT)
    ratio = np.exp(fade * np.log(np.clip(ratio, 1 / _MAX_RATIO, _MAX_RATIO)))
    moves = (places - grid) * fade
    planes = np.concatenate([moves, ratio, made.drawn[..., None] * fade, made.light], axis=2).astype(np.float32)

    # From the window to the photo's pixels.
    left, top, right, bottom = _box(matrix, n, pixels.shape)
    back = inverse(matrix)
    back[:, 2] -= [left, top]
    to_box = indexed(back)
    # Each plane's value where nothing is changed: no move, factor 1, nothing drawn.
    neutral = [0, 0, 1, 1, 1, 0, 0, 0, 0]
    layers = [
        cv2.warpAffine(
            np.ascontiguousarray(planes[..., k]),
            to_box,
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR,
            borderValue=value,
        )
        for k, value in enumerate(neutral)
    ]
    move = np.stack(layers[:2], axis=2) @ inverse(matrix)[:, :2].T.astype(np.float32)
    ratio, drawn, painted = np.stack(layers[2:5], axis=2), layers[5][..., None], np.stack(layers[6:9], axis=2)
    x, y = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32))
    fetched = cv2.remap(pixels, x + move[..., 0], y + move[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    light = to_linear(fetched.astype(np.float32) / 255) * ratio
    light = light * (1 - drawn) + painted * drawn
    result, part = pixels.copy(), pixels[top:bottom, left:right]
    edited = np.clip(255 * to_srgb(light) + 0.5, 0, 255).astype(np.uint8)
    same = (np.abs(move).max(axis=2) < 0.01) & (np.abs(ratio - 1).max(axis=2) < _UNCHANGED) & (drawn[..., 0] < _UNCHANGED)
    result[top:bottom, left:right] = np.where(same[..., None], part, edited)
    return result


def light_fields(before: np.ndarray, after: np.ndarray) -> CropFields:
    """Gain and bias from a crop's linear light (n, n, 3) to a picture of it in other light, exposed and developed."""
    glare = 0.015 * cv2.GaussianBlur(after, (0, 0), 6.0 * after.shape[0] / CROP_SIZE)
    developed = 2 * to_srgb(with_tone(_EXPOSURE * (after + glare)))
    x = (2 * to_srgb(np.clip(before, 0, 1))).astype(np.float32)
    gain = np.log(np.clip(developed / np.maximum(x, _DARK), np.exp(-4), np.exp(4))).astype(np.float32)
    bias = (developed - np.exp(gain) * x).astype(np.float32)
    return CropFields(np.zeros((*x.shape[:2], 2), np.float32), gain, bias)


def chained(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map (2, 3) of `first` and then `second`."""
    return np.concatenate([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]], axis=1)


def _faded(n: int) -> np.ndarray:
    """Weight (n, n, 1) of an edit in the window: 1 inside, 0 at the border."""
    place = (np.arange(n) + 0.5) / n
    depth = smoothstep(0.0, _BORDER, np.minimum(place, 1 - place))
    return (depth[:, None] * depth[None])[..., None].astype(np.float32)


def _box(matrix: np.ndarray, side: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The photo's pixels (left, top, right, bottom) that a window covers."""
    corners = transform(inverse(matrix), np.array([[0, 0], [side, 0], [0, side], [side, side]]))
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), [shape[1], shape[0]]).astype(int)
    return int(left), int(top), int(right), int(bottom)
