"""Marks in edited images: that an algorithm changed them, which software, which weights, and how.

The mark is the IPTC digital source type "composite with trained algorithmic media" (IPTC Photo Metadata Standard 2023.1, property
Iptc4xmpExt:DigitalSourceType), in the XMP of PNG, JPEG and WebP, with properties of our own beside it; EXIF's Software tag repeats
software and weights for programs that read no XMP.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import ExifTags

from legan import __version__
from legan.core import metadata as exif
from legan.core import metadata as xmp
from legan.core.files import sha256_of
from legan.core.images import Photo, decoded
from legan.core.metadata import Metadata, without_long_exif
from legan.core.places import Place

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
LEGAN = "urn:legan:mark:1:"
PREFIXES = {IPTC_EXT: "Iptc4xmpExt", xmp.XMP: "xmp", LEGAN: "legan"}
SOFTWARE = f"legan {__version__}"


@dataclass(frozen=True)
class Mark:
    """What an edited image says about itself.

    Args:
        weights: SHA-256 of the editor's weights file, 64 hexadecimal digits.
        edit: the edit in words, such as `expression=smile lighting=-45 strength=1`.
        software: name and version.
        source_type: an IPTC digital source type (a URI).
        photo: SHA-256 of the photo's file, by which a further run knows that the photo has changed; "" where it was no file.
        readings: what was measured on the edit, in words (`legan.editing.editor`); "" where nothing was.

    Example:
        >>> legan.edit("photo.jpg", lighting="left").mark.edit
        'expression=kept lighting=left strength=1'
    """

    weights: str
    edit: str = ""
    software: str = SOFTWARE
    source_type: str = SOURCE_TYPE
    photo: str = ""
    readings: str = ""


def of_photo(mark: Mark, photo: Photo) -> Mark:
    """Return the mark of an edit of this photo; without its checksum where the photo was no file, or is gone."""
    path = photo.path
    is_there = isinstance(path, Place) or (path is not None and path.is_file())
    return replace(mark, photo=sha256_of(path)) if path is not None and is_there else mark


def marked_metadata(mark: Mark, photo: Photo | None = None) -> Metadata:
    """Return the metadata to write with an edited image: the photo's own, with the mark set in XMP and EXIF."""
    metadata = photo.metadata if photo else Metadata()
    properties: dict[xmp.Name, str | None] = {
        (IPTC_EXT, "DigitalSourceType"): mark.source_type,
        (LEGAN, "Software"): mark.software,
        (LEGAN, "Weights"): f"sha256:{mark.weights}",
        (LEGAN, "Edit"): mark.edit,
        # An edit of an edit: what the first one was made of and measured at does not hold any more.
        (LEGAN, "Photo"): f"sha256:{mark.photo}" if mark.photo else None,
        (LEGAN, "Readings"): mark.readings or None,
    }
    # The creator tool is the first program of an image's life: a photo's own stays.
    creator = (xmp.XMP, "CreatorTool")
    if not metadata.xmp or xmp.read(metadata.xmp, creator) is None:
        properties[creator] = mark.software
    measured = f", {mark.readings}" if mark.readings else ""
    tags: dict[int, str] = {ExifTags.Base.Software: f"{mark.software}, weights sha256:{mark.weights}{measured}"}
    defaults: dict[int, str] = {
        ExifTags.Base.ImageDescription: f"Edited by a trained algorithm ({mark.software}): {mark.source_type}"
    }
    marked = replace(
        metadata,
        xmp=xmp.merge(metadata.xmp, properties, PREFIXES),
        exif=exif.with_tags(metadata.exif, tags, defaults),
    )
    return without_long_exif(marked, metadata.exif)  # the mark stands in XMP all the same


def read_mark(path: str | Path) -> Mark | None:
    """Return the mark of an image file, or None when it bears none of ours.

    Raises:
        ImageError: the file is missing or not an image.

    Example:
        >>> legan.edit("photo.jpg", lighting="left").save("edited.png")
        >>> legan.read_mark("edited.png").edit
        'expression=kept lighting=left strength=1'
        >>> legan.read_mark("photo.jpg") is None
        True
    """
    with decoded(Path(path)) as image:
        packet = image.info.get("xmp")
    if not packet:
        return None
    packet = packet.encode() if isinstance(packet, str) else packet
    weights, source_type = xmp.read(packet, (LEGAN, "Weights")), xmp.read(packet, (IPTC_EXT, "DigitalSourceType"))
    if not weights or not source_type:
        return None
    edit, software = xmp.read(packet, (LEGAN, "Edit")) or "", xmp.read(packet, (LEGAN, "Software")) or ""
    photo = xmp.read(packet, (LEGAN, "Photo")) or ""
    readings = xmp.read(packet, (LEGAN, "Readings")) or ""
    return Mark(weights.removeprefix("sha256:"), edit, software, source_type, photo.removeprefix("sha256:"), readings)
