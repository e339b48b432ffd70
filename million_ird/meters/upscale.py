"""Upscale: how much of the nominal resolution is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.meters import Frame
from million_ird.meters.detail import cells

RINGS = 16
REFERENCE = slice(1, 3)  # rings between 1/16 and 3/16 of the Nyquist frequency: below the limit of a x4 upscaling

# Where the spectrum of photos upscaled by 4, 3 and 2 (bilinear, bicubic, Lanczos) falls below the default `drop`:
# beyond the true limit, since no interpolation cuts sharply. Medians over cid22, kodak24 and clic2025.
CROSSING = 0.0, 0.39, 0.5, 0.715, 1.0
RESOLUTION = 0.0, 1 / 4, 1 / 3, 1 / 2, 1.0


class Upscale(Config):
    """Real over nominal resolution, from the spectrum of the sharpest tiles.

    Smooth interpolation leaves next to nothing above the old Nyquist frequency: there the spectrum, made level by f**2,
    falls off a cliff. Repeating pixels (nearest neighbour, area) leaves images of the spectrum instead, but also rows
    and columns that equal their neighbours, which nothing else does.
    """

    drop: float = Field(default=18, gt=0)
    """How far below the level of coarse detail the spectrum must fall for detail to be absent, dB."""

    columns: ClassVar[Mapping[str, str]] = {
        "upscale": "real over nominal resolution, 0..1: 1 = full detail, 0.5 = upscaled x2 (or as soft), 0.25 = x4; "
        "lower = more upscaled; none below 64 px and where there is no detail",
    }

    def __call__(self, frame: Frame) -> tuple[float | None]:
        """Returns:
        `upscale`.
        """
        _, tiles, power = frame.detail
        rings = _rings(power) / _rings(cells())
        level = rings[REFERENCE].mean()
        if level <= 0:
            return (None,)
        limit = _crossing(10 * np.log10(np.maximum(rings / level, 1e-9)), -self.drop)
        return (min(float(np.interp(limit, CROSSING, RESOLUTION)), _distinct(tiles[-2:])),)


def _crossing(profile: NDArray[np.float64], floor: float) -> float:
    """The frequency at which the profile first falls below the floor, above the reference; 1 where it never does."""
    below = np.flatnonzero(profile[REFERENCE.stop :] < floor)
    if not len(below):
        return 1.0
    at = below[0] + REFERENCE.stop
    before, after = float(profile[at - 1]), float(profile[at])
    return (at - 0.5 + max(before - floor, 0) / max(before - after, 1e-6)) / RINGS


def _distinct(tiles: NDArray[np.uint8]) -> float:
    """Share of the columns, or of the rows, that differ from the one before, in the tile that has most."""
    columns = (tiles[:, :, 1:] != tiles[:, :, :-1]).any(axis=1).mean(axis=1)
    rows = (tiles[:, 1:] != tiles[:, :-1]).any(axis=2).mean(axis=1)
    return float(min(columns.max(), rows.max()))


def _rings(polar: NDArray[np.float64]) -> NDArray[np.float64]:
    return polar.reshape(RINGS, -1).sum(axis=1)
