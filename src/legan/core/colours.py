"""Bringing images of any mode to 8-bit sRGB, by what their file says of black, white and colours, and their alpha channel."""

import io
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from legan.core import colour_spaces, exif
from legan.core.errors import ImageError

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # TIFF tags
_TRANSFER_FUNCTION, _WHITE_POINT, _PRIMARIES = 301, 318, 319
_MIN_IS_WHITE, _UNSIGNED = 0, 1
_MAX_DIFFERENCE = 2  # of 255, between an sRGB profile and another one's sRGB
_BROKEN_PROFILE = (ImageCms.PyCMSError, OSError, ValueError)


def to_eight_bits(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """Split an image into its colours and its alpha channel.

    Returns:
        the colours in 8 bits (mode L, RGB, CMYK or LAB); alpha (mode L), None where the image is opaque; notes.

    Raises:
        ImageError: a mode whose white is unknown (floating point, signed, 32 bits).
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image, name), None, ["16 bits a channel: the result has 8"]
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        # Grey stays grey, as its profile may be for grey alone.
        colours = rgba.getchannel("R") if image.mode in ("L", "LA", "La") else rgba.convert("RGB")
        return colours, None if alpha.getextrema() == (255, 255) else alpha, []
    return image if image.mode in ("L", "CMYK", "LAB") else image.convert("RGB"), None, []


def _grey(image: Image.Image, name: str) -> Image.Image:
    """Grey levels of more than 8 bits as mode L, black and white where the file puts them."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = (tags.get(_BITS) or (16,))[0]
    if image.format == "PPM" and image.mode == "I":
        white = 65535  # Pillow scales every maxval to this
    elif image.mode.startswith("I;16") and (tags.get(_SAMPLE_FORMAT) or (_UNSIGNED,))[0] == _UNSIGNED:
        white = 2**bits - 1
    else:
        what = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise ImageError(f"{name} has {what} grey levels, whose white is unknown: save it with 8 or 16 bits")
    levels = np.asarray(image).astype(np.float64) / white
    if tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        levels = 1 - levels
    return Image.fromarray(np.round(levels * 255).clip(0, 255).astype(np.uint8))


def to_srgb(colours: Image.Image, image: Image.Image) -> tuple[Image.Image, bytes | None, list[str]]:
    """Convert colours of 8 bits (mode L, RGB, CMYK or LAB) to sRGB.

    Args:
        colours: the colours.
        image: as it was opened: what it says about them counts.

    Returns:
        a new RGB image; the profile to write with it (None where the file states no colour space); notes.
    """
    if colours.mode == "LAB":
        return _converted(colours, ImageCms.createProfile("LAB")), srgb_profile(), []
    profile, is_embedded, notes = _stated_profile(image)
    if profile is None:
        return colours.convert("RGB"), None, notes
    if not is_embedded:
        colours = colours.convert("RGB")
    try:
        if colours.mode == "RGB" and _is_srgb(profile):
            return colours.copy(), profile if is_embedded else srgb_profile(), notes
        return _converted(colours, ImageCms.getOpenProfile(io.BytesIO(profile))), srgb_profile(), notes
    except _BROKEN_PROFILE:
        # Damaged, or of another kind than the image, such as RGB on a grey one.
        return colours.convert("RGB"), None, [*notes, "its colour profile cannot be used and was left out"]


def _stated_profile(image: Image.Image) -> tuple[bytes | None, bool, list[str]]:
    """The profile of the space that a file states its colours in, whether the file embeds it, and notes.

    Where it states several, the order is PNG's (third edition, section 4.3): code points, ICC profile, sRGB, gamma; then EXIF.
    """
    info = image.info
    unknown = ["its statement of colours is not understood and was left out: sRGB is assumed"]
    if "cicp" in info and (image.format == "PNG" or not info.get("icc_profile")) and info["cicp"][:2] != (2, 2):
        primaries, transfer, _, is_full = info["cicp"]
        profile = colour_spaces.profile_of_code_points(primaries, transfer, bool(is_full))
        is_hdr = transfer in colour_spaces.HDR
        return profile, False, unknown if profile is None else ["HDR: what is brighter than white is white"] if is_hdr else []
    if info.get("icc_profile"):
        return info["icc_profile"], True, []
    if "srgb" in info:
        return srgb_profile(), False, []
    if "gamma" in info or "chromaticity" in info:
        profile = colour_spaces.profile_of_gamma(info.get("gamma", 1 / 2.2), info.get("chromaticity", colour_spaces.SRGB))
        return profile, False, unknown if profile is None else []
    return _tagged_profile(image), False, []


def _tagged_profile(image: Image.Image) -> bytes | None:
    """The profile that TIFF or EXIF tags describe, if any."""
    tags: Any = getattr(image, "tag_v2", {})
    if _PRIMARIES in tags and _WHITE_POINT in tags and _PHOTOMETRIC in tags:
        points = tuple(float(value) for value in (*tags[_WHITE_POINT], *tags[_PRIMARIES]))
        curve = tags.get(_TRANSFER_FUNCTION, ())
        n_steps = 2 ** (tags.get(_BITS) or (8,))[0]
        if len(points) == 8 and len(curve) in (n_steps, 3 * n_steps):
            return colour_spaces.matrix_profile(points, tuple(level / 65535 for level in curve[:n_steps]))
        return colour_spaces.profile_of_gamma(1 / 2.2, points) if len(points) == 8 else None
    if exif.states_adobe_rgb(image):
        return colour_spaces.profile_of_gamma(256 / 563, colour_spaces.ADOBE_RGB)
    return None


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile is sRGB by what it does to a grid of colours; its name says nothing."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3))
    converted = _converted(grid, ImageCms.getOpenProfile(io.BytesIO(profile)))
    return int(np.abs(np.asarray(converted).astype(int) - np.asarray(grid)).max()) <= _MAX_DIFFERENCE


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
