"""Metadata of photos: kept to the byte where it holds, gone where it speaks of what is not copied, and said where it is lost."""

import io
import struct
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from tests.core.image_files import png_chunk

from legan.core import metadata as xmp
from legan.core.images import encode_photo, load_photo, save_photo
from legan.core.metadata import MAX_JPEG_EXIF, MAX_JPEG_XMP, Metadata
from legan.editing.marks import Mark, marked_metadata, read_mark

TEXT = "Légende 李"
GAIN_MAP = ("hdr-gain-map", "GainMap", "MotionPhoto", "MicroVideo", "HDRGainMap", "depthmap", "GDepth")
PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:G="http://ns.google.com/photos/1.0/camera/"
 xmlns:C="http://ns.google.com/photos/1.0/container/" xmlns:I="http://ns.google.com/photos/1.0/container/item/"
 xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" h:Version="1.0" G:MotionPhoto="1" G:MicroVideoOffset="1234"
 GDepth:Format="RangeInverse" exif:ColorSpace="65535" photoshop:ICCProfile="Display P3" photoshop:City="Köln" dc:source="%s">
<C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><C:Item I:Semantic="GainMap" I:Length="25000"/></rdf:li></rdf:Seq>
</C:Directory><HDRGainMap:HDRGainMapVersion>65536</HDRGainMap:HDRGainMapVersion></rdf:Description></rdf:RDF></x:xmpmeta>"""
DC_SOURCE = ("http://purl.org/dc/elements/1.1/", "source")


def image() -> Image.Image:
    return Image.new("RGB", (64, 48), (90, 120, 150))


def through(path: Path, format: str = "JPEG") -> bytes:
    """A photo read and written again."""
    photo = load_photo(path)
    return encode_photo(photo.image, format, photo)


def opened(data: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(data))
    found.load()
    return found


def exif_with(tag: int, kind: int, value: bytes) -> bytes:
    """An EXIF block of one tag, big-endian."""
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, tag, kind, len(value), 26) + bytes(4) + value


# Text


@pytest.mark.parametrize("text", [TEXT.encode(), "Légende".encode("latin-1"), b"plain"], ids=["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_texts_keep_their_bytes(tmp_path: Path, text: bytes, format: str) -> None:
    image().save(tmp_path / "a.jpg", exif=exif_with(ExifTags.Base.ImageDescription, 2, text + b"\0"))
    assert text in through(tmp_path / "a.jpg", format)


def test_exif_texts_survive_the_mark(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = TEXT.encode()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.UserComment] = b"UNICODE\0" + TEXT.encode("utf-16-be")
    details[0xA430] = TEXT.encode()  # the camera's owner
    image().save(tmp_path / "a.jpg", exif=exif.tobytes())
    photo = load_photo(tmp_path / "a.jpg")
    mark = Mark("ab" * 32, "Lächeln")
    save_photo(photo.image, tmp_path / "b.jpg", photo, metadata=marked_metadata(mark, photo))
    data = (tmp_path / "b.jpg").read_bytes()
    assert data.count(TEXT.encode()) == 2 and TEXT.encode("utf-16-be") in data
    assert read_mark(tmp_path / "b.jpg") == mark


# Lost


@pytest.mark.parametrize(
    ("ending", "format"), [("jpg", "JPEG"), ("jpg", "PNG"), ("png", "PNG"), ("png", "JPEG"), ("tif", "PNG"), ("bmp", "JPEG")]
)
def test_print_resolution_is_kept(tmp_path: Path, ending: str, format: str) -> None:
    image().save(tmp_path / f"a.{ending}", dpi=(300, 150))
    assert opened(through(tmp_path / f"a.{ending}", format)).info["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_resolution_turns_with_the_image_and_goes_to_exif_in_webp(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image().save(tmp_path / "a.jpg", dpi=(300, 150), exif=exif)
    assert opened(through(tmp_path / "a.jpg")).info["dpi"] == (150, 300)
    found = opened(through(tmp_path / "a.jpg", "WEBP")).getexif()
    assert (found[ExifTags.Base.XResolution], found[ExifTags.Base.YResolution], found[ExifTags.Base.ResolutionUnit]) == (
        150,
        300,
        2,
    )


def test_no_resolution_is_made_up(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera works"
    image().save(tmp_path / "a.jpg", exif=exif)
    assert load_photo(tmp_path / "a.jpg").metadata.dpi is None
    assert "dpi" not in opened(through(tmp_path / "a.jpg", "PNG")).info


def with_iptc(path: Path, caption: bytes) -> bytes:
    """A JPEG with an IPTC caption and another Photoshop resource; returns the IPTC block."""
    block = b"\x1c\x02\x78" + struct.pack(">H", len(caption)) + caption
    resources = b"Photoshop 3.0\0"
    for code, data in ((0x040C, b"thumbnail"), (0x0404, block)):
        resources += b"8BIM" + struct.pack(">HHI", code, 0, len(data)) + data + bytes(len(data) % 2)
    buffer = io.BytesIO()
    image().save(buffer, "JPEG", comment=b"by hand")
    data = buffer.getvalue()
    path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(resources) + 2) + resources + data[2:])
    return block


def test_iptc_captions_and_comments_are_kept(tmp_path: Path) -> None:
    block = with_iptc(tmp_path / "a.jpg", TEXT.encode())
    saved = opened(through(tmp_path / "a.jpg"))
    assert saved.info["photoshop"] == {0x0404: block} and saved.info["comment"] == b"by hand"
    metadata = load_photo(tmp_path / "a.jpg").metadata
    assert metadata.lost_in("JPEG") == []
    assert metadata.lost_in("PNG") == ["its IPTC captions cannot be kept in PNG"]
    assert metadata.lost_in("WEBP") == ["its IPTC captions cannot be kept in WEBP", "its comment cannot be kept in WEBP"]
    assert opened(through(tmp_path / "a.jpg", "PNG")).text["Comment"] == "by hand"


def test_texts_of_png_are_kept(tmp_path: Path) -> None:
    image().save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    text = png_chunk(b"tEXt", b"Author\0Ann") + png_chunk(b"iTXt", b"Title\0\0\0de\0\0" + TEXT.encode())
    (tmp_path / "a.png").write_bytes(data[:33] + text + data[33:])
    assert opened(through(tmp_path / "a.png", "PNG")).text == {"Author": "Ann", "Title": TEXT}
    assert load_photo(tmp_path / "a.png").metadata.lost_in("JPEG") == ["its PNG texts cannot be kept in JPEG"]


# Stale


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_nothing_is_said_of_parts_that_are_not_copied(tmp_path: Path, format: str) -> None:
    image().save(tmp_path / "a.jpg", xmp=(PACKET % "film").encode())
    packet = opened(through(tmp_path / "a.jpg", format)).info["xmp"]
    packet = packet if isinstance(packet, str) else packet.decode()
    assert not [word for word in (*GAIN_MAP, "ColorSpace", "ICCProfile") if word in packet]
    assert "Köln" in packet and "film" in packet


# Long


def jpeg_with_xmp(path: Path, n_bytes: int) -> str:
    """A JPEG whose XMP packet takes `n_bytes`; returns its longest property."""
    packet = PACKET % "%s"
    text = "a" * (n_bytes - len((packet % "").encode()))
    image().save(path, xmp=(packet % text).encode())
    return text


@pytest.mark.parametrize("n_bytes", [60_000, MAX_JPEG_XMP - 1000, MAX_JPEG_XMP])
def test_long_xmp_leaves_room_for_the_mark(tmp_path: Path, n_bytes: int) -> None:
    text = jpeg_with_xmp(tmp_path / "a.jpg", n_bytes)
    for source in ("a.jpg", "b.jpg"):  # what was written is read, and written, again
        photo = load_photo(tmp_path / source)
        assert photo.metadata.xmp is not None and xmp.read(photo.metadata.xmp, DC_SOURCE) == text
        save_photo(photo.image, tmp_path / "b.jpg", photo, metadata=marked_metadata(Mark("ab" * 32), photo))
        assert read_mark(tmp_path / "b.jpg") == Mark("ab" * 32)
    assert load_photo(tmp_path / "b.jpg").metadata.xmp.count(b"Iptc4xmpExt:DigitalSourceType>") == 2


def test_xmp_longer_than_a_segment_is_extended(tmp_path: Path) -> None:
    text = "b" * 150_000
    packet = xmp.merge(None, {DC_SOURCE: text, (xmp.XMP, "Label"): "short"}, {DC_SOURCE[0]: "dc", xmp.XMP: "xmp"})
    save_photo(image(), tmp_path / "a.jpg", metadata=Metadata(xmp=packet))
    with Image.open(tmp_path / "a.jpg") as saved:
        first = saved.info["xmp"]
        parts = [data for _, data in saved.applist if data.startswith(b"http://ns.adobe.com/xmp/extension/\0")]
    assert len(parts) == 3 and xmp.read(first, DC_SOURCE) is None and xmp.read(first, (xmp.XMP, "Label")) == "short"
    guid = xmp.read(first, xmp.EXTENDED)
    assert guid is not None and all(part[35:67] == guid.encode() for part in parts)
    packet = load_photo(tmp_path / "a.jpg").metadata.xmp
    assert packet is not None and xmp.read(packet, DC_SOURCE) == text and xmp.read(packet, xmp.EXTENDED) is None


def test_exif_that_fills_its_segment_keeps_its_bytes(tmp_path: Path) -> None:
    note = b"n" * (MAX_JPEG_EXIF - 200)
    image().save(tmp_path / "a.jpg", exif=exif_with(ExifTags.Base.ImageDescription, 2, note + b"\0"))
    photo = load_photo(tmp_path / "a.jpg")
    save_photo(photo.image, tmp_path / "b.jpg", photo, metadata=marked_metadata(Mark("ab" * 32), photo))
    assert note in (tmp_path / "b.jpg").read_bytes() and read_mark(tmp_path / "b.jpg") is not None


def test_xmp_of_many_short_properties_is_split() -> None:
    names = {(DC_SOURCE[0], f"p{i}"): "x" * 50 for i in range(1200)}
    first, second = xmp.split(xmp.merge(None, names, {DC_SOURCE[0]: "dc"}), MAX_JPEG_XMP)
    assert len(first) <= MAX_JPEG_XMP and second
    joined = xmp.joined(first, second)
    assert all(xmp.read(joined, (DC_SOURCE[0], f"p{i}")) == "x" * 50 for i in (0, 600, 1199))
