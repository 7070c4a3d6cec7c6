"""Metadata of image files: EXIF, XMP, IPTC and texts, read, cleaned and written again with an edited image."""

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from defusedxml import DefusedXmlException
from defusedxml import minidom as safe_minidom
from PIL import ExifTags, Image, PngImagePlugin

from legan.core.errors import ImageError

# EXIF blocks of photos: copied to the edited image without what no longer holds there, and with tags added.


IFD, TAG = ExifTags.IFD, ExifTags.Base
# Tags below 700 that say something about the photo; the others there describe how a TIFF file stores its pixels and colours.
_DESCRIPTIVE = {
    TAG.DocumentName, TAG.ImageDescription, TAG.Make, TAG.Model, TAG.Orientation, TAG.XResolution, TAG.YResolution,
    TAG.PageName, TAG.ResolutionUnit, TAG.Software, TAG.DateTime, TAG.Artist, TAG.HostComputer,
}  # fmt: skip
# Other metadata blocks, which travel by themselves: XMP, IPTC, Photoshop, ICC profile, Photoshop layers.
_XMP_TAG = 700
_BLOCKS = {_XMP_TAG, 33723, 34377, 34675, 37724}
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


def clean_exif(image: Image.Image, size: tuple[int, int]) -> bytes | None:
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


# XMP packets: the XML in which images carry metadata (ISO 16684-1). Read safely, changed in place, written back.
#
# Packets come from strangers' files, so they are parsed by defusedxml, which refuses entities and external references. A packet
# that is not well-formed XML is treated as absent.


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
# Namespace and name of what no longer holds once an image was turned upright, converted to sRGB and edited: the orientation, the
# colour space, previews of the unedited image, and the pointer to a second packet, which is merged on reading.
TIFF, EXIF, PHOTOSHOP = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/photoshop/1.0/"
EXTENDED = ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP")
STALE = (
    *((TIFF, name) for name in ("Orientation", "WhitePoint", "PrimaryChromaticities", "TransferFunction")),
    *((EXIF, name) for name in ("ColorSpace", "Gamma")),
    *((PHOTOSHOP, name) for name in ("ICCProfile", "ColorMode")),
    (XMP, "Thumbnails"),
    EXTENDED,
)
# Namespaces that speak of other parts of the file (gain map, depth, video, sound), which are not copied.
_PARTS = (
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/pixeldatainfo/",
    "http://ns.apple.com/depth",
    "http://ns.google.com/photos/",
    "http://ns.xiaomi.com/photos/",
    "http://ns.samsung.com/",
    "http://cipa.jp/xmp/dynamic-depth",
)
MAX_DEPTH = 100  # minidom walks recursively
MAX_BYTES = 4 << 20  # some milliseconds a property
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_XMLNS = "http://www.w3.org/2000/xmlns/"
_POINTER_BYTES = 250  # what the pointer to an extended packet takes
_TAIL = '\n<?xpacket end="w"?>'

Name = tuple[str, str]  # namespace, local name


def clean_xmp(packet: bytes) -> bytes | None:
    """Return the packet without its `STALE` properties and those of other parts of the file; None when it is not well-formed."""
    document = _parse(packet)
    if document is None:
        return None
    for name in STALE:
        _remove(document, lambda node, name=name: (node.namespaceURI, node.localName) == name)  # type: ignore[misc]
    _remove(document, lambda node: (node.namespaceURI or "").startswith(_PARTS))
    _forget_prefixes(document)
    return _serialise(document)


def joined(packet: bytes, extension: bytes) -> bytes:
    """Return a packet with the properties of its extended packet (XMP specification, part 3, section 1.1.3.1)."""
    document, other = _parse(packet), _parse(extension)
    if document is None or other is None:
        return packet
    rdf = document.getElementsByTagNameNS(RDF, "RDF")[0]
    for description in other.getElementsByTagNameNS(RDF, "RDF")[0].childNodes:
        rdf.appendChild(document.importNode(description, deep=True))
    return _serialise(document)


def split(packet: bytes, n_bytes: int) -> tuple[bytes, bytes]:
    """Split a packet that is too long for one JPEG segment: its longest properties go to an extended packet.

    Args:
        packet: a well-formed packet.
        n_bytes: what the first part may hold.

    Returns:
        the first part, which names the second by its MD5 sum, and the second, `b""` where all fits.
    """
    document = _parse(packet)
    if len(packet) <= n_bytes or document is None:
        return packet, b""
    other = safe_minidom.parseString(_EMPTY)
    rdf = other.getElementsByTagNameNS(RDF, "RDF")[0]
    excess = len(_serialise(document)) - (n_bytes - _POINTER_BYTES)
    for node in sorted(_properties(document), key=_length, reverse=True):
        if excess > 0:
            excess -= _length(node)
            rdf.appendChild(_moved(other, node))
    extension = other.documentElement.toxml().encode()  # type: ignore[union-attr]
    return merge(_serialise(document), {EXTENDED: guid_of(extension)}, {EXTENDED[0]: "xmpNote"}), extension


def guid_of(extension: bytes) -> str:
    """Return the MD5 sum by which a packet names its extended packet."""
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def merge(packet: bytes | None, properties: Mapping[Name, str | None], prefixes: Mapping[str, str]) -> bytes:
    """Return `packet` with text properties set, whatever it said about them before; the rest of it is kept.

    Args:
        packet: an existing packet; None, or one that is not well-formed, starts a new one.
        properties: (namespace, name) to text; None takes it out.
        prefixes: namespace to the prefix to write it with.
    """
    document = (_parse(packet) if packet else None) or safe_minidom.parseString(_EMPTY)
    rdf = document.getElementsByTagNameNS(RDF, "RDF")[0]
    _remove(document, lambda node: (node.namespaceURI, node.localName) in properties)

    # All descriptions of one packet speak about the same thing: repeat what the first one calls it.
    described = document.getElementsByTagNameNS(RDF, "Description")
    about = described[0].getAttributeNS(RDF, "about") if described else ""
    description = document.createElementNS(RDF, "rdf:Description")
    description.setAttribute("xmlns:rdf", RDF)
    description.setAttributeNS(RDF, "rdf:about", about)
    for (namespace, local_name), text in properties.items():
        if text is None:
            continue
        description.setAttribute(f"xmlns:{prefixes[namespace]}", namespace)
        element = document.createElementNS(namespace, f"{prefixes[namespace]}:{local_name}")
        element.appendChild(document.createTextNode(text))
        description.appendChild(element)
    rdf.appendChild(description)
    return _serialise(document)


def read(packet: bytes, name: Name) -> str | None:
    """Return the text of the property `name` (namespace, local name), or None when the packet has none."""
    document = _parse(packet)
    if document is None:
        return None
    for description in document.getElementsByTagNameNS(RDF, "Description"):
        if description.hasAttributeNS(*name):
            return description.getAttributeNS(*name)
        for child in _children(description, name):
            return "".join(node.data for node in child.childNodes if node.nodeType == node.TEXT_NODE).strip()
    return None


def _parse(packet: bytes) -> minidom.Document | None:
    if len(packet) > MAX_BYTES:
        return None
    try:
        document = safe_minidom.parseString(packet.strip(b"\x00 \r\n\t"), forbid_dtd=True)  # type: ignore[arg-type]  # bytes carry their encoding
    except (ExpatError, DefusedXmlException, ValueError, LookupError):
        return None
    if _depth(document) > MAX_DEPTH or not document.getElementsByTagNameNS(RDF, "RDF"):
        return None
    return document


def _depth(document: minidom.Document) -> int:
    level: list[minidom.Node] = list(document.childNodes)
    depth = 0
    while level:
        depth, level = depth + 1, [child for node in level for child in node.childNodes]
    return depth


def _serialise(document: minidom.Document) -> bytes:
    return (_HEAD + document.documentElement.toxml() + _TAIL).encode()  # type: ignore[union-attr]


def _remove(document: minidom.Document, is_meant: Callable[[minidom.Node], bool]) -> None:
    """Remove the properties, elements or attributes, for which `is_meant` holds."""
    for description in document.getElementsByTagNameNS(RDF, "Description"):
        for attribute in [a for a in _attributes(description) if is_meant(a)]:
            description.removeAttributeNode(attribute)
        for child in [c for c in description.childNodes if isinstance(c, minidom.Element) and is_meant(c)]:
            description.removeChild(child)
        _remove_empty(description)


def _forget_prefixes(document: minidom.Document) -> None:
    """Remove the declarations of namespaces of other parts that nothing in the packet is of."""
    elements = document.getElementsByTagName("*")
    used = {node.namespaceURI for element in elements for node in (element, *_attributes(element))}
    for element in elements:
        for attribute in _attributes(element):
            if attribute.namespaceURI == _XMLNS and attribute.value.startswith(_PARTS) and attribute.value not in used:
                element.removeAttributeNode(attribute)


def _remove_empty(description: minidom.Element) -> None:
    """Remove a description of the packet that says nothing more."""
    says_something = any(a.namespaceURI not in (_XMLNS, RDF) and a.name != "about" for a in _attributes(description))
    is_empty = not any(isinstance(child, minidom.Element) for child in description.childNodes)
    parent = description.parentNode
    if is_empty and not says_something and parent is not None and parent.localName == "RDF":
        parent.removeChild(description)


def _attributes(element: minidom.Element) -> list[minidom.Attr]:
    return [element.attributes.item(i) for i in range(element.attributes.length)]  # type: ignore[misc]


def _properties(document: minidom.Document) -> list[minidom.Node]:
    """The properties of a packet: elements of its descriptions, and attributes of other namespaces than RDF and XML's own."""
    rdf = document.getElementsByTagNameNS(RDF, "RDF")[0]
    descriptions = [node for node in rdf.childNodes if isinstance(node, minidom.Element)]
    found: list[minidom.Node] = []
    for description in descriptions:
        found += [a for a in _attributes(description) if a.namespaceURI not in (None, _XMLNS, RDF)]
        found += [child for child in description.childNodes if isinstance(child, minidom.Element)]
    return found


def _length(node: minidom.Node) -> int:
    """Bytes that a property takes, about."""
    return len((node.value if isinstance(node, minidom.Attr) else node.toxml()).encode())  # type: ignore[attr-defined]


def _moved(document: minidom.Document, node: minidom.Node) -> minidom.Element:
    """Take a property out of its packet; returns a description of `document` that holds it, with the prefixes it needs."""
    owner: Any = node.ownerElement if isinstance(node, minidom.Attr) else node.parentNode
    description = document.importNode(owner, deep=False)
    for attribute in _attributes(description):
        if attribute.namespaceURI not in (_XMLNS, RDF):
            description.removeAttributeNode(attribute)
    declared = owner
    while isinstance(declared, minidom.Element):  # prefixes that stand further out
        for attribute in _attributes(declared):
            if attribute.namespaceURI == _XMLNS and not description.hasAttribute(attribute.name):
                description.setAttributeNS(_XMLNS, attribute.name, attribute.value)
        declared = declared.parentNode
    if isinstance(node, minidom.Attr):
        owner.removeAttributeNode(node)
        description.setAttributeNS(node.namespaceURI, node.name, node.value)
    elif isinstance(node, minidom.Element):
        owner.removeChild(node)
        description.appendChild(document.importNode(node, deep=True))
    _remove_empty(owner)
    return description


def _children(description: minidom.Element, name: Name) -> list[minidom.Element]:
    elements = [node for node in description.childNodes if isinstance(node, minidom.Element)]
    return [node for node in elements if (node.namespaceURI, node.localName) == name]


# What a photo carries beside its pixels, read so that it can be written again with another image: EXIF, XMP, IPTC, texts, resolution.


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
        """Notes on what a file of this format (PNG, JPEG, WEBP or TIFF) does not hold."""
        holds_not = {
            "IPTC captions": self.iptc and (format != "JPEG" or len(self.iptc) > _MAX_SEGMENT - 100),
            "PNG texts": self.texts and format != "PNG",
            "comment": self.comment and format in ("WEBP", "TIFF"),
        }
        return [f"its {what} cannot be kept in {format}" for what, is_lost in holds_not.items() if is_lost]


def read_metadata(image: Image.Image, size: tuple[int, int]) -> tuple[Metadata, int, list[str]]:
    """Read the metadata of an opened image for its upright copy of `size` (width, height); also its orientation (1..8), and notes."""
    notes, block, orientation = [], None, 1
    try:
        orientation = image.getexif().get(TAG.Orientation, 1)
        if orientation in _TURNED_ON_SIDE:
            size = size[1], size[0]
        dpi = _dpi(image, orientation)
        block = clean_exif(image, size)
    except BROKEN:
        notes, dpi = ["its EXIF data is damaged and was left out"], None
    raw = _packet(image)
    packet = clean_xmp(raw) if raw else None
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
    """Return Pillow's options to write metadata in an image of `format` (PNG, JPEG, WEBP or TIFF).

    Raises:
        ImageError: EXIF that is too long for JPEG.
    """
    options: dict[str, Any] = {"exif": metadata.exif or b"", "icc_profile": metadata.icc}
    if format == "PNG":
        options["pnginfo"] = _png_texts(metadata)
    elif format == "TIFF":  # its first directory is that of EXIF
        block = Image.Exif()
        block.load(metadata.exif or b"")
        if metadata.xmp:
            block[_XMP_TAG] = metadata.xmp
        options["exif"] = block
    else:
        options["xmp"] = metadata.xmp or b""
    if format == "WEBP" and metadata.dpi:
        options["exif"] = with_tags(metadata.exif, {}, {}, metadata.dpi)
    elif metadata.dpi:
        options["dpi"] = metadata.dpi
    if format == "JPEG":
        if len(options["exif"]) > MAX_JPEG_EXIF:
            raise ImageError(f"{name}: the photo's EXIF data is too long for JPEG, save as .png or .webp")
        options["xmp"], _ = split(options["xmp"], MAX_JPEG_XMP)
        if len(options["xmp"]) > MAX_JPEG_XMP:
            raise ImageError(f"{name}: the photo's XMP data is too long for JPEG, save as .png or .webp")
        options["comment"] = (metadata.comment or b"")[:_MAX_SEGMENT]
    return options


def with_own_colours(metadata: Metadata, profile: bytes) -> Metadata:
    """Return metadata of an image whose colours are those of an ICC profile, not sRGB."""
    block = Image.Exif()
    block.load(metadata.exif or b"")
    details = dict(block.get_ifd(IFD.Exif))
    if TAG.ColorSpace in details:
        details[TAG.ColorSpace] = _UNCALIBRATED
        block[IFD.Exif] = details
    return replace(metadata, icc=profile, exif=_bytes_of(block) if metadata.exif else None)


def with_segments(data: bytes, metadata: Metadata) -> bytes:
    """Return a JPEG file with the metadata that Pillow does not write: extended XMP and IPTC."""
    segments = b"".join(_segment(0xE1, part) for part in _extension_parts(split(metadata.xmp or b"", MAX_JPEG_XMP)[1]))
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
    guid = guid_of(extension).encode()
    return [
        _EXTENSION + guid + struct.pack(">II", len(extension), start) + extension[start : start + _MAX_EXTENSION_PART]
        for start in range(0, len(extension), _MAX_EXTENSION_PART)
    ]


def _packet(image: Image.Image) -> bytes:
    """The XMP packet, joined with its extended one where a JPEG file has that."""
    packet = image.info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if not packet or not (guid := read(packet, EXTENDED)):
        return packet
    start = _EXTENSION + guid.encode()
    parts = [data[len(start) :] for _, data in getattr(image, "applist", ()) if data.startswith(start)]
    parts = sorted((part for part in parts if len(part) >= 8), key=lambda part: part[4:8])  # by offset
    extension = b"".join(part[8:] for part in parts)
    return joined(packet, extension) if parts and len(extension) == int.from_bytes(parts[0][:4], "big") else packet


def _iptc(image: Image.Image) -> bytes | None:
    resources = image.info.get("photoshop")
    found = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else getattr(image, "tag_v2", {}).get(_TIFF_IPTC)
    return found if isinstance(found, bytes) else None


def _dpi(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """The resolution in which a file asks to be printed."""
    dpi, info = image.info.get("dpi"), image.info
    # Pillow reports 72 for JPEG files with an EXIF block that says nothing of it.
    if image.format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2) and TAG.XResolution not in image.getexif():
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
