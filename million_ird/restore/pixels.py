"""Pixels of any kind to what a network takes, and back to the same kind.

Legend: H rows, W columns. Networks take (1, 3, H, W) float32 in [0, 1]; H and W multiples of something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.errors import MirdError

SCALES = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
KINDS = "(H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA"


@dataclass(frozen=True)
class Form:
    """What an image was like, and so has to be again.

    Attributes:
        grey: one channel of light, run as three equal ones and averaged back.
        alpha: (H, W, 1), carried over as it is; None where there is none.
        flat: no axis of channels.
        dtype: of the pixels.
    """

    grey: bool
    alpha: NDArray[Any] | None
    flat: bool
    dtype: np.dtype[Any]

    def pixels(self, rgb: NDArray[np.float32]) -> NDArray[Any]:
        """(h, w, 3) float32 in any range to (h, w, 1 or 3) of `dtype`, clipped to [0, 1] and rounded."""
        if not np.isfinite(rgb).all():
            raise MirdError("the network gave values that are no finite numbers; if dtype is fp16, try fp32")
        if self.grey:
            rgb = rgb.mean(-1, keepdims=True)
        rgb = np.clip(rgb, 0, 1)
        scale = SCALES.get(self.dtype)
        return (rgb if scale is None else np.rint(rgb * scale)).astype(self.dtype)

    def finish(self, light: NDArray[Any]) -> NDArray[Any]:
        """(H, W, 1 or 3) of `dtype` to the shape that the image had."""
        if self.alpha is not None:
            light = np.concatenate([light, self.alpha], -1)
        return light[..., 0] if self.flat else light


def take_apart(image: NDArray[Any]) -> tuple[NDArray[Any], Form]:
    """An image to its light, (H, W, 3) of its own type (a view), and what is needed to put it together again.

    Raises:
        ValueError: shape, type or range is none of those allowed.
    """
    image = np.asarray(image)
    flat = image.ndim == 2
    pixels = image[..., None] if flat else image
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"expected an image of shape {KINDS}, got {image.shape}")
    if image.dtype not in SCALES and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"expected uint8, uint16 or floats in [0, 1], got {image.dtype}")
    if image.dtype not in SCALES and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"floats must be in [0, 1], got {image.min():.4g} to {image.max():.4g}; scale or clip them")
    channels = pixels.shape[-1]
    alpha = pixels[..., -1:] if channels in (2, 4) else None
    grey = channels < 3
    light = np.broadcast_to(pixels[..., :1], (*pixels.shape[:2], 3)) if grey else pixels[..., :3]
    return light, Form(grey, alpha, flat, image.dtype)


def padded(light: NDArray[Any], multiple: int) -> NDArray[np.float32]:
    """(h, w, 3) to float32 in [0, 1], mirrored at the lower and right border up to multiples.

    What is shorter than its padding is mirrored to and fro; a single row or column is repeated.
    """
    height, width = light.shape[:2]
    scale = SCALES.get(light.dtype)
    values = light.astype(np.float32)
    if scale is not None:
        values /= scale
    beyond = [(0, -height % multiple), (0, -width % multiple), (0, 0)]
    return np.pad(values, beyond, mode="reflect") if any(after for _, after in beyond) else values
