"""Pictures of any kind -> aligned face crops, many at a time, in order: the common front of scoring and filtering."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from legan.core.crop import CROP_SIZE
from legan.core.errors import FaceError, ImageError
from legan.core.images import as_photo
from legan.core.listing import find_images
from legan.faces.align import align
from legan.faces.detect import MIN_FACE_SIDE, detect_largest

Picture = str | Path | Image.Image | np.ndarray
Faces = Literal["auto", "aligned", "detect"]
FACES = ("auto", "aligned", "detect")
T = TypeVar("T")
NO_FACE = f"no face found: a face seen from the front, at least {MIN_FACE_SIDE} pixels wide, is needed"
N_THREADS = 4  # decoding waits for the disk, and the detector leaves cores free


@dataclass(frozen=True, eq=False)
class Prepared:
    """One picture: its crop, uint8 (size, size, 3), or None and the reason; `readable` is False where it is no picture at all."""

    path: Path | None
    crop: np.ndarray | None
    reason: str = ""
    readable: bool = True


def prepare(picture: Picture, size: int = CROP_SIZE, faces: Faces = "auto") -> Prepared:
    """Cut out the largest face of a picture.

    Args:
        picture: a file, a PIL image, or an array (H, W, 3), uint8 or floats in [0, 1].
        size: side of the crop in pixels.
        faces: "aligned" takes the whole picture for a crop, scaled where needed; "detect" finds and aligns the face; "auto" takes
            pictures of exactly `size` x `size` pixels for crops, which `legan` itself writes, and finds the face in others.

    Raises:
        ImageError: a picture that cannot be read.
    """
    photo = as_photo(picture)
    image, path = photo.image, photo.path
    if faces == "aligned" or (faces == "auto" and image.size == (size, size)):
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.LANCZOS)
        return Prepared(path, np.asarray(image))
    found = detect_largest(image)
    if not found:
        return Prepared(path, None, NO_FACE)
    return Prepared(path, np.asarray(align(image, found[0].landmarks, size).image))


def prepared_crop(picture: Picture, size: int = CROP_SIZE, faces: Faces = "auto", name: str = "") -> np.ndarray:
    """Cut out the largest face of a picture, as `prepare`: uint8 (size, size, 3).

    Args:
        name: how messages call a picture that is no file.

    Raises:
        ImageError: a picture that cannot be read.
        FaceError: no face in it.
    """
    called = str(picture) if isinstance(picture, (str, Path)) else name
    try:
        prepared = prepare(picture, size, faces)
    except ImageError as error:
        raise ImageError(f"{name}: {error}" if name and called == name else str(error)) from error
    if prepared.crop is None:
        raise FaceError(f"{called}: {prepared.reason}" if called else prepared.reason)
    return prepared.crop


def prepare_many(
    paths: Iterable[Path], size: int = CROP_SIZE, faces: Faces = "auto", n_threads: int = N_THREADS
) -> Iterator[Prepared]:
    """Prepare files in threads; yields in the order of `paths`. A file that cannot be read has no crop and a reason."""
    # OpenCV's and PyTorch's own threads would fight with ours.
    cv2.setNumThreads(1)
    n_before = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Prepared]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(_prepared, path, size, faces))
                if len(waiting) >= 16 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown()
            torch.set_num_threads(n_before)  # a thread's number is also that of all threads begun later


def _prepared(path: Path, size: int, faces: Faces) -> Prepared:
    try:
        return prepare(path, size, faces)
    except ImageError as error:
        return Prepared(path, None, str(error), readable=False)


def unreadable(row: Mapping[str, str]) -> bool:
    """Whether a table's row is about a file that could not be read; with another file in its place it may be."""
    return row["reason"] not in ("", NO_FACE)


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


def list_pictures(places: Sequence[Path], but_not: Path | None = None) -> list[Path]:
    """Return the picture files named and those in the folders named, by name; hidden ones and those below `but_not` are left out.

    Raises:
        ImageError: a place that does not exist, or no pictures at all.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise ImageError(f"{place} does not exist: check the name")
        found += find_images(place, but_not) if place.is_dir() else [place]
    if not found:
        raise ImageError(f"no pictures in {', '.join(map(str, places))}: name pictures, or a folder that holds some")
    return list(dict.fromkeys(found))
