"""Colour: any mode, profile or colour space of a file to 8-bit sRGB."""

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from legan.core import metadata as exif
from legan.core.errors import ImageError
from legan.core.light import to_linear

# Colour spaces that files state other than by an ICC profile, as ICC profiles, so that one engine converts them all.
#
# Primaries and transfer functions by code point: ITU-T H.273 (what PNG's cICP chunk and AVIF's colr box hold); chromaticities and
# gamma: PNG's cHRM and gAMA (PNG, third edition, sections 4.3 and 11.3.2); Adobe RGB: DCF 2.0's option file, stated in EXIF.


Array = np.ndarray
# White, red, green and blue as CIE 1931 x, y.
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_PRIMARIES = {
    1: SRGB,
    2: SRGB,  # unspecified
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (*_DCI, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_PEAK_NITS, _WHITE_NITS = 10_000, 203  # of PQ; of diffuse white in HDR (ITU-R BT.2408)
_N_STEPS = 4096  # of a curve
_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC profiles
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _pq(v: Array) -> Array:
    """SMPTE ST 2084, with diffuse white at 1."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = v ** (1 / m2)
    return (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * (_PEAK_NITS / _WHITE_NITS)


def _hlg(v: Array) -> Array:
    """ITU-R BT.2100 on a display of 1,000 nits (system gamma 1.2 on each channel), with diffuse white (a signal of 0.75) at 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12) ** 1.2
    return light * 1000 / _WHITE_NITS


# BT.709 and its kin are shown by the sRGB curve in practice, as browsers do: their own curve is the camera's, not the display's.
_TRANSFERS: dict[int, Callable[[Array], Array]] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15), to_linear),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    16: _pq,
    18: _hlg,
}
HDR = (16, 18)


@lru_cache
def profile_of_code_points(primaries: int, transfer: int, full_range: bool = True) -> bytes | None:
    """Return the profile of H.273 code points, or None for those that are not known here."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    v = np.linspace(0, 1, _N_STEPS)
    if not full_range:  # black at 16 and white at 235 of 255
        v = np.clip((v * 255 - 16) / 219, 0, 1)
    return matrix_profile(_PRIMARIES[primaries], tuple(_TRANSFERS[transfer](v).tolist()))


@lru_cache
def profile_of_gamma(gamma: float, chromaticities: tuple[float, ...] = SRGB) -> bytes | None:
    """Return the profile for a file gamma (0.45455 for 1/2.2) and chromaticities; None where they describe no colours."""
    if not 0.05 < gamma < 20:
        return None
    # A gamma near 1/2.2 with sRGB's primaries stands for the sRGB curve (libpng's threshold of 5%).
    is_srgb = abs(gamma * 2.2 - 1) <= 0.05 and np.allclose(chromaticities, SRGB, atol=0.005)
    v = np.linspace(0, 1, _N_STEPS)
    return matrix_profile(chromaticities, tuple((to_linear(v) if is_srgb else v ** (1 / gamma)).tolist()))


def matrix_profile(chromaticities: tuple[float, ...], curve: tuple[float, ...]) -> bytes | None:
    """Return an ICC profile (version 2, three primaries and one curve).

    Args:
        chromaticities: x and y of white, red, green and blue.
        curve: linear light at equal steps of the coded value, 1 for white; what is brighter is clipped.

    Returns:
        the profile, or None where the primaries lie on a line.
    """
    xy = np.array(chromaticities, float).reshape(4, 2)
    if (xy[:, 1] <= 0).any():
        return None
    white, *primaries = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]], 1)
    columns = np.array(primaries).T
    if abs(np.linalg.det(columns)) < 1e-6:
        return None
    columns = columns * np.linalg.solve(columns, white)
    # Bring the white to that of all profiles, as the ICC asks (Bradford's adaptation).
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD @ columns
    levels = np.round(np.clip(curve, 0, 1) * 65535).astype(">u2")
    curv = b"curv\0\0\0\0" + struct.pack(">I", len(levels)) + levels.tobytes()
    tags = [
        (b"desc", b"desc\0\0\0\0\0\0\0\x07stated\0" + bytes(79)),
        (b"cprt", b"text\0\0\0\0CC0\0"),
        (b"wtpt", _xyz(_D50)),
        *zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, adapted.T), strict=True),
        *((name, curv) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags:
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = bytearray(128)
    head[0:4], head[8:24], head[36:40] = struct.pack(">I", start + len(body)), b"\2\x10\0\0mntrRGB XYZ ", b"acsp"
    head[68:80] = _fixed(_D50)
    return bytes(head) + struct.pack(">I", len(tags)) + table + body


def matrix_space(profile: bytes) -> tuple[Array, Array] | None:
    """Read an RGB profile of three curves and a matrix (ICC.1:2022, sections 8.3, 10.6 and 10.18).

    Returns:
        linear light (3, 65536) of each level of 16 bits, and the matrix (3, 3) from it to sRGB's linear light; None where the profile
        is of another kind or damaged.
    """
    try:
        tags = _tags(profile)
        if profile[16:24] != b"RGB XYZ " or {b"A2B0", b"A2B1"} & set(tags):  # tables come before the matrix
            return None
        primaries = _primaries(tags)
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    except (KeyError, ValueError, struct.error):
        return None
    if abs(np.linalg.det(primaries)) < 1e-6 or (np.diff(curves) < 0).any() or curves[:, -1].min() < 0.5:
        return None
    return curves, np.linalg.solve(_primaries(_tags(srgb_profile())), primaries)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """The data of each tag of a profile, by its signature."""
    rows = [struct.unpack_from(">4sII", profile, 132 + 12 * k) for k in range(int.from_bytes(profile[128:132], "big"))]
    return {name: profile[start : start + size] for name, start, size in rows}


def _primaries(tags: dict[bytes, bytes]) -> Array:
    """The matrix (3, 3) from linear light to XYZ."""
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return np.array(columns).T / 65536


def _curve(tag: bytes) -> Array:
    """Linear light (65536,) of a tag of type curv or para."""
    v = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        (n,) = struct.unpack_from(">I", tag, 8)
        values = np.array(struct.unpack_from(f">{n}H", tag, 12), float)
        return v if n == 0 else v ** (values[0] / 256) if n == 1 else np.interp(v, np.linspace(0, 1, n), values / 65535)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ValueError("an unknown curve")
    numbers = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)) / 65536
    g, a, b, c, d, e, f = np.concatenate([numbers, np.zeros(7 - len(numbers))])
    if kind == 0:
        return v**g
    # A power from some level on; below it a line, in the kinds 1 and 2 a constant.
    start, slope, above, below = {1: (-b / a, 0, 0, 0), 2: (-b / a, 0, c, c), 3: (d, c, 0, 0), 4: (d, c, e, f)}[kind]
    return np.where(v >= start, np.maximum(a * v + b, 0) ** g + above, slope * v + below)


def _xyz(values: Array) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: Array) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


# Bringing images of any mode to 8-bit sRGB, by what their file says of black, white and colours, and their alpha channel.


INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # TIFF tags
_TRANSFER_FUNCTION, _WHITE_POINT, _PRIMARIES_TAG = 301, 318, 319
_MIN_IS_WHITE, _UNSIGNED = 0, 1
_MAX_DIFFERENCE = 2  # of 255, between an sRGB profile and another one's sRGB
BROKEN_PROFILE = (ImageCms.PyCMSError, OSError, ValueError)


def to_eight_bits(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """Split an image into its colours and its alpha channel.

    Returns:
        the colours in 8 bits (mode L, RGB, CMYK or LAB); alpha (mode L), None where the image is opaque; notes.

    Raises:
        ImageError: a mode whose white is unknown (floating point, signed, 32 bits).
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image, name), None, []
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
    profile, is_embedded, notes = stated_profile(image)
    if profile is None:
        return colours.convert("RGB"), None, notes
    if not is_embedded:
        colours = colours.convert("RGB")
    try:
        if colours.mode == "RGB" and is_srgb(profile):
            return colours.copy(), profile if is_embedded else srgb_profile(), notes
        return _converted(colours, ImageCms.getOpenProfile(io.BytesIO(profile))), srgb_profile(), notes
    except BROKEN_PROFILE:
        # Damaged, or of another kind than the image, such as RGB on a grey one.
        return colours.convert("RGB"), None, [*notes, "its colour profile cannot be used and was left out"]


def stated_profile(image: Image.Image) -> tuple[bytes | None, bool, list[str]]:
    """The profile of the space that a file states its colours in, whether the file embeds it, and notes.

    Where it states several, the order is PNG's (third edition, section 4.3): code points, ICC profile, sRGB, gamma; then EXIF.
    """
    info = image.info
    unknown = ["its statement of colours is not understood and was left out: sRGB is assumed"]
    if "cicp" in info and (image.format == "PNG" or not info.get("icc_profile")) and info["cicp"][:2] != (2, 2):
        primaries, transfer, _, is_full = info["cicp"]
        profile = profile_of_code_points(primaries, transfer, bool(is_full))
        is_hdr = transfer in HDR
        return profile, False, unknown if profile is None else ["HDR: what is brighter than white is white"] if is_hdr else []
    if info.get("icc_profile"):
        return info["icc_profile"], True, []
    if "srgb" in info:
        return srgb_profile(), False, []
    if "gamma" in info or "chromaticity" in info:
        profile = profile_of_gamma(info.get("gamma", 1 / 2.2), info.get("chromaticity", SRGB))
        return profile, False, unknown if profile is None else []
    return _tagged_profile(image), False, []


def _tagged_profile(image: Image.Image) -> bytes | None:
    """The profile that TIFF or EXIF tags describe, if any."""
    tags: Any = getattr(image, "tag_v2", {})
    if _PRIMARIES_TAG in tags and _WHITE_POINT in tags and _PHOTOMETRIC in tags:
        points = tuple(float(value) for value in (*tags[_WHITE_POINT], *tags[_PRIMARIES_TAG]))
        curve = tags.get(_TRANSFER_FUNCTION, ())
        n_steps = 2 ** (tags.get(_BITS) or (8,))[0]
        if len(points) == 8 and len(curve) in (n_steps, 3 * n_steps):
            return matrix_profile(points, tuple(level / 65535 for level in curve[:n_steps]))
        return profile_of_gamma(1 / 2.2, points) if len(points) == 8 else None
    if exif.states_adobe_rgb(image):
        return profile_of_gamma(256 / 563, ADOBE_RGB)
    return None


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
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
