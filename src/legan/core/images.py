"""Images in and out: the only place where range, layout or size of an image changes.

A photo comes in as any file that a camera, a phone or a scanner writes, and is one thing inside: upright 8-bit sRGB, with its
alpha channel and its metadata beside it. Networks see float32 (B, 3, H, W) in [-1, 1].
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from legan.core.colours import to_eight_bits, to_srgb, with_alpha
from legan.core.errors import DataError, ImageError, nearest
from legan.core.files import write_atomic
from legan.core.formats import MAX_PIXELS, check_size, decoded, one_line
from legan.core.manifest import read_bytes
from legan.core.metadata import Metadata, read_metadata, save_options, with_segments

if TYPE_CHECKING:
    from torch import Tensor

WRITE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_TURN = Image.Transpose
# EXIF's orientations, and what brings an image upright.
_UPRIGHT = {
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip


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
        ImageError: no such file, not an image, damaged, smaller than 16 pixels a side, or larger than 100 megapixels (told
            from the header, before any pixel is decoded).
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name an image in it")
    if not path.is_file():
        raise ImageError(f"{path} is not a regular file" if path.exists() else f"{path} does not exist: check the name")
    with decoded(path) as image:
        return photo_of(image, path)


def photo_of(image: Image.Image, path: Path | None = None) -> Photo:
    """Bring a Pillow image of any mode to a `Photo`; `image` itself is left as it is.

    Raises:
        ImageError: a mode whose white is unknown (floating point, 32 bits), or a size out of bounds.
    """
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
    notes = (*_frame_notes(image), *metadata_notes, *depth_notes, *colour_notes)
    return Photo(rgb, alpha, replace(metadata, icc=icc), path, notes)


def decode_rgb(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return an encoded image as uint8 (H, W, 3), upright sRGB as `load_photo` reads it; arguments and errors as for `decoded`.

    Raises:
        ImageError: as `decoded`.
    """
    with decoded(data, name, max_pixels) as image:
        if image.mode == "RGB" and not {"exif", "xmp", "icc_profile", "gamma", "chromaticity", "cicp"} & set(image.info):
            return np.asarray(image)  # nearly every crop of a data set: nothing to turn or convert
        return np.asarray(photo_of(image, Path(name)).image)


def read_pixels(folder: Path, row: Mapping[str, Any], name: str) -> np.ndarray:
    """Return the image of a manifest row as uint8 (H, W, 3); `name` stands in error messages.

    Raises:
        DataError: it is missing, or cannot be decoded.
    """
    try:
        return decode_rgb(read_bytes(folder, row), name)
    except ImageError as error:
        raise DataError(str(error)) from error


def _frame_notes(image: Image.Image) -> list[str]:
    """What is said of a file that holds more than the image used. A phone's MPO file holds one image several times."""
    n_frames = getattr(image, "n_frames", 1)
    if image.format == "MPO" or n_frames < 2:
        return []
    if image.format in ("TIFF", "HEIF"):
        return [f"it holds {n_frames} images: {'its first' if image.format == 'TIFF' else 'its main one'} is used"]
    return ["an animation: its first frame is used"]


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
    if photo and photo.alpha and photo.alpha.size == image.size:
        image = with_alpha(image, photo.alpha, keep=format != "JPEG")
    options: dict[str, Any] = save_options(metadata, format, name)
    if format != "PNG":
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
    raise ImageError(f"image values must lie in [{low}, {high}], found {least:.3g} to {most:.3g}: {fix}")


def png_bytes(image: np.ndarray) -> bytes:
    """Return an image, uint8 (H, W, 3) or grey (H, W), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
