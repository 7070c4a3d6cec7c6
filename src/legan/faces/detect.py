"""Faces in a photo: dlib's frontal detector (histograms of oriented gradients, no model file) finds boxes, `landmarks` the points."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from legan.faces.landmarks import LandmarkNet, locate_with_spreads

MIN_FACE_SIDE = 40  # pixels, in photos of any size; also for the caller's message where no face is found
# dlib finds faces from 80 pixels on. The first look sees faces from 22% of the photo's long side on, in a few milliseconds; the
# second those of a twentieth, in 0.2 s; the last one, on the photo at twice its size, all of 40 pixels: 0.5 s a megapixel.
_FIRST_SIDE, _SECOND_SIDE = 360, 1600
_DLIB_SIDE, _ENLARGEMENT = 80, 2.0
_TILE = 1600  # pixels of the enlarged photo, so that memory does not grow with the photo
_MAX_OVERLAP = 0.4  # of the smaller box, above which two looks saw one face
# Hair and forehead lie around a box, and at a fine scale details of them look like faces.
_HEAD_MARGIN, _DETAIL = 0.4, 0.35  # shares of a box's width
# dlib's detector keeps its pyramid in itself and frees the interpreter while it runs: threads must not share one. Making one takes
# far longer than a look at a photo, so a call takes one that no other call is using.
_IDLE: deque[Any] = deque()

Box = tuple[tuple[float, float, float, float], float]  # left, top, right, bottom in photo pixels; score


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo.

    Args:
        box: left, top, right, bottom in photo pixels; may reach beyond the photo.
        landmarks: (68, 2) float32, the iBUG points in photo pixels, pixel centres at +0.5.
        score: the detector's confidence; above 0, the larger the surer.
        mouth_spread: how unsure the network is of the mouth's points: mean of their `landmarks.spreads`, 4 to 8 where the mouth is
            seen, 10 and more where it is covered.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float
    mouth_spread: float = 0.0

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]


def detect(image: Image.Image, net: LandmarkNet | None = None, thorough: bool = True) -> list[Face]:
    """Find the frontal faces of a photo, all from 40 pixels on, the largest first; an empty list if there are none.

    Args:
        image: the upright photo.
        net: the landmark network; by default the packaged one.
        thorough: if not, only faces from a twentieth of the long side on are looked for beside one that was found already, which
            takes 0.2 s whatever the size of the photo.
    """
    pixels = np.asarray(image.convert("RGB"))
    return _with_landmarks(pixels, find_boxes(pixels, thorough), net)


def detect_largest(image: Image.Image, net: LandmarkNet | None = None) -> list[Face]:
    """Find the largest face of a photo; a list of none, one, or of further ones that were seen on the way, the largest first.

    Ends at the first look that sees any, so that it is quick where the face is large. Arguments as for `detect`.
    """
    pixels = np.asarray(image.convert("RGB"))
    return _with_landmarks(pixels, next((found for look in _looks(pixels) if (found := look())), []), net)


def find_boxes(pixels: np.ndarray, thorough: bool = True) -> list[Box]:
    """Return boxes and scores of the faces in an RGB uint8 array (H, W, 3), in no special order; `thorough` as for `detect`."""
    boxes: list[Box] = []
    for number, look in enumerate(_looks(pixels)):
        if number >= 2 and boxes and not thorough:
            break
        seen, found = list(boxes), look()  # a look's own boxes were compared by dlib
        boxes += [box for box in found if not any(_is_same(box[0], other[0]) for other in seen)]
    return boxes


def _with_landmarks(pixels: np.ndarray, boxes: Sequence[Box], net: LandmarkNet | None) -> list[Face]:
    faces = [_located(pixels, box, score, net) for box, score in boxes]
    return sorted(faces, key=lambda face: face.width, reverse=True)


def _located(pixels: np.ndarray, box: tuple[float, float, float, float], score: float, net: LandmarkNet | None) -> Face:
    points, spreads = locate_with_spreads(pixels, box, net)
    return Face(box, points, score, float(spreads[48:].mean()))


def _looks(pixels: np.ndarray) -> list[Callable[[], list[Box]]]:
    """Two or three ways to look for boxes, at growing scales of the photo; a finer one finds those of a coarser one again."""
    long_side = max(pixels.shape[:2])
    first, second = min(1.0, _FIRST_SIDE / long_side), min(_ENLARGEMENT, _SECOND_SIDE / long_side)
    looks = [lambda: _boxes_at(pixels, first)]
    if second > first:
        looks.append(lambda: _boxes_at(pixels, second))
    if second < _ENLARGEMENT:
        # Faces that the second look may have missed for their size lie whole in one tile at least.
        looks.append(lambda: _boxes_in_tiles(pixels, _ENLARGEMENT, overlap=round(1.5 * _DLIB_SIDE / second)))
    return looks


def _boxes_in_tiles(pixels: np.ndarray, scale: float, overlap: int) -> list[Box]:
    """Boxes at a scale, tile by tile; tiles share `overlap` pixels of the photo."""
    height, width = pixels.shape[:2]
    side = max(round(_TILE / scale), 2 * overlap)
    boxes: list[Box] = []
    for top in range(0, max(1, height - overlap), side - overlap):
        for left in range(0, max(1, width - overlap), side - overlap):
            found = _boxes_at(pixels[top : top + side, left : left + side], scale)
            moved = [((x0 + left, y0 + top, x1 + left, y1 + top), score) for (x0, y0, x1, y1), score in found]
            boxes += [box for box in moved if not any(_is_same(box[0], other[0]) for other in boxes)]
    return boxes


def _is_same(box: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes are of one face: they share much of the smaller one, or that is a detail of the larger one's head."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    small, large = sorted((box, other), key=lambda b: b[2] - b[0])
    side, head = small[2] - small[0], large[2] - large[0]
    if width > 0 and height > 0 and width * height > _MAX_OVERLAP * side * (small[3] - small[1]):
        return True
    x, y = (small[0] + small[2]) / 2, (small[1] + small[3]) / 2
    margin = _HEAD_MARGIN * head
    is_within = large[0] - margin < x < large[2] + margin and large[1] - margin < y < large[3] + margin
    return side < _DETAIL * head and is_within


def _boxes_at(pixels: np.ndarray, scale: float) -> list[Box]:
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = pixels if scale == 1 else cv2.resize(pixels, (width, height), interpolation=kernel)
    try:
        detector = _IDLE.pop()
    except IndexError:
        detector = _new_detector()
    boxes, scores, _ = detector.run(np.ascontiguousarray(scaled), 0, 0.0)
    _IDLE.append(detector)
    x, y = pixels.shape[1] / width, pixels.shape[0] / height
    return [
        ((box.left() * x, box.top() * y, (box.right() + 1) * x, (box.bottom() + 1) * y), float(score))
        for box, score in zip(boxes, scores, strict=True)
    ]


def _new_detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()
