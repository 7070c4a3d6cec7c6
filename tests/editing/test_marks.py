"""Marks: written into every format where other programs look for them, kept apart from the photo's own metadata."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from legan import __version__
from legan.core.errors import ImageError
from legan.core.images import load_photo, save_photo
from legan.editing.marks import SOURCE_TYPE, Mark, marked_metadata, read_mark

MARK = Mark(weights="0123456789abcdef" * 4, edit="expression=smile lighting=-45 strength=1")
OWN_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="Camera 3"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
 dc:source="roll &amp; frame"/></rdf:RDF></x:xmpmeta>"""


def marked(folder: Path, ending: str, own_xmp: bytes = OWN_XMP.encode()) -> Path:
    """Write a photo with metadata of its own, edited and marked."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Software] = "Maker", "firmware 7"
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 80, 70)).save(buffer, "JPEG", xmp=own_xmp, exif=exif)
    (folder / "own.jpg").write_bytes(buffer.getvalue())
    photo = load_photo(folder / "own.jpg")
    path = folder / f"marked.{ending}"
    save_photo(photo.image, path, photo, metadata=marked_metadata(MARK, photo))
    return path


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_mark_is_read_back(tmp_path: Path, ending: str) -> None:
    assert read_mark(marked(tmp_path, ending)) == MARK


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_pillow_finds_the_properties(tmp_path: Path, ending: str) -> None:
    with Image.open(marked(tmp_path, ending)) as image:
        described = image.getxmp()["xmpmeta"]["RDF"]["Description"]
        exif = image.getexif()
    own, added = described
    assert added["DigitalSourceType"] == SOURCE_TYPE
    assert added["Weights"] == f"sha256:{MARK.weights}"
    assert "DigitalSourceType" not in own and own["source"] == "roll & frame" and own["CreatorTool"] == "Camera 3"
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif[ExifTags.Base.Software] == f"legan {__version__}, weights sha256:{MARK.weights}"


def test_packets_lie_where_the_formats_say(tmp_path: Path) -> None:
    png = marked(tmp_path, "png").read_bytes()
    text = png.index(b"iTXtXML:com.adobe.xmp\0\0\0\0\0<?xpacket")
    assert png.index(SOURCE_TYPE.encode()) > text and text < png.index(b"IDAT")
    jpeg = marked(tmp_path, "jpg").read_bytes()
    segment = jpeg.index(b"http://ns.adobe.com/xap/1.0/\0<?xpacket")
    assert jpeg[segment - 4 : segment - 2] == b"\xff\xe1"
    assert jpeg[segment : segment + int.from_bytes(jpeg[segment - 2 : segment], "big") - 2].endswith(b'<?xpacket end="w"?>')
    webp = marked(tmp_path, "webp").read_bytes()
    chunk = webp.index(b"XMP ")
    assert webp[:4] == b"RIFF" and webp[12:16] == b"VP8X" and webp[20] & 4, "the header announces XMP"
    assert SOURCE_TYPE.encode() in webp[chunk + 8 : chunk + 8 + int.from_bytes(webp[chunk + 4 : chunk + 8], "little")]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_exiftool_finds_the_properties(tmp_path: Path, ending: str) -> None:
    path = marked(tmp_path, ending)
    found = json.loads(subprocess.check_output(["exiftool", "-j", "-n", "-G", "-Warning", "-Error", "-all", str(path)]))[0]
    assert found["XMP:DigitalSourceType"] == SOURCE_TYPE
    assert found["XMP:Weights"] == f"sha256:{MARK.weights}"
    assert found["XMP:Source"] == "roll & frame"
    assert found["EXIF:Make"] == "Maker"
    assert not any("Warning" in key or "Error" in key for key in found)


def test_photo_without_metadata_and_with_broken_metadata(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30))
    save_photo(image, tmp_path / "a.png", metadata=marked_metadata(MARK))
    assert read_mark(tmp_path / "a.png") == MARK
    assert read_mark(marked(tmp_path, "jpg", own_xmp=b"<not & xml")) == MARK
    bomb = b'<!DOCTYPE a [<!ENTITY b "xxxxxxxx"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'
    assert read_mark(marked(tmp_path, "png", own_xmp=bomb)) == MARK
    assert b"ENTITY" not in (tmp_path / "marked.png").read_bytes()


def test_marking_again_replaces_the_mark(tmp_path: Path) -> None:
    photo = load_photo(marked(tmp_path, "png"))
    second = Mark(weights="f" * 64, edit="expression=scream lighting=kept strength=0.5")
    save_photo(photo.image, tmp_path / "again.png", photo, metadata=marked_metadata(second, photo))
    assert read_mark(tmp_path / "again.png") == second
    assert (tmp_path / "again.png").read_bytes().count(SOURCE_TYPE.encode() + b"</") == 1


def test_images_without_a_mark(tmp_path: Path) -> None:
    save_photo(Image.new("RGB", (40, 30)), tmp_path / "plain.jpg")
    assert read_mark(tmp_path / "plain.jpg") is None
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", xmp=OWN_XMP.encode())
    (tmp_path / "own.jpg").write_bytes(buffer.getvalue())
    assert read_mark(tmp_path / "own.jpg") is None, "another program's digital source type is no mark of ours"
    (tmp_path / "text.png").write_text("hello")
    for name in ("text.png", "nothing.png"):
        with pytest.raises(ImageError, match=r"is a text file|does not exist"):
            read_mark(tmp_path / name)
