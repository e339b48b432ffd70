"""Compression: the quality that a JPEG states, and the blocks that any former JPEG has left in the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import Frame, Luma

LINES = 128
"""Rows, and columns, along which steps are looked for: about so many, evenly spread."""


class Compression(Config):
    """JPEG quality from the header, and blockiness from the pixels.

    A step between two pixels is suspect by what it exceeds both its neighbours: an edge of the scene is rarely one
    pixel wide, a block boundary always. These excesses are averaged over all steps at the same place of an 8 px grid;
    blockiness is how far the worst place stands above the second, so that crops are found whatever their offset.
    It is a height, in grey levels, since that is what is seen: about 3.5 at quality 15, below 1.5 at 70.
    """

    cap: int = Field(default=16, ge=1, le=255)
    """Largest excess that counts, grey levels, so that a few hard edges of the scene on the grid don't."""

    columns: ClassVar[Mapping[str, str]] = {
        "jpeg_quality": "IJG quality from the quantisation tables, 1..100; higher = better; none where the file is no "
        "JPEG",
        "blockiness": "mean height of steps on an 8 px grid beyond those off it, at any offset, grey levels, "
        "0..16; higher = blockier; none below 24 px",
    }

    def __call__(self, frame: Frame) -> tuple[float | None, float | None]:
        """Returns:
        `jpeg_quality` and `blockiness`.
        """
        quality = frame.header.jpeg_quality if frame.header else None
        luma = frame.luma
        height, width = luma.shape
        if min(height, width) < 24:
            return quality, None
        rows = luma[:: max(1, height // LINES)]
        group = min(LINES, width) // 2
        steps = cv2.absdiff(rows[:, 1:], rows[:, :-1]).astype(np.uint8, copy=False)
        across = self._excess(steps[:, :-2], steps[:, 1:-1], steps[:, 2:], axis=1)
        down = np.zeros(height - 3)
        # Columns in two groups, since single ones lie too far apart in memory.
        for left in (width // 4, width - width // 4 - group):
            columns = luma[:, left : left + group]
            steps = cv2.absdiff(columns[1:], columns[:-1]).astype(np.uint8, copy=False)
            down += self._excess(steps[:-2], steps[1:-1], steps[2:], axis=0) / 2
        return quality, (_stand_out(across) + _stand_out(down)) / 2

    def _excess(self, before: Luma, steps: Luma, after: Luma, axis: int) -> NDArray[np.float64]:
        """By what each step along an axis exceeds the higher of its two neighbours; mean over the other axis."""
        higher = cv2.max(before, after).astype(np.uint8, copy=False)
        _, excess = cv2.threshold(cv2.subtract(steps, higher), self.cap, 0, cv2.THRESH_TRUNC)
        return cv2.reduce(excess, 1 - axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() / steps.shape[1 - axis]


def _stand_out(profile: NDArray[np.float64]) -> float:
    """The largest of the 8 phase means less the second: repeated pixels (x2, x4) raise two or more of them alike."""
    phases = np.sort(profile[: len(profile) // 8 * 8].reshape(-1, 8).mean(axis=0))
    return float(phases[-1] - phases[-2])
