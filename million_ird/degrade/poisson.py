"""Photon noise: the count of photons is Poisson, with a gain that does not depend on the picture.

What comes of a value depends on its grey level and on one random number, so the whole op is a table of 256 levels by
4096 quantiles, built once per gain and read once per value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.counter import SCALE, STEPS, normal_table, words16
from million_ird.degrade.dist import Among, Between, Log, Names, Spec, draw, draw_name, draw_seed, ends_of
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import Bytes, Floats, Op, Params, Shape, Support, Tier
from million_ird.rng import Chance

QUANTILES = 4096
_EXACT_BELOW = 50.0
"""Mean counts from which the Cornish-Fisher expansion is used: its quantiles are within a tenth of a count there."""


class PoissonNoise(Op):
    """y = Poisson(x peak) / peak, each channel on its own: variance x / peak, whatever else is in the picture."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "versions"

    peak: Annotated[Spec, Between(0.5, 1e6)] = Log(log=(100, 10000))
    """Photons of a white pixel. 10^2 to 10^4: BSRGAN; 60, 25, 12, 5, 3: ImageNet-C."""
    space: Annotated[Names, Among(("srgb", "linear"))] = "srgb"
    """Where photons are counted: "linear" is the physics, "srgb" is what the literature does. The sRGB mean is kept
    only in "srgb": the curve is concave."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        peak = draw(self.peak, rng)
        if isinstance(self.peak, (tuple, Log)):  # a drawn one in two digits, so that tables are met again
            lo, hi = ends_of(self.peak)
            peak = min(max(float(f"{peak:.2g}"), lo), hi)
        return {"peak": peak, "space": draw_name(self.space, rng), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        # The noise of the nearest level is added to the unrounded value: right to half a level of its intensity.
        levels = np.clip(np.floor(image * np.float32(255) + np.float32(0.5)), 0, 255).astype(np.int32)
        noise = residuals(params["peak"], params["space"]).ravel().take(_index(levels, params["seed"]))
        return image + noise * np.float32(1 / 255), None

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        table = _results8(params["peak"], params["space"])
        return table.take(_index(image.astype(np.int32), params["seed"])), None


def _index(levels: NDArray[np.int32], seed: int) -> NDArray[np.int32]:
    """Places in a flat table: level and random quantile of each value."""
    levels <<= 12
    levels |= (words16(seed, levels.size) >> 4).reshape(levels.shape)
    return levels


@lru_cache(maxsize=8)
def residuals(peak: float, space: str) -> Floats:
    """(256, 4096) float32: what is added to level k at quantile q, in grey levels, safe from ties."""
    levels = (np.arange(256, dtype=np.float32) / np.float32(255))[:, None]
    if space == "linear":
        light = to_linear(levels)
        noisy = to_srgb((_counts(light[:, 0].astype(np.float64) * peak) / np.float32(peak)).astype(np.float32))
    else:
        noisy = _counts(levels[:, 0].astype(np.float64) * peak) / np.float32(peak)
    noise = (noisy - levels) * np.float32(255 * STEPS)
    return (np.floor(noise) + np.float32(0.5)) * np.float32(1 / STEPS)


@lru_cache(maxsize=64)
def _results8(peak: float, space: str) -> NDArray[np.uint8]:
    """(256 * 4096,) uint8: the rounded result of level k at quantile q."""
    values = residuals(peak, space) + np.arange(256, dtype=np.float32)[:, None]
    return np.clip(np.floor(values + np.float32(0.5)), 0, 255).astype(np.uint8).ravel()


def _counts(means: NDArray[np.float64]) -> Floats:
    """(256, 4096) float32: quantiles of Poisson distributions with these means."""
    out = np.empty((len(means), QUANTILES), np.float32)
    low = means < _EXACT_BELOW
    out[low] = _exact(means[low])
    high = means[~low, None].astype(np.float32)
    # The middle quantile of every 16 of the normal table.
    z = normal_table().reshape(QUANTILES, -1).mean(axis=1, dtype=np.float32)[None, :] / np.float32(SCALE)
    root = np.sqrt(high)
    out[~low] = np.floor(0.5 + high + root * z + (z * z - 1) / 6 + (z - z**3) / (72 * root))
    return out


def _exact(means: NDArray[np.float64]) -> Floats:
    """Quantiles from the distribution function itself."""
    if not len(means):
        return np.empty((0, QUANTILES), np.float32)
    most = int(means.max() + 8 * np.sqrt(means.max()) + 10)
    mass = np.exp(-means)
    below = mass.copy()
    ends = np.zeros((len(means), QUANTILES + 1), np.int32)
    rows = np.arange(len(means))
    for count in range(most):
        # All quantiles up to `below` have at most `count`; from there on, one more.
        ends[rows, np.minimum((below * QUANTILES + 0.5).astype(int), QUANTILES)] += 1
        mass = mass * means / (count + 1)
        below += mass
    return np.cumsum(ends[:, :QUANTILES], axis=1).astype(np.float32)
