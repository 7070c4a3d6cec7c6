"""Alignment: from a face in a photo to the face crop that networks see, one photo or many."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from legan.core.errors import FaceError, ImageError
from legan.core.geometry import CROP_SIZE, Matrix, inverse, transform, warp
from legan.core.images import as_photo
from legan.core.places import Place
from legan.core.workers import begin_item, is_worker
from legan.faces.detect import MIN_FACE_SIDE, detect_largest
from legan.faces.landmarks import fit_similarity

# Alignment: the similarity that brings a photo's face to the pixels where a rendered face crop has it, and the crop itself.
#
# The map fits eye centres, base of the nose and upper lip to their places in rendered crops by weighted least squares. These stay
# where they are when a mouth opens: an expression must not change the face's scale. Of the anchors and weights tried these left
# the least variance of scale over 60 rendered people with 6 expressions (2.1%, of which 1.3% between the expressions of a person;
# with the mouth's corners 2.9%): experiments/landmarks.


# Anchors, as landmarks: eye on the left of the image, eye on its right, base of the nose, upper lip.
_ANCHORS = (slice(36, 42), slice(42, 48), slice(31, 36), slice(50, 53))
_WEIGHTS = np.array([1.0, 1.0, 0.25, 0.25])
# Their places, as fractions of the side, in rendered neutral crops. The renderer frames by the eyeballs' centres
# (`legan.core.geometry`), which lie 1.3 pixels above the landmarks' and 0.7 farther from the middle, at 128.
_PLACES = np.array([[0.3430, 0.4203], [0.6570, 0.4203], [0.5, 0.6547], [0.5, 0.7330]])


@dataclass(frozen=True, eq=False)
class AlignedCrop:
    """A face cut out of a photo.

    Args:
        image: RGB, square.
        matrix: (2, 3), photo pixels -> crop pixels, pixel centres at +0.5.
    """

    image: Image.Image
    matrix: Matrix

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.image.width

    @cached_property
    def inverse(self) -> Matrix:
        """(2, 3), crop pixels -> photo pixels."""
        return inverse(self.matrix)


def align(image: Image.Image, landmarks: np.ndarray, size: int = CROP_SIZE) -> AlignedCrop:
    """Cut out the face with these landmarks (68, 2, photo pixels), upright, eyes and mouth where rendered crops have them.

    Where the photo ends inside the crop, its border pixels go on.
    """
    matrix = alignment(landmarks, size)
    pixels = np.asarray(image.convert("RGB"))
    return AlignedCrop(Image.fromarray(warp(pixels, matrix, size)), matrix)


def outside(photo_size: tuple[int, int], matrix: Matrix, size: int) -> float:
    """Return the share of a crop's pixels that lie outside the photo, where `align` repeats its border.

    Args:
        photo_size: width and height in pixels.
        matrix: photo pixels -> crop pixels.
        size: side of the crop.
    """
    centres = np.arange(size) + 0.5
    x, y = np.moveaxis(transform(inverse(matrix), np.stack(np.meshgrid(centres, centres), -1)), -1, 0)  # photo pixels
    return float(1 - ((x >= 0) & (x <= photo_size[0]) & (y >= 0) & (y <= photo_size[1])).mean())


def alignment(landmarks: np.ndarray, size: int = CROP_SIZE) -> Matrix:
    """Return the similarity (2, 3) from photo pixels to the pixels of a crop with side `size`."""
    return fit_similarity(anchors(landmarks), size * _PLACES, _WEIGHTS)


def anchors(landmarks: np.ndarray) -> np.ndarray:
    """Return the points (4, 2) that alignment goes by: both eye centres, the base of the nose, the upper lip."""
    return np.stack([landmarks[part].mean(axis=0) for part in _ANCHORS])


# Images of any kind -> aligned face crops, many at a time, in order: the common front of scoring and filtering.


ImageInput = str | Path | Place | Image.Image | np.ndarray
Faces = Literal["auto", "aligned", "detect"]
FACES = ("auto", "aligned", "detect")
T = TypeVar("T")
NO_FACE = f"no face found: a face seen from the front, at least {MIN_FACE_SIDE} pixels wide, is needed"
MAX_OUTSIDE = 0.15  # of a crop's pixels outside the photo, for a face that can be judged as a whole
CUT_FACE = f"the photo cuts the face: more than {MAX_OUTSIDE:.0%} of its crop lies outside the photo, so take one that shows the whole face"
N_THREADS = 4  # decoding waits for the disk, and the detector leaves cores free


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image: its crop, uint8 (size, size, 3), or None and the reason.

    Args:
        readable: False where it is no image at all.
        is_cut: more than `MAX_OUTSIDE` of the crop lies outside the photo, whose border is repeated there. Padding that an image file
            already holds is not recognised.
    """

    path: Path | Place | None
    crop: np.ndarray | None
    reason: str = ""
    readable: bool = True
    is_cut: bool = False


def prepare(source: ImageInput, size: int = CROP_SIZE, faces: Faces = "auto") -> Prepared:
    """Cut out the largest face of an image.

    Args:
        image: a file, a PIL image, or an array (H, W, 3), uint8 or floats in [0, 1].
        size: side of the crop in pixels.
        faces: "aligned" takes the whole image for a crop, scaled where needed; "detect" finds and aligns the face; "auto" takes
            images of exactly `size` x `size` pixels for crops, which `legan` itself writes, and finds the face in others.

    Raises:
        ImageError: an image that cannot be read.
    """
    photo = as_photo(source)
    image, path = photo.image, photo.path
    if faces == "aligned" or (faces == "auto" and image.size == (size, size)):
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.LANCZOS)
        return Prepared(path, np.asarray(image))
    found = detect_largest(image)
    if not found:
        return Prepared(path, None, NO_FACE)
    aligned = align(image, found[0].landmarks, size)
    return Prepared(path, np.asarray(aligned.image), is_cut=outside(image.size, aligned.matrix, size) > MAX_OUTSIDE)


def prepared_crop(
    image: ImageInput, size: int = CROP_SIZE, faces: Faces = "auto", name: str = "", whole: bool = False
) -> np.ndarray:
    """Cut out the largest face of an image, as `prepare`: uint8 (size, size, 3).

    Args:
        name: how messages call an image that is no file.
        whole: a face that the photo cuts (`Prepared.is_cut`) is an error.

    Raises:
        ImageError: an image that cannot be read.
        FaceError: no face in it, or a cut one.
    """
    called = str(image) if isinstance(image, (str, Path, Place)) else name
    try:
        prepared = prepare(image, size, faces)
    except ImageError as error:
        raise ImageError(f"{name}: {error}" if name and called == name else str(error)) from error
    reason = CUT_FACE if whole and prepared.is_cut else prepared.reason
    if reason or prepared.crop is None:
        raise FaceError(f"{called}: {reason}" if called else reason)
    return prepared.crop


def prepare_many(
    paths: Iterable[Path | Place], size: int = CROP_SIZE, faces: Faces = "auto", n_threads: int | None = None
) -> Iterator[Prepared]:
    """Prepare files in threads; yields in the order of `paths`. A file that cannot be read has no crop and a reason.

    Args:
        paths, size, faces: as for `prepare`. In a worker the files are its job's items.
        n_threads: by default 1 in a worker and `N_THREADS` elsewhere.
    """
    n_threads = n_threads or (1 if is_worker() else N_THREADS)
    # OpenCV's and PyTorch's own threads would fight with ours.
    cv2.setNumThreads(1)
    n_before = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Prepared]] = deque()
        try:
            for index, path in enumerate(paths):
                waiting.append(pool.submit(_prepared, index, path, size, faces))
                if len(waiting) >= 16 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown()
            torch.set_num_threads(n_before)  # a thread's number is also that of all threads begun later


def _prepared(index: int, path: Path | Place, size: int, faces: Faces) -> Prepared:
    if reason := begin_item(index):
        return Prepared(path, None, reason, readable=False)
    try:
        return prepare(path, size, faces)
    except ImageError as error:
        return Prepared(path, None, str(error), readable=False)


def unreadable(row: Mapping[str, str]) -> bool:
    """Whether a table's row is about a file that could not be read; with another file in its place it may be."""
    return row["reason"] not in ("", NO_FACE, CUT_FACE)


def grouped(things: Iterable[T], n: int) -> Iterator[list[T]]:
    """Groups of `n`, the last one shorter."""
    group: list[T] = []
    for one in things:
        group.append(one)
        if len(group) == n:
            yield group
            group = []
    if group:
        yield group
