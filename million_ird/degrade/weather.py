"""What rain, snow, drops and haze share: the light of the place, smooth noise, splatting, blending, the veil."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.op import Bytes, Floats, Image, Shape, Support, to_float, to_uint8
from million_ird.rng import Chance

REFERENCE = 512
"""Picture height in px at which lengths are given."""
UNITS = ("height", "pixel")
LIGHT = 16
"""Cells of `local_light` per side."""
_HELD = 1 << 20
"""Samples that `summed` takes together."""
_DENSE = 0.15
"""Share of pixels that are hit from which working on all of them is quicker."""
_BAND = 64
"""Rows worked on at a time."""
_SAMPLES = 128
"""Pixels per side, at most, that `local_light` looks at."""


def scale_of(unit: str, shape: Shape) -> float:
    """Pixels of this picture per pixel of the parameters.

    Args:
        unit: "height" = the parameters are for a picture 512 px high, and scenes scale with the picture (between 1/4
            and 8 times); "pixel" = they are for this picture as it is, as with crops of one size out of larger photos.
        shape: (H, W).
    """
    return 1.0 if unit == "pixel" else float(f"{min(max(shape[0] / REFERENCE, 0.25), 8):.6g}")


def looked_at(shape: Shape) -> slice:
    """The rows, and likewise the columns, of a picture (H, W) that `local_light` looks at."""
    step = max(1, -(-max(shape) // _SAMPLES))
    return slice(step // 2, None, step) if min(shape) > step // 2 else slice(0, 1)


def local_light(image: Image) -> Bytes:
    """(16, 16, 3): the brightest light around every place, smoothly; what a drop or a flake there shows of its scene.

    8-bit and float32 pictures that show the same give the same.
    """
    some = looked_at(image.shape[:2])
    sample = to_uint8(np.ascontiguousarray(image[some, some]))
    cells = cv2.resize(sample, (LIGHT, LIGHT), interpolation=cv2.INTER_AREA)
    brightest = cv2.dilate(cells, np.ones((5, 5), np.uint8))
    return cv2.blur(brightest, (7, 7), borderType=cv2.BORDER_REFLECT)


def smooth_noise(shape: Shape, cells: int, rng: Chance) -> Floats:
    """(H, W) float32 in about [-1, 1]: cubic noise of `cells` cells along the longer side, and a finer octave of it."""
    height, width = shape
    out = np.zeros(shape, np.float32)
    for octave, weight in ((1, 0.7), (2, 0.3)):
        rows = 2 + int(cells * octave * height / max(shape))
        columns = 2 + int(cells * octave * width / max(shape))
        grid = (rng.random((rows, columns)) * 2 - 1).astype(np.float32)
        out += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(weight)
    return out


def summed(parts: Iterable[tuple[NDArray[np.int64], Floats]], shape: Shape) -> Floats:
    """(H, W) float32 sum of weights at flat places, taken together until they are too many to hold."""
    total, places, weights, held = None, [], [], 0
    for place, weight in parts:
        places.append(place)
        weights.append(weight)
        held += place.size
        if held > _HELD:
            total = _added(total, places, weights, shape)
            places, weights, held = [], [], 0
    return _added(total, places, weights, shape)


def _added(total: Floats | None, places: list[NDArray[np.int64]], weights: list[Floats], shape: Shape) -> Floats:
    if not places:
        return np.zeros(shape, np.float32) if total is None else total
    size = shape[0] * shape[1]
    new = np.bincount(np.concatenate(places), np.concatenate(weights), minlength=size).astype(np.float32).reshape(shape)
    return new if total is None else np.add(total, new, out=total)


def opacity8(depth: Floats) -> Bytes:
    """Optical depth to opacity in 1/255, 1 - exp(-depth): what lies behind one another multiplies its transmissions."""
    out = np.zeros(depth.size, np.uint8)
    flat = depth.reshape(-1)
    some = np.flatnonzero(flat > 0.002)
    out[some] = (255.5 - 255 * np.exp(-flat[some])).astype(np.uint8)
    return out.reshape(depth.shape)


def colour8(light: Bytes, shape: Shape, brightness: float, tint: float) -> Bytes:
    """(H, W, 3): a grey of this brightness, mixed with the local light in the share `tint`."""
    mixed = (1 - tint) * 255 * brightness + tint * light
    return cv2.resize(np.rint(mixed).astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def lay(image: Image, alpha: Bytes, colour: Bytes, blend: str = "alpha") -> Image:
    """Put a coloured layer on a picture; where alpha is 0 the pixel stays the very same.

    Args:
        image: (H, W, 3), uint8 or float32 with 1 = white.
        alpha: (H, W) opacity in 1/255.
        colour: (H, W, 3) of the layer.
        blend: "alpha" x + a (c - x), "screen" x + a c (1 - x), "add" x + a c.

    Returns:
        A new picture of the same dtype; for uint8, float32's result rounded.
    """
    hit = alpha != 0
    many = np.count_nonzero(hit)
    if many > _DENSE * alpha.size:
        # A band at a time: large temporaries cost more than the arithmetic.
        out = np.empty_like(image)
        for top in range(0, len(image), _BAND):
            band = slice(top, top + _BAND)
            out[band] = _mixed(image[band], alpha[band], colour[band], blend)
        return out
    out = image.copy()
    if many:
        where = np.flatnonzero(hit)
        pixels, colours = out.reshape(-1, 3), colour.reshape(-1, 3)
        new = _mixed(pixels[None, where], alpha.reshape(-1)[None, where], colours[None, where], blend)
        # Pixels as units: three times as quick as rows of three numbers.
        unit = f"V{3 * out.itemsize}"
        pixels.view(unit)[where] = new[0].view(unit)
    return out


def _mixed(image: Image, alpha: Bytes, colour: Bytes, blend: str) -> Image:
    x, layer = to_float(image), to_float(colour)
    if blend == "alpha":
        layer -= x
    elif blend == "screen":
        layer *= 1 - x
    opacity = alpha.astype(np.float32)
    opacity *= np.float32(1 / 255)
    layer *= cv2.cvtColor(opacity, cv2.COLOR_GRAY2RGB)
    layer += x
    return to_uint8(layer) if image.dtype == np.uint8 else layer


def veil_of(shape: Shape, strength: float) -> Floats:
    """(H, 1) transmission of air full of drops or flakes: exp(-strength d), with d from 0.25 at the lower border to 1
    at a third of the height and above, where scenes are far as a rule."""
    height = shape[0]
    down = (np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(height)
    distance = np.clip((1 - down) * np.float32(1.5), 0, 1) * np.float32(0.75) + np.float32(0.25)
    return np.exp(-np.float32(strength) * distance)


def lay_behind_veil(
    image: Image, alpha: Bytes, colour: Bytes, blend: str, light: Bytes, strength: float
) -> tuple[Image, Support]:
    """`lay` on a scene seen through air full of drops or flakes: x t + A (1 - t), A the mean of the local light.

    Args:
        image, alpha, colour, blend: as of `lay`.
        light: of `local_light`.
        strength: optical depth of the farthest.

    Returns:
        The new picture, and the strength of veil and layer together, nowhere 0.
    """
    t, out = veil_of(image.shape[:2], strength), np.empty_like(image)
    air = light.reshape(-1, 3).mean(axis=0, dtype=np.float64).astype(np.float32) / np.float32(255)
    for top in range(0, len(image), _BAND):
        band = slice(top, top + _BAND)
        veiled = np.multiply(to_float(image[band]), t[band, :, None])
        veiled += air * (1 - t[band, :, None])
        veiled = _mixed(veiled, alpha[band], colour[band], blend)
        out[band] = to_uint8(veiled) if image.dtype == np.uint8 else veiled
    # One transmission a row: the strength of all opacities is a table of 256.
    table = np.maximum(255.5 - t * (255 - np.arange(256, dtype=np.float32)), 1).astype(np.uint8)
    return out, np.take_along_axis(table, alpha, axis=1)
