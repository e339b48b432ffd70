"""16-bit colour files, which Pillow reads as 8 bits and cannot write: PNG and TIFF, from and to (H, W, C) uint16."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.errors import BadImage

PNG_LEVEL = 3
"""zlib's 0..9."""
_SHORT, _LONG, _UNDEFINED = 3, 4, 7


def read_deep(data: bytes) -> NDArray[np.uint16]:
    """A 16-bit PNG or TIFF: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, as stored, not turned.

    Raises:
        BadImage: it cannot be read, or holds something else.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise BadImage("unreadable", "16-bit picture that cannot be decoded")
    if pixels.dtype != np.uint16:
        raise BadImage("unsupported", f"expected 16-bit pixels, found {pixels.dtype}")
    if pixels.ndim == 3:
        turn = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = cv2.cvtColor(pixels, turn)
    return pixels.astype(np.uint16, copy=False)


def png(pixels: NDArray[np.uint16], icc: bytes | None = None, exif: bytes = b"") -> bytes:
    """(H, W, 1 to 4) uint16 to PNG: grey, grey and alpha, RGB, RGBA.

    Rows are stored as differences from the row above (PNG's filter "up"), which zlib packs well.
    """
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    packer = zlib.compressobj(PNG_LEVEL)
    body = []
    above = np.zeros_like(rows[0])
    for row in rows:
        body.append(packer.compress(b"\2" + (row - above).tobytes()))
        above = row
    body.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if icc:
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(icc)))
    if exif:
        chunks.append((b"eXIf", exif))
    chunks += [(b"IDAT", b"".join(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )


def tiff(pixels: NDArray[np.uint16], icc: bytes | None = None) -> bytes:
    """(H, W, 1, 3 or 4) uint16 to an uncompressed little-endian TIFF (revision 6.0) of one strip."""
    height, width, channels = pixels.shape
    strip = pixels.astype("<u2").tobytes()
    entries: list[tuple[int, int, list[int] | bytes]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [16] * channels),
        (259, _SHORT, [1]),  # no compression
        (262, _SHORT, [1 if channels < 3 else 2]),  # 0 is black; or RGB
        (273, _LONG, [8]),  # the strip lies behind the header
        (277, _SHORT, [channels]),
        (278, _LONG, [height]),
        (279, _LONG, [len(strip)]),
        (284, _SHORT, [1]),
    ]
    if channels == 4:
        entries.append((338, _SHORT, [2]))  # the last channel is alpha, not multiplied in
    if icc:
        entries.append((34675, _UNDEFINED, icc))
    strip += b"\0" * (len(strip) % 2)
    at = 8 + len(strip) + 2 + 12 * len(entries) + 4
    directory, beyond = struct.pack("<H", len(entries)), b""
    for tag, kind, values in entries:
        body = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{'IH'[kind == _SHORT]}", *values)
        directory += struct.pack("<HHI", tag, kind, len(values))
        if len(body) <= 4:
            directory += body.ljust(4, b"\0")
        else:
            directory += struct.pack("<I", at + len(beyond))
            beyond += body + b"\0" * (len(body) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4) + beyond
