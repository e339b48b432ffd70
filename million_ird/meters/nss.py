"""Natural-scene statistics of an image, block by block: the 36 numbers that NIQE compares.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 20(3),
2013; the asymmetric generalised Gaussian (AGGD) is fitted by moments, as in Lasmar, Stitou, Berthoumieu, ICIP 2009.
Details that the paper leaves open are those of its authors' MATLAB code: blocks of 96 px, a 7x7 Gaussian window with
sigma 7/6, neighbours that wrap round within their block, and a second scale by antialiased bicubic halving.

The work is bound by memory, not by arithmetic, so a few blocks at a time pass through one small arena that stays in
the cache. Two ideas save most of the rest:

- Both filters are banded matrices, and a matrix product is the fastest loop that there is.
- The four product maps z = x * neighbour are never made. |z|, z**2 and z*|z| are products of the same function of x
  and of its neighbour, so each of their sums is a dot product of a map of x with itself, shifted.

Legend: b = side of a block, n = b * b, k = blocks in a tile.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma

BLOCK = 96
"""Side of a block at full size, px; 48 at half size, so that both show the same part of the picture."""

FEATURES = 36
"""Per block: 18 at full size, then 18 at half size."""

Floats = NDArray[np.float32]

_HALO = 3  # px that either filter reaches beyond its block
_TILE = 5 * BLOCK * BLOCK  # px in a tile at most: six float32 maps of it, about 1 MB, fit in a common L2 cache

# Weights in whole 2**-15: the mean of a flat patch of 8-bit values is then exact in float32, and x exactly 0 there.
_WINDOW = np.round(cv2.getGaussianKernel(7, 7 / 6, cv2.CV_64F).ravel() * 2**15) / 2**15
_WINDOW[3] += 1 - _WINDOW.sum()

# Keys' cubic (a = -1/2), stretched to twice its width, at the eight samples about a pixel of half size.
_CUBIC = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def features(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The statistics of every whole block, in reading order; what lies beyond the last whole block is left out.

    Per scale: shape and mean scale of the AGGD of the normalised luminance x, then shape, mean, left and right scale
    of the products of x with its left, upper, upper left and upper right neighbour. Where all about a pixel is flat, x
    is 0 and stands for a very small negative number (the published code leaves its sign to rounding errors).

    Args:
        luma: (H, W) uint8, full range.

    Returns:
        (H // 96 * (W // 96), 36) float64; NaN or infinite where a block is too flat to have the statistic.
    """
    height, width = (side // BLOCK * BLOCK for side in luma.shape)
    if not height * width:
        return np.empty((0, FEATURES))
    whole = luma[:height, :width]
    padded = cv2.copyMakeBorder(whole, _HALO, _HALO, _HALO, _HALO, cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)
    padded ^= 128
    centred = padded.view(np.int8)  # luma - 128: small squares keep their digits in float32
    full = _describe(_block_sums(centred, BLOCK), BLOCK**2)
    half = _describe(_block_sums(_halve(centred), BLOCK // 2), (BLOCK // 2) ** 2)
    return np.concatenate([full, half], axis=1)


def _band(taps: NDArray[np.float64], step: int, outputs: int) -> Floats:
    """(outputs, step * (outputs - 1) + taps) matrix that filters and decimates a window of samples."""
    band = np.zeros((outputs, step * (outputs - 1) + len(taps)), np.float32)
    for i in range(outputs):
        band[i, i * step : i * step + len(taps)] = taps
    return band


# The numbers of outputs are those at which BLAS is fastest; both divide 48.
_DOWN, _ACROSS = _band(_WINDOW, 1, 12), np.ascontiguousarray(_band(_WINDOW, 1, 16).T)
_HALF_DOWN, _HALF_ACROSS = _band(_CUBIC, 2, 8), np.ascontiguousarray(_band(_CUBIC, 2, 16).T)


def _view(array: Floats, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Floats:
    """`as_strided` without its cost, which would count here; the array must be contiguous, `offset` is in bytes."""
    return np.ndarray(shape, array.dtype, array, offset, strides)


def _row_windows(planes: Floats, size: int, step: int) -> Floats:
    """(p, h, w) -> view (p, windows, size, w): every `step` rows, the next `size` of them."""
    p, h, w = planes.shape
    plane, row, column = planes.strides
    return _view(planes, (p, (h - size) // step + 1, size, w), (plane, row * step, row, column))


def _column_windows(planes: Floats, size: int, step: int) -> Floats:
    """(p, h, w) -> view (p, windows, h, size): every `step` columns, the next `size` of them."""
    p, h, w = planes.shape
    plane, row, column = planes.strides
    return _view(planes, (p, (w - size) // step + 1, h, size), (plane, column * step, row, column))


def _halve(padded: NDArray[np.int8]) -> Floats:
    """Antialiased bicubic half size: (h + 6, w + 6) int8 -> (h / 2 + 6, w / 2 + 6) float32, both with their halo."""
    height, width = (side - 2 * _HALO for side in padded.shape)
    half = np.empty((height // 2 + 2 * _HALO, width // 2 + 2 * _HALO), np.float32)
    rows = BLOCK  # of full size at a time
    strip = np.empty((1, rows + 2 * _HALO, width + 2 * _HALO), np.float32)
    squeezed = np.empty((1, rows // 2, width + 2 * _HALO), np.float32)
    down_in, down_out = _row_windows(strip, _HALF_DOWN.shape[1], 16), squeezed.reshape(1, -1, 8, width + 2 * _HALO)
    across_in = _column_windows(squeezed, len(_HALF_ACROSS), 32)
    x = strip[0]
    for top in range(0, height, rows):
        x[:] = padded[top : top + rows + 2 * _HALO]
        # This filter mirrors the picture at its border, where the halo repeats the last pixel.
        x[:, :3], x[:, -3:] = x[:, 5:2:-1], x[:, -4:-7:-1]
        if top == 0:
            x[:3] = x[5:2:-1]
        if top + rows == height:
            x[-3:] = x[-4:-7:-1]
        np.matmul(_HALF_DOWN, down_in, out=down_out)
        out = half[_HALO + top // 2 :][: rows // 2, _HALO:-_HALO]
        np.matmul(across_in[0], _HALF_ACROSS, out=out.reshape(rows // 2, -1, 16).transpose(1, 0, 2))
    half[:, :_HALO], half[:, -_HALO:] = half[:, [_HALO]], half[:, [-_HALO - 1]]
    half[:_HALO], half[-_HALO:] = half[_HALO], half[-_HALO - 1]
    return half


class _Tile:
    """Working memory for k blocks one above the other; the arrays are views of one arena and overwrite one another.

    Units of the arena:  0 1 values, squares   2 3 their local means   4 5 between the two passes of the filter
                   then  0 1 2 3 maps                                  4 difference   5 normalised
    """

    def __init__(self, k: int, b: int, arena: Floats) -> None:
        n = b * b
        height, width = k * b + 2 * _HALO, b + 2 * _HALO
        unit = len(arena) // 6

        def cut(first: int, *shape: int) -> Floats:
            return arena[first * unit :][: np.prod(shape)].reshape(shape)

        self.values = cut(0, 2, height, width)
        self.centre = self.values[0, _HALO:-_HALO, _HALO:-_HALO]
        between, means = cut(4, 2, k * b, width), cut(2, 2, k * b, b)
        self.down_in = _row_windows(self.values, _DOWN.shape[1], 12)
        self.down_out = between.reshape(2, -1, 12, width)
        self.across_in = _column_windows(between, len(_ACROSS), 16)
        self.across_out = means.reshape(2, k * b, -1, 16).transpose(0, 2, 1, 3)
        self.mean, self.deviation = means
        self.difference = cut(4, k * b, b)

        # A block is a ring of n values; its last ones are repeated in front, so that no neighbour lies outside.
        # b + 1 of them would do; with b + 16 each block begins at a cache line, which saves a tenth of the whole time.
        self.lead = b + 16
        self.x = cut(5, k, self.lead + n)
        self.maps = cut(0, 4, k, self.lead + n)
        self.here = self.maps[:, :, self.lead :]
        self.one_back = self.maps[:, :, self.lead - 1 : -1]
        plane, block, step = self.maps.strides
        self.row_back = _view(self.maps, (4, k, 3, n), (plane, block, step, step), (self.lead - b - 1) * step)

    @staticmethod
    def arena(k: int, b: int) -> Floats:
        """Memory for a tile of k blocks or fewer: six units, each beginning at a cache line (64 bytes)."""
        unit = -(-max((k * b + 2 * _HALO) * (b + 2 * _HALO), k * (b + 16 + b * b)) // 16) * 16
        memory = np.empty(6 * unit + 16, np.float32)
        return memory[-memory.ctypes.data // memory.itemsize % 16 :][: 6 * unit]

    def normalise(self, window: NDArray[np.int8] | Floats) -> None:
        """(k * b + 6, b + 6) -> x = (value - mean) / (deviation + 1), local mean and deviation under the window."""
        values, squares = self.values
        np.copyto(values, window)
        np.square(values, out=squares)
        np.matmul(_DOWN, self.down_in, out=self.down_out)
        np.matmul(self.across_in, _ACROSS, out=self.across_out)
        mean, deviation = self.mean, self.deviation
        cv2.subtract(self.centre, mean, dst=self.difference)
        np.square(mean, out=mean)
        cv2.absdiff(deviation, mean, dst=deviation)
        np.sqrt(deviation, out=deviation)
        np.add(deviation, np.float32(1), out=deviation)
        x = self.x
        np.divide(self.difference.reshape(len(x), -1), deviation.reshape(len(x), -1), out=x[:, self.lead :])
        x[:, : self.lead] = x[:, -self.lead :]

    def sums(self, out: NDArray[np.float64]) -> None:
        """Sums over each block, into (5, 4, k): for x and its four products; of |z|, z**2, z*|z|, and of signs below 0.

        The last is, for a product, the number of pixels at which both factors are negative (or 0).
        """
        x, maps = self.x, self.maps
        np.abs(x, out=maps[0])
        np.square(x, out=maps[1])
        np.multiply(x, maps[0], out=maps[2])
        cv2.threshold(x, 0, 1, cv2.THRESH_BINARY_INV, dst=maps[3])
        flat = maps.reshape(-1, maps.shape[2])[:, self.lead :]
        out[0] = cv2.reduce(flat, 1, cv2.REDUCE_SUM).reshape(4, -1)
        out[1] = np.vecdot(self.here, self.one_back)
        out[[3, 2, 4]] = np.vecdot(self.here[:, :, None], self.row_back).transpose(2, 0, 1)


def _block_sums(padded: NDArray[np.int8] | Floats, b: int) -> NDArray[np.float64]:
    """(h + 6, w + 6) -> (5, 4, blocks): the sums of `_Tile.sums`, every block's neighbours wrapped round within it."""
    rows, columns = ((side - 2 * _HALO) // b for side in padded.shape)
    tiles = -(-rows // max(1, _TILE // (b * b)))
    k = -(-rows // tiles)
    arena = _Tile.arena(k, b)
    by_height: dict[int, _Tile] = {}
    sums = np.empty((5, 4, rows, columns))
    edges = np.empty((2, b + 3, rows, columns), np.float32)
    for top in range(0, rows, k):
        bottom = min(rows, top + k)
        if bottom - top not in by_height:
            by_height[bottom - top] = _Tile(bottom - top, b, arena)
        tile = by_height[bottom - top]
        for column in range(columns):
            tile.normalise(padded[top * b : bottom * b + 2 * _HALO, column * b : (column + 1) * b + 2 * _HALO])
            tile.sums(sums[:, :, top:bottom, column])
            ring = tile.x[:, tile.lead :].T
            edges[0, 2:-1, top:bottom, column] = ring[::b]
            edges[1, 2:-1, top:bottom, column] = ring[b - 1 :: b]
    sums = sums.reshape(5, 4, -1)
    _mend_edges(sums, edges.reshape(2, b + 3, -1))
    return sums


def _mend_edges(sums: NDArray[np.float64], edges: Floats) -> None:
    """Where a step back in the ring leaves the first column (or the last), it lands one row off: put that right.

    Args:
        sums: (5, 4, blocks), changed in place.
        edges: (2, 2 + b + 1, blocks), x in the first and last column of each block; what wraps round is filled in here.
    """
    edges[:, :2], edges[:, -1] = edges[:, -3:-1], edges[:, 2]
    maps = np.empty((4, *edges.shape), np.float32)
    np.abs(edges, out=maps[0])
    np.square(edges, out=maps[1])
    np.multiply(edges, maps[0], out=maps[2])
    np.less_equal(edges, 0, out=maps[3], casting="unsafe")
    first, last = maps[:, 0, 2:-1], maps[:, 1]

    def across(up: int) -> Floats:
        """(4, blocks): the first column by the last, `up` rows higher."""
        return (first * last[:, 2 - up :][:, : first.shape[1]]).sum(axis=1)

    beside, one_up, two_up, one_down = across(0), across(1), across(2), across(-1)
    sums[1] += beside - one_up
    sums[3] += one_up - two_up
    sums[4] += one_down - beside


_SHAPES = np.arange(0.2, 10.0005, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # E|z|**2 / E[z**2], rising with shape


def _describe(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(5, 4, blocks) sums over n values each -> (blocks, 18): the parameters of the five AGGDs."""
    size, square, signed, left = sums.transpose(1, 0, 2)
    # A product is negative where one factor is: at the pixels of either that are not among those of both.
    left = np.concatenate([left[:1], 2 * (left[:1] - left[1:])])
    with np.errstate(divide="ignore", invalid="ignore"):
        left_scale = np.sqrt((square - signed) / 2 / left)
        right_scale = np.sqrt((square + signed) / 2 / (n - left))
        skew = left_scale / right_scale
        ratio = size**2 / (n * square) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = np.interp(ratio, _RATIOS, _SHAPES)
    to_scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    left_scale, right_scale = left_scale * to_scale, right_scale * to_scale
    mean = (right_scale - left_scale) * gamma(2 / shape) / gamma(1 / shape)
    products = np.stack([shape, mean, left_scale, right_scale], axis=1)[1:]  # (4, 4, blocks)
    alone = np.stack([shape[0], (left_scale[0] + right_scale[0]) / 2])
    return np.concatenate([alone, products.reshape(16, -1)]).T
