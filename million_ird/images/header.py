"""Bytes before pixels: what kind of image this is, how large, how turned, and whether it may be decoded at all."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from PIL import Image, ImageFile

from million_ird.config import Config
from million_ird.errors import BadImage
from million_ird.images import jpeg
from million_ird.records import Header

FORMATS = ("jpeg", "png", "webp", "bmp", "tiff", "avif", "heif")
_PILLOW = {"png": "PNG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF", "heif": "HEIF", "jpeg": "JPEG"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
ORIENTATION = 0x0112


class Limits(Config):
    """Sizes beyond which an image is not decoded. They guard the machine; what is good enough is `policy`'s to say."""

    max_pixels: int = 100_000_000
    """Largest width x height, px; more is `too_large`."""
    max_bytes: int = 200_000_000
    """Largest file, bytes; more is `too_large` and is not read."""
    min_side: int = 8
    """Smallest side, px; less is `too_small`."""
    seconds_per_image: float = 120.0
    """Longest time without any progress, s, after which a worker is stopped and the image counts as `crashed`."""


def sniff(data: bytes) -> str | None:
    """The format that the first bytes say, one of `FORMATS`; None where it is none of them."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if data.startswith(b"BM") and len(data) >= 26:
        return "bmp"
    if data[4:8] == b"ftyp":
        brands = {data[at : at + 4] for at in range(8, min(len(data), int.from_bytes(data[:4], "big"), 128), 4)}
        if brands & {b"avif", b"avis"}:
            return "avif"
        if brands & _HEIF_BRANDS:
            return "heif"
    return None


def read_header(data: bytes, limits: Limits = Limits()) -> Header:  # noqa: B008 (frozen)
    """Judge a file by its first bytes.

    Args:
        data: the whole file, or (for JPEG) at least everything before the first scan.

    Returns:
        Size after the EXIF turn, format and JPEG quality.

    Raises:
        BadImage: unsupported, unreadable, truncated, animated, too_large or too_small.
    """
    if not data:
        raise BadImage("unreadable", "empty file")
    if len(data) > limits.max_bytes:
        raise BadImage("too_large", f"{len(data)} bytes, limits.max_bytes is {limits.max_bytes}")
    kind = sniff(data)
    if kind is None:
        raise BadImage("unsupported", f"not an image of a known kind ({', '.join(FORMATS)}); begins with {data[:8]!r}")
    header = _jpeg_header(data) if kind == "jpeg" else _pillow_header(data, kind)
    check_size(header, limits)
    return header


def check_size(header: Header, limits: Limits) -> None:
    """Raise `BadImage` where a header's size is outside the limits."""
    size = f"{header.width}x{header.height} px"
    if min(header.width, header.height) < limits.min_side:
        raise BadImage("too_small", f"{size}, limits.min_side is {limits.min_side}")
    if header.width * header.height > limits.max_pixels:
        raise BadImage("too_large", f"{size}, limits.max_pixels is {limits.max_pixels}")


def _jpeg_header(data: bytes) -> Header:
    info = jpeg.read(data)
    orientation = exif_orientation(info.exif)
    width, height = (info.height, info.width) if orientation >= 5 else (info.width, info.height)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(info.components)
    if mode is None or info.precision != 8:
        raise BadImage("unsupported", f"JPEG of {info.components} components, {info.precision} bits")
    return Header("jpeg", width, height, mode, orientation, info.quality, info.subsampling, info.icc)


def _pillow_header(data: bytes, kind: str) -> Header:
    with guarded(data, kind), open_image(data, kind) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise BadImage("animated", f"{frames} {'pages' if kind == 'tiff' else 'frames'}")
        # Pillow's TIFF plug-in and the HEIF one turn the picture themselves. (getexif() would decode a whole PNG here.)
        exif = b"" if kind in ("tiff", "heif") else image.info.get("exif") or b""
        orientation = exif_orientation(exif.removeprefix(b"Exif\0\0"))
        width, height = image.size[::-1] if orientation >= 5 else image.size
        icc = image.info.get("icc_profile")
        return Header(kind, width, height, image.mode, orientation, icc=icc if isinstance(icc, bytes) and icc else None)


def exif_orientation(exif: bytes) -> int:
    """Orientation 1..8 of an EXIF (TIFF) block's first directory; 1 where it is absent or out of range."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (at,) = struct.unpack_from(order + "I", exif, 4)
    if at + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        if tag == ORIENTATION:
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def open_image(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Pillow's lazily decoded image, by the one plug-in that the sniffed format allows."""
    if kind == "heif" and not register_heif():
        raise BadImage("unsupported", 'HEIC needs the plug-in: pip install "million-ird[heif]"')
    return Image.open(io.BytesIO(data), formats=[_PILLOW[kind]])  # type: ignore[return-value]


@lru_cache(1)
def register_heif() -> bool:
    """Switch on Pillow's HEIC plug-in where it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@contextmanager
def guarded(data: bytes, kind: str) -> Iterator[None]:
    """Whatever a decoder raises becomes a `BadImage`; its warnings are silenced; size limits are ours alone."""
    limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BadImage:
        raise
    # Decoders raise at least OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError,
    # OverflowError, AttributeError, AssertionError, NotImplementedError, RuntimeError, MemoryError, struct.error,
    # zlib.error and cv2.error on hostile files: here alone any exception is an answer.
    except Exception as error:
        raise _as_bad_image(error, data, kind) from error
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


def _as_bad_image(error: Exception, data: bytes, kind: str) -> BadImage:
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, MemoryError):
        return BadImage("too_large", "does not fit in memory")
    lower = text.lower()
    cut = "truncated" in lower or "premature end" in lower or "not enough data" in lower or isinstance(error, EOFError)
    if kind == "webp" and len(data) >= 8 and int.from_bytes(data[4:8], "little") + 8 > len(data):
        cut = True
    return BadImage("truncated" if cut else "unreadable", f"{type(error).__name__}: {text}"[:200])
