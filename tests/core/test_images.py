"""Photos in and out: every mode, orientation, colour profiles, metadata, damaged files."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile

from legan.core import images
from legan.core.errors import ImageError, LeganError
from legan.core.images import encode_photo, load_photo, photo_of, save_photo

XMP_PACKET = b"""<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:tiff='http://ns.adobe.com/tiff/1.0/'
 xmlns:xmp='http://ns.adobe.com/xap/1.0/' tiff:Orientation='6' dc:source='a roll of film'>
<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>"""


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards: every pixel tells where it is."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 5, y * 7, 0 * x + 40], -1).astype(np.uint8))


def photo_with_metadata(orientation: int = 6) -> bytes:
    """A JPEG with EXIF (camera, GPS, a thumbnail), XMP, and the orientation tag."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera works"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 48
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageHeight] = 32
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    block = bytearray(exif.tobytes())
    thumbnail = encode_photo(gradient(16, 16), "JPEG")
    append_thumbnail(block, thumbnail)
    buffer = io.BytesIO()
    gradient().save(buffer, "JPEG", exif=bytes(block), xmp=XMP_PACKET, quality=95, subsampling=0)
    return buffer.getvalue()


def append_thumbnail(block: bytearray, thumbnail: bytes) -> None:
    """Chain a second directory with a JPEG thumbnail to an EXIF block that Pillow wrote (big endian, behind 6 bytes)."""
    tiff = block[6:]
    (n_entries,) = struct.unpack(">H", tiff[8:10])
    link = 10 + 12 * n_entries
    start = len(tiff)
    entries = [(0x0103, 3, 1, 6 << 16), (0x0201, 4, 1, start + 2 + 36 + 4), (0x0202, 4, 1, len(thumbnail))]
    directory = struct.pack(">H", 3) + b"".join(struct.pack(">HHLL", *entry) for entry in entries) + bytes(4)
    block[6 + link : 10 + link] = struct.pack(">L", start)
    block += directory + thumbnail


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that claims a size in its header and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


# Modes


def save_as(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def test_grey_palette_and_alpha_modes_become_rgb(tmp_path: Path) -> None:
    image = gradient()
    grey = load_photo(save_as(tmp_path, image.convert("L"), "grey.png"))
    assert np.array_equal(np.asarray(grey.image), np.asarray(image.convert("L").convert("RGB")))
    palette = image.quantize(200)
    assert np.array_equal(np.asarray(load_photo(save_as(tmp_path, palette, "p.png")).image), np.asarray(palette.convert("RGB")))
    one_bit = load_photo(save_as(tmp_path, image.convert("1"), "bits.png"))
    assert set(np.unique(one_bit.image)) <= {0, 255}
    assert grey.alpha is None and grey.notes == ()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 64 * 32).reshape(32, 64).round().astype(np.uint16)
    photo = load_photo(save_as(tmp_path, Image.fromarray(levels), "deep.png"))
    expected = np.round(levels / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(photo.image)[..., 0], expected)
    assert photo.notes == () and photo.deep is not None
    tiff = load_photo(save_as(tmp_path, Image.fromarray(levels), "deep.tif"))
    assert np.array_equal(np.asarray(tiff.image)[..., 2], expected)


def test_sixteen_bit_colour_png(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    levels = (np.asarray(gradient()).astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + levels[i * 48 * 6 : (i + 1) * 48 * 6] for i in range(32))
    header = struct.pack(">LLBBBBB", 48, 32, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(data)
    assert np.array_equal(np.asarray(load_photo(tmp_path / "deep.png").image), np.asarray(gradient()))


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    flat = Image.new("RGB", (32, 32), (200, 30, 60))
    photo = load_photo(save_as(tmp_path, flat.convert("CMYK"), "print.jpg", quality=95))
    assert np.abs(np.asarray(photo.image).astype(int) - [200, 30, 60]).max() <= 4


def test_lab_tiff_keeps_its_colours(tmp_path: Path) -> None:
    flat = Image.new("RGB", (32, 32), (200, 90, 60))
    lab = ImageCms.profileToProfile(flat, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    photo = load_photo(save_as(tmp_path, lab, "lab.tif"))
    assert np.abs(np.asarray(photo.image).astype(int) - [200, 90, 60]).max() <= 4


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    path = save_as(tmp_path, Image.fromarray(np.ones((32, 32), np.float32)), "float.tif")
    with pytest.raises(ImageError, match="save it with 8 or 16 bits"):
        load_photo(path)


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_alpha_is_kept_where_the_format_can(tmp_path: Path, ending: str) -> None:
    image = gradient()
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 48).astype(np.uint8), (32, 1)))
    image.putalpha(alpha)
    photo = load_photo(save_as(tmp_path, image, "cutout.png"))
    assert photo.alpha is not None and photo.image.mode == "RGB"
    assert photo.image.getpixel((0, 5)) == (255, 255, 255)  # fully transparent: white
    assert photo.image.getpixel((30, 5)) == gradient().getpixel((30, 5))  # half transparent: its own colour
    save_photo(photo.image, tmp_path / f"out.{ending}", photo)
    with Image.open(tmp_path / f"out.{ending}") as saved:
        assert np.array_equal(np.asarray(saved.getchannel("A")), np.asarray(alpha))


def test_alpha_is_laid_on_white_for_jpeg(tmp_path: Path) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 128))
    photo = load_photo(save_as(tmp_path, image, "cutout.png"))
    save_photo(photo.image, tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as saved:
        assert saved.mode == "RGB" and abs(saved.getpixel((16, 16))[0] - 127) <= 2


def test_transparent_palette_and_opaque_alpha(tmp_path: Path) -> None:
    palette = gradient().quantize(16)
    path = save_as(tmp_path, palette, "p.gif", transparency=palette.getpixel((0, 0)))
    assert load_photo(path).alpha is not None
    opaque = gradient()
    opaque.putalpha(255)
    assert load_photo(save_as(tmp_path, opaque, "opaque.png")).alpha is None


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("L", (32, 32), 10), Image.new("L", (32, 32), 200)
    path = save_as(tmp_path, first, "moving.gif", save_all=True, append_images=[second], duration=100)
    photo = load_photo(path)
    assert np.asarray(photo.image).max() == 10
    assert photo.notes == ("an animation: its first frame is used",)


# Orientation, colour profile, metadata


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the stored pixels lie: the inverse of the tag's turn
    stored = upright.transpose(Image.Transpose(turn[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = load_photo(save_as(tmp_path, stored, "turned.png", exif=exif.tobytes()))
    assert np.array_equal(np.asarray(photo.image), np.asarray(upright))
    save_photo(photo.image, tmp_path / "out.png", photo)
    with Image.open(tmp_path / "out.png") as saved:
        assert saved.getexif()[ExifTags.Base.Orientation] == 1
    assert load_photo(tmp_path / "out.png").image.size == upright.size


def wide_profile() -> bytes:
    """A profile of an RGB space with other primaries: sRGB's with the red and green columns exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    photo = load_photo(save_as(tmp_path, Image.new("RGB", (32, 32), (220, 20, 30)), "w.png", icc_profile=wide_profile()))
    red, green, blue = photo.image.getpixel((5, 5))
    assert abs(red - 20) <= 2 and abs(green - 220) <= 2 and abs(blue - 30) <= 2
    save_photo(photo.image, tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as saved:
        profile = ImageCms.getOpenProfile(io.BytesIO(saved.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_srgb_profile_changes_nothing_and_stays(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = load_photo(save_as(tmp_path, gradient(), "s.png", icc_profile=profile))
    assert np.array_equal(np.asarray(photo.image), np.asarray(gradient()))
    assert photo.metadata.icc == profile


def test_profile_that_does_not_fit_is_left_out_and_told(tmp_path: Path) -> None:
    broken = load_photo(save_as(tmp_path, gradient(), "b.png", icc_profile=b"no profile at all"))
    grey = load_photo(save_as(tmp_path, gradient().convert("L"), "g.png", icc_profile=wide_profile()))
    assert np.array_equal(np.asarray(broken.image), np.asarray(gradient()))
    for photo in (broken, grey):
        assert photo.notes == ("its colour profile cannot be used and was left out",)
        assert photo.metadata.icc is None


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_metadata_is_kept_but_for_thumbnail_and_orientation(tmp_path: Path, ending: str) -> None:
    data = photo_with_metadata()
    (tmp_path / "in.jpg").write_bytes(data)
    with Image.open(tmp_path / "in.jpg") as before:
        assert before.getexif().get_ifd(ExifTags.IFD.IFD1), "the input must have a thumbnail"
    photo = load_photo(tmp_path / "in.jpg")
    assert photo.image.size == (32, 48) and photo.notes == ()
    save_photo(photo.image, tmp_path / f"out.{ending}", photo)
    with Image.open(tmp_path / f"out.{ending}") as saved:
        exif = saved.getexif()
        assert exif[ExifTags.Base.Make] == "Camera works"
        assert exif[ExifTags.Base.Orientation] == 1
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] == 32
        assert not exif.get_ifd(ExifTags.IFD.IFD1)
        packet = saved.info["xmp"]
    assert b"a roll of film" in packet
    assert b"Thumbnails" not in packet and b"Orientation" not in packet
    assert (tmp_path / f"out.{ending}").read_bytes().count(b"\xff\xd8\xff") == (ending == "jpg"), "a JPEG inside"


def test_tiff_storage_tags_are_not_copied(tmp_path: Path) -> None:
    path = save_as(tmp_path, gradient(), "scan.tif", compression="tiff_lzw", software="scanner", dpi=(300, 300))
    photo = load_photo(path)
    save_photo(photo.image, tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as saved:
        exif = dict(saved.getexif())
    assert exif[ExifTags.Base.Software] == "scanner"
    assert not {ExifTags.Base.StripOffsets, ExifTags.Base.Compression, ExifTags.Base.BitsPerSample} & set(exif)


@pytest.mark.parametrize("name", ["e.png", "e.webp"])
def test_damaged_exif_is_left_out_and_told(tmp_path: Path, name: str) -> None:
    path = save_as(tmp_path, gradient(), name, exif=b"garbage", **({"lossless": True} if name.endswith("webp") else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = load_photo(path)
    assert np.array_equal(np.asarray(photo.image), np.asarray(gradient()))
    assert photo.notes == ("its EXIF data is damaged and was left out",) and photo.metadata.exif is None


def test_malformed_xmp_is_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    gradient().save(buffer, "JPEG", xmp=b"<x:xmpmeta <<<")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    assert load_photo(tmp_path / "x.jpg").metadata.xmp is None


def test_pillow_image_in_memory_is_left_alone() -> None:
    image = gradient()
    image.info["icc_profile"] = wide_profile()
    before = image.tobytes()
    photo_of(image)
    assert image.tobytes() == before and "icc_profile" in image.info


# Bad input


def test_huge_image_is_refused_from_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    for width, height in [(30_000, 30_000), (10_001, 10_000)]:
        (tmp_path / "huge.png").write_bytes(png_with_header(width, height))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match="too large, at most 100 megapixels are read: scale it down first"):
                load_photo(tmp_path / "huge.png")


def test_truncated_files_of_every_format(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for ending in ("jpg", "png", "webp", "tif", "bmp", "gif"):
        path = save_as(tmp_path, noise, f"whole.{ending}")
        data = path.read_bytes()
        for part in (0.02, 0.3, 0.8):
            cut = tmp_path / f"cut.{ending}"
            cut.write_bytes(data[: int(part * len(data))])
            with pytest.raises(ImageError) as caught:
                load_photo(cut)
            assert "\n" not in str(caught.value) and str(cut) in str(caught.value)


def test_truncated_jpeg_says_so(tmp_path: Path) -> None:
    data = encode_photo(gradient(256, 256), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg is damaged \(.*truncated.*\): copy or export the image again"):
        load_photo(tmp_path / "cut.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.png", b"Dear diary,\nno image today.\n", "is a text file: give a PNG, JPEG"),
        ("empty.jpg", b"", "is empty: copy or export"),
        (
            "phone.heic",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "damaged, or a HEIC image of a kind that cannot be read: export it as JPEG or PNG",
        ),
        ("scan.pdf", b"%PDF-1.7\n%\xe2\xe3", "is a PDF: export the image in it"),
        ("noise.jpg", bytes(range(64)), "is not an image, or is damaged: give"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "is a PostScript file: export"),
    ],
)
def test_what_is_no_image(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=message):
        load_photo(tmp_path / name)


def test_missing_folder_tiny_and_special_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist: check the name"):
        load_photo(tmp_path / "nothing.jpg")
    with pytest.raises(ImageError, match="is a folder: name an image in it"):
        load_photo(tmp_path)
    with pytest.raises(ImageError, match="is not a regular file"):
        load_photo("/dev/null")
    with pytest.raises(ImageError, match="1x1 pixels: too small"):
        load_photo(save_as(tmp_path, Image.new("RGB", (1, 1)), "dot.png"))


# Saving


def test_saving_png_is_exact_and_repeatable(tmp_path: Path) -> None:
    save_photo(gradient(), tmp_path / "a.png")
    save_photo(gradient(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "RGB" and np.array_equal(np.asarray(saved), np.asarray(gradient()))


@pytest.mark.parametrize(
    ("name", "hint"), [("a.jpgg", "did you mean '.jpg'"), ("a.bmp", r"choose \.png"), ("a", "without an ending")]
)
def test_unknown_ending_lists_the_known(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        save_photo(gradient(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_too_large_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot save .* as WEBP"):
        save_photo(Image.new("RGB", (16_400, 16)), tmp_path / "wide.webp")
    with pytest.raises(ImageError, match="XMP data is too long for JPEG"):
        save_photo(gradient(), tmp_path / "a.jpg", metadata=images.Metadata(xmp=b" " * 70_000))
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.png").write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LeganError, match=r"no space left on the disk while writing .*out\.png: free some space"):
        save_photo(gradient(), tmp_path / "out.png")
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == b"old"
