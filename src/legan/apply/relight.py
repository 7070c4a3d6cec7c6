"""Relight a folder of photos: each gives twenty crops, one a lighting, and the crop as photographed.

The photos should be frontal and evenly lit. What is not is dropped with its reason, or kept with less confidence.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from legan.apply.photo_list import PhotoEntry, list_photos
from legan.apply.photo_set import DroppedPhotoError, MadeCrop, Maker, Progress, SetReport, make_set
from legan.core.conditions import LIGHTING_NAMES
from legan.core.crop import CROP_SIZE
from legan.core.errors import ImageError
from legan.core.files import sha256_of
from legan.core.images import load_photo
from legan.core.manifest import EVEN_LIGHT
from legan.core.weights import packaged
from legan.faces.detect import MIN_FACE_SIDE, detect_largest
from legan.faces.resample import inverse, transform, warp
from legan.synthesis.fit import HeadFit, HeadFitter
from legan.synthesis.head import Head
from legan.synthesis.photo_checks import UnusablePhotoError, check_size
from legan.synthesis.relight import Relighter

RELIGHT_VERSION = 3  # raised when the pictures change, so that a resumed folder never mixes two looks


def relight_folder(
    photos: Path,
    out: Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    n_workers: int = 1,
    source: str | None = None,
    licence: str | None = None,
    progress: Progress | None = None,
) -> SetReport:
    """Relight the photos of a folder into a data set folder; run again, it continues.

    Arguments and errors as for `photo_list.list_photos` and `photo_set.make_set`.
    """
    entries = list_photos(photos, identity_from_name, manifest, source, licence)
    settings = {
        "made by": "relight",
        "version": RELIGHT_VERSION,
        "size": CROP_SIZE,
        "landmarks": sha256_of(packaged("landmarks")),
    }
    return make_set(out, entries, settings, build_relight, n_workers, progress)


def build_relight() -> Maker:
    """A worker's maker; loading the head model takes seconds."""
    import torch

    torch.set_num_threads(1)
    return PhotoRelighter(Head()).make


class PhotoRelighter:
    """From photo files to relit crops, with one head model."""

    def __init__(self, head: Head) -> None:
        self.fitter = HeadFitter(head, size=CROP_SIZE)
        self.relighter = Relighter(head)

    def make(self, photo: PhotoEntry) -> dict[str, MadeCrop]:
        """Crops of one photo by the names of their lightings, and `even`.

        Raises:
            DroppedPhotoError: with the reason.
        """
        with reasons():
            return self._crops(photo, *find_face(photo))

    def _crops(self, photo: PhotoEntry, pixels: np.ndarray, landmarks: np.ndarray) -> dict[str, MadeCrop]:
        fit = self.fitter.fit(landmarks, photo.expression if photo.expression_known else None)
        window, inside = cut_window(pixels, *self.relighter.window(fit))
        relit = self.relighter.relight(window, inside, fit, seed_of(photo))
        crops = {
            name: _made(image, photo, name, "relit", float(sure), fit, relit.matte)
            for name, image, sure in zip(LIGHTING_NAMES, relit.images, relit.confidence, strict=True)
        }
        crops[EVEN_LIGHT] = _made(relit.original, photo, EVEN_LIGHT, "photo", float(relit.confidence.max()), fit, relit.matte)
        return crops


@contextmanager
def reasons() -> Iterator[None]:
    """Turn what makes a photo unusable into a DroppedPhotoError."""
    try:
        yield
    except ImageError as error:
        raise DroppedPhotoError("unreadable", str(error)) from None
    except UnusablePhotoError as error:
        raise DroppedPhotoError(error.reason, error.detail) from None


def find_face(photo: PhotoEntry) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo's pixels, uint8 (H, W, 3), and the landmarks (68, 2) of its largest face.

    Raises:
        ImageError: the file cannot be read.
        UnusablePhotoError: the face is too small.
        DroppedPhotoError: there is none.
    """
    image = load_photo(photo.path).image
    faces = detect_largest(image)
    if not faces:
        raise DroppedPhotoError("no face", f"no frontal face of {MIN_FACE_SIDE} pixels or more was found")
    check_size(faces[0].landmarks)
    return np.asarray(image), faces[0].landmarks


def _made(
    image: np.ndarray, photo: PhotoEntry, lighting: str, domain: str, confidence: float, fit: HeadFit, matte: np.ndarray
) -> MadeCrop:
    landmarks = [round(float(value), 3) for value in fit.landmarks.ravel()]
    return MadeCrop(image, photo.expression, lighting, domain, confidence, fit.matrix.ravel().tolist(), landmarks, matte)


def cut_window(pixels: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square out of a photo, uint8 (side, side, 3), and say which of its pixels lie in the photo, bool (side, side)."""
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    at = transform(inverse(matrix), np.stack([x, y], axis=-1))
    inside = np.all((at >= 0) & (at <= [pixels.shape[1], pixels.shape[0]]), axis=-1)
    return warp(pixels, matrix, side), np.asarray(inside)


def seed_of(photo: PhotoEntry) -> int:
    """Seed of a photo's room and noise; the same for all photos of a person, so that expressions alone tell them apart."""
    return int.from_bytes(hashlib.sha256(f"{photo.source}/{photo.identity}".encode()).digest()[:4], "big")
