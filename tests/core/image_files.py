"""Image files as other programs write them, byte by byte where Pillow cannot."""

import struct
import zlib
from pathlib import Path

import numpy as np

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 128 128\n%%EndComments\nshowpage\n"


def png_chunk(name: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of uint8 or uint16 pixels (H, W) or (H, W, 3), with further chunks before the pixels."""
    height, width = pixels.shape[:2]
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size in its header and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def tiff(
    width: int,
    height: int,
    data: bytes,
    bits: int,
    photometric: int,
    endian: str = "<",
    more: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    """An uncompressed TIFF file of one channel; `more` holds further (tag, type, value)."""
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1),
        (278, 4, height), (279, 4, len(data)), *more,
    ]  # fmt: skip
    entries = b""
    for tag, kind, value in sorted(tags):
        packed = struct.pack(endian + ("I" if kind == 4 else "H"), value).ljust(4, b"\0")
        entries += struct.pack(endian + "HHI", tag, kind, 1) + packed
    directory = struct.pack(endian + "H", len(tags)) + entries + bytes(4)
    start = (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(endian + "I", 8 + len(data))
    return start + data + directory


def write(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path
