"""Background: products on white, pages of text, flat graphics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import RGB, Frame

_ROWS = 32  # rows in which repeated colours are looked for, evenly spread
_FEW = 5  # of the outline's points every so many tell its colour
_LAG = 8  # px, a JPEG block: pixels that upscaling has repeated lie nearer


class Background(Config):
    """How much the picture looks like something that was put on a plain background, or drawn.

    The larger of two shares. Of the outline: the part that has the outline's own median colour; the lighter that is,
    the more may it vary, and a dark one, which is a night or a studio more often than a page, counts for nothing. Of
    the whole: the part where a pixel equals its neighbour 8 px away exactly, as in graphics and never for long in a
    photo.
    """

    rim: float = Field(default=0.04, gt=0, le=0.5)
    """Width of the outline, as a share of the shorter side."""
    tolerance: float = Field(default=12, ge=0)
    """How far a white outline may be from its median in any channel, grey levels; down to 0 for a dark one."""

    columns: ClassVar[Mapping[str, str]] = {
        "background": "how plain the ground is: share of the outline in one light colour, or of the picture in exactly "
        "repeated colours, 0..1; higher = product on white, page, graphic",
    }

    def __call__(self, frame: Frame) -> tuple[float]:
        """Returns:
        `background`.
        """
        return (max(self._plain(frame.points), repeated(frame.rgb)),)

    def _plain(self, points: RGB) -> float:
        height, width = points.shape[:2]
        rim = max(1, round(min(height, width) * self.rim))
        sides = points[:rim], points[-rim:], points[rim:-rim, :rim], points[rim:-rim, -rim:]
        outline = np.concatenate([side.reshape(-1, 3) for side in sides])
        few = np.sort(outline[::_FEW].T)
        colour = few[:, few.shape[1] // 2].astype(float)
        tolerance = np.interp(colour.mean(), (64, 240), (0, self.tolerance))
        near = cv2.inRange(outline[None], colour - tolerance, colour + tolerance)
        return cv2.countNonZero(near) / len(outline) if tolerance else 0.0


def repeated(rgb: RGB) -> float:
    """Share of pixels, of a sample of rows, that equal the pixel 8 px to the right in all channels; 0 below 9 px."""
    rows = rgb[:: max(1, rgb.shape[0] // _ROWS)]
    if rows.shape[1] <= _LAG:
        return 0.0
    differ = cv2.absdiff(rows[:, _LAG:], rows[:, :-_LAG]).astype(np.uint8, copy=False)
    same = cv2.inRange(differ, (0, 0, 0), (0, 0, 0))
    return cv2.countNonZero(same) / same.size
