"""Bringing pictures of any mode to 8-bit sRGB, and their alpha channel."""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from legan.core.errors import ImageError

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def to_eight_bits(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """Split a picture into its colours and its alpha channel.

    Returns:
        the colours in 8 bits (mode L, RGB, CMYK or LAB); alpha (mode L), None where the picture is opaque; notes.

    Raises:
        ImageError: a mode whose white is unknown (floating point, 32 bits).
    """
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float64) / 257  # 65535 / 257 = 255
        return Image.fromarray(np.round(levels).astype(np.uint8)), None, ["16 bits a channel: the result has 8"]
    if image.mode in ("I", "F"):
        raise ImageError(f"{name} has pixels of 32 bits, whose white is unknown: save it with 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        return rgba.convert("RGB"), None if alpha.getextrema() == (255, 255) else alpha, []
    return image if image.mode in ("L", "CMYK", "LAB") else image.convert("RGB"), None, []


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None, list[str]]:
    """Convert colours of 8 bits (mode L, RGB, CMYK or LAB) to sRGB.

    Args:
        image: the colours.
        profile: the ICC profile that came with them, if any.

    Returns:
        a new RGB image; the profile to write with it (None when none came); notes.
    """
    if image.mode == "LAB":
        return _converted(image, ImageCms.createProfile("LAB")), srgb_profile(), []
    if profile:
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
            if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
                return image.copy(), profile, []
            return _converted(image, source), srgb_profile(), []
        except (ImageCms.PyCMSError, OSError, ValueError):
            # Damaged, or of another kind than the picture, such as RGB on a grey one.
            return image.convert("RGB"), None, ["its colour profile cannot be used and was left out"]
    return image.convert("RGB"), None, []


@lru_cache
def srgb_profile() -> bytes:
    """Return an sRGB profile whose creation date (bytes 24 to 35) is fixed, so that the same photo gives the same file."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


def with_alpha(image: Image.Image, alpha: Image.Image, keep: bool) -> Image.Image:
    """Return an RGB image with its alpha channel (`keep`), or laid on white."""
    if not keep:
        return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    image = image.copy()
    image.putalpha(alpha)
    return image


def _converted(image: Image.Image, source: "ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile") -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, INTENT, "RGB", flags=FLAGS)
    if converted is None:
        raise ValueError("the profile converts in place only")
    return converted
