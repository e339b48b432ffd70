"""Exposure: clipped shadows and lights, contrast, and colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import RGB, Frame

_NORMAL_90 = 3.2897  # standard deviations between the 5th and the 95th percentile of a normal distribution


class Exposure(Config):
    """Clipped shares, contrast and colourfulness, from an even sample of pixels."""

    clip: int = Field(default=1, ge=0, le=127)
    """A pixel is clipped that is so near to 0 or to 255 in luma, grey levels."""

    columns: ClassVar[Mapping[str, str]] = {
        "exposure_low": "share of pixels that are black (luma <= 1), 0..1; higher = darker",
        "exposure_high": "share of pixels that are white (luma >= 254), 0..1; higher = lighter",
        "contrast": "robust standard deviation of luma: 5th to 95th percentile / 3.29, grey levels, 0..78; "
        "higher = more contrast",
        "colourfulness": "Hasler and Suesstrunk (2003), 0..about 190: 0 = grey, 15 = slightly, 59 = quite, "
        "109 = extremely colourful; higher = more",
    }

    def __call__(self, frame: Frame) -> tuple[float, float, float, float]:
        """Returns:
        `exposure_low`, `exposure_high`, `contrast` and `colourfulness`.
        """
        luma = cv2.cvtColor(frame.points, cv2.COLOR_RGB2GRAY)
        below = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().cumsum(dtype=np.float64) / luma.size
        low, high = np.searchsorted(below, (0.05, 0.95))
        return (
            float(below[self.clip]),
            float(1 - below[254 - self.clip]),
            float(high - low) / _NORMAL_90,
            colourfulness(frame.points),
        )


def colourfulness(rgb: RGB) -> float:
    """Hasler and Suesstrunk, "Measuring colourfulness in natural images", SPIE 5007 (2003): the metric M3.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        0 for grey, about 109 for an extremely colourful photo.
    """
    red, green, blue = (plane.astype(np.int16) for plane in cv2.split(rgb))
    opponents = red - green, red + green - 2 * blue
    statistics = np.array([cv2.meanStdDev(plane) for plane in opponents]).reshape(2, 2) / [[1], [2]]
    mean, deviation = np.hypot(*statistics)
    return float(deviation + 0.3 * mean)
