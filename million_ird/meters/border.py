"""Border: bars and frames around the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import Frame, Luma

_UNIFORM = 0.98  # share of a line that has the bar's colour: dust, a channel's logo or a few noisy pixels are forgiven
_STRAIGHT = 0.4  # share of the first line within that hasn't,
_SPAN = 0.7  # and which part of that line it reaches over, since in a frame the line begins and ends with frame
_WHITE, _WHITE_SPAN = 235, 0.95  # a white bar reaches from end to end, unless all four sides make a frame


class Border(Config):
    """Share of the picture that is letterbox, pillarbox or frame.

    A bar is a run of lines from an edge inwards, all of one colour, that ends at once: the first line within differs,
    in much of it and nearly from end to end. A sky ends raggedly, or shades off, and is none; nor is the white ground
    on which a box stands. Bars thinner than 1/128 of the long side are not seen.
    """

    tolerance: int = Field(default=8, ge=0, le=255)
    """How far a bar's luma may be from its median, grey levels: JPEG's noise near black."""

    columns: ClassVar[Mapping[str, str]] = {
        "border": "share of the picture taken by uniform bars along its edges, 0..1; higher = more; 1 = nothing else",
    }

    def __call__(self, frame: Frame) -> tuple[float]:
        """Returns:
        `border`.
        """
        luma = cv2.cvtColor(frame.points, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
        bars = self._bars(luma, _SPAN)
        if any(bars) and not all(bars):
            bars = self._bars(luma, _WHITE_SPAN)
        height, width = luma.shape
        return (1 - (height - bars[0] - bars[1]) * (width - bars[2] - bars[3]) / luma.size,)

    def _bars(self, luma: Luma, white_span: float) -> list[int]:
        """Depth of the bars above, below, left and right; the last two in what the first two leave."""
        bars: list[int] = []
        for _ in range(2):
            bars += self._depth(luma, white_span), 0
            if bars[-2] < len(luma):
                bars[-1] = self._depth(luma[::-1], white_span)
            luma = np.ascontiguousarray(luma[bars[-2] : len(luma) - bars[-1]].T)
            if not luma.size:
                return [*bars, 0, 0][:4]
        return bars

    def _depth(self, luma: Luma, white_span: float) -> int:
        """Number of rows in the bar along the upper edge; all of them where nothing else is there."""
        width = luma.shape[1]
        colour = float(np.sort(luma[0])[width // 2])
        match = cv2.inRange(luma, colour - self.tolerance, colour + self.tolerance)
        same = cv2.reduce(match, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        other = np.flatnonzero(same < 255 * width * _UNIFORM)
        if not len(other):
            return len(luma)
        depth = int(other[0])
        if not depth:
            return 0
        # Against the last line of the bar, since a sky that shades off never leaps; two lines, since the first may be a
        # blend of the bar and the picture.
        leap = np.abs(luma[depth : depth + 2].astype(np.int16) - luma[depth - 1]).max(axis=0)
        within = np.flatnonzero(leap > self.tolerance)
        if len(within) < _STRAIGHT * width:
            return 0
        span = within[-1] - within[0] + 1
        return depth if span >= (_SPAN if colour < _WHITE else white_span) * width else 0
