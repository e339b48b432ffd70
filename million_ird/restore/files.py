"""Picture files as they are: all their bits, their alpha, their grey and their colour profile; upright.

`million_ird.images.decode` makes one kind of pixel of every file (8 bits, RGB, sRGB, on white); here a file has to come
back as what it was.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from million_ird.errors import BadImage
from million_ird.images import Limits, decode, deep, read_header
from million_ird.images.header import ORIENTATION, guarded, open_image
from million_ird.records import Header

LIMITS = Limits(min_side=1)
KINDS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""How the names of files end that can be written -> the format."""
ONLY_READ = (".avif", ".heic", ".heif")
"""How the names of files end that can be read and not written."""
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": deep.PNG_LEVEL},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True, "quality": 50, "exact": True},
    "bmp": {},
    "tiff": {"compression": "tiff_adobe_deflate"},
}
_PLAIN = {"L", "LA", "RGB", "RGBA"}
_SIXTEEN = {"I;16", "I;16L", "I;16B", "I;16N"}
_BITS_PER_SAMPLE = 258


@dataclass(frozen=True)
class Picture:
    """A file's picture.

    Attributes:
        pixels: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or uint16; upright.
        format: the file's, one of `images.FORMATS`.
        icc: colour profile that the pixels are meant in; None = sRGB.
        exif: what the camera wrote, without the turn; empty where there is none.
    """

    pixels: NDArray[Any]
    format: str
    icc: bytes | None
    exif: bytes


def read(data: bytes, limits: Limits = LIMITS) -> Picture:
    """The picture in a whole file. Palettes become RGB; CMYK becomes sRGB by its profile.

    Raises:
        BadImage: with the status and what was found.
    """
    header = read_header(data, limits)
    icc = header.icc
    with guarded(data, header.format):
        with open_image(data, header.format) as image:
            exif = _exif(image, header.format)
            if _is_deep(image, data, header):
                image.load()  # Pillow says where a file is cut or damaged; OpenCV gives what it has
                pixels = deep.read_deep(data)
                if header.format == "png" and data[25] == 4:  # grey and alpha, which comes as RGBA
                    pixels = pixels[..., [0, 3]]
            else:
                found = _eight_bits(image)
                if found is None:
                    pixels, icc = decode(data, header, limits).rgb, None
                    return Picture(pixels, header.format, icc, exif)
                pixels = found
        pixels = upright(pixels, header.orientation)
    if pixels.shape[:2] != (header.height, header.width):
        raise BadImage("unreadable", f"header says {header.width}x{header.height} px, data is {pixels.shape[:2][::-1]}")
    return Picture(pixels, header.format, icc, exif)


def _is_deep(image: Image.Image, data: bytes, header: Header) -> bool:
    if image.mode in _SIXTEEN:
        return True
    if header.format == "png":
        return data[24] == 16
    if header.format == "tiff" and image.mode in _PLAIN:
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    return False


def _eight_bits(image: Image.Image) -> NDArray[np.uint8] | None:
    """Pixels of 8 bits; None where they are of a kind that only `images.decode` knows what to do with."""
    image.load()
    if image.mode in _PLAIN and not (image.mode in ("L", "RGB") and image.has_transparency_data):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("L", "P", "PA", "RGB"):
        return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    return None


def _exif(image: Image.Image, kind: str) -> bytes:
    """A TIFF block without the turn; empty where it is damaged. Of TIFF files nothing: there it is the file itself."""
    if kind == "tiff" or not image.info.get("exif"):
        return b""
    try:
        with guarded(b"", kind):
            exif = image.getexif()
            exif.pop(ORIENTATION, None)
            return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""
    except BadImage:
        return b""


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The EXIF turn (Exif 2.32, tag 0x0112) of (H, W) or (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def write(picture: Picture, kind: str) -> bytes:
    """The bytes of a file of format `kind` (one of `KINDS`), with profile and EXIF.

    JPEG is of quality 95, 4:4:4; everything else is lossless. BMP holds no profile.

    Raises:
        BadImage: "unsupported", where the format cannot hold what the picture has.
    """
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and kind not in ("png", "tiff"):
        raise BadImage("unsupported", f"{kind} holds no 16 bits; write PNG instead")
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and kind in ("jpeg", "bmp"):
        raise BadImage("unsupported", f"{kind} holds no alpha; write PNG instead")
    if pixels.dtype == np.uint16:
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if kind == "tiff":
            if pixels.shape[2] == 2:  # which Pillow cannot read
                pixels = pixels[..., [0, 0, 0, 1]]
            return deep.tiff(pixels, picture.icc)
        return deep.png(pixels, picture.icc, picture.exif)
    image = Image.fromarray(pixels)
    if image.mode == "LA" and kind == "webp":
        image = image.convert("RGBA")
    extra: dict[str, Any] = {}
    if picture.icc and kind != "bmp":
        extra["icc_profile"] = picture.icc
    if picture.exif and kind in ("png", "jpeg", "webp"):
        extra["exif"] = b"Exif\0\0" + picture.exif
    file = io.BytesIO()
    image.save(file, kind.upper(), **_OPTIONS[kind], **extra)
    return file.getvalue()
