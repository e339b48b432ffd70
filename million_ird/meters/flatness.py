"""Flatness: how much of the picture has no texture to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import Frame, Luma

_BAND, _STEP = 2, 32  # the sample: 2 rows of every 32
_LEAST = 64  # rows or columns below which a tile is too small to be sampled
_DOUBT = 1.3  # a sampled variance within so many times the threshold is not believed


class Flatness(Config):
    """The flat-region rule of LSDIR (Li et al., CVPR Workshops 2023) with the numbers of 4KLSDB.

    A tile is flat where the variance of the magnitude of its 3x3 Sobel gradient is small; tiles don't overlap, and
    those cut off by the right or lower edge count like the others. 4KLSDB refuses a picture half of whose tiles are
    flat. A sixteenth of the rows decides where it can; a tile near the threshold is measured whole. So 99 tiles of 100
    get the verdict of the letter of the rule; `exact` makes it all of them.
    """

    tile: int = Field(default=240, ge=1)
    """Side of a tile, px."""
    variance: float = Field(default=800, ge=0)
    """A tile is flat below it; grey levels squared."""
    exact: bool = False
    """Measure every tile whole, at four times the cost."""

    columns: ClassVar[Mapping[str, str]] = {
        "flat": "share of 240 px tiles without texture (variance of the Sobel magnitude < 800; LSDIR, 4KLSDB), 0..1; "
        "higher = flatter",
    }

    def __call__(self, frame: Frame) -> tuple[float]:
        """Returns:
        `flat`.
        """
        luma = frame.luma
        height, width = luma.shape
        tops, lefts = (range(0, side, self.tile) for side in luma.shape)
        low, high = self.variance / _DOUBT, self.variance * _DOUBT
        flat = 0
        for top, row in zip(tops, self._sampled(luma, tops, lefts).tolist(), strict=True):
            for left, variance in zip(lefts, row, strict=True):
                small = min(self.tile, height - top, width - left) < _LEAST
                if self.exact or small or low < variance < high:
                    variance = self._whole(luma, top, left)
                flat += variance < self.variance
        return (flat / (len(tops) * len(lefts)),)

    def _sampled(self, luma: Luma, tops: range, lefts: range) -> NDArray[np.float64]:
        """(rows, columns) variance of the gradient magnitude of each tile, from some of its rows."""
        height, width = luma.shape
        starts = np.arange(_STEP // 2 - 1, max(height - 1, _STEP // 2), _STEP)
        halo = np.minimum(starts[:, None] + np.arange(-1, _BAND + 1), height - 1)
        across, down = (
            part.reshape(-1, _BAND + 2, width)[:, 1:-1].astype(np.float32).reshape(-1, width)
            for part in cv2.spatialGradient(luma[halo.ravel()])
        )
        magnitude = cv2.magnitude(across, down)
        ends = [_BAND * int(end) for end in np.searchsorted(starts, [*tops, height])]
        sums = np.zeros((len(tops), 2, width))
        for row, (start, end) in enumerate(pairwise(ends)):
            if end > start:
                for power, kind in enumerate((cv2.REDUCE_SUM, cv2.REDUCE_SUM2)):
                    sums[row, power] = cv2.reduce(magnitude[start:end], 0, kind) / (end - start)
        mean, square = (np.add.reduceat(sums, lefts, axis=2) / np.diff([*lefts, width])).transpose(1, 0, 2)
        return square - mean * mean

    def _whole(self, luma: Luma, top: int, left: int) -> float:
        """Variance of the gradient magnitude of the tile at a place, to the letter."""
        above, before = min(top, 1), min(left, 1)
        near = luma[top - above : top + self.tile + 1, left - before : left + self.tile + 1]
        across, down = (part[above:, before:][: self.tile, : self.tile] for part in cv2.spatialGradient(near))
        magnitude = cv2.magnitude(across.astype(np.float32), down.astype(np.float32))
        mean = cv2.norm(magnitude, cv2.NORM_L1) / magnitude.size
        return cv2.norm(magnitude, cv2.NORM_L2SQR) / magnitude.size - mean * mean
