"""Blur: are the sharpest parts sharp, in every direction?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import Frame
from million_ird.meters.detail import ANGLES, RINGS, cells

COARSE, FINE = slice(1, 3), slice(8, 26)
"""Rings of the spectrum that `blur_ratio` compares: 1/32..3/32 and 1/4..13/16 of the Nyquist frequency."""


class Blur(Config):
    """Sharpness of the sharpest parts, so that an unsharp background is not a blurred photo.

    `blur` is the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), tile by tile, of which a high percentile
    is taken. It depends on contrast as much as on sharpness.

    `blur_ratio` does not. Per direction u, a(u) is the amplitude of fine against coarse detail, both relative to the
    1 / f spectrum of natural images. Blur lowers a(u); camera shake lowers it along the motion and leaves it across, so
    the ratio is the smallest a(u) / a(across)**(2/3) of 8 directions: mostly a measure of the loss that one direction
    has and the other has not, and to a third of the loss that both have.
    """

    percentile: float = Field(default=95, ge=0, le=100)
    """Of the tiles' variances, which one is reported as `blur`."""

    columns: ClassVar[Mapping[str, str]] = {
        "blur": "sharpness of the sharpest parts: variance of the Laplacian, 95th percentile over 64 px tiles, "
        "grey levels squared, 0 and up; higher = sharper",
        "blur_ratio": "fine against coarse detail in the direction that has least, 0 to about 1.2, whatever the "
        "contrast; lower = blurred; none below 64 px and where there is no detail",
    }

    def __call__(self, frame: Frame) -> tuple[float, float | None]:
        """Returns:
        `blur` and `blur_ratio`.
        """
        energy, _, power = frame.detail
        rank = round(self.percentile / 100 * (len(energy) - 1))
        return float(energy[rank]), directional_ratio(power)


def directional_ratio(power: NDArray[np.float64]) -> float | None:
    """`blur_ratio` of a spectrum like `Detail.power`; None where it is empty."""
    coarse, fine = (_sectors() @ power.ravel()).reshape(2, -1)
    if coarse.min() <= 0:
        return None
    amplitude = np.sqrt(fine / coarse)
    across = amplitude.reshape(2, -1)[::-1].ravel()
    if across.min() <= 0:
        return 0.0
    return float((amplitude / across ** (2 / 3)).min())


@lru_cache
def _sectors() -> NDArray[np.float64]:
    """(2 * 8, 32 * 16) weights: means of a polar spectrum over coarse, then fine, in 8 sectors 45 degrees wide."""
    away = np.abs((np.arange(ANGLES) - np.arange(0, ANGLES, 2)[:, None] + ANGLES / 2) % ANGLES - ANGLES / 2)
    share = np.clip(2.5 - away, 0, 1)  # of each angle in each sector: the outermost two lie half within
    rings = np.zeros((2, RINGS))
    rings[0, COARSE] = rings[1, FINE] = 1
    weights = rings[:, None, :, None] * share[:, None, :]
    return (weights / (weights * cells()).sum(axis=(2, 3), keepdims=True)).reshape(-1, RINGS * ANGLES)
