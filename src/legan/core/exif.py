"""EXIF blocks of photos: copied to the edited image without what no longer holds there, and with tags added."""

import struct
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

IFD, TAG = ExifTags.IFD, ExifTags.Base
# Tags below 700 that say something about the photo; the others there describe how a TIFF file stores its pixels and colours.
_DESCRIPTIVE = {
    TAG.DocumentName, TAG.ImageDescription, TAG.Make, TAG.Model, TAG.Orientation, TAG.XResolution, TAG.YResolution,
    TAG.PageName, TAG.ResolutionUnit, TAG.Software, TAG.DateTime, TAG.Artist, TAG.HostComputer,
}  # fmt: skip
# Other metadata blocks, which travel by themselves: XMP, IPTC, Photoshop, ICC profile, Photoshop layers.
_BLOCKS = {700, 33723, 34377, 34675, 37724}
_GAMMA, _INTEROP_INDEX = 0xA500, 1
_SRGB, _ADOBE_RGB, _UNCALIBRATED = 1, 2, 0xFFFF  # values of ColorSpace; 2 is not in the standard, but some cameras write it
_INCH = 2  # of ResolutionUnit
# What Pillow raises on broken blocks.
BROKEN = (struct.error, TypeError, ValueError, KeyError, IndexError, AttributeError, OSError, SyntaxError, RuntimeError)


class _Text(str):
    """Text of a tag as Pillow reads it, a character a byte; written again it gives the same bytes, whatever their encoding."""

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        """Return the bytes that were read: Pillow asks for ASCII and would lose the others."""
        return super().encode("latin-1")


def clean(image: Image.Image, size: tuple[int, int]) -> bytes | None:
    """Return the EXIF block of an opened image for its upright, edited copy in sRGB; None when it has none.

    The orientation becomes 1 (upright), the recorded size the copy's `size` (width, height), the colour space sRGB; thumbnails are
    left out.

    Raises:
        one of `BROKEN`: the block cannot be read or written again.
    """
    old, block = image.getexif(), Image.Exif()
    block.endian = old.endian
    for tag in old:
        if (tag >= 700 or tag in _DESCRIPTIVE) and tag not in _BLOCKS:
            block[tag] = old[tag]
    if not len(block):
        return None
    if TAG.Orientation in block:
        block[TAG.Orientation] = 1
    for directory in (IFD.Exif, IFD.GPSInfo):
        if directory in block:
            block[directory] = dict(old.get_ifd(directory))
    details = block.get(IFD.Exif, {})
    for tag, side in zip((TAG.ExifImageWidth, TAG.ExifImageHeight), size, strict=True):
        if tag in details:
            details[tag] = side
    if TAG.ColorSpace in details:
        details[TAG.ColorSpace] = _SRGB
    details.pop(_GAMMA, None)
    if IFD.Interop in details:
        details[IFD.Interop] = dict(old.get_ifd(IFD.Interop))
        if _interop_index(old).startswith("R03"):
            details[IFD.Interop][_INTEROP_INDEX] = "R98"  # sRGB
    return _bytes_of(block)


def states_adobe_rgb(image: Image.Image) -> bool:
    """Whether the EXIF block says that the colours are Adobe RGB, as cameras do (DCF 2.0's option file)."""
    try:
        block = image.getexif()
        space = block.get_ifd(IFD.Exif).get(TAG.ColorSpace)
        return space == _ADOBE_RGB or (space == _UNCALIBRATED and _interop_index(block).startswith("R03"))
    except BROKEN:
        return False


def _interop_index(block: Image.Exif) -> str:
    """R98 for sRGB, R03 for Adobe RGB, empty where the block does not say."""
    return str(block.get_ifd(IFD.Interop).get(_INTEROP_INDEX, "")) if IFD.Interop in block.get_ifd(IFD.Exif) else ""


def with_tags(
    block: bytes | None, tags: Mapping[int, str], defaults: Mapping[int, str], dpi: tuple[float, float] | None = None
) -> bytes:
    """Return an EXIF block with text tags of its first directory set, and perhaps the resolution.

    Args:
        block: an existing one, or None.
        tags: set whatever the block had.
        defaults: set only where the block has none.
        dpi: pixels an inch, horizontally and vertically; set only where the block has none.
    """
    exif = Image.Exif()
    exif.load(block or b"")
    for tag, text in {**defaults, **tags}.items():
        if tag in tags or tag not in exif:
            exif[tag] = text.encode().decode("latin-1")
    if dpi is not None and TAG.XResolution not in exif:
        exif[TAG.XResolution], exif[TAG.YResolution], exif[TAG.ResolutionUnit] = *dpi, _INCH
    return _bytes_of(exif)


def _bytes_of(block: Image.Exif) -> bytes:
    for tag, value in list(block.items()):
        if isinstance(value, str):
            block[tag] = _Text(value)
    for directory in (IFD.Exif, IFD.GPSInfo):
        if directory in block:
            tags = block[directory]
            _keep_texts(tags if isinstance(tags, dict) else block.get_ifd(directory))
    return block.tobytes()


def _keep_texts(directory: dict[int, Any]) -> None:
    for tag, value in directory.items():
        if isinstance(value, dict):
            _keep_texts(value)
        elif isinstance(value, str):
            directory[tag] = _Text(value)
