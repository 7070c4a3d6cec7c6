"""Makers of photo sets that need no head model; worker processes import them by name."""

import os
import signal
from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.images import load_photo
from legan_faces3d.photos import DroppedPhotoError, PhotoCrop, PhotoEntry


def build_plain() -> object:
    """A maker of two grey crops a photo, as bright as the photo; drops photos whose name says so."""
    return make_plain


def build_deadly() -> object:
    """As `build_plain`; a photo whose name says so kills the worker."""
    return make_deadly


def make_deadly(photo: PhotoEntry) -> dict[str, PhotoCrop]:
    if "deadly" in photo.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_plain(photo)


def make_plain(photo: PhotoEntry) -> dict[str, PhotoCrop]:
    if "bad" in photo.name:
        raise DroppedPhotoError("no face", "there is none")
    level = int(np.asarray(load_photo(photo.path).image).mean())
    image = np.full((16, 16, 3), level, np.uint8)
    return {
        name: PhotoCrop(image, photo.expression, name, domain, 0.5, [1.0, 0, 0, 0, 1.0, 0], [0.0] * 136)
        for name, domain in (("07", "relit"), ("even", "photo"))
    }


def write_photos(folder: Path, names: list[str]) -> Path:
    """Write small grey photos, each of another brightness."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (20, 20), (40 + 10 * number,) * 3).save(folder / name)
    return folder
