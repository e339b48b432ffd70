"""JPEG's marker segments (ITU-T T.81, annex B): size, tables and metadata, no pixel decoded."""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from million_ird.errors import BadImage

SOI, EOI, SOS, DQT, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xFE
APP0, APP1, APP2, APP13, APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

# fmt: off
LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # ITU-T T.81, table K.1
# fmt: on


def _table_sum(quality: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(255, max(1, (value * scale + 50) // 100)) for value in LUMA_TABLE)


_SUMS = [_table_sum(quality) for quality in range(100, 0, -1)]


Segment = tuple[int, int, int, int]
"""One marker segment: its marker byte, where it begins (at 0xFF), and its payload's bounds in the data."""


class Info(NamedTuple):
    """What the segments before the first scan say; `exif` is the TIFF block without its "Exif" prefix."""

    width: int
    height: int
    components: int
    precision: int
    quality: float | None
    subsampling: str | None
    exif: bytes
    icc: bytes | None


def segments(data: bytes) -> Iterator[Segment]:
    """Segments up to and including the first SOS.

    Raises:
        BadImage: "truncated" where the data ends first, "unreadable" where no marker stands where one must.
    """
    at, size = 2, len(data)
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 4 > size:
            raise BadImage("truncated", f"JPEG ends in its header, at byte {size}")
        if data[at] != 0xFF:
            raise BadImage("unreadable", f"JPEG has no marker at byte {at}")
        marker = data[at + 1]
        if marker in ALONE:
            at += 2
            continue
        if marker == EOI:
            raise BadImage("unreadable", "JPEG ends before its first scan")
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if end < at + 4:
            raise BadImage("unreadable", f"JPEG has a segment of impossible length at byte {at}")
        if end > size:
            raise BadImage("truncated", f"JPEG ends in its header, at byte {size}")
        yield marker, at, at + 4, end
        if marker == SOS:
            return
        at = end


def read(data: bytes) -> Info:
    """Walk the header of a JPEG.

    Raises:
        BadImage: as `segments`, and "unreadable" where there is no frame header.
    """
    frame: tuple[int, int, int, int] | None = None
    quality: float | None = None
    sampling: str | None = None
    exif, icc_parts = b"", []
    for marker, _, start, end in segments(data):
        if marker in FRAMES and frame is None and end - start >= 6:
            precision, height, width, components = struct.unpack_from(">BHHB", data, start)
            frame = width, height, components, precision
            sampling = _subsampling(data[start + 6 : end], components)
        elif marker == DQT and quality is None:
            quality = _quality(data[start:end])
        elif marker == APP1 and not exif and data.startswith(b"Exif\0\0", start):
            exif = data[start + 6 : end]
        elif marker == APP2 and end - start > 14 and data.startswith(b"ICC_PROFILE\0", start):
            icc_parts.append((data[start + 12], data[start + 14 : end]))
    if frame is None:
        raise BadImage("unreadable", "JPEG has no frame header")
    icc = b"".join(part for _, part in sorted(icc_parts)) or None
    return Info(*frame, quality, sampling, exif, icc)


def _quality(tables: bytes) -> float | None:
    """IJG quality whose scaled luma table (T.81 K.1, libjpeg's jpeg_set_quality) has the nearest sum; exact for IJG."""
    at = 0
    while at < len(tables):
        wide, number = tables[at] >> 4, tables[at] & 15
        length = 128 if wide else 64
        body = tables[at + 1 : at + 1 + length]
        if len(body) < length:
            return None
        if number == 0:
            total = sum(struct.unpack(">64H", body)) if wide else sum(body)
            index = bisect_left(_SUMS, total)
            if index and (index == 100 or total - _SUMS[index - 1] < _SUMS[index] - total):
                index -= 1
            return float(100 - index)
        at += 1 + length
    return None


def _subsampling(components: bytes, count: int) -> str | None:
    if count != 3 or len(components) < 9:
        return None
    factors = [(components[3 * i + 1] >> 4, components[3 * i + 1] & 15) for i in range(3)]
    (h, v), (hb, vb), (hr, vr) = factors
    if (hb, vb) != (hr, vr) or not hb or not vb:
        return "other"
    names = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}
    return names.get((h // hb, v // vb), "other")


def end_of_image(data: bytes, first_scan: int) -> int:
    """Offset just behind the EOI that closes the image whose first SOS begins at `first_scan`; -1 where there is none.

    What lies behind it (other pictures of an MPO file, a phone's video) is not part of the picture.
    """
    at = first_scan
    while match := _NEXT_MARKER.search(data, at):
        begin = match.start()
        if data[begin + 1] == EOI:
            return begin + 2
        if begin + 4 > len(data):
            break
        at = begin + 2 + (data[begin + 2] << 8 | data[begin + 3])
    return -1
