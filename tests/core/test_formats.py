"""One list of formats for every reader: no file starts another program, huge ones are refused unread, further formats are read."""

import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageFile
from tests.core.image_files import POSTSCRIPT, png_of_size, tiff, write
from tests.face_sets import row
from tests.rated_sets import make_rated_set
from tools.landmarks.train import MarkedFaces

from legan import augmentation as augment_shards
from legan.core import images as formats
from legan.core.errors import DataError, ImageError, LeganError
from legan.core.geometry import CROP_SIZE
from legan.core.images import decode_rgb, load_photo, photo_of
from legan.core.listing import find_images
from legan.data.faces import LabelledFaces
from legan.data.import_faces import import_faces
from legan.data.manifest import QUALITY_COLUMNS, read_crop, write_manifest
from legan.editing.marks import read_mark
from legan.evaluation import verification
from legan.faces.align import prepare
from legan.quality import ratings
from legan.requests import StudyRequest
from legan_faces3d.fakes.images import Catalogue
from legan_study.create import create_study

SOURCE = Path(formats.__file__).parent.parent


def one_image_set(folder: Path, data: bytes) -> Path:
    """A data set folder of one image, whatever its bytes are."""
    folder.mkdir()
    (folder / "a.png").write_bytes(data)
    quality = {"kind": "photo", "setting": "photo", "fault": 0.0, "degradation": "none", "strength": 0.0}
    quality |= {"reference": "", "naturalness_distance": float("nan")}
    points = np.zeros(136).tolist()
    facts = {**quality, "path": "a.png", "domain": "photo", "landmarks": points}
    write_manifest([row("p", "smile", "even", **facts)], folder, QUALITY_COLUMNS)
    return folder


READERS: dict[str, Callable[[Path, Path], Any]] = {
    "photo": lambda folder, out: load_photo(folder / "a.png"),
    "crop of a folder": lambda folder, out: prepare(find_images([folder])[0]),
    "data set": lambda folder, out: LabelledFaces([folder], "train", 128).images([0]),
    "manifest row": lambda folder, out: read_crop(folder, row("p", "", "", path="a.png"), CROP_SIZE),
    "landmarks": lambda folder, out: MarkedFaces(folder, "train")[0],
    "faces to synthesize from": lambda folder, out: Catalogue([folder]).image(0),
    "augment": lambda folder, out: augment_shards.aligned_crop(folder, row("p", "", "", path="a.png", name="a"), 128),
    "bin set": lambda folder, out: verification.aligned_crop((folder / "a.png").read_bytes(), "a"),
    "study of a data set": lambda folder, out: create_study(StudyRequest(folder, out, "rating", n_practice=0)),
    "study of a folder": lambda folder, out: create_study(StudyRequest(without_manifest(folder), out, "rating", n_practice=0)),
    "mark": lambda folder, out: read_mark(folder / "a.png"),
    "import": lambda folder, out: import_faces("photo", folder, out),
}


def without_manifest(folder: Path) -> Path:
    (folder / "manifest.parquet").unlink()
    return folder


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `gs` that leaves a file behind when anything starts it; returns that file."""
    started = tmp_path / "started"
    program = write(tmp_path / "gs", f"#!/bin/sh\ntouch '{started}'\n".encode())
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return started


def test_pillow_itself_would_start_ghostscript(ghostscript: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError), Image.open(write(tmp_path / "a.png", POSTSCRIPT)) as image:
        image.load()
    assert ghostscript.exists(), "the trap works"


@pytest.mark.parametrize("reader", READERS)
def test_postscript_named_png_is_refused_by_every_reader(reader: str, ghostscript: Path, tmp_path: Path) -> None:
    folder = one_image_set(tmp_path / "data", POSTSCRIPT)
    with pytest.raises(LeganError, match=r"is a PostScript file: export it|could be used \(not readable\)"):
        READERS[reader](folder, tmp_path / "out")
    assert not ghostscript.exists()


@pytest.mark.parametrize("reader", READERS)
def test_huge_images_are_refused_by_every_reader_before_any_work(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    folder = one_image_set(tmp_path / "data", png_of_size(30_000, 30_000))
    with pytest.raises(LeganError, match=r"too large, at most 1(00)? megapixels|could be used \(not readable\)"):
        READERS[reader](folder, tmp_path / "out")


def test_distances_of_ratings_read_no_other_format(ghostscript: Path, tmp_path: Path) -> None:
    data = make_rated_set(tmp_path / "data", n_identities=2)
    (data / "p000_0.png").write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"p000_0\.png .*is a PostScript file"):
        ratings.simulate(data, tmp_path / "r.csv")
    assert not ghostscript.exists()


def test_long_files_are_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "a.heic", b"\0\0\0\x18ftypheic")
    os.truncate(path, formats.MAX_BYTES + 1)
    with pytest.raises(ImageError, match="has 1024 MiB: too large"):
        load_photo(path)


def test_images_are_opened_in_one_place() -> None:
    """`Image.open` and OpenCV's decoder know no limits: all else goes through `decoded`, or names its one format."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Image.open" in text or "cv2.im" in text else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            what = f"{ast.unparse(node.func.value)}.{node.func.attr}"
            opens = what in ("Image.open", "cv2.imread") and not any(word.arg == "formats" for word in node.keywords)
            assert not opens, f"{path.name}: {what} without a list of formats"
            # What was encoded on the line above, and Radiance HDR, which Pillow does not read, once its size is known.
            decodes_own = "imencode" in text or path.name == "lights.py"
            assert what != "cv2.imdecode" or decodes_own, f"{path.name}: cv2.imdecode of foreign bytes"


# Further formats


def gradient() -> Image.Image:
    y, x = np.mgrid[:32, :48]
    return Image.fromarray(np.stack([x * 5, y * 7, 0 * x + 40], -1).astype(np.uint8))


@pytest.mark.parametrize("ending", ["heic", "HEIF", "hif"])
def test_heic_of_a_phone(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Phone works", 6
    heif = pillow_heif.from_pillow(gradient())
    path = tmp_path / f"IMG_0001.{ending}"
    heif.save(path, quality=-1, exif=exif.tobytes())
    photo = load_photo(path)
    upright = np.asarray(gradient().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert photo.image.size == (32, 48) and np.abs(np.asarray(photo.image) - upright).mean() < 3
    assert photo.metadata.exif is not None and b"Phone works" in photo.metadata.exif and photo.notes == ()


def test_main_image_of_several_in_a_heic_file(tmp_path: Path) -> None:
    heif = pillow_heif.from_pillow(gradient())
    heif.add_from_pillow(Image.new("RGB", (64, 64), "red"))
    heif.save(tmp_path / "burst.heic", quality=-1)
    photo = load_photo(tmp_path / "burst.heic")
    assert photo.image.size == (48, 32) and photo.notes == ("it holds 2 images: its main one is used",)


@pytest.mark.parametrize(("ending", "mode"), [("ppm", "RGB"), ("pgm", "L"), ("pbm", "1"), ("pnm", "RGB")])
def test_portable_maps(tmp_path: Path, ending: str, mode: str) -> None:
    gradient().convert(mode).save(tmp_path / f"a.{ending}", "PPM")
    photo = load_photo(tmp_path / f"a.{ending}")
    assert np.array_equal(np.asarray(photo.image), np.asarray(gradient().convert(mode).convert("RGB")))


def test_pages_are_not_called_an_animation(tmp_path: Path) -> None:
    gradient().save(tmp_path / "scan.tif", save_all=True, append_images=[gradient(), gradient()])
    assert load_photo(tmp_path / "scan.tif").notes == ("it holds 3 images: its first is used",)


def test_raw_files_are_not_taken_for_their_preview(tmp_path: Path) -> None:
    for more in ((254, 4, 1), (50706, 4, 0x01040000)):  # a reduced image; a DNG's version
        path = write(tmp_path / "raw.dng", tiff(64, 32, bytes(64 * 32), 8, 1, more=(more,)))
        with pytest.raises(ImageError, match="a camera's raw file, of which only a preview could be read: export it"):
            load_photo(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P6 but \xff\xfe not really", "is damaged"),
        (bytes(range(128, 256)), "is not an image, or is damaged"),
        ("Grüße aus Lüneburg, kein Bild.".encode(), "is a text file"),
        (("ü" * 3000).encode()[:4097], "is a text file"),  # cut within a letter
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"\xff\x0a\xfa\x7f", "is a JPEG XL image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "is a video or a camera's raw file"),
        (b"II*\0\x08\0\0\0", "a TIFF of a kind that cannot be read"),
        (POSTSCRIPT, "is a PostScript file"),
    ],
)
def test_messages_say_what_a_file_is(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_photo(write(tmp_path / "a.png", data))


def test_crops_are_read_as_photos_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    gradient().save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(tmp_path / "deep.png")
    for name in ("turned.png", "deep.png"):
        assert np.array_equal(decode_rgb((tmp_path / name).read_bytes(), name), np.asarray(load_photo(tmp_path / name).image))


def test_an_image_in_memory_can_be_read_again() -> None:
    image = gradient()
    image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 2
    first, second = photo_of(image), photo_of(image)
    assert np.array_equal(np.asarray(first.image), np.asarray(second.image))
