"""Bytes to (H, W, 3) RGB uint8, sRGB, upright: one answer for every file, and what had to be done stated."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms

from million_ird.errors import BadImage
from million_ird.images.header import Limits, guarded, open_image, read_header
from million_ird.records import Header

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Decoded:
    """Pixels, and how they came about.

    Attributes:
        rgb: (H, W, 3) uint8, C-contiguous, sRGB, upright.
        header: what the file said of itself.
        notes: what was done to get there: "alpha": "white" (composed on white) or "opaque" (dropped), "icc":
            "converted" or "ignored", "bits": 16 (reduced to 8), "palette": true, "cmyk": true. Empty where nothing had
            to be done.
    """

    rgb: NDArray[np.uint8]
    header: Header
    notes: dict[str, Any] = field(default_factory=dict)


def decode(data: bytes, header: Header | None = None, limits: Limits = Limits()) -> Decoded:  # noqa: B008 (frozen)
    """Decode one whole file.

    JPEG: libjpeg-turbo, accurate DCT and smooth chroma, every warning about damaged data an error. Alpha is composed on
    white, 16-bit greys are rounded to 8 bits (v / 257), CMYK goes through its profile where it has one, an RGB profile
    other than sRGB is converted (relative colorimetric), the EXIF turn is applied.

    Raises:
        BadImage: with the status and what was found; no other exception leaves for a bad file.
    """
    header = header or read_header(data, limits)
    notes: dict[str, Any] = {}
    with guarded(data, header.format):
        if header.format == "jpeg" and header.mode != "CMYK":
            rgb = _jpeg(data, header, notes)
        else:
            rgb = _pillow(data, header, notes)
        rgb = _upright(rgb, header.orientation)
    if rgb.shape[:2] != (header.height, header.width):
        raise BadImage(
            "unreadable", f"header says {header.width}x{header.height} px, data is {rgb.shape[1]}x{rgb.shape[0]}"
        )
    return Decoded(rgb, header, notes)


def preview(data: bytes, side: int, limits: Limits = Limits()) -> NDArray[np.uint8]:  # noqa: B008 (frozen)
    """A picture to look at, at least `side` px on its short side where the file has so many; colours as stored.

    A JPEG is decoded at a fraction of its size (DCT scaling), which is several times as fast as `decode`.

    Raises:
        BadImage: as `decode`, but what is damaged is shown as far as it goes.
    """
    header = read_header(data, limits)
    if header.format != "jpeg" or header.mode == "CMYK":
        return decode(data, header, limits).rgb
    with guarded(data, header.format):
        rgb = simplejpeg.decode_jpeg(data, "RGB", min_height=side, min_width=side, min_factor=1, strict=False)
        return _upright(rgb, header.orientation)


def _jpeg(data: bytes, header: Header, notes: dict[str, Any]) -> NDArray[np.uint8]:
    try:
        rgb = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        # libjpeg warns of odd but whole files too (an unknown JFIF revision, a profile out of place); only damage to
        # the picture counts.
        if ("Corrupt" in str(error) or "remature end" in str(error)) and "ICC" not in str(error):
            raise
        rgb = simplejpeg.decode_jpeg(data, "RGB", strict=False)
    if header.icc and header.mode == "RGB" and (transform := _to_srgb(header.icc, "RGB")):
        image = ImageCms.applyTransform(Image.fromarray(rgb), transform)
        notes["icc"] = "converted"
        return np.array(image)
    return rgb


def _pillow(data: bytes, header: Header, notes: dict[str, Any]) -> NDArray[np.uint8]:
    with open_image(data, header.format) as image:
        if header.format == "png" and len(data) > 24 and data[24] == 16:
            notes["bits"] = 16
        image.load()
        flat = _without_alpha(image, notes)
        if flat.mode in _SIXTEEN or flat.mode == "I":
            return _from_sixteen_bits(flat, notes)
        if flat.mode == "F":
            raise BadImage("unsupported", "floating-point pixels have no fixed range")
        if flat.mode == "CMYK":
            notes["cmyk"] = True
        if header.icc and flat.mode in ("RGB", "CMYK"):
            transform = _to_srgb(header.icc, flat.mode)
            if transform:
                notes["icc"] = "converted"
                return np.array(ImageCms.applyTransform(flat, transform))
            if flat.mode == "CMYK":
                notes["icc"] = "ignored"
        return np.array(flat.convert("RGB"))


def _without_alpha(image: Image.Image, notes: dict[str, Any]) -> Image.Image:
    if image.mode in ("P", "PA"):
        notes["palette"] = True
    if not image.has_transparency_data:
        return image.convert("RGB") if image.mode in ("P", "PA") else image
    rgba = image.convert("RGBA")
    low, _ = rgba.getchannel("A").getextrema()
    if isinstance(low, (int, float)) and low == 255:
        notes["alpha"] = "opaque"
        return rgba.convert("RGB")
    notes["alpha"] = "white"
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _from_sixteen_bits(image: Image.Image, notes: dict[str, Any]) -> NDArray[np.uint8]:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("unsupported", "integer pixels beyond 16 bits have no fixed range")
    notes["bits"] = 16
    grey = ((values + 128) // 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


@lru_cache(maxsize=64)
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; None where it is sRGB already, of another mode, or cannot be used."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        core: Any = profile.profile
        space = core.xcolor_space.strip()
        name = ImageCms.getProfileDescription(profile).lower()
        if space != mode or (mode == "RGB" and ("srgb" in name or name.strip() == "c2")):
            return None
        return ImageCms.buildTransform(
            profile, _srgb(), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


@lru_cache(1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The EXIF turn (Exif 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)
