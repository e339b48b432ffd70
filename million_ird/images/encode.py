"""Pixels to bytes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}
"""Chroma subsamplings that a JPEG can have here."""


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 95, sampling: str | None = None) -> bytes:
    """(H, W, 3) RGB uint8 to baseline JPEG of IJG `quality` 1..100, accurate DCT, the same bytes as Pillow writes.

    Args:
        rgb: the picture.
        quality: 1..100.
        sampling: one of `SAMPLINGS`; None = 4:4:4 from quality 90 on, else 4:2:0.
    """
    factors = SAMPLINGS[sampling or ("4:4:4" if quality >= 90 else "4:2:0")]
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors]
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not ok:
        raise ValueError(f"cannot encode {rgb.shape} {rgb.dtype} as JPEG")
    return data.tobytes()


def thumbnail(rgb: NDArray[np.uint8], side: int, quality: int = 70) -> bytes:
    """A JPEG of the whole picture, area-averaged to at most `side` px on its long side."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return encode_jpeg(small, quality)
