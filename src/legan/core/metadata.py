"""What a photo carries beside its pixels, read so that it can be written again with another image: EXIF, XMP, IPTC, texts, resolution."""

import math
import struct
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, PngImagePlugin

from legan.core import exif, xmp
from legan.core.errors import ImageError

# One JPEG segment holds 65,533 bytes; XMP and EXIF have one each, XMP behind its name.
MAX_JPEG_XMP, MAX_JPEG_EXIF = 65_504, 65_533
_MAX_SEGMENT = 65_533
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_MAX_EXTENSION_PART = 65_400
_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC_RESOURCE, _TIFF_IPTC = 0x0404, 33723
# PNG texts that are other metadata in disguise.
_DISGUISED = (
    "XML:com.adobe.xmp",
    "Raw profile type exif",
    "Raw profile type APP1",
    "Raw profile type xmp",
    "Raw profile type icc",
)
_TURNED_ON_SIDE = (5, 6, 7, 8)  # orientations that exchange width and height


@dataclass(frozen=True)
class Metadata:
    """Ready to be written again: no thumbnail, orientation upright, colours sRGB, nothing about parts of the file that are not copied.

    Args:
        exif, xmp, icc: as in the file.
        iptc: IPTC-IIM captions, which only JPEG holds here.
        comment: of JPEG or GIF.
        texts: keys and texts of PNG.
        dpi: pixels an inch, horizontally and vertically.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None

    def lost_in(self, format: str) -> list[str]:
        """Notes on what a file of this format (PNG, JPEG or WEBP) does not hold."""
        holds_not = {
            "IPTC captions": self.iptc and (format != "JPEG" or len(self.iptc) > _MAX_SEGMENT - 100),
            "PNG texts": self.texts and format != "PNG",
            "comment": self.comment and format == "WEBP",
        }
        return [f"its {what} cannot be kept in {format}" for what, is_lost in holds_not.items() if is_lost]


def read_metadata(image: Image.Image, size: tuple[int, int]) -> tuple[Metadata, int, list[str]]:
    """Read the metadata of an opened image for its upright copy of `size` (width, height); also its orientation (1..8), and notes."""
    notes, block, orientation = [], None, 1
    try:
        orientation = image.getexif().get(exif.TAG.Orientation, 1)
        if orientation in _TURNED_ON_SIDE:
            size = size[1], size[0]
        dpi = _dpi(image, orientation)
        block = exif.clean(image, size)
    except exif.BROKEN:
        notes, dpi = ["its EXIF data is damaged and was left out"], None
    raw = _packet(image)
    packet = xmp.clean(raw) if raw else None
    if raw and packet is None:
        notes.append("its XMP data is damaged or too long and was left out")
    comment = image.info.get("comment")
    texts = tuple((key, text) for key, text in getattr(image, "text", {}).items() if key not in _DISGUISED)
    metadata = Metadata(
        exif=block,
        xmp=packet,
        iptc=_iptc(image),
        comment=comment if isinstance(comment, bytes) else None,
        texts=texts,
        dpi=dpi,
    )
    return metadata, orientation, notes


def save_options(metadata: Metadata, format: str, name: str) -> dict[str, Any]:
    """Return Pillow's options to write metadata in an image of `format` (PNG, JPEG or WEBP).

    Raises:
        ImageError: EXIF that is too long for JPEG.
    """
    options: dict[str, Any] = {"exif": metadata.exif or b"", "icc_profile": metadata.icc}
    if format == "PNG":
        options["pnginfo"] = _png_texts(metadata)
    else:
        options["xmp"] = metadata.xmp or b""
    if format == "WEBP" and metadata.dpi:
        options["exif"] = exif.with_tags(metadata.exif, {}, {}, metadata.dpi)
    elif metadata.dpi:
        options["dpi"] = metadata.dpi
    if format == "JPEG":
        if len(options["exif"]) > MAX_JPEG_EXIF:
            raise ImageError(f"{name}: the photo's EXIF data is too long for JPEG, save as .png or .webp")
        options["xmp"], _ = xmp.split(options["xmp"], MAX_JPEG_XMP)
        if len(options["xmp"]) > MAX_JPEG_XMP:
            raise ImageError(f"{name}: the photo's XMP data is too long for JPEG, save as .png or .webp")
        options["comment"] = (metadata.comment or b"")[:_MAX_SEGMENT]
    return options


def with_segments(data: bytes, metadata: Metadata) -> bytes:
    """Return a JPEG file with the metadata that Pillow does not write: extended XMP and IPTC."""
    segments = b"".join(_segment(0xE1, part) for part in _extension_parts(xmp.split(metadata.xmp or b"", MAX_JPEG_XMP)[1]))
    if metadata.iptc and not metadata.lost_in("JPEG"):
        length = len(metadata.iptc)
        resource = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, length) + metadata.iptc + bytes(length % 2)
        segments += _segment(0xED, _PHOTOSHOP + resource)
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:  # behind the application segments that are there
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + segments + data[at:]


def without_long_exif(metadata: Metadata, fallback: bytes | None) -> Metadata:
    """Return metadata whose EXIF block fits into JPEG: where it does not and `fallback` does, with that."""
    too_long = len(metadata.exif or b"") > MAX_JPEG_EXIF
    return replace(metadata, exif=fallback) if too_long and len(fallback or b"") <= MAX_JPEG_EXIF else metadata


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def _extension_parts(extension: bytes) -> list[bytes]:
    guid = xmp.guid_of(extension).encode()
    return [
        _EXTENSION + guid + struct.pack(">II", len(extension), start) + extension[start : start + _MAX_EXTENSION_PART]
        for start in range(0, len(extension), _MAX_EXTENSION_PART)
    ]


def _packet(image: Image.Image) -> bytes:
    """The XMP packet, joined with its extended one where a JPEG file has that."""
    packet = image.info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if not packet or not (guid := xmp.read(packet, xmp.EXTENDED)):
        return packet
    start = _EXTENSION + guid.encode()
    parts = [data[len(start) :] for _, data in getattr(image, "applist", ()) if data.startswith(start)]
    parts = sorted((part for part in parts if len(part) >= 8), key=lambda part: part[4:8])  # by offset
    extension = b"".join(part[8:] for part in parts)
    return xmp.joined(packet, extension) if parts and len(extension) == int.from_bytes(parts[0][:4], "big") else packet


def _iptc(image: Image.Image) -> bytes | None:
    resources = image.info.get("photoshop")
    found = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else getattr(image, "tag_v2", {}).get(_TIFF_IPTC)
    return found if isinstance(found, bytes) else None


def _dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """The resolution in which a file asks to be printed."""
    dpi, info = image.info.get("dpi"), image.info
    # Pillow reports 72 for JPEG files with an EXIF block that says nothing of it.
    if image.format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2) and exif.TAG.XResolution not in image.getexif():
        return None
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    x, y = (float(value) for value in dpi)
    if not (math.isfinite(x) and math.isfinite(y) and 0 < x < 65_535 and 0 < y < 65_535):
        return None
    return (y, x) if orientation in _TURNED_ON_SIDE else (x, y)


def _png_texts(metadata: Metadata) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    for key, text in metadata.texts:
        info.add_text(key, text)  # as iTXt where Latin-1 does not hold it
    if metadata.comment and "Comment" not in dict(metadata.texts):
        info.add_text("Comment", metadata.comment.decode("utf-8", "replace"))
    return info
