"""Pictures in and out: the only place where range, layout or size of an image changes.

A photo comes in as any file that a camera, a phone or a scanner writes, and is one thing inside: upright 8-bit sRGB, with its
alpha channel and its metadata beside it. Networks see float32 (B, 3, H, W) in [-1, 1].
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError, features

from legan.core import exif, xmp
from legan.core.colours import to_eight_bits, to_srgb, with_alpha
from legan.core.errors import ImageError, nearest
from legan.core.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

MIN_SIDE = 16  # pixels; nothing smaller holds a face
MAX_PIXELS = 100_000_000
# Opened by these decoders only: Pillow has others that run programs (EPS) or are rarely tested. JPEG also opens MPO.
READ_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")
READ_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2")
WRITE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
# One JPEG segment holds 65,533 bytes; XMP and EXIF have one each, XMP behind its name.
MAX_JPEG_XMP, MAX_JPEG_EXIF = 65_504, 65_533
# What Pillow's decoders raise on broken files, beside its own errors.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


def pictures_below(folder: Path, but_not: Path | None = None) -> list[Path]:
    """Return the picture files in a folder and below, by name; hidden ones and those below `but_not` are left out."""
    folder, left_out = Path(folder), but_not and but_not.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in READ_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and not (left_out is not None and path.resolve().is_relative_to(left_out))
    ]


@dataclass(frozen=True)
class Metadata:
    """What a photo carries beside its pixels, ready to be written again: no thumbnail, orientation upright, colours sRGB."""

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True)
class Photo:
    """An upright picture.

    Args:
        image: RGB, 8 bits a channel, sRGB.
        alpha: its transparency (mode L, same size), or None when it is opaque.
        metadata: kept for saving.
        path: where it came from, if from a file.
        notes: what was left out in reading it, one phrase each.
    """

    image: Image.Image
    alpha: Image.Image | None = None
    metadata: Metadata = field(default_factory=Metadata)
    path: Path | None = None
    notes: tuple[str, ...] = ()


def load_photo(path: str | Path) -> Photo:
    """Read a photo of any mode (grey, palette, alpha, CMYK, 16 bit), turned upright and converted to 8-bit sRGB.

    Raises:
        ImageError: no such file, not a picture, damaged, smaller than 16 pixels a side, or larger than 100 megapixels (told
            from the header, before any pixel is decoded).
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name a picture in it")
    if not path.is_file():
        raise ImageError(f"{path} is not a regular file" if path.exists() else f"{path} does not exist: check the name")
    with _quiet_decoders(), ExitStack() as files:
        return photo_of(_decoded(path, files), path)


def _decoded(path: Path, files: ExitStack) -> Image.Image:
    """Open and decode a file, which stays open until `files` closes: Pillow reads metadata late."""
    try:
        image = files.enter_context(Image.open(path, formats=_formats()))
        _check_size(image.size, str(path))
        image.load()
    except UnidentifiedImageError:
        raise ImageError(f"{path} {_what_it_is(path)}") from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large(f"{path} is")) from None
    except PermissionError:
        raise ImageError(f"{path} cannot be read: permission denied") from None
    except _BROKEN as error:
        raise ImageError(f"{path} is damaged ({_one_line(error)}): copy or export the picture again") from error
    return image


def photo_of(image: Image.Image, path: Path | None = None) -> Photo:
    """Bring a Pillow image of any mode to a `Photo`; `image` itself is left as it is.

    Raises:
        ImageError: a mode whose white is unknown (floating point, 32 bits), or a size out of bounds.
    """
    name = str(path or "the image")
    _check_size(image.size, name)
    # A phone's MPO file holds one picture several times; that is no animation.
    animated = getattr(image, "is_animated", False) and image.format != "MPO"
    notes = ["an animation: its first frame is used"] if animated else []
    upright, block = image, None
    try:
        upright = ImageOps.exif_transpose(image)
        block = exif.clean(image, upright.size)
    except exif.BROKEN:
        notes.append("its EXIF data is damaged and was left out")
    packet = image.info.get("xmp")
    packet = packet.encode() if isinstance(packet, str) else packet

    colours, alpha, depth_notes = to_eight_bits(upright, name)
    rgb, icc, colour_notes = to_srgb(colours, image.info.get("icc_profile"))
    if alpha is not None:
        # What lies under full transparency is arbitrary; white is what a viewer shows there.
        rgb.paste((255, 255, 255), mask=alpha.point(lambda a: 255 if a == 0 else 0))
    rgb.info.clear()
    metadata = Metadata(exif=block, xmp=xmp.clean(packet) if packet else None, icc=icc)
    return Photo(rgb, alpha, metadata, path, (*notes, *depth_notes, *colour_notes))


def as_photo(image: "str | Path | Image.Image | np.ndarray | Photo") -> Photo:
    """Bring whatever shows one picture to a `Photo`: a path, a PIL image, or an array RGB (H, W, 3), uint8 or floats in [0, 1].

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
    """Write an RGB image as PNG, JPEG or WebP by the name's ending, atomically; always 8 bits a channel.

    Args:
        image: RGB, upright, sRGB.
        path: the file to write; one that exists is replaced.
        photo: where the image comes from: its metadata and its alpha channel (PNG and WebP; on JPEG the picture is laid on
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
        ImageError: pictures are not written under this ending.
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
    name: str = "the picture",
) -> bytes:
    """Return the bytes that `save_photo` writes; `format` is PNG, JPEG or WEBP, `name` stands in error messages."""
    metadata = metadata or (photo.metadata if photo else Metadata())
    packet, block = metadata.xmp or b"", metadata.exif or b""
    if format == "JPEG" and (len(packet) > MAX_JPEG_XMP or len(block) > MAX_JPEG_EXIF):
        raise ImageError(f"{name}: the photo's metadata is too long for JPEG, save as .png or .webp")
    if photo and photo.alpha and photo.alpha.size == image.size:
        image = with_alpha(image, photo.alpha, keep=format != "JPEG")
    options: dict[str, Any] = {"exif": block, "icc_profile": metadata.icc}
    if format == "PNG":
        options["pnginfo"] = _png_text(packet)
    else:
        options |= {"quality": quality, "xmp": packet}
    if format == "JPEG":
        options["subsampling"] = 0  # colours at full resolution
    # In memory first: Pillow's encoders hide a full disk when they write to a file themselves.
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (ValueError, OSError, struct.error) as error:
        raise ImageError(f"cannot save {name} as {format} ({_one_line(error)}): choose another format") from error
    return buffer.getvalue()


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
    raise ImageError(f"image values must lie in [{low}, {high}], found {least:.3g} to {most:.3g}: {fix}")


def _formats() -> list[str]:
    return [name for name in READ_FORMATS if name != "AVIF" or features.check("avif")]


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Silence Pillow's own words on large pictures and odd metadata: both are checked, and told, here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(f"{name} is {width}x{height} pixels: too small, at least {MIN_SIDE} pixels a side are needed")
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{name} is {width}x{height} pixels:"))


def _too_large(start: str) -> str:
    return f"{start} too large, at most {MAX_PIXELS // 1_000_000} megapixels are read: scale it down first"


def _what_it_is(path: Path) -> str:
    """Say why a file that no decoder knows is no picture, and what to do."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "is empty: copy or export the picture again"
    if head[4:8] == b"ftyp":
        return "is a HEIC picture or a video, which cannot be read: export it as JPEG or PNG"
    if head.startswith(b"%PDF-"):
        return "is a PDF: export the picture in it as JPEG or PNG"
    is_text = all(byte in b"\t\n\r\f" or byte >= 32 for byte in head)
    what = "is a text file" if is_text else "is not a picture, or is damaged"
    return f"{what}: give a PNG, JPEG, WebP, TIFF or BMP picture"


def _png_text(packet: bytes) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    if packet:
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return info


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def png_bytes(image: np.ndarray) -> bytes:
    """Return an image, uint8 (H, W, 3) or grey (H, W), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
