"""Image files in and out, and between arrays, tensors and PIL images: the only place where range, layout or size changes."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, features

from legan.core.colours import to_eight_bits, to_srgb, with_alpha
from legan.core.deep import DeepPhoto, deep_of
from legan.core.errors import ImageError, nearest
from legan.core.files import write_atomic
from legan.core.light import to_linear
from legan.core.metadata import Metadata, read_metadata, save_options, with_segments
from legan.core.places import Place

if TYPE_CHECKING:
    from torch import Tensor


# Opening image files: one list of formats for every reader, and limits that are checked before any pixel is decoded.


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
_DNG_VERSION, _SUBFILE_TYPE, _BITS_PER_SAMPLE = 50706, 254, 258  # TIFF tags
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
        ImageError: not one of `READ_FORMATS`, damaged, smaller than 16 pixels a side, or larger than `max_pixels` or 1 GiB (checked
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
    """Silence Pillow's own words on large images and odd metadata: both are checked and reported here."""
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
    """Add to `image.info` what a file states about its colours, and Pillow does not read; `bits` a channel, where it says so."""
    head = _bytes_of(source, _HEAD_BYTES)
    image.info["bits"] = _bits(image, head)
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


def _bits(image: Image.Image, head: bytes) -> int:
    """Bits a channel of the file, as far as its format says."""
    if image.format == "PNG":
        return head[24]
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return max(tags.get(_BITS_PER_SAMPLE, (8,)))
    if image.format == "PPM":
        found = re.match(rb"P[256]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+(\d+)\s", head[:4096])
        return int(found[1]).bit_length() if found else 8
    if image.format == "JPEG2000" and (at := head.find(b"ihdr")) >= 0:
        return (head[at + 14] & 0x7F) + 1
    return int(image.info.get("bit_depth") or 8)  # of HEIF


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
    """Say why a file that no decoder opens is not an image, and what to do."""
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


# Images in and out: the only place where range, layout or size of an image changes.
#
# A photo comes in as any file that a camera, a phone or a scanner writes, and is one thing inside: upright 8-bit sRGB, with its
# alpha channel and its metadata beside it. Networks see float32 (B, 3, H, W) in [-1, 1].


WRITE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_TURN = Image.Transpose
# EXIF's orientations, and what brings an image upright.
_UPRIGHT = {
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """An upright image.

    Args:
        image: RGB, 8 bits a channel, sRGB.
        alpha: its transparency (mode L, same size), or None when it is opaque.
        metadata: kept for saving.
        path: where it came from, if from a file.
        notes: what was left out in reading it, one phrase each.
        deep: how to read its 16 bits a channel, if the file has them.
    """

    image: Image.Image
    alpha: Image.Image | None = None
    metadata: Metadata = field(default_factory=Metadata)
    path: Path | Place | None = None
    notes: tuple[str, ...] = ()
    deep: DeepPhoto | None = None


def load_photo(path: str | Path | Place) -> Photo:
    """Read a photo of any mode (grey, palette, alpha, CMYK, 16 bit), turned upright and converted to 8-bit sRGB.

    `deep` of the photo reads the 16 bits of a PNG, TIFF or PPM file.

    Raises:
        ImageError: no such file, not an image, damaged, smaller than 16 pixels a side, or larger than 100 megapixels (checked
            from the header, before any pixel is decoded).
    """
    if isinstance(path, Place):
        if (path.n_bytes or 0) > MAX_BYTES:
            raise ImageError(f"{path} has {(path.n_bytes or 0) >> 20} MiB: too large, at most {MAX_BYTES >> 20} are read")
        with decoded(path.read_bytes(), str(path)) as image:
            return _photo_of(image, path, source=path)
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name an image in it")
    if not path.is_file():
        raise ImageError(f"{path} is not a regular file" if path.exists() else f"{path} does not exist: check the name")
    with decoded(path) as image:
        return _photo_of(image, path, source=path)


def photo_of(image: Image.Image, path: Path | Place | None = None) -> Photo:
    """Bring a Pillow image of any mode to a `Photo`; `image` itself is left as it is.

    Raises:
        ImageError: a mode whose white is unknown (floating point, 32 bits), or a size out of bounds.
    """
    return _photo_of(image, path, source=None)


def _photo_of(image: Image.Image, path: Path | Place | None, source: Path | Place | None) -> Photo:
    """As `photo_of`; `path` names the image, and more than 8 bits a channel are read from `source` where there is one."""
    name = str(path or "the image")
    check_size(image.size, name)
    metadata, orientation, metadata_notes = read_metadata(image, image.size)
    colours, alpha, depth_notes = to_eight_bits(image, name)
    rgb, icc, colour_notes = to_srgb(colours, image)
    if alpha is not None:
        # What lies under full transparency is arbitrary; white is what a viewer shows there.
        rgb.paste((255, 255, 255), mask=alpha.point(lambda a: 255 if a == 0 else 0))
    if orientation in _UPRIGHT:
        rgb, alpha = rgb.transpose(_UPRIGHT[orientation]), alpha and alpha.transpose(_UPRIGHT[orientation])
    rgb.info.clear()
    deep, deep_notes = deep_of(image, source, orientation)
    notes = (*_frame_notes(image), *metadata_notes, *depth_notes, *deep_notes, *colour_notes)
    return Photo(rgb, alpha, replace(metadata, icc=icc), path, notes, deep)


def decode_rgb(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return an encoded image as uint8 (H, W, 3), upright sRGB as `load_photo` reads it; arguments and errors as for `decoded`.

    Raises:
        ImageError: as `decoded`.
    """
    with decoded(data, name, max_pixels) as image:
        if image.mode == "RGB" and not {"exif", "xmp", "icc_profile", "gamma", "chromaticity", "cicp"} & set(image.info):
            return np.asarray(image)  # nearly every crop of a data set: nothing to turn or convert
        return np.asarray(photo_of(image, Path(name)).image)


def _frame_notes(image: Image.Image) -> list[str]:
    """What is said of a file that holds more than the image used. A phone's MPO file holds one image several times."""
    n_frames = getattr(image, "n_frames", 1)
    if image.format == "MPO" or n_frames < 2:
        return []
    if image.format in ("TIFF", "HEIF"):
        return [f"it holds {n_frames} images: {'its first' if image.format == 'TIFF' else 'its main one'} is used"]
    return ["an animation: its first frame is used"]


def as_photo(image: "str | Path | Place | Image.Image | np.ndarray | Photo") -> Photo:
    """Bring whatever shows one image to a `Photo`: a path, a PIL image, or an array RGB (H, W, 3), uint8 or floats in [0, 1].

    Raises:
        ImageError: as `load_photo` and `photo_of`; an array of another layout, type or range.
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, np.ndarray):
        image = image_of_array(image)
    return photo_of(image) if isinstance(image, Image.Image) else load_photo(image)


def image_of_array(array: np.ndarray) -> Image.Image:
    """Bring an array RGB (H, W, 3), uint8 or floats in [0, 1], to a PIL image.

    Raises:
        ImageError: another layout or type, or values out of range or not finite.
    """
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ImageError(f"an image must be an array (H, W, 3), not {array.shape}: bring it to RGB, rows first")
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"an image must be an array of uint8 or of floats in [0, 1], not {array.dtype}: convert it first")
    _check_bounds(float(array.min()), float(array.max()), 0, 1)
    return Image.fromarray((array.clip(0, 1) * 255).round().astype(np.uint8))


def image_list(images: Any) -> list[Any] | None:
    """Return the images of a list, a tuple or an array (B, H, W, 3); None where `images` is a single one."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else None
    return list(images) if isinstance(images, (list, tuple)) else None


def save_photo(
    image: Image.Image,
    path: str | Path,
    photo: Photo | None = None,
    quality: int = 95,
    metadata: Metadata | None = None,
) -> None:
    """Write an RGB image as PNG, JPEG, WebP or TIFF by the name's ending, atomically; always 8 bits a channel.

    Args:
        image: RGB, upright, sRGB.
        path: the file to write; one that exists is replaced.
        photo: where the image comes from: its metadata and its alpha channel (PNG, WebP and TIFF; on JPEG the image is laid on
            white) are written too.
        quality: of JPEG and WebP, 1..100.
        metadata: to write instead of the photo's own.

    Raises:
        ImageError: an unknown ending, or metadata or a size that the format cannot hold.
        LeganError: the place cannot be written, or the disk is full; nothing is left behind.
    """
    data = encode_photo(image, write_format(path), photo, quality, metadata, name=str(path))
    write_atomic(Path(path), data)


def write_format(path: str | Path) -> str:
    """Return Pillow's name of the format that a file name asks for.

    Raises:
        ImageError: images are not written under this ending.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITE_FORMATS:
        what = f"as '{suffix}'" if suffix else "without an ending that names its format"
        raise ImageError(f"cannot save {path} {what}: choose {', '.join(WRITE_FORMATS)}{nearest(suffix, WRITE_FORMATS)}")
    return WRITE_FORMATS[suffix]


def encode_photo(
    image: Image.Image,
    format: str,
    photo: Photo | None = None,
    quality: int = 95,
    metadata: Metadata | None = None,
    name: str = "the image",
) -> bytes:
    """Return the bytes that `save_photo` writes; `format` is PNG, JPEG, WEBP or TIFF, `name` stands in error messages."""
    metadata = metadata or (photo.metadata if photo else Metadata())
    if photo and photo.alpha and photo.alpha.size == image.size:
        image = with_alpha(image, photo.alpha, keep=format != "JPEG")
    options: dict[str, Any] = save_options(metadata, format, name)
    if format in ("JPEG", "WEBP"):
        options["quality"] = quality
    if format == "JPEG":
        options["subsampling"] = 0  # colours at full resolution
    # In memory first: Pillow's encoders hide a full disk when they write to a file themselves.
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (ValueError, OSError, struct.error) as error:
        raise ImageError(f"cannot save {name} as {format} ({one_line(error)}): choose another format") from error
    return with_segments(buffer.getvalue(), metadata) if format == "JPEG" else buffer.getvalue()


def to_network(images: "Image.Image | Sequence[Image.Image] | np.ndarray") -> "Tensor":
    """Bring crops to what networks read: float32 (B, 3, H, W) in [-1, 1].

    Args:
        images: one PIL image, several of one size, or uint8 (B, H, W, 3).

    Raises:
        ImageError: images of different sizes, or an array of another kind.
    """
    import torch

    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, np.ndarray):
        array = images
    else:
        if len({image.size for image in images}) != 1:
            raise ImageError("the images of one batch must have the same size: resize or align them first")
        array = np.stack([np.asarray(image.convert("RGB")) for image in images])
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise ImageError(f"an array of images must be uint8 (B, H, W, 3), not {array.dtype} {array.shape}")
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    return tensor.float() / 127.5 - 1


def from_network(tensor: "Tensor") -> np.ndarray:
    """Bring networks' images (B, 3, H, W) in [-1, 1] to uint8 (B, H, W, 3): the inverse of `to_network`, bit for bit.

    Raises:
        ImageError: another shape or type, or values out of range or not finite.
    """
    _check_range(tensor, -1, 1)
    array = ((tensor.detach().float() + 1) * 127.5).round().clamp(0, 255).byte()
    return array.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_unit(tensor: "Tensor") -> "Tensor":
    """Bring the public API's tensors (B, 3, H, W) in [0, 1] to [-1, 1].

    Raises:
        ImageError: another shape or type, or values out of range or not finite.
    """
    _check_range(tensor, 0, 1)
    return tensor.float() * 2 - 1


def to_unit(tensor: "Tensor") -> "Tensor":
    """Bring networks' images (B, 3, H, W) in [-1, 1] to the public API's [0, 1].

    Raises:
        ImageError: another shape or type, or values out of range or not finite.
    """
    _check_range(tensor, -1, 1)
    return ((tensor.float() + 1) / 2).clamp(0, 1)


def _check_range(tensor: "Tensor", low: int, high: int) -> None:
    if tensor.ndim != 4 or tensor.shape[1] != 3 or not tensor.is_floating_point():
        raise ImageError(f"images must be a float tensor (B, 3, H, W), not {tensor.dtype} {tuple(tensor.shape)}")
    if not tensor.numel():
        return
    _check_bounds(tensor.min().item(), tensor.max().item(), low, high)


def _check_bounds(least: float, most: float, low: int, high: int) -> None:
    slack = 1e-3  # what float16 and resampling overshoot by
    if low - slack <= least and most <= high + slack:  # false for NaN
        return
    fix = "divide 0..255 by 255" if most > 2 else "map [-1, 1] by (x + 1) / 2" if low == 0 and least < 0 else "clamp them"
    raise ImageError(f"image values must lie in [{low}, {high}], found {least:.6g} to {most:.6g}: {fix}")


def png_bytes(image: np.ndarray, compress_level: int = -1) -> bytes:
    """Return an image, uint8 (H, W, 3) or grey (H, W), as a PNG file.

    Args:
        image: the pixels.
        compress_level: zlib's, 0 (fast) to 9 (small); -1 is its default, 6.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


def jpeg_round_trip(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), as JPEG of this quality (1..100) leaves it.

    OpenCV takes RGB for BGR, which only the weights of its luma notice.
    """
    import cv2  # not at the top: not every command needs it

    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def resized(x: "Tensor", size: int) -> "Tensor":
    """Scale images (B, 3, H, W) to (B, 3, size, size), smoothly and with gradients."""
    if x.shape[2:] == (size, size):
        return x
    from torch.nn import functional

    return functional.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)


# Environment maps: the light round the face, equirectangular.


def load_environment(path: str | Path) -> np.ndarray:
    """Return linear light, float32 (H, 2 H, 3), of an equirectangular map, for `core.light.environment_light`.

    Values of Radiance HDR files are linear light; other images are read as photos are, in sRGB.

    Raises:
        ImageError: no such file, no image, or not twice as wide as high.
    """
    name = Path(path)
    if not name.is_file():
        raise ImageError(f"{name} does not exist: name an environment map, such as room.hdr")
    with open(name, "rb") as file:
        is_radiance = file.read(2) == b"#?"
    light = _radiance(name) if is_radiance else to_linear(np.asarray(load_photo(name).image) / np.float32(255))
    height, width = light.shape[:2]
    if abs(width - 2 * height) > 2:
        raise ImageError(f"{name} is {width}x{height} pixels: an equirectangular map is twice as wide as high")
    return light


def _radiance(name: Path) -> np.ndarray:
    """Read a Radiance HDR file: linear light, float32 (H, W, 3). Its size is checked before anything is decoded."""
    import cv2

    data = np.fromfile(name, np.uint8)
    size = re.search(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[:4096].tobytes())
    if size:
        check_size((int(size[2]), int(size[1])), str(name))
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if size else None
    except cv2.error:  # damaged
        pixels = None
    if pixels is None:
        raise ImageError(f"{name} cannot be read as an environment map: give Radiance HDR (.hdr), or an image as photos are")
    return np.ascontiguousarray(pixels[..., ::-1])
