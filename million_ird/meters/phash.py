"""Perceptual hashes and the 16x16 thumb: what near duplicates are found by.

`phash` is the 64-bit DCT hash of imagehash (Zauner 2010; N. Krawetz, "Looks Like It", 2011): a 32x32 luma, its DCT-II,
the 8x8 lowest frequencies, each compared with their median. Bits are in imagehash's order, row by row, the first bit
the most significant, so that `f"{value:016x}"` is what imagehash prints.

"exact" equals imagehash bit for bit, at the price of Pillow's resize of the whole picture. "fast" makes the same hash
from box-reduced luma; it is within 2 bits of it on photos, so the two should not be mixed in one index.

Everything in "fast" is arithmetic on whole numbers that floats hold exactly, whatever the order of summation: the same
pixels give the same hash on every machine, BLAS and thread count, and ties (a constant or symmetric picture) are ties.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from million_ird.errors import ConfigError
from million_ird.meters import RGB, Frame, Luma, halve

HASHES = ("phash", "imagehash.phash", "imagehash.dhash", "imagehash.whash", "imagehash.colorhash")
"""Names that `hash_frame` knows; those of imagehash need `pip install "million-ird[hash]"`."""

Mode = Literal["fast", "exact"]

SIDE = 32  # px of the picture that is transformed
LOW = 8  # frequencies kept in each direction
THUMB = 16  # px, side of the thumb
ENOUGH = 96  # px: a plane is halved as long as no side becomes shorter; tests/meters/test_phash.py holds the agreement

# Fixed point: sums stay below 255 * 2**14 * sum|w|, under 2**24, where float32 stops counting (sum|w| is under 2).
WEIGHT = 2.0**14
# 32 * 255 * 2**16, times 32 * 2**16, is below 2**51, where float64 is exact.
COSINE = 2.0**16


def phash(pixels: Luma | RGB, mode: Mode = "fast") -> int:
    """The 64-bit DCT perceptual hash.

    Args:
        pixels: (H, W) uint8 luma or (H, W, 3) uint8 RGB, any size >= 1 px.
        mode: "exact" = `imagehash.phash` bit for bit; "fast" = a few bits from it at most, and many times as fast.

    Returns:
        0 .. 2**64 - 1.
    """
    if mode == "exact":
        return _exact(pixels)
    luma = pixels if pixels.ndim == 2 else Frame(pixels).luma
    return _fast(_coarse(luma), luma.shape)


def hash_frame(frame: Frame, name: str = "phash", mode: Mode = "fast") -> int:
    """The hash `name` (one of `HASHES`) of a frame, 0 .. 2**64 - 1; `mode` concerns "phash" only.

    `imagehash.colorhash` has 42 bits: they are the lowest ones.

    Raises:
        ConfigError: unknown name, or imagehash is not installed.
    """
    if name == "phash":
        return _exact(frame.rgb) if mode == "exact" else _fast(_reduced(frame), frame.rgb.shape[:2])
    if name not in HASHES:
        raise ConfigError(f"unknown hash '{name}'; known: {', '.join(HASHES)}")
    from PIL import Image

    try:
        import imagehash
    except ImportError:
        raise ConfigError(f"hash '{name}' needs imagehash: pip install \"million-ird[hash]\"") from None
    function = getattr(imagehash, name.partition(".")[2])
    return _pack(function(Image.fromarray(frame.rgb)).hash)


def thumb(frame: Frame) -> bytes:
    """The luma averaged over a 16x16 grid: 256 bytes, row by row."""
    shape = frame.rgb.shape[:2]
    return _resample(_reduced(frame), shape, THUMB, "box").astype(np.uint8).tobytes()


def _exact(pixels: Luma | RGB) -> int:
    from PIL import Image
    from scipy.fft import dct

    image = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    waves: NDArray[np.float64] = np.asarray(dct(dct(np.asarray(image, np.float64), axis=0), axis=1))
    low = waves[:LOW, :LOW]
    return _pack(low > np.median(low))


def _fast(plane: Luma, shape: tuple[int, ...]) -> int:
    small = _resample(plane, shape, SIDE, "lanczos").astype(np.float64)
    cosines = _cosines()
    low = cosines @ small @ cosines.T
    ordered = np.sort(low, axis=None)
    middle = ordered.size // 2
    return _pack(2 * low > ordered[middle - 1] + ordered[middle])


def _pack(bits: NDArray[np.bool_]) -> int:
    """Bits, first = most significant, as an int."""
    return int.from_bytes(np.packbits(bits, axis=None).tobytes(), "big") >> (-bits.size % 8)


def _reduced(frame: Frame) -> Luma:
    """`_coarse` of the luma, begun from the planes that the frame keeps for all meters."""
    short = min(frame.rgb.shape[:2])
    if short >= 4 * ENOUGH:
        return _coarse(frame.quarter)
    return frame.half if short >= 2 * ENOUGH else frame.luma


def _coarse(plane: Luma) -> Luma:
    while min(plane.shape) >= 2 * ENOUGH:
        plane = halve(plane)
    return plane


def _resample(plane: Luma, shape: tuple[int, ...], side: int, kernel: str) -> NDArray[np.float32]:
    """A picture of `shape`, of which `plane` is a box-reduced form, as (side, side) whole numbers 0..255.

    Columns, then rows, each rounded to whole grey levels, as Pillow does it.
    """
    out = plane.astype(np.float32)
    across, down = _weights(shape[1], out.shape[1], side, kernel), _weights(shape[0], out.shape[0], side, kernel)
    out = _round(out @ across.T)
    return _round(down @ out)


def _round(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.floor(sums * np.float32(1 / WEIGHT) + np.float32(0.5)), 0, 255)


@lru_cache(maxsize=256)
def _weights(full: int, size: int, side: int, kernel: str) -> NDArray[np.float32]:
    """(side, size) weights, whole numbers that sum to `WEIGHT` in each row.

    Args:
        full: px of the picture; its grid is what `side` divides.
        size: px of the plane, each the mean of 2**k px of the picture, of which the last few may be missing.
        side: px to make.
        kernel: "box" or "lanczos" (3 lobes, widened by the scale, cut off at the border, as in Pillow).
    """
    scale = full / 2 ** round(np.log2(full / size)) / side
    reach, shape = (3 * max(scale, 1.0), _lanczos) if kernel == "lanczos" else ((scale + 1) / 2, _box)
    centres = (np.arange(side)[:, None] + 0.5) * scale
    taps = np.floor(centres - reach) + np.arange(int(2 * reach) + 2)
    row, tap = np.nonzero((taps >= 0) & (taps < size))
    weights = np.zeros((side, size))
    weights[row, taps[row, tap].astype(np.intp)] = shape(taps + 0.5 - centres, scale)[row, tap]
    whole = np.rint(weights / weights.sum(axis=1, keepdims=True) * WEIGHT)
    whole[np.arange(side), whole.argmax(axis=1)] += WEIGHT - whole.sum(axis=1)
    return whole.astype(np.float32)


def _lanczos(distance: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    x = distance / max(scale, 1.0)
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _box(distance: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """How much of a pixel at `distance` lies under a box `scale` wide."""
    return np.clip((scale + 1) / 2 - np.abs(distance), 0.0, min(scale, 1.0))


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """(LOW, SIDE) first rows of the DCT-II, as whole numbers."""
    n, k = np.arange(SIDE) + 0.5, np.arange(LOW)[:, None]
    return np.rint(np.cos(np.pi / SIDE * k * n) * COSINE)
