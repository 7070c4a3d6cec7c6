"""Photos with 16 bits a channel: edited in their own colours, and written again as PNG or TIFF.

An edit is found in the photo's 8 bits and applied to its 16. The pixels keep the colours of their file: they become sRGB for the edit, and
only those that it changes are brought back, so that all others stay bit for bit.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.core.colours import BROKEN_PROFILE, is_srgb, matrix_space, stated_profile
from legan.core.errors import ImageError
from legan.core.files import write_atomic
from legan.core.light import to_linear, to_srgb
from legan.core.metadata import Metadata, save_options, with_own_colours
from legan.core.places import Place

Array = np.ndarray
DEEP_FORMATS = ("PNG", "TIFF")  # that are read and written with 16 bits; PPM is read
WHITE = 65535
_BAND = 256  # rows that are converted at a time
_MODES = ("RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "I;16N")
_PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT, _WIDTH, _BITS = 262, 284, 339, 256, 258  # TIFF tags
_MIN_IS_BLACK, _RGB = 1, 2
_PNG_HEAD = 33  # bytes of a PNG's signature and its first chunk
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


@dataclass(frozen=True, eq=False)
class Space:
    """Colours of three curves and a matrix.

    Args:
        profile: the ICC profile that holds them.
        curves: (3, 65536), linear light of each level, rising.
        matrix: (3, 3), linear light -> sRGB's.
    """

    profile: bytes
    curves: Array
    matrix: Array

    def to_srgb(self, pixels: Array) -> Array:
        """Bring pixels uint16 (..., 3) to sRGB, uint16; colours beyond it are clipped."""
        light = np.stack([self.curves[c][pixels[..., c]] for c in range(3)], axis=-1) @ self.matrix.T
        return np.rint(WHITE * to_srgb(np.clip(light, 0, 1))).astype(np.uint16)

    def from_srgb(self, pixels: Array) -> Array:
        """Bring sRGB, uint16 (..., 3), to this space: levels 0..65535, not rounded."""
        light = np.clip(_srgb_light()[pixels] @ np.linalg.inv(self.matrix).T, 0, 1)
        return np.stack([np.interp(light[..., c], self.curves[c], np.arange(WHITE + 1)) for c in range(3)], axis=-1)


@lru_cache(maxsize=1)
def _srgb_light() -> Array:
    return to_linear(np.arange(WHITE + 1) / WHITE)


@dataclass(frozen=True, eq=False)
class DeepPhoto:
    """A file with 16 bits a channel, whose pixels are read when they are needed.

    Args:
        path: the file.
        orientation: EXIF's, 1..8.
        space: its colours; None where they are sRGB.
    """

    path: Path | Place
    orientation: int
    space: Space | None

    def read(self) -> tuple[Array, Array | None]:
        """Return the pixels, uint16 (H, W, 3), upright, in the file's own colours, and alpha (H, W), None where there is none.

        Raises:
            ImageError: the file has gone, or its 16 bits cannot be read.
        """
        import cv2

        try:
            image = cv2.imdecode(np.frombuffer(self.path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        except (OSError, cv2.error):
            image = None
        if image is None or image.dtype != np.uint16:
            raise ImageError(f"the 16 bits of {self.path} cannot be read: save it anew, or name a .jpg or .webp for 8 bits")
        image = _upright(image, self.orientation)
        if image.ndim == 2:
            return np.repeat(image[..., None], 3, axis=2), None
        alpha = np.ascontiguousarray(image[..., 3]) if image.shape[2] == 4 else None
        return np.ascontiguousarray(image[..., 2::-1]), alpha

    def edited(self, pixels: Array, edit: Callable[[Array], Array]) -> Array:
        """Apply an edit of sRGB pixels, uint16 (H, W, 3), to `pixels` in the file's own colours."""
        if self.space is None:
            return edit(pixels)
        bands = [np.s_[start : start + _BAND] for start in range(0, len(pixels), _BAND)]
        shown = np.concatenate([self.space.to_srgb(pixels[band]) for band in bands])
        after, result = edit(shown), pixels.copy()
        for band in bands:
            changed = (after[band] != shown[band]).any(axis=2)
            before = shown[band][changed]
            # What sRGB does not hold of a colour is added again.
            beyond = pixels[band][changed] - self.space.from_srgb(before)
            levels = self.space.from_srgb(after[band][changed]) + beyond
            result[band][changed] = np.rint(np.clip(levels, 0, WHITE)).astype(np.uint16)
        return result

    def save(self, path: str | Path, format: str, edit: Callable[[Array], Array], metadata: Metadata) -> None:
        """Write the file's pixels, edited, with 16 bits a channel, atomically.

        Args:
            path: the file to write; one that exists is replaced.
            format: of `DEEP_FORMATS`.
            edit: of sRGB pixels, uint16 (H, W, 3).
            metadata: to write; the colours are those of this file.

        Raises:
            ImageError: the 16 bits cannot be read.
            LeganError: the place cannot be written, or the disk is full; nothing is left behind.
        """
        pixels, alpha = self.read()
        pixels = self.edited(pixels, edit)
        if self.space is not None:
            metadata = with_own_colours(metadata, self.space.profile)
        image = pixels if alpha is None else np.dstack([pixels, alpha])
        write_atomic(Path(path), _png(image, metadata) if format == "PNG" else _tiff(image, metadata))


def deep_of(image: Image.Image, path: Path | Place | None, orientation: int) -> tuple[DeepPhoto | None, list[str]]:
    """Return how to read the 16 bits of an opened file; None where it has 8, or with a note where its more cannot be kept."""
    bits = image.info.get("bits", 16 if image.mode.startswith("I") else 8)
    if bits <= 8:
        return None, []

    def refused(why: str) -> tuple[None, list[str]]:
        return None, [f"{bits} bits a channel: the result has 8, as {why}"]

    if path is None:
        return refused("more are kept of files alone")
    tags: Any = getattr(image, "tag_v2", {})
    if image.format not in (*DEEP_FORMATS, "PPM"):
        return refused(f"more are kept of PNG, TIFF and PPM, not of {image.format}")
    if bits != 16:
        return refused("16 or 8 can be kept")
    is_plain = tags.get(_PHOTOMETRIC, _RGB) in (_MIN_IS_BLACK, _RGB) and tags.get(_PLANES, 1) == 1
    if image.mode not in _MODES or "transparency" in image.info or not is_plain or set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
        return refused("more are kept of RGB and grey alone, not premultiplied and not in planes")
    profile, _, _ = stated_profile(image)
    try:
        if profile is None or is_srgb(profile):
            return DeepPhoto(path, orientation, None), []
    except BROKEN_PROFILE:
        return refused("its colour profile cannot be used")
    parts = matrix_space(profile) if image.mode.startswith("RGB") else None
    if parts is None:
        return refused("more are kept of RGB profiles with curves and a matrix")
    return DeepPhoto(path, orientation, Space(profile, *parts)), []


def _upright(image: Array, orientation: int) -> Array:
    """Turn pixels (H, W, ...) upright by EXIF's orientation."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _png(image: Array, metadata: Metadata) -> bytes:
    """A PNG of pixels uint16 (H, W, 3 or 4): OpenCV writes them, Pillow the chunks of the metadata."""
    import cv2

    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", **save_options(metadata, "PNG", "the image"))
    small, at, chunks = buffer.getvalue(), 8, b""
    while at < len(small):
        end = at + 12 + int.from_bytes(small[at : at + 4], "big")
        chunks += b"" if small[at + 4 : at + 8] in _CRITICAL else small[at:end]
        at = end
    order = [2, 1, 0, 3][: image.shape[2]]
    data = cv2.imencode(".png", np.ascontiguousarray(image[..., order]))[1].tobytes()
    return data[:_PNG_HEAD] + chunks + data[_PNG_HEAD:]


def _tiff(image: Array, metadata: Metadata) -> bytes:
    """A TIFF of pixels uint16 (H, W, 3 or 4), uncompressed.

    Pillow writes them as an image of 8 bits, twice as wide, whose bytes are the same; then the two tags that say so are put right.
    """
    height, width, n_channels = image.shape
    wide = Image.frombytes("RGB" if n_channels == 3 else "RGBA", (2 * width, height), image.astype("<u2").tobytes())
    buffer = io.BytesIO()
    wide.save(buffer, "TIFF", **save_options(metadata, "TIFF", "the image"))
    data = bytearray(buffer.getvalue())
    if data[:4] != b"II*\0":
        raise ImageError("Pillow has written a TIFF of another byte order: save as .png")
    start = int.from_bytes(data[4:8], "little")
    for k in range(int.from_bytes(data[start : start + 2], "little")):
        at = start + 2 + 12 * k
        tag, _, count, value = struct.unpack("<HHII", data[at : at + 12])
        if tag == _WIDTH:
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, width)
        elif tag == _BITS:
            data[value : value + 2 * count] = struct.pack(f"<{count}H", *[16] * count)
    return bytes(data)
