"""Noise: sigma, read off where the picture has least structure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import RGB, Frame

BLOCK, BANDS = 16, 6
"""Side of a block, px. Blocks are taken from so many bands of rows, evenly spread: small and large pictures alike."""

_SECOND = np.array([1.0, -2.0, 1.0])
# sqrt(pi / 2) makes a mean absolute value a standard deviation; 6 is the gain of the mask for white noise.
_GAIN = math.sqrt(math.pi / 2) / 6
# In white noise the 10th percentile of 16x16 blocks is so many times sigma (measured).
_BIAS = 0.883
_DARK, _LIGHT = 48, 207  # block means beyond which clipping swallows part of strong noise,
_LEFT = math.sqrt(0.5 - 0.5 / math.pi)  # of which so much is left on black and on white: half a normal distribution
_CALM = 0.3  # share of calm blocks, dark and light ones too, that show the rest to be texture


class Noise(Config):
    """Sigma of additive noise: Immerkaer's mask (CVIU 64(2), 1996) by blocks, of which a low percentile counts.

    The mask, the difference of two Laplacians, is blind to ramps and straight edges; the percentile leaves texture out.
    The green channel is measured: luma would average noise that is independent from channel to channel. Only white
    noise is seen: what a camera's own processing leaves is smooth, and reads below 1 even at ISO 6400.
    """

    percentile: float = Field(default=10, ge=0, le=100)
    """Of the blocks, from the smoothest, which one is believed."""

    columns: ClassVar[Mapping[str, str]] = {
        "noise": "sigma of white noise (Immerkaer 1996, 10th percentile of 16 px blocks of green), grey levels, "
        "0..about 100; higher = noisier; none below 3 px",
    }

    def __call__(self, frame: Frame) -> tuple[float | None]:
        """Returns:
        `noise`.
        """
        sigma, level = _blocks(frame.rgb)
        if not sigma.size:
            return (None,)
        whole = (level > _DARK) & (level < _LIGHT)
        everywhere = np.sort(sigma)
        chosen = np.sort(sigma[whole]) if whole.mean() > 0.05 else everywhere
        found = _at(chosen, self.percentile / 100)
        # Text on white: all blocks that are neither dark nor light hold letters, but the others are too calm for noise.
        return (min(found, _at(everywhere, _CALM) / _LEFT) / _BIAS,)


def _at(ascending: NDArray[np.float64], share: float) -> float:
    return float(ascending[round(share * (len(ascending) - 1))])


def _blocks(rgb: RGB) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sigma and mean level of a sample of blocks; empty where a side is below 3 px."""
    height, width = rgb.shape[:2]
    if min(height, width) < 3:
        return np.empty(0), np.empty(0)
    tall, wide = min(BLOCK, height - 2), min(BLOCK, width - 2)
    count = (width - 2) // wide
    inner = slice(1, 1 + count * wide)
    bands = min(BANDS, height // (tall + 2))
    starts = [(height - tall - 2) * index // max(bands - 1, 1) for index in range(bands)]
    response, level = [], []
    for start in starts:
        green = cv2.extractChannel(rgb[start : start + tall + 2], 1)
        curved = np.abs(cv2.sepFilter2D(green, cv2.CV_16S, _SECOND, _SECOND))
        for plane, columns in (curved, response), (green, level):
            columns.append(cv2.reduce(plane[1:-1, inner], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F))
    sums = np.array((response, level)).reshape(2, -1, wide).sum(axis=2) / (tall * wide)
    return sums[0] * _GAIN, sums[1]
