"""Opening image files: one list of formats for every reader, and limits that are checked before any pixel is decoded."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, features

from legan.core.errors import ImageError

MIN_SIDE = 16  # pixels; nothing smaller holds a face
MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 30
# Opened by these decoders only: Pillow has others that run programs (EPS starts Ghostscript) or are rarely tested. JPEG also opens
# MPO, PPM also PGM and PBM; HEIF is pillow-heif's.
READ_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "HEIF")
READ_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".avif", ".jp2", ".j2k",
    ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif",
)  # fmt: skip
_READ_WORDS = "give a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000 or PPM image"
# What Pillow's decoders raise on broken files, beside its own errors.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, struct.error, zlib.error)
_HEAD_BYTES = 1 << 20  # chunks and boxes about colours stand before the pixels
_DNG_VERSION, _SUBFILE_TYPE = 50706, 254  # TIFF tags
# What a file is by its first bytes, where it is none of the formats that are read.
_OTHERS = (
    (b"%PDF-", "is a PDF: export the image in it as JPEG or PNG"),
    (b"%!PS", "is a PostScript file: export it as JPEG or PNG"),
    (b"\xc5\xd0\xd3\xc6", "is a PostScript file: export it as JPEG or PNG"),
    (b"8BPS", "is a Photoshop file: export it as JPEG or PNG"),
    (b"\xff\x0a", "is a JPEG XL image, which cannot be read: export it as JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "is a JPEG XL image, which cannot be read: export it as JPEG or PNG"),
    (b"II*\0", "is damaged, or a TIFF of a kind that cannot be read: export it as PNG or JPEG"),
    (b"MM\0*", "is damaged, or a TIFF of a kind that cannot be read: export it as PNG or JPEG"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
# Grey TIFF whose lowest value is white, in the kinds that Pillow's table lacks; `grey_levels` in `colours` turns them round.
TiffImagePlugin.OPEN_INFO.setdefault((TiffImagePlugin.MM, 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
TiffImagePlugin.OPEN_INFO.setdefault((TiffImagePlugin.II, 0, (1,), 1, (12,), ()), ("I;16", "I;12"))


@contextmanager
def decoded(source: Path | bytes, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open and decode an image; its file closes when the block ends, since Pillow reads metadata late.

    Args:
        source: a file, or the bytes of one.
        name: stands in messages; by default the file's.
        max_pixels: of an image.

    Yields:
        the first frame as Pillow decodes it. `info["cicp"]` holds the code points (primaries, transfer, matrix, full range; ITU-T
        H.273) that a PNG or AVIF file states, `info["icc_profile"]` also the profiles of BMP and JPEG 2000 files.

    Raises:
        ImageError: not one of `READ_FORMATS`, damaged, smaller than 16 pixels a side, or larger than `max_pixels` or 1 GiB (told
            before any pixel is decoded).
    """
    name = name or str(source)
    with _quiet_decoders():
        image = _opened(source, name, max_pixels)
        try:
            yield image
        finally:
            image.close()


def check_size(size: tuple[int, int], name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Check width and height in pixels.

    Raises:
        ImageError: too small or too large.
    """
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(f"{name} is {width}x{height} pixels: too small, at least {MIN_SIDE} pixels a side are needed")
    if width * height > max_pixels:
        raise ImageError(_too_large(f"{name} is {width}x{height} pixels:", max_pixels))


def _opened(source: Path | bytes, name: str, max_pixels: int) -> Image.Image:
    try:
        n_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        if n_bytes > MAX_BYTES:
            raise ImageError(f"{name} has {n_bytes >> 20} MiB: too large, at most {MAX_BYTES >> 20} are read")
        with ExitStack() as files:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            image = files.enter_context(Image.open(file, formats=_formats()))
            check_size(image.size, name, max_pixels)
            _refuse_raw(image, name)
            image.load()
            _read_head(image, source)
            files.pop_all()  # stays open for the caller
    except UnidentifiedImageError:
        raise ImageError(f"{name} {_what_it_is(_bytes_of(source, 4096))}") from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large(f"{name} is", max_pixels)) from None
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist: check the name") from None
    except PermissionError:
        raise ImageError(f"{name} cannot be read: permission denied") from None
    except _BROKEN as error:
        raise ImageError(f"{name} is damaged ({one_line(error)}): copy or export the image again") from error
    return image


def one_line(error: BaseException) -> str:
    """Return the message of another library's error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


@cache
def _formats() -> list[str]:
    import pillow_heif  # not at the top: `legan --help` needs no decoder

    pillow_heif.register_heif_opener()
    return [name for name in READ_FORMATS if name != "AVIF" or features.check("avif")]


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Silence Pillow's own words on large images and odd metadata: both are checked, and told, here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _too_large(start: str, max_pixels: int) -> str:
    return f"{start} too large, at most {max_pixels // 1_000_000} megapixels are read: scale it down first"


def _refuse_raw(image: Image.Image, name: str) -> None:
    """Refuse cameras' raw files: they are TIFF files whose first image is a small preview."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_SUBFILE_TYPE, 0) & 1:
        raise ImageError(f"{name} is a camera's raw file, of which only a preview could be read: export it as JPEG or PNG")


def _bytes_of(source: Path | bytes, n_bytes: int, start: int = 0) -> bytes:
    if isinstance(source, bytes):
        return source[start : start + n_bytes]
    with source.open("rb") as file:
        file.seek(start)
        return file.read(n_bytes)


def _read_head(image: Image.Image, source: Path | bytes) -> None:
    """Add to `image.info` what a file states about its colours and Pillow does not read."""
    head = _bytes_of(source, _HEAD_BYTES)
    if image.format == "PNG":
        at = 8
        while at + 12 <= len(head) and head[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
            n_bytes = int.from_bytes(head[at : at + 4], "big")
            if head[at + 4 : at + 8] == b"cICP" and n_bytes == 4:
                image.info["cicp"] = tuple(head[at + 8 : at + 12])
            at += 12 + n_bytes
    elif image.format in ("AVIF", "HEIF") and (at := head.find(b"colrnclx")) >= 0:
        primaries, transfer, matrix = struct.unpack(">HHH", head[at + 8 : at + 14])
        image.info["cicp"] = primaries, transfer, matrix, 1  # the decoder has stretched the range already
    elif image.format == "JPEG2000" and (at := head.find(b"colr\2")) >= 4:  # a restricted ICC profile
        image.info["icc_profile"] = head[at + 7 : at - 4 + int.from_bytes(head[at - 4 : at], "big")]
    elif image.format == "BMP":
        _read_bitmap_head(image, source, head[14:138])


def _read_bitmap_head(image: Image.Image, source: Path | bytes, head: bytes) -> None:
    """The colour space of a BITMAPV4HEADER or BITMAPV5HEADER: primaries and gammas, or an ICC profile."""
    size, kind = int.from_bytes(head[:4], "little"), head[56:60]
    if size >= 124 and kind == b"DEBM":  # PROFILE_EMBEDDED
        start, n_bytes = struct.unpack("<II", head[112:120])
        image.info["icc_profile"] = _bytes_of(source, n_bytes, 14 + start)
    elif size >= 108 and kind == bytes(4):  # LCS_CALIBRATED_RGB
        primaries = [struct.unpack("<3i", head[at : at + 12]) for at in (60, 72, 84)]
        gamma = int.from_bytes(head[96:100], "little") / 65536
        points = [tuple(map(sum, zip(*primaries, strict=True))), *primaries]
        if gamma and all(min(point) >= 0 and sum(point) for point in points):
            image.info["gamma"] = 1 / gamma
            image.info["chromaticity"] = tuple(value / sum(point) for point in points for value in point[:2])


def _what_it_is(head: bytes) -> str:
    """Say why a file that no decoder knows is no image, and what to do."""
    if not head:
        return "is empty: copy or export the image again"
    for start, words in _OTHERS:
        if head.startswith(start):
            return words
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIF_BRANDS:
            return "is damaged, or a HEIC image of a kind that cannot be read: export it as JPEG or PNG"
        return "is a video or a camera's raw file, which cannot be read: export an image from it as JPEG or PNG"
    if not _is_text(head):
        return f"is not an image, or is damaged: {_READ_WORDS}"
    return f"{'is an SVG drawing' if b'<svg' in head else 'is a text file'}: {_READ_WORDS}"


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are UTF-8 (perhaps cut within a character) without control characters."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character in "\t\n\r\f" or ord(character) >= 32 for character in text)
