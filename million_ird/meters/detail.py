"""The sharpest parts of a picture, and their power spectrum: what blur and upscaling are judged by.

A photo may be out of focus nearly everywhere and still be sharp, so only the tiles with the strongest detail count.

Legend: k = tiles kept, f = frequency in units of the Nyquist frequency (1 = half a cycle per pixel).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

TILE = 64
"""Side of a tile, px."""

GRID, EVERY = (6, 10), 256
"""Tiles looked at, down and across: all that fit up to so many, then one for every 256 px."""

KEPT = 16
"""Tiles of which the spectrum is taken, at most."""

RINGS, ANGLES = 32, 16
"""Cells of the polar spectrum: rings up to the Nyquist frequency, angles over 180 degrees."""

_HANN = np.hanning(TILE + 1)[:TILE]
_WINDOW = np.outer(_HANN, _HANN).astype(np.float32)


class Detail(NamedTuple):
    """What `detail_of` finds.

    Attributes:
        energy: (n,) float64, mean square of the Laplacian of each tile, ascending; the mean of a Laplacian is next to
            nothing, so this is its variance.
        tiles: (k, 64, 64) uint8, the sharpest tiles; k = 0 where a side is below 64 px.
        power: (32, 16) float64, f**2 times the power of those tiles, summed over the cells of a polar grid: rings 1/32
            wide, angles of 11.25 degrees, the first about the direction of the rows. Divided by `cells()` it is a mean.
            Natural images have power like 1 / f**2 (Field 1987), so this is level for them.
    """

    energy: NDArray[np.float64]
    tiles: NDArray[np.uint8]
    power: NDArray[np.float64]


def detail_of(luma: NDArray[np.uint8]) -> Detail:
    """Find the sharpest of an even grid of tiles and take their spectrum.

    A tile is ranked by its middle rows alone, which halves the work.

    Args:
        luma: (H, W) uint8, any size >= 1 px.
    """
    height, width = (min(TILE, side) for side in luma.shape)
    tops, lefts = (_starts(side, count) for side, count in zip(luma.shape, GRID, strict=True))
    middle = slice(height // 4, height - height // 4)
    count = (middle.stop - middle.start) * width
    found = []
    for top in tops:
        rows = cv2.Laplacian(luma[top : top + height][middle], cv2.CV_16S)
        found += [(cv2.norm(rows[:, x : x + width], cv2.NORM_L2SQR) / count, top, x) for x in lefts]
    found.sort()
    best = found[-KEPT:] if height == width == TILE else []
    tiles = np.array([luma[y : y + TILE, x : x + TILE] for _, y, x in best], np.uint8).reshape(-1, TILE, TILE)
    return Detail(np.array([energy for energy, _, _ in found]), tiles, _power(tiles))


@lru_cache
def cells() -> NDArray[np.float64]:
    """(32, 16) number of frequencies in each cell of the polar grid; small rings have empty ones."""
    counts = np.bincount(_grid()[0], minlength=RINGS * ANGLES + 1)[:-1]
    return counts.reshape(RINGS, ANGLES).astype(np.float64)


@lru_cache
def _grid() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Of each of the 64 * 64 frequencies, in FFT order: its cell, of which the last is beyond Nyquist; and f**2."""
    axis = 2 * np.fft.fftfreq(TILE)
    radius = np.hypot(axis[:, None], axis)
    angle = np.rint(np.arctan2(axis[:, None], axis) / np.pi * ANGLES).astype(int) % ANGLES
    cell = (radius * RINGS).astype(int) * ANGLES + angle
    return np.minimum(cell, RINGS * ANGLES).ravel(), np.square(radius).ravel()


def _starts(side: int, count: int) -> Sequence[int]:
    tile = min(TILE, side)
    last = min(side // tile, max(count, side // EVERY)) - 1
    return [(side - tile) * index // max(last, 1) for index in range(last + 1)]


def _power(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    signal = tiles.astype(np.float32)
    # Without the constant, which the window would spread to the lowest frequencies; some rows tell it well enough.
    signal -= signal[:, ::8].reshape(-1, TILE * TILE // 8).mean(axis=1)[:, None, None]
    signal *= _WINDOW
    power = np.zeros((TILE, TILE, 2), np.float32)
    # Two tiles ride in one transform, as its real and its imaginary part: |F(f)|^2 + |F(-f)|^2 is twice the sum of
    # their powers, and f and -f lie in the same cell. An odd last tile rides alone.
    for real, imaginary in zip(signal[::2], [*signal[1::2], np.zeros_like(_WINDOW)], strict=False):
        cv2.accumulateSquare(cv2.dft(cv2.merge((real, imaginary))), power)
    cell, weight = _grid()
    sums = np.bincount(cell, (power[..., 0] + power[..., 1]).ravel() * weight, RINGS * ANGLES + 1)
    return sums[:-1].astype(np.float64, copy=False).reshape(RINGS, ANGLES)
