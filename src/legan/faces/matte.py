"""Which pixels of a face crop belong to the person: face, hair, ears and neck against whatever is behind.

GrabCut (Rother et al., SIGGRAPH 2004): colours of person and background are learnt from a first guess, which an aligned crop makes
easy, since the face stands on fixed pixels. Where the two share their colours the guess remains, and the matte is rough there.
"""

import cv2
import numpy as np

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
