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


def matte_of(crop: np.ndarray) -> np.ndarray:
    """Return the share of each pixel that is the person's.

    Args:
        crop: RGB uint8 (size, size, 3), an aligned face.

    Returns:
        float32 (size, size) in [0, 1].
    """
    size = crop.shape[0]
    marks = np.full((size, size), cv2.GC_PR_BGD, np.uint8)
    for ellipse, mark in ((_PERHAPS_NECK, cv2.GC_PR_FGD), (_PERHAPS_HEAD, cv2.GC_PR_FGD), (_SURELY_FACE, cv2.GC_FGD)):
        x, y, half_width, half_height = (round(size * part) for part in ellipse)
        cv2.ellipse(marks, (x, y), (half_width, half_height), 0, 0, 360, int(mark), -1)
    if crop.reshape(-1, 3).std(axis=0).max() < _PLAIN:  # nothing to tell apart
        return np.ones((size, size), np.float32)
    cv2.setRNGSeed(0)  # GrabCut starts with k-means: the same crop must give the same matte
    cv2.grabCut(np.ascontiguousarray(crop), marks, None, np.zeros((1, 65)), np.zeros((1, 65)), _N_ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.GaussianBlur(person, (0, 0), _SOFTNESS * size / 128, borderType=cv2.BORDER_REPLICATE)
