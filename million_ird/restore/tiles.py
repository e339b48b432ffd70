"""Overlapping tiles with soft seams, one row of tiles at a time.

Where two tiles overlap, the quarter next to each tile's border is not used at all, since there the tile has seen less
of the picture than it should; the half between is blended by a raised cosine. Weights add up to 1 at every pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[Any]], NDArray[np.float32]]
"""(h, w, 3) pixels as they are to (h, w, 3) float32."""


class Piece(NamedTuple):
    """One tile along one axis: its range, and the weight of each of its rows or columns, of which some are 0."""

    start: int
    stop: int
    weight: NDArray[np.float32]


def pieces(length: int, tile: int, overlap: int) -> list[Piece]:
    """The fewest tiles of `tile` px, evenly spaced, that cover `length` px and overlap by `overlap` or more."""
    if length <= tile:
        return [Piece(0, length, np.ones(length, np.float32))]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [round(index * (length - tile) / (count - 1)) for index in range(count)]
    rises = [_rise(length, (b + a + tile) / 2, overlap / 2) for a, b in pairwise(starts)]
    found = []
    for index, start in enumerate(starts):
        weight = np.ones(tile, np.float32)
        if index > 0:
            weight *= rises[index - 1][start : start + tile]
        if index < count - 1:
            weight *= 1 - rises[index][start : start + tile]
        found.append(Piece(start, start + tile, weight))
    return found


def _rise(length: int, centre: float, width: float) -> NDArray[np.float32]:
    """From 0 to 1 about `centre`, along half a cosine that is `width` px long."""
    along = (np.arange(length) + 0.5 - centre) / max(width, 1e-9) + 0.5
    return ((1 - np.cos(np.pi * np.clip(along, 0, 1))) / 2).astype(np.float32)


def bands(
    light: NDArray[Any], run: Run, tile: int, overlap: int, watch: Callable[[int, int], None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Finished rows from top to bottom, each as (first row, (rows, W, 3) float32).

    Args:
        light: (H, W, 3), any type.
        run: the network, on a tile.
        tile: side of a tile, px.
        overlap: of neighbouring tiles, px; at most half a tile.
        watch: told (tiles done, tiles in all).
    """
    height, width = light.shape[:2]
    rows, columns = pieces(height, tile, overlap), pieces(width, tile, overlap)
    total = np.zeros((0, width, 3), np.float32)  # what is still to get more, from row `first` on
    first = 0
    for index, row in enumerate(rows):
        total = np.concatenate([total, np.zeros((row.stop - first - len(total), width, 3), np.float32)])
        for place, column in enumerate(columns):
            weight = row.weight[:, None, None] * column.weight[:, None]
            out = run(light[row.start : row.stop, column.start : column.stop])
            total[row.start - first :, column.start : column.stop] += out * weight
            watch(index * len(columns) + place + 1, len(rows) * len(columns))
        stop = rows[index + 1].start if index + 1 < len(rows) else height
        yield first, total[: stop - first]
        total, first = total[stop - first :], stop
