"""Convolution with a point spread function by the quickest of three exact ways, chosen by a small model of their cost.

OpenCV alone changes to a slow Fourier method as soon as the kernel's box has 130 elements, however few of them are
set: a thin slanted line then costs as much as a full square. So a kernel is cut into boxes below that size, and empty
ones are left out; a kernel that is a column times a row is taken as two passes; and what has many dense parts goes
through Fourier transforms of well chosen size.

Orientation: this is convolution, not correlation, so the image of a bright dot is the kernel itself, not turned round.
The middle element of the kernel is the origin: nothing is shifted. Borders are reflected without repeating the edge
(OpenCV's BORDER_REFLECT_101, SciPy's "mirror"), also where the kernel is larger than the picture.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.errors import InputError

Image = NDArray[Any]
Float = NDArray[np.float32]
Map = Callable[[NDArray[Any]], NDArray[Any]]

DIRECT_AREA = 129
"""Largest box of a kernel that cv2.filter2D takes directly; beyond it, it changes to its Fourier method."""
_PER_TAP, _PER_PIECE, _PER_SUM = 0.034, 0.2, 0.2
"""Cost of direct filtering, ns per value of the picture: of an element that is not 0, of a piece, of adding it up."""
_PER_POINT, _PER_COPY = 3.6, 1.8
"""Cost of the Fourier way, ns: per point of a transform (there and back), per value of the picture for the copies."""
_LENGTHS = (64, 96, 128, 160, 192, 240, 256, 288, 320, 384, 480, 576, 640, 800, 1024, 1280)
"""Lengths of transforms that are quick per point."""
_LARGE, _PENALTY = 400, 1.3
"""A transform longer than this leaves the cache, and a point of it costs this many times more."""
_STRIP = 1 << 16
"""Pixels of a strip, which is worked on as a whole while the cache holds it."""
_KEPT = 1 << 20
"""Elements of an array at most that is kept for the next picture. Made and dropped each time, arrays of a few MB cost
as much as the filter: the system hands their pages out and takes them back one by one."""
_SAME = 2e-7
"""Relative difference at which a kernel still counts as a column times a row: what rounding to float32 makes."""


_memory = threading.local()


def _same(x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Piece:
    """A box of a kernel (as it lies in the kernel turned round, which is what correlation needs).

    Attributes:
        top, left: of the box in the kernel, px.
        taps: (h, w) float32, at most 129 elements.
    """

    top: int
    left: int
    taps: Float


def convolve(image: Image, kernel: Float, decode: Map = _same, encode: Map = _same) -> Image:
    """Convolve every channel with one kernel.

    The picture is worked on part by part, and `decode` and `encode` are called for each while the cache holds it.

    Args:
        image: (H, W, 3) of what `decode` takes; float32, any values, where there is none.
        kernel: (h, w) float32, both odd; may be larger than the picture.
        decode: (itself no convolution) pixel by pixel, a strip of the image to the (h, w, 3) float32 that is convolved.
        encode: pixel by pixel, what came out to the image's dtype.

    Returns:
        A new (H, W, 3) of the image's dtype; within 1e-5 (of the sum of the kernel's magnitudes) of the direct sum.

    Raises:
        InputError: a kernel that has no middle element.
    """
    if kernel.ndim != 2 or not kernel.shape[0] % 2 or not kernel.shape[1] % 2:
        raise InputError(f"kernel: expected (h, w), both odd, got {kernel.shape}")
    turned = np.ascontiguousarray(kernel[::-1, ::-1], np.float32)
    fourier = _fourier_cost(image.shape, kernel.shape)
    if (factors := split(turned)) is not None:
        column, row = (cut(factor) for factor in factors)
        if _direct_cost(column) + _direct_cost(row) < min(fourier, _PER_TAP * np.count_nonzero(turned) + _PER_PIECE):
            return _direct(image, (row, column), kernel.shape, decode, encode)
    # Cutting a large dense kernel takes longer than to see that it doesn't pay.
    if _PER_TAP * np.count_nonzero(turned) < fourier and _direct_cost(pieces := cut(turned)) < fourier:
        return _direct(image, (pieces,), kernel.shape, decode, encode)
    return _fourier(image, kernel, decode, encode)


def cut(kernel: Float) -> tuple[Piece, ...]:
    """Boxes below the size at which OpenCV gets slow, which together hold every element that is not 0."""
    return tuple(_cut(Piece(0, 0, kernel)))


def split(kernel: Float) -> tuple[Float, Float] | None:
    """The column (h, 1) and the row (1, w) whose product a kernel is; None where it is no such product."""
    top, left = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    peak = kernel[top, left]
    if min(kernel.shape) == 1 or not peak:
        return None
    column, row = kernel[:, left : left + 1], kernel[top : top + 1, :] / peak
    if np.abs(column * row - kernel).max() > _SAME * abs(peak):
        return None
    return np.ascontiguousarray(column), np.ascontiguousarray(row)


def _cut(piece: Piece) -> list[Piece]:
    piece = _trimmed(piece)
    height, width = piece.taps.shape
    if piece.taps.size <= DIRECT_AREA:
        return [piece] if piece.taps.size else []
    # Halves suit what is thin and slanted, strips what is dense.
    ways = [_strips(piece, 2)]
    thick = DIRECT_AREA // min(height, width)
    if thick:
        ways.append(_strips(piece, -(-max(height, width) // thick)))
    return min(ways, key=len)


def _strips(piece: Piece, count: int) -> list[Piece]:
    """Cut across the long side into parts as equal as can be, and those again where they are too large."""
    axis = int(piece.taps.shape[1] > piece.taps.shape[0])
    found, start = [], 0
    for part in np.array_split(piece.taps, count, axis=axis):
        top, left = (piece.top, piece.left + start) if axis else (piece.top + start, piece.left)
        found += _cut(Piece(top, left, part))
        start += part.shape[axis]
    return found


def _trimmed(piece: Piece) -> Piece:
    """Without the rows and columns of zeros around it."""
    rows, columns = np.flatnonzero(piece.taps.any(axis=1)), np.flatnonzero(piece.taps.any(axis=0))
    if not rows.size:
        return Piece(piece.top, piece.left, piece.taps[:0, :0])
    top, left = int(rows[0]), int(columns[0])
    taps = piece.taps[top : rows[-1] + 1, left : columns[-1] + 1]
    return Piece(piece.top + top, piece.left + left, np.ascontiguousarray(taps))


def _direct_cost(pieces: Sequence[Piece]) -> float:
    """ns per value."""
    taps = sum(np.count_nonzero(piece.taps) for piece in pieces)
    return _PER_TAP * taps + _PER_PIECE * len(pieces) + _PER_SUM * (len(pieces) > 1) * len(pieces)


def _direct(image: Image, passes: Sequence[Sequence[Piece]], size: tuple[int, int], decode: Map, encode: Map) -> Image:
    """Correlate with the pieces of one turned kernel of this size, or with those of its row and then of its column."""
    height, width = image.shape[:2]
    y, x = size[0] // 2, size[1] // 2
    out = np.empty_like(image)
    # Rows around a strip are worked on twice: it should be several times as high as the kernel.
    step = max(16, _STRIP // width, 4 * size[0])
    for top in range(0, height, step):
        into = out[top : top + step]
        rows = decode(_taken(image, top - y, top + len(into) + y, 0))
        part = _scratch("padded", (len(rows), width + 2 * x, 3))
        part = np.asarray(cv2.copyMakeBorder(rows, 0, 0, x, x, cv2.BORDER_REFLECT_101, dst=part), np.float32)
        if len(passes) == 2:
            part = _correlated(part, passes[0], (len(part), width), "across")
        into[:] = encode(_correlated(part, passes[-1], (len(into), width), "down"))
    return out


def _correlated(image: Float, pieces: Sequence[Piece], shape: tuple[int, int], name: str) -> Float:
    """Sum of the correlations with pieces, of this shape: the border that they need is part of `image`."""
    height, width = shape
    total = np.zeros((height, width, 3), np.float32) if not pieces else None
    for piece in pieces:
        h, w = piece.taps.shape
        seen = image[piece.top : piece.top + height + h - 1, piece.left : piece.left + width + w - 1]
        # Anchored at its corner; what it makes of the last rows and columns, which lack neighbours, is left out.
        whole = _scratch(name if total is None else "part", seen.shape)
        whole = cv2.filter2D(seen, -1, piece.taps, dst=whole, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
        part = whole[:height, :width]
        total = part if total is None else cv2.add(total, part, dst=total)
    return np.asarray(total, np.float32)


def _taken(image: Image, start: int, stop: int, axis: int) -> Image:
    """Rows (axis 0) or columns (axis 1) from `start` to `stop`, reflected where there are none."""
    count = image.shape[axis]
    if start >= 0 and stop <= count:
        return image[start:stop] if axis == 0 else image[:, start:stop]
    period = max(2 * (count - 1), 1)
    index = np.abs(np.arange(start, stop)) % period
    return image.take(np.minimum(index, period - index), axis=axis)


def _scratch(name: str, shape: tuple[int, ...]) -> Float:
    """Memory of this shape that this thread uses again and again; what it holds means nothing."""
    count = math.prod(shape)
    kept: dict[str, Float] = _memory.__dict__
    if name not in kept or kept[name].size < count:
        fresh = np.empty(count, np.float32)
        if count > _KEPT:
            return fresh.reshape(shape)
        kept[name] = fresh
    return kept[name][:count].reshape(shape)


def _fourier(image: Image, kernel: Float, decode: Map, encode: Map) -> Image:
    """By transforms of tiles that overlap by the kernel's size (overlap-save)."""
    (h, w), (height, width) = kernel.shape, image.shape[:2]
    tall, wide = _length(height, h), _length(width, w)
    block, product, spectrum, back = (_scratch(name, (tall, wide)) for name in ("block", "product", "spectrum", "back"))
    block[:] = 0
    block[:h, :w] = kernel
    spectrum = cv2.dft(block, dst=spectrum)
    out = np.empty_like(image)
    for top in range(0, height, tall - h + 1):
        rows = min(tall - h + 1, height - top)
        strip = _taken(image, top - h // 2, top + rows + h // 2, 0)
        for left in range(0, width, wide - w + 1):
            columns = min(wide - w + 1, width - left)
            tile = decode(_taken(strip, left - w // 2, left + columns + w // 2, 1))
            into = _scratch("into", (rows, columns, 3))
            # What is left in the block beyond the tile reaches no value that is taken.
            for channel in range(3):
                block[: len(tile), : tile.shape[1]] = tile[..., channel]
                product = cv2.mulSpectrums(cv2.dft(block, dst=product), spectrum, 0, product)
                back = cv2.dft(product, dst=back, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
                into[..., channel] = back[h - 1 : h - 1 + rows, w - 1 : w - 1 + columns]
            out[top : top + rows, left : left + columns] = encode(into)
    return out


def _fourier_cost(shape: tuple[int, ...], size: tuple[int, int]) -> float:
    """ns per value."""
    points = math.prod(_points(_length(n, k), n, k) / n for n, k in zip(shape, size, strict=False))
    return _PER_POINT * points + _PER_COPY


def _length(n: int, k: int) -> int:
    """Length of transforms along a side of `n` px with a kernel of `k`: the one that costs least."""
    lengths = [length for length in _LENGTHS if length >= k] or [cv2.getOptimalDFTSize(2 * k)]
    return min(lengths, key=lambda length: _points(length, n, k))


def _points(length: int, n: int, k: int) -> float:
    """Points of all transforms of this length along such a side, the dear ones counted for more."""
    return -(-n // (length - k + 1)) * length * (_PENALTY if length > _LARGE else 1)
