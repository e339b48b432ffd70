"""Metadata out, credit kept: drop what identifies a person or a device without touching a pixel's bits.

Where a picture was taken (GPS), serial numbers, owner names, maker notes, edit history and embedded thumbnails go;
the colour profile, the EXIF turn, and who made the picture under which terms stay.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from million_ird.errors import BadImage
from million_ird.images import jpeg
from million_ird.images.header import ORIENTATION, exif_orientation, guarded, sniff

ARTIST, COPYRIGHT = 0x013B, 0x8298
STRIPPABLE = ("jpeg", "png", "webp", "bmp")
"""Formats whose metadata is dropped without re-encoding; the others go out as PNG."""

_PNG_KEPT = {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"pHYs", b"bKGD"}
_XMP = {"creator": rb"dc:creator", "rights": rb"dc:rights", "licence": rb"(?:cc:license|xmpRights:WebStatement)"}
_IPTC = {80: "creator", 116: "rights"}
_CREDIT_NAMES = {"author": "creator", "artist": "creator", "copyright": "rights", "license": "licence"}


def credits_of(data: bytes) -> dict[str, str]:
    """Who made the picture and under which terms, as far as its EXIF, IPTC, XMP or PNG text say.

    Returns:
        Some of "creator", "rights", "licence"; empty where nothing is said or the file is not understood.
    """
    kind = sniff(data)
    if kind is None:
        return {}
    found: dict[str, str] = {}
    try:
        with guarded(data, kind):
            for name, value in _credit_fields(data, kind):
                text = " ".join(value.replace("\0", " ").split())[:500]
                if text and name not in found:
                    found[name] = text
    except BadImage:
        return found
    return found


def strip_metadata(data: bytes) -> bytes:
    """The same picture, bit for bit, without what `credits_of` and the EXIF turn don't need.

    Args:
        data: a whole JPEG, PNG, WebP or BMP (`STRIPPABLE`).

    Raises:
        BadImage: "unsupported" for other formats; "unreadable" or "truncated" where the structure is broken.
    """
    kind = sniff(data)
    if kind not in STRIPPABLE:
        raise BadImage("unsupported", f"cannot strip metadata of {kind or 'this'} without re-encoding")
    if kind == "bmp":
        return data
    exif = _small_exif(data, kind, credits_of(data))
    with guarded(data, kind):
        return {"jpeg": _strip_jpeg, "png": _strip_png, "webp": _strip_webp}[kind](data, exif)


def _small_exif(data: bytes, kind: str, credit: dict[str, str]) -> bytes:
    """A TIFF block of orientation, artist and copyright; empty where there is nothing to say."""
    exif = Image.Exif()
    turn = exif_orientation(_exif_block(data, kind))
    if turn != 1:
        exif[ORIENTATION] = turn
    if "creator" in credit:
        exif[ARTIST] = credit["creator"]
    rights = "; ".join(credit[name] for name in ("rights", "licence") if name in credit)
    if rights:
        exif[COPYRIGHT] = rights
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""


def _exif_block(data: bytes, kind: str) -> bytes:
    if kind == "jpeg":
        return jpeg.read(data).exif
    chunks = _png_chunks(data) if kind == "png" else _riff_chunks(data)
    for name, begin, end in chunks:
        if name in (b"eXIf", b"EXIF"):
            return data[begin:end].removeprefix(b"Exif\0\0")
    return b""


def _credit_fields(data: bytes, kind: str) -> Iterator[tuple[str, str]]:
    if kind == "jpeg":
        yield from _exif_credit(jpeg.read(data).exif)
        for marker, _, start, end in jpeg.segments(data):
            if marker == jpeg.APP1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0", start):
                yield from _xmp_credit(data[start:end])
            elif marker == jpeg.APP13 and data.startswith(b"Photoshop 3.0\0", start):
                yield from _iptc_credit(data[start:end])
    elif kind == "png":
        for name, begin, end in _png_chunks(data):
            if name == b"eXIf":
                yield from _exif_credit(data[begin:end])
            elif name in (b"tEXt", b"iTXt", b"zTXt"):
                yield from _png_text_credit(name, data[begin:end])
    elif kind == "webp":
        for name, begin, end in _riff_chunks(data):
            if name == b"EXIF":
                yield from _exif_credit(data[begin:end].removeprefix(b"Exif\0\0"))
            elif name == b"XMP ":
                yield from _xmp_credit(data[begin:end])
    elif kind == "tiff":
        yield from _exif_credit(data)


def _exif_credit(block: bytes) -> Iterator[tuple[str, str]]:
    exif = Image.Exif()
    exif.load(block)
    for tag, name in ((ARTIST, "creator"), (COPYRIGHT, "rights")):
        if isinstance(value := exif.get(tag), str):
            yield name, value


def _xmp_credit(packet: bytes) -> Iterator[tuple[str, str]]:
    for name, tag in _XMP.items():
        match = re.search(rb"<%s[ >/](.*?)</%s>" % (tag, tag), packet, re.DOTALL)
        text = re.sub(rb"<[^>]*>", b" ", match[0]) if match else b""
        if match is None and (match := re.search(rb"%s=\"([^\"]*)\"" % tag, packet)):
            text = match[1]
        if name == "licence" and (link := re.search(rb"<cc:license[^>]*rdf:resource=\"([^\"]*)\"", packet)):
            text = link[1]
        if text.strip():
            yield name, html.unescape(text.decode("utf-8", "replace"))


def _iptc_credit(block: bytes) -> Iterator[tuple[str, str]]:
    """IIM data sets 2:80 (by-line) and 2:116 (copyright notice), IPTC-IIM 4.2 section 6."""
    for match in re.finditer(rb"\x1c\x02([\x50\x74])(..)", block, re.DOTALL):
        (length,) = struct.unpack(">H", match[2])
        if length < 0x8000:
            yield _IPTC[match[1][0]], block[match.end() : match.end() + length].decode("utf-8", "replace")


def _png_text_credit(kind: bytes, body: bytes) -> Iterator[tuple[str, str]]:
    keyword, _, rest = body.partition(b"\0")
    name = keyword.decode("latin-1").lower()
    if name == "xml:com.adobe.xmp":
        yield from _xmp_credit(rest)
    if name not in _CREDIT_NAMES:
        return
    if kind == b"zTXt":
        rest = zlib.decompressobj().decompress(rest[1:], 4096)
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        rest = zlib.decompressobj().decompress(rest, 4096) if packed else rest
    yield _CREDIT_NAMES[name], rest.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def _strip_jpeg(data: bytes, exif: bytes) -> bytes:
    out = [data[:2]]
    if exif:
        body = b"Exif\0\0" + exif
        out.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    first_scan = -1
    for marker, begin, start, end in jpeg.segments(data):
        if marker == jpeg.SOS:
            first_scan = begin
        elif marker == jpeg.APP2:
            if data.startswith(b"ICC_PROFILE\0", start):
                out.append(data[begin:end])
        elif marker == jpeg.APP0:
            if data.startswith(b"JFIF\0", start):
                # JFIF may carry a thumbnail behind its 14 bytes; JFXX always does.
                out.append(b"\xff\xe0\x00\x10" + data[start : start + 12] + b"\0\0")
        elif marker == jpeg.APP14 or not (jpeg.APP0 <= marker <= 0xEF or marker == jpeg.COM):
            out.append(data[begin:end])
    close = jpeg.end_of_image(data, first_scan)
    if close < 0:
        raise BadImage("truncated", "JPEG has no end-of-image marker")
    out.append(data[first_scan:close])
    return b"".join(out)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, at + 8 + length
        at += 12 + length


def _strip_png(data: bytes, exif: bytes) -> bytes:
    out = [data[:8]]
    for name, begin, end in _png_chunks(data):
        if name[0] & 0x20 == 0 or name in _PNG_KEPT:
            out.append(data[begin - 8 : end + 4])
        if name == b"IHDR" and exif:
            body = b"eXIf" + exif
            out.append(struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body)))
        if name == b"IEND":
            return b"".join(out)
    raise BadImage("truncated", "PNG has no IEND chunk")


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at, close = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= close:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, at + 8 + length
        at += 8 + length + (length & 1)


def _strip_webp(data: bytes, exif: bytes) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    for name, begin, end in _riff_chunks(data):
        if name in (b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"):
            chunks.append((name, data[begin:end]))
    # Only the extended form (VP8X) can hold metadata at all; its flag bits 3 and 2 announce EXIF and XMP.
    if chunks and chunks[0][0] == b"VP8X":
        flags = chunks[0][1][0] & ~0x0C | (0x08 if exif else 0)
        chunks[0] = (b"VP8X", bytes([flags]) + chunks[0][1][1:])
        if exif:
            chunks.append((b"EXIF", exif))
    body = b"".join(n + struct.pack("<I", len(b)) + b + b"\0" * (len(b) & 1) for n, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
