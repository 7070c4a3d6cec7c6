"""16 bits a channel: edited in the colours of the file, written as PNG and TIFF with profile and metadata; what cannot be kept is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image
from tests.core.image_files import png, tiff, write
from tests.core.test_colours import ADOBE, colours, encoded, in_space

from legan.core.colours import ADOBE_RGB, matrix_space, profile_of_gamma, srgb_profile
from legan.core.deep import Space
from legan.core.images import decoded, load_photo, photo_of
from legan.core.metadata import Metadata, with_tags

GAMMA = 563 / 256  # Adobe RGB's


def adobe() -> bytes:
    profile = profile_of_gamma(1 / GAMMA, ADOBE_RGB)
    assert profile is not None
    return profile


def levels(values: np.ndarray) -> np.ndarray:
    return np.round(values.clip(0, 1) * 65535).astype(np.uint16)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    import zlib

    return b"iCCP", b"own\0\0" + zlib.compress(profile)


def read_back(path: Path) -> np.ndarray:
    return tifffile.imread(path) if path.suffix == ".tif" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


@pytest.mark.parametrize(("ending", "format"), [("tif", "TIFF"), ("png", "PNG")])
def test_pixels_profile_and_metadata_come_back(tmp_path: Path, ending: str, format: str) -> None:
    pixels = noise(40, 56, 3)
    photo = load_photo(write(tmp_path / "in.png", png(pixels, iccp(adobe()))))
    assert photo.notes == () and photo.deep is not None
    exif = with_tags(None, {ExifTags.Base.Make: "Maker"}, {}, (300, 300))
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    out = tmp_path / f"out.{ending}"
    photo.deep.save(out, format, lambda shown: shown, Metadata(exif=exif, xmp=xmp, dpi=(300, 300)))
    assert np.array_equal(read_back(out), pixels)
    with Image.open(out) as image:
        assert image.info["icc_profile"] == adobe() and image.getexif()[ExifTags.Base.Make] == "Maker"
        assert xmp in (image.info["xmp"] if isinstance(image.info["xmp"], bytes) else image.info["xmp"].encode())
        assert image.size == (56, 40)
    again = load_photo(out)
    assert again.deep is not None and np.array_equal(again.image, photo.image)


def test_alpha_and_grey_are_kept(tmp_path: Path) -> None:
    pixels = noise(40, 56, 4)
    cv2.imwrite(str(tmp_path / "in.png"), pixels[..., [2, 1, 0, 3]])
    deep = load_photo(tmp_path / "in.png").deep
    assert deep is not None
    deep.save(tmp_path / "out.tif", "TIFF", lambda shown: shown, Metadata())
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), pixels)
    grey = load_photo(write(tmp_path / "grey.png", png(noise(40, 56)))).deep
    assert grey is not None and np.array_equal(grey.read()[0], np.repeat(noise(40, 56)[..., None], 3, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_upright_as_the_image_is(tmp_path: Path, orientation: int) -> None:
    pixels = noise(40, 56, 3)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    photo = load_photo(tmp_path / "in.tif")
    assert photo.deep is not None
    assert np.array_equal(photo.deep.read()[0] >> 8, np.asarray(photo.image))


def test_colours_of_a_matrix_profile_are_those_of_srgb() -> None:
    parts = matrix_space(adobe())
    assert parts is not None
    space = Space(adobe(), *parts)
    own = levels(in_space(colours(), ADOBE).clip(0, 1) ** (1 / GAMMA))
    # the oracle's colours, written down apart from the code; 3e-4 is what 8 bits of matrix digits and whites leave
    np.testing.assert_allclose(space.to_srgb(own) / 65535, colours(), atol=5e-4)
    assert np.abs(space.from_srgb(space.to_srgb(own)) - own).max() < 4
    assert matrix_space(srgb_profile()) is not None and matrix_space(b"damaged") is None
    np.testing.assert_allclose(matrix_space(srgb_profile())[1], np.eye(3), atol=1e-9)


def test_srgb_as_a_parametric_curve() -> None:
    curves = matrix_space(srgb_profile())[0]
    np.testing.assert_allclose(encoded(curves[0]), np.linspace(0, 1, 65536), atol=1e-3)


def test_only_what_an_edit_changes_is_converted(tmp_path: Path) -> None:
    pixels = noise(300, 40, 3)
    pixels[:, :10] = [200, 60000, 200]  # a green beyond sRGB
    deep = load_photo(write(tmp_path / "in.png", png(pixels, iccp(adobe())))).deep
    assert deep is not None

    def darker(shown: np.ndarray) -> np.ndarray:
        after = shown.copy()
        after[:, 5:20] = after[:, 5:20] // 2
        return after

    result = deep.edited(pixels, darker)
    assert np.array_equal(result[:, :5], pixels[:, :5]) and np.array_equal(result[:, 20:], pixels[:, 20:])
    assert (result[:, 5:20] <= pixels[:, 5:20]).mean() > 0.95 and (result[:, 5:20] < pixels[:, 5:20]).mean() > 0.6
    assert result[0, 7, 1] < 50000


def test_more_than_8_bits_that_cannot_be_kept_are_named(tmp_path: Path) -> None:
    twelve = write(tmp_path / "twelve.tif", tiff(64, 32, bytes(64 * 32 * 3 // 2), 12, 1))
    assert load_photo(twelve).notes == ("12 bits a channel: the result has 8, as 16 or 8 can be kept",)
    white = write(tmp_path / "white.tif", tiff(64, 32, bytes(64 * 32 * 2), 16, 0))
    (note,) = load_photo(white).notes
    assert note.startswith("16 bits a channel: the result has 8, as more are kept of RGB and grey alone")
    gradient = np.linspace(0, 1023, 64 * 32 * 3).astype(">u2").tobytes()
    ten = write(tmp_path / "ten.ppm", b"P6 64 32 1023\n" + gradient)
    assert load_photo(ten).notes == ("10 bits a channel: the result has 8, as 16 or 8 can be kept",)
    broken = write(tmp_path / "broken.png", png(noise(32, 64, 3), iccp(b"broken")))
    assert load_photo(broken).notes[0] == "16 bits a channel: the result has 8, as its colour profile cannot be used"


def test_a_name_alone_is_no_file_to_read_16_bits_from(tmp_path: Path) -> None:
    data = png(noise(32, 64, 3))
    write(tmp_path / "other.png", data)
    with decoded(data, "upload") as image:
        photo = photo_of(image, tmp_path / "other.png")
    assert photo.deep is None and photo.notes == ("16 bits a channel: the result has 8, as more are kept of files alone",)


def test_ppm_of_16_bits_is_read(tmp_path: Path) -> None:
    pixels = noise(32, 64, 3)
    photo = load_photo(write(tmp_path / "deep.ppm", b"P6 64 32 65535\n" + pixels.astype(">u2").tobytes()))
    assert photo.deep is not None and np.array_equal(photo.deep.read()[0], pixels)
