"""Noise by counter: pixel i of a seed always gets the same random word, whatever is drawn before, beside or after it.

The words are Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by the seed;
normal values come from a table of quantiles, so that they are the same bits on every machine.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from million_ird.rng import key_for

SCALE = 4096
"""Units of `normal_table` per standard deviation."""
STEPS = 64
"""Parts of a grey level to which noise is rounded, half a part off the marks: never so near to a tie of the last
rounding that float32 arithmetic could decide it."""


def words16(seed: int, count: int, stream: str = "") -> NDArray[np.uint16]:
    """(count,) uint16, uniform; `stream` names what it is for, where an op needs several from one seed."""
    raw = np.random.Philox(key=key_for(seed, stream)).random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count]


def look_up(table: NDArray[Any], words: NDArray[np.uint16]) -> NDArray[Any]:
    """table[words] for a table of 65536 values of up to 16 bits, words of any shape."""
    if table.dtype.itemsize <= 2 and _opencv_knows_words():
        return cv2.LUT(words.reshape(1, -1), table.reshape(1, -1)).reshape(words.shape)
    return table.take(words)


@cache
def _opencv_knows_words() -> bool:
    """Newer OpenCV looks up 16-bit words too, half as long again as quick as numpy."""
    try:
        return cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros((1, 65536), np.int8)).dtype == np.int8
    except cv2.error:
        return False


@cache
def normal_table() -> NDArray[np.int16]:
    """(65536,) int16: quantiles of N(0, 1) in units of 1/4096, mean 0, variance 1, ends at 4.33 deviations."""
    quantiles = ndtri((np.arange(65536) + 0.5) / 65536)
    quantiles /= np.sqrt(np.mean(quantiles**2))
    return np.rint(quantiles * SCALE).astype(np.int16)


def level_noise(units: NDArray[np.int16], sigma: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise in grey levels (1/255) from table units and a standard deviation in grey levels, safe from ties."""
    noise = units * (np.float32(STEPS / SCALE) * np.float32(sigma))
    return (np.floor(noise) + np.float32(0.5)) * np.float32(1 / STEPS)
