"""Make-up for rendered faces: what eyes and lips of photographs have and renders have too little of.

In photos lashes draw a dark line along the lid and past the corner, the white of the eye lies in shade, its inner corner shows a
pink caruncle, lids have creases, and lips any colour. A network that has seen renders alone takes the end of the line for the
corner. So lines, shades and colours are drawn here at random about the true points, which stay where they are.
"""

import cv2
import numpy as np

from legan.faces.landmarks import INPUT_SIZE

Random = np.random.Generator

_DARK = np.float32(0.25)  # of the skin's brightness: lashes, liner, creases
_PINK = np.array([1.2, 0.85, 0.8], np.float32)
_FINE = 4  # binary places of the drawing's coordinates
# Landmarks of each eye from the outer corner over the upper lid to the inner one, and of the lower lid likewise.
_UPPER_LIDS = ([36, 37, 38, 39], [45, 44, 43, 42])
_LOWER_LIDS = ([36, 41, 40, 39], [45, 46, 47, 42])


def made_up(light: np.ndarray, points: np.ndarray, random: Random) -> np.ndarray:
    """Draw eyes and lips anew; each part only sometimes.

    Args:
        light: float32 (128, 128, 3) in [0, 1], a face in the network's frame.
        points: its landmarks (68, 2) in pixels.
    """
    # Eyes of one face look alike, so one drawing serves both.
    skin = light[28:100, 36:92].mean(axis=(0, 1))
    uppers, lowers = [points[lid] for lid in _UPPER_LIDS], [points[lid] for lid in _LOWER_LIDS]
    shade, tone, dark, wing = random.uniform(0, 1, 4)
    outlines = [np.vstack([upper, lower[2:0:-1]]) for upper, lower in zip(uppers, lowers, strict=True)]
    light = _tinted(light, outlines, [], np.full(3, 0.5 + 0.6 * shade), 1.0)
    if random.random() < 0.6:
        light = _painted(light, _caruncles(uppers, random), skin * _PINK * (0.7 + 0.9 * tone), random.uniform(0.3, 1.0))
    if random.random() < 0.5:
        height = random.uniform(0.12, 0.37)
        raised = [lid - np.array([0, height * _width(lid)]) for lid in uppers]
        light = _painted(light, _lines(raised, 0.0), _DARK * skin, random.uniform(0, 0.5))
    if random.random() < 0.7:
        light = _painted(light, _lines(uppers, 0.35 * wing), _DARK * skin, 0.4 + 0.6 * dark)
    if random.random() < 0.35:
        light = _painted(light, _lashes(uppers, random), _DARK * skin, random.uniform(0.2, 0.8))
    if random.random() < 0.5:
        light = _painted(light, _lines(lowers, 0.1 * wing), _DARK * skin, random.uniform(0, 0.6) * dark)
    if random.random() < 0.5:
        colour = random.uniform((0.6, 0.3, 0.3), (1.2, 1.0, 1.0))
        light = _tinted(light, [points[48:60]], [points[60:68]], colour, random.uniform(0.2, 1.0))
    return light


def _width(lid: np.ndarray) -> float:
    return float(np.linalg.norm(lid[3] - lid[0]))


def _tinted(
    light: np.ndarray, insides: list[np.ndarray], holes: list[np.ndarray], colour: np.ndarray, strength: float
) -> np.ndarray:
    """Multiply the inside of outlines, less the holes, by a colour."""
    mask = _blank()
    cv2.fillPoly(mask, [_fixed(outline) for outline in insides], 1.0, cv2.LINE_AA, _FINE)
    cv2.fillPoly(mask, [_fixed(outline) for outline in holes], 0.0, cv2.LINE_AA, _FINE)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None] * np.float32(strength)
    return light * (1 + mask * (colour.astype(np.float32) - 1))


def _painted(light: np.ndarray, mask: np.ndarray, colour: np.ndarray, strength: float) -> np.ndarray:
    """Lay a colour over the picture where the mask (H, W) is."""
    return light + mask[..., None] * np.float32(strength) * (colour.astype(np.float32) - light)


def _lines(lids: list[np.ndarray], wing: float) -> np.ndarray:
    """Mask of a soft line along each lid, from `wing` eye widths beyond the outer corner on."""
    mask = _blank()
    for lid in lids:
        end = lid[0] + (lid[0] - 0.7 * lid[1] - 0.3 * lid[3]) * wing * 1.5
        curve = _smooth(np.vstack([end, lid]) if wing > 0 else lid)
        cv2.polylines(mask, [_fixed(curve)], False, 1.0, 1, cv2.LINE_AA, _FINE)
    return np.minimum(1.6 * cv2.GaussianBlur(mask, (0, 0), 0.7), 1)


def _lashes(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of short strokes up and outwards from the outer part of the upper lids."""
    mask = _blank()
    places, lengths = random.uniform(0, 0.7, 9), random.uniform(0.1, 0.35, 9)
    for lid in lids:
        curve, width = _smooth(lid), _width(lid)
        outwards = (lid[0] - lid[3]) / max(width, 1e-6)
        roots = curve[(places * (len(curve) - 1)).astype(int)]
        tips = roots + (outwards * (0.7 - places)[:, None] + [0, -0.6]) * lengths[:, None] * width
        strokes = [_fixed(np.stack(stroke)) for stroke in zip(roots, tips, strict=True)]
        cv2.polylines(mask, strokes, False, 1.0, 1, cv2.LINE_AA, _FINE)
    return mask


def _caruncles(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of the wet inner corners."""
    mask = _blank()
    place, size = random.uniform(0.04, 0.14), random.uniform(0.04, 0.09)
    for lid in lids:
        middle = tuple(_fixed(lid[3] + (lid[0] - lid[3]) * place).tolist())
        cv2.circle(mask, middle, max(1, round(size * _width(lid) * 2**_FINE)), 1.0, -1, cv2.LINE_AA, _FINE)
    return cv2.GaussianBlur(mask, (0, 0), 0.5)


def _blank() -> np.ndarray:
    return np.zeros((INPUT_SIZE, INPUT_SIZE), np.float32)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A curve through points (n, 2), about eight places between neighbours (Catmull-Rom)."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def _fixed(points: np.ndarray) -> np.ndarray:
    """OpenCV's fixed-point coordinates, whose pixel centres have whole numbers."""
    return ((points - 0.5) * 2**_FINE).round().astype(np.int32)
