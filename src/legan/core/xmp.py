"""XMP packets: the XML in which pictures carry metadata (ISO 16684-1). Read safely, changed in place, written back.

Packets come from strangers' files, so they are parsed by defusedxml, which refuses entities and external references. A packet
that is not well-formed XML is treated as absent.
"""

from collections.abc import Mapping
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from defusedxml import DefusedXmlException
from defusedxml import minidom as safe_minidom

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
# Namespace and name of what no longer holds once a picture was turned upright and edited: the orientation, previews of the
# unedited picture, and the pointer to a second packet that is not copied.
STALE = (
    ("http://ns.adobe.com/tiff/1.0/", "Orientation"),
    (XMP, "Thumbnails"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
)
MAX_DEPTH = 100  # minidom walks recursively
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_TAIL = '\n<?xpacket end="w"?>'

Name = tuple[str, str]  # namespace, local name


def clean(packet: bytes) -> bytes | None:
    """Return the packet without its `STALE` properties, or None when it is not a well-formed packet."""
    document = _parse(packet)
    if document is None:
        return None
    for name in STALE:
        _remove(document, name)
    return _serialise(document)


def merge(packet: bytes | None, properties: Mapping[Name, str | None], prefixes: Mapping[str, str]) -> bytes:
    """Return `packet` with text properties set, whatever it said about them before; the rest of it is kept.

    Args:
        packet: an existing packet; None, or one that is not well-formed, starts a new one.
        properties: (namespace, name) to text; None takes it out.
        prefixes: namespace to the prefix to write it with.
    """
    document = (_parse(packet) if packet else None) or safe_minidom.parseString(_EMPTY)
    rdf = document.getElementsByTagNameNS(RDF, "RDF")[0]
    for name in properties:
        _remove(document, name)

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


def _remove(document: minidom.Document, name: Name) -> None:
    for description in document.getElementsByTagNameNS(RDF, "Description"):
        if description.hasAttributeNS(*name):
            description.removeAttributeNS(*name)
        for child in _children(description, name):
            description.removeChild(child)
        # A description that says nothing more goes too.
        if not description.childNodes and all("xmlns" in key or "about" in key for key in dict(description.attributes.items())):
            description.parentNode.removeChild(description)  # type: ignore[union-attr]


def _children(description: minidom.Element, name: Name) -> list[minidom.Element]:
    elements = [node for node in description.childNodes if isinstance(node, minidom.Element)]
    return [node for node in elements if (node.namespaceURI, node.localName) == name]
