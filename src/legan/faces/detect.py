"""Faces in a photo: dlib's frontal detector (histograms of oriented gradients, no model file) finds boxes, `landmarks` the points."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from legan.faces.landmarks import LandmarkNet, locate_with_spreads

# dlib finds faces from 80 pixels on. The first look sees faces from 22% of the photo's long side on, in a few milliseconds; the
# second, only where the first saw none, those of a twentieth, or of 40 pixels in a small photo.
_FIRST_SIDE, _SECOND_SIDE = 360, 1600
_LARGEST_ENLARGEMENT = 2.0
# dlib's detector keeps its pyramid in itself and frees the interpreter while it runs: threads must not share one. Making one takes
# far longer than a look at a photo, so a call takes one that no other call is using.
_IDLE: deque[Any] = deque()

MIN_FACE_SIDE = 40  # pixels; for the caller's message where no face is found


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


def detect(image: Image.Image, net: LandmarkNet | None = None) -> list[Face]:
    """Find the frontal faces of a photo, the largest first; an empty list if there are none.

    Args:
        image: the upright photo.
        net: the landmark network; by default the packaged one.
    """
    pixels = np.asarray(image.convert("RGB"))
    found = find_boxes(pixels)
    faces = [_located(pixels, box, score, net) for box, score in found]
    return sorted(faces, key=lambda face: face.width, reverse=True)


def _located(pixels: np.ndarray, box: tuple[float, float, float, float], score: float, net: LandmarkNet | None) -> Face:
    points, spreads = locate_with_spreads(pixels, box, net)
    return Face(box, points, score, float(spreads[48:].mean()))


def find_boxes(pixels: np.ndarray) -> list[tuple[tuple[float, float, float, float], float]]:
    """Return boxes and scores of the faces in an RGB uint8 array (H, W, 3), in no special order."""
    long_side = max(pixels.shape[:2])
    first = min(1.0, _FIRST_SIDE / long_side)
    second = min(_LARGEST_ENLARGEMENT, _SECOND_SIDE / long_side)
    return _boxes_at(pixels, first) or (_boxes_at(pixels, second) if second > first else [])


def _boxes_at(pixels: np.ndarray, scale: float) -> list[tuple[tuple[float, float, float, float], float]]:
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
