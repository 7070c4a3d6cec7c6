"""What files state of black, white and colours: the same face comes out whatever space and depth a file holds it in."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from tests.core.image_files import png, tiff, write

from legan.core import colours as colour_spaces
from legan.core.colours import srgb_profile
from legan.core.errors import ImageError
from legan.core.images import decode_rgb, load_photo, save_photo

D65_XYZ = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def colours() -> np.ndarray:
    """Muted colours (48, 64, 3) in 0..1 sRGB, inside every space that is tried."""
    y, x = np.mgrid[:48, :64]
    return np.stack([0.25 + x / 160, 0.25 + y / 120, 0.6 - x / 200], -1)


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """Linear RGB to XYZ for D65 (SMPTE RP 177), written down apart from the code that is tested."""
    x, y = np.array(primaries).reshape(3, 2).T
    columns = np.stack([x / y, np.ones(3), (1 - x - y) / y])
    return columns * np.linalg.inv(columns).dot(D65_XYZ)


def in_space(srgb: np.ndarray, primaries: tuple[float, ...]) -> np.ndarray:
    return linear(srgb) @ (np.linalg.inv(to_xyz(primaries)) @ to_xyz(SRGB)).T


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.round(values.clip(0, 1) * 255).astype(np.uint8)


def error_of(path: Path, true: np.ndarray) -> float:
    """Mean difference of a file as read from true colours, in levels of 255; every reader must read the same."""
    seen = np.asarray(load_photo(path).image)
    assert np.array_equal(decode_rgb(path.read_bytes(), "image"), seen)
    return float(np.abs(seen.astype(float) - true * 255).mean())


def encoded(light: np.ndarray) -> np.ndarray:
    """The sRGB curve."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(1e-9) ** (1 / 2.4) - 0.055)


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084 with white at 203 nits."""
    y = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def chrm(primaries: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in (0.3127, 0.3290, *primaries)))


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


@pytest.mark.parametrize(
    ("pixels", "chunks"),
    [
        (linear(colours()), [gama(1)]),
        (colours(), [gama(0.45455), chrm(SRGB)]),  # means sRGB, as most programs that write it do
        (linear(colours()) ** (1 / 1.8), [gama(1 / 1.8)]),
        (in_space(colours(), ADOBE) ** (1 / 2.2), [gama(1 / 2.2), chrm(ADOBE)]),
        (colours(), [(b"sRGB", b"\0"), gama(1)]),  # sRGB goes before gamma
        (encoded(in_space(colours(), P3)), [(b"cICP", bytes((12, 13, 0, 1)))]),
        (linear(colours()), [(b"cICP", bytes((1, 8, 0, 1))), (b"sRGB", b"\0")]),  # code points go before all
        (pq(in_space(colours(), BT2020)), [(b"cICP", bytes((9, 16, 0, 1)))]),
        ((colours() * 219 + 16) / 255, [(b"cICP", bytes((1, 13, 0, 0)))]),  # narrow range
    ],
    ids=["linear", "srgb-like", "gamma-1.8", "adobe", "srgb-chunk", "p3", "cicp-linear", "pq", "narrow"],
)
def test_png_chunks_are_read(tmp_path: Path, pixels: np.ndarray, chunks: list[tuple[bytes, bytes]]) -> None:
    path = write(tmp_path / "a.png", png(eight_bits(pixels), *chunks))
    assert error_of(path, colours()) < 1.5
    photo = load_photo(path)
    save_photo(photo.image, tmp_path / "out.jpg", photo)
    with Image.open(tmp_path / "out.jpg") as saved:
        assert saved.info["icc_profile"] == srgb_profile(), "what the colours are is stated again"


def test_gamma_of_grey_images(tmp_path: Path) -> None:
    grey = colours()[..., 0]
    path = write(tmp_path / "g.png", png(eight_bits(linear(grey)), gama(1)))
    assert error_of(path, np.repeat(grey[..., None], 3, 2)) < 1.5


def test_statements_that_are_not_understood_are_told(tmp_path: Path) -> None:
    for chunk in ((b"cICP", bytes((200, 200, 0, 1))), chrm((0.3, 0.3) * 3)):
        photo = load_photo(write(tmp_path / "a.png", png(eight_bits(colours()), chunk)))
        assert photo.notes == ("its statement of colours is not understood and was left out: sRGB is assumed",)
    hdr = load_photo(write(tmp_path / "h.png", png(eight_bits(pq(colours())), (b"cICP", bytes((1, 16, 0, 1))))))
    assert hdr.notes == ("HDR: what is brighter than white is white",)


@pytest.mark.parametrize("name", ["Linear sRGB", "sRGB IEC61966-2.1", "camera"])
def test_a_profile_counts_by_what_it_does_not_by_its_name(tmp_path: Path, name: str) -> None:
    steps = np.linspace(0, 1, 1024)
    for pixels, curve in ((linear(colours()), steps), (colours(), linear(steps))):
        profile = colour_spaces.matrix_profile(colour_spaces.SRGB, tuple(curve.tolist()))
        assert profile is not None
        named = profile.replace(b"stated\0", name.encode()[:6] + b"\0")
        path = tmp_path / "a.png"
        Image.fromarray(eight_bits(pixels)).save(path, icc_profile=named)
        assert error_of(path, colours()) < 1.5


def test_srgb_by_any_name_keeps_every_pixel(tmp_path: Path) -> None:
    profile = colour_spaces.profile_of_gamma(1 / 2.2)
    Image.fromarray(eight_bits(colours())).save(tmp_path / "a.png", icc_profile=profile)
    photo = load_photo(tmp_path / "a.png")
    assert np.array_equal(np.asarray(photo.image), eight_bits(colours())) and photo.metadata.icc == profile


def adobe_exif(interop: bool) -> Image.Exif:
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ColorSpace] = 0xFFFF if interop else 2
    if interop:
        details[ExifTags.IFD.Interop] = {1: "R03"}
    return exif


@pytest.mark.parametrize("interop", [True, False])
def test_adobe_rgb_told_by_exif(tmp_path: Path, interop: bool) -> None:
    path = tmp_path / "camera.jpg"
    pixels = eight_bits(in_space(colours(), ADOBE) ** (256 / 563))
    Image.fromarray(pixels).save(path, exif=adobe_exif(interop), quality=100, subsampling=0)
    assert error_of(path, colours()) < 1.5
    photo = load_photo(path)
    save_photo(photo.image, tmp_path / "out.jpg", photo, quality=100)
    assert error_of(tmp_path / "out.jpg", colours()) < 1.5, "converted once, not again"
    with Image.open(tmp_path / "out.jpg") as saved:
        assert saved.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] == 1


def test_bitmap_profiles_and_primaries(tmp_path: Path) -> None:
    pixels = eight_bits(linear(colours()))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    plain = buffer.getvalue()
    body = plain[54:]
    xyz = to_xyz(SRGB).T.ravel()
    profile = colour_spaces.profile_of_gamma(1)
    assert profile is not None
    calibrated = bytes(4) + b"".join(struct.pack("<i", round(v * (1 << 30))) for v in xyz) + struct.pack("<3I", *[65536] * 3)
    embedded = b"DEBM" + bytes(48)
    for space, tail in ((calibrated, b""), (embedded, profile)):
        info = struct.pack("<I", 124) + plain[18:54] + bytes(16) + space
        info += bytes(4) + struct.pack("<II", 124 + len(body), len(tail)) + bytes(4)
        assert len(info) == 124
        head = b"BM" + struct.pack("<IHHI", 14 + 124 + len(body) + len(tail), 0, 0, 14 + 124)
        assert error_of(write(tmp_path / "a.bmp", head + info + body + tail), colours()) < 1.5


def test_code_points_of_avif(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    Image.fromarray(eight_bits(encoded(in_space(colours(), P3)))).save(path, quality=100, subsampling="4:4:4")
    data = path.read_bytes()
    at = data.index(b"colrnclx") + 8
    path.write_bytes(data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :])
    assert error_of(path, colours()) < 2


def test_grey_with_alpha_and_a_grey_profile(tmp_path: Path) -> None:
    grey = Image.fromarray(eight_bits(linear(colours()[..., 0])))
    steps = np.arange(256).astype(">u2") * 257
    curve = b"curv\0\0\0\0" + struct.pack(">I", 256) + steps.tobytes()
    white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    parts = [(b"desc", b"desc\0\0\0\0\0\0\0\2g\0" + bytes(81)), (b"wtpt", white), (b"kTRC", curve)]
    table, body, start = b"", b"", 132 + 12 * len(parts)
    for name, data in parts:
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = bytearray(128)
    head[0:4], head[8:24], head[36:40] = struct.pack(">I", start + len(body)), b"\2\x10\0\0mntrGRAYXYZ ", b"acsp"
    head[68:80] = white[8:]
    profile = bytes(head) + struct.pack(">I", len(parts)) + table + body
    ImageCms.getOpenProfile(io.BytesIO(profile))
    for mode in ("L", "LA"):
        image = grey.copy() if mode == "L" else Image.merge("LA", (grey, Image.new("L", grey.size, 200)))
        image.save(tmp_path / "g.png", icc_profile=profile)
        photo = load_photo(tmp_path / "g.png")
        assert photo.notes == () and np.abs(np.asarray(photo.image)[..., 0] - colours()[..., 0] * 255).mean() < 1.5


# Depth


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_sixteen_bit_tiff_of_either_polarity(tmp_path: Path, endian: str, photometric: int) -> None:
    grey = np.linspace(0, 1, 64 * 32).reshape(32, 64)
    stored = np.round((1 - grey if photometric == 0 else grey) * 65535).astype(endian + "u2")
    path = write(tmp_path / "s.tif", tiff(64, 32, stored.tobytes(), 16, photometric, endian))
    assert error_of(path, np.repeat(grey[..., None], 3, 2)) < 0.5


def test_eight_bit_tiff_whose_lowest_value_is_white(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 64 * 32).reshape(32, 64).astype(np.uint8)
    path = write(tmp_path / "s.tif", tiff(64, 32, (255 - grey).tobytes(), 8, 0))
    assert np.array_equal(np.asarray(load_photo(path).image)[..., 0], grey)


@pytest.mark.parametrize("photometric", [0, 1])
def test_twelve_bit_tiff(tmp_path: Path, photometric: int) -> None:
    grey = np.linspace(0, 1, 64 * 32).reshape(32, 64)
    stored = np.round((1 - grey if photometric == 0 else grey) * 4095).astype(int).reshape(-1, 2)
    packed = np.stack([stored[:, 0] >> 4, (stored[:, 0] & 15) << 4 | stored[:, 1] >> 8, stored[:, 1] & 255], 1).astype(np.uint8)
    path = write(tmp_path / "s.tif", tiff(64, 32, packed.tobytes(), 12, photometric))
    assert error_of(path, np.repeat(grey[..., None], 3, 2)) < 0.5


@pytest.mark.parametrize("white", [255, 1023, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P2"])
def test_greymaps_of_any_white(tmp_path: Path, white: int, kind: bytes) -> None:
    grey = np.linspace(0, 1, 64 * 32).reshape(32, 64)
    stored = np.round(grey * white).astype(int)
    data = (
        stored.astype(">u1" if white < 256 else ">u2").tobytes()
        if kind == b"P5"
        else b" ".join(b"%d" % v for v in stored.ravel())
    )
    path = write(tmp_path / "a.pgm", kind + b"\n64 32\n%d\n" % white + data)
    assert error_of(path, np.repeat(grey[..., None], 3, 2)) < 0.5


def test_grey_levels_of_unknown_white_are_refused_in_true_words(tmp_path: Path) -> None:
    signed = write(tmp_path / "s.tif", tiff(64, 32, bytes(64 * 32 * 2), 16, 1, more=((339, 3, 2),)))
    with pytest.raises(ImageError, match="signed or 32-bit grey levels, whose white is unknown"):
        load_photo(signed)
    Image.fromarray(np.ones((32, 32), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match="floating-point grey levels, whose white is unknown"):
        load_photo(tmp_path / "f.tif")
