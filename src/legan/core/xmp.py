"""XMP packets: the XML in which pictures carry metadata (ISO 16684-1). Read safely, changed in place, written back.

Packets come from strangers' files, so they are parsed by defusedxml, which refuses entities and external references. A packet
that is not well-formed XML is treated as absent.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from defusedxml import DefusedXmlException
from defusedxml import minidom as safe_minidom

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


def clean(packet: bytes) -> bytes | None:
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
