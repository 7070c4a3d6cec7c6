"""The region masks that come with the head model: lips, eyelids, ears, inside of the mouth, as grey texture images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from legan.synthesis.vectors import Array


class Masks:
    """Each method takes texture coordinates (n, 2) and gives how much of the region each point is, (n,) in 0..1."""

    def __init__(self, folder: Path) -> None:
        self._lips = _load(folder / "mpfb_lips.jpg")
        self._lids = _load(folder / "mpfb_eyelids.jpg")
        self._ears = _load(folder / "mpfb_ears.jpg")
        self._mouth = _load(folder / "mpfb_inside-mouth.jpg")

    def lips(self, uv: Array) -> Array:
        return _sample(self._lips, uv)

    def lids(self, uv: Array) -> Array:
        return _sample(self._lids, uv)

    def ears(self, uv: Array) -> Array:
        return _sample(self._ears, uv)

    def mouth(self, uv: Array) -> Array:
        return _sample(self._mouth, uv)


def _load(path: Path) -> Array:
    with Image.open(path, formats=["JPEG"]) as image:
        return np.asarray(image.convert("L"), np.float32) / 255


def _sample(texture: Array, uv: Array) -> Array:
    height, width = texture.shape
    rows, columns = (1 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5  # v counts from the bottom
    return map_coordinates(texture, np.stack([rows, columns]), order=1, mode="nearest")
