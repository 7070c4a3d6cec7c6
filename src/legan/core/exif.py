"""EXIF blocks of photos: copied to the edited picture without what no longer holds there, and with tags added."""

import struct
from collections.abc import Mapping

from PIL import ExifTags, Image

IFD, TAG = ExifTags.IFD, ExifTags.Base
# Tags below 700 that say something about the photo; the others there describe how a TIFF file stores its pixels.
_DESCRIPTIVE = {
    TAG.DocumentName, TAG.ImageDescription, TAG.Make, TAG.Model, TAG.Orientation, TAG.XResolution, TAG.YResolution,
    TAG.PageName, TAG.ResolutionUnit, TAG.Software, TAG.DateTime, TAG.Artist, TAG.HostComputer, TAG.WhitePoint,
    TAG.PrimaryChromaticities,
}  # fmt: skip
# Other metadata blocks, which travel by themselves: XMP, IPTC, Photoshop, ICC profile, Photoshop layers.
_BLOCKS = {700, 33723, 34377, 34675, 37724}
# What Pillow raises on broken blocks.
BROKEN = (struct.error, TypeError, ValueError, KeyError, IndexError, AttributeError, OSError, SyntaxError, RuntimeError)


def clean(image: Image.Image, size: tuple[int, int]) -> bytes | None:
    """Return the EXIF block of an opened image for its upright, edited copy; None when it has none.

    The orientation becomes 1 (upright), the recorded size the copy's `size` (width, height); thumbnails are left out.

    Raises:
        one of `BROKEN`: the block cannot be read or written again.
    """
    block = image.getexif()
    for tag in [tag for tag in block if (tag < 700 and tag not in _DESCRIPTIVE) or tag in _BLOCKS]:
        del block[tag]
    if not len(block):
        return None
    if TAG.Orientation in block:
        block[TAG.Orientation] = 1
    details = block.get_ifd(IFD.Exif)
    for tag, side in zip((TAG.ExifImageWidth, TAG.ExifImageHeight), size, strict=True):
        if tag in details:
            details[tag] = side
    return block.tobytes()


def with_tags(block: bytes | None, tags: Mapping[int, str], defaults: Mapping[int, str]) -> bytes:
    """Return an EXIF block with text tags of its first directory set; those of `defaults` only where it has none."""
    exif = Image.Exif()
    exif.load(block or b"")
    for tag, text in {**defaults, **tags}.items():
        if tag in tags or tag not in exif:
            exif[tag] = text
    return exif.tobytes()
