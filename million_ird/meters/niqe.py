"""NIQE: how far a picture's statistics lie from those of good photos, without ever having seen a bad one.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE Signal Processing Letters 20(3),
2013. The statistics are in `nss`; here they are summed up as a Gaussian and compared with that of pristine photos.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from million_ird.errors import ConfigError
from million_ird.meters import Frame, Luma
from million_ird.meters.files import OURS, Modelled
from million_ird.meters.nss import BLOCK, FEATURES, features

_SHIPPED = Path(__file__).parent / "weights" / "niqe.npz"

# What files call the two arrays: ours, MATLAB's as published, BasicSR's copy of the latter.
_NAMES = ("mu", "mu_prisparam", "mu_pris_param"), ("cov", "cov_prisparam", "cov_pris_param")


@dataclass(frozen=True)
class Pristine:
    """The Gaussian of good photos: mean (36,) and covariance (36, 36), float64, positive definite."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def distance(self, statistics: NDArray[np.float64], fewest: int = 2) -> float | None:
        """NIQE of a picture from the (blocks, 36) statistics of its blocks; None with fewer than `fewest` good ones."""
        whole = statistics[np.isfinite(statistics).all(axis=1)]
        if len(whole) < max(2, fewest):
            return None
        apart = whole.mean(axis=0) - self.mean
        between = (self.covariance + np.cov(whole, rowvar=False)) / 2  # positive definite, as the first is
        return float(np.sqrt(apart @ np.linalg.solve(between, apart)))


class Niqe(Modelled):
    """NIQE of the luma over whole blocks of 96 x 96 px, from 0 (like a good photo) up; photos have 2 to 6.

    A picture of many more than `blocks` blocks is measured on some of its columns of blocks, evenly spread: the cost is
    then the same for any size, and the score differs by some per cent. Up to about 0.7 MP all blocks count.

    Blocks that are too flat to have statistics are left out. None where fewer than `fewest` are left: pictures
    smaller than about 384 x 288 px and constant pictures. With the published parameters it is the `niqe` of pyiqa.
    """

    columns: ClassVar[Mapping[str, str]] = {"iqa": "NIQE, no unit, 0 and up, lower is better"}

    model: str = OURS
    """Pristine photos to compare with: `million-ird`, or a file of NIQE parameters (.npz, or MATLAB's .mat)."""

    blocks: int | None = Field(default=48, ge=2)
    """Blocks that are enough, about, where there are more than half as many again; null = all, as published."""

    fewest: int = Field(default=12, ge=2)
    """Blocks below which there is no score: the covariance of a handful says nothing of the picture."""

    @field_validator("model")
    @classmethod
    def _readable(cls, model: str) -> str:
        pristine(model)  # a wrong file is reported before any picture is read
        return model

    def __call__(self, frame: Frame) -> Sequence[float | None]:
        found = [features(band) for band in self._bands(frame.luma)]
        return (pristine(self.model).distance(np.concatenate(found), self.fewest),)

    def _bands(self, luma: Luma) -> list[Luma]:
        """The picture, or so many of its columns of blocks, in pairs, as give about `blocks` blocks."""
        rows, columns = (side // BLOCK for side in luma.shape)
        if self.blocks is None or rows * columns <= 1.5 * self.blocks:
            return [luma]
        pairs = max(1, round(self.blocks / rows / 2))
        if 2 * pairs >= columns:
            return [luma]
        lefts = np.linspace(0, columns - 2, pairs).round().astype(int) if pairs > 1 else [(columns - 2) // 2]
        return [luma[:, left * BLOCK : (left + 2) * BLOCK] for left in lefts]


@lru_cache(maxsize=8)
def pristine(model: str = OURS) -> Pristine:
    """The pristine model by name, or from a file.

    Raises:
        ConfigError: no such file, or one that holds no NIQE parameters.
    """
    path = _SHIPPED if model == OURS else Path(model)
    remedy = f"give '{OURS}' or a file of NIQE parameters, .npz or .mat"
    try:
        arrays = _arrays(path)
        mean, covariance = (_first(arrays, names) for names in _NAMES)
        return _checked(mean.ravel(), covariance)
    except FileNotFoundError:
        raise ConfigError(f"measure.options.niqe.model: {path} does not exist; {remedy}") from None
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ConfigError(f"measure.options.niqe.model: {path} holds no NIQE parameters ({error}); {remedy}") from None


def _arrays(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() != ".mat":
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path)
    except (MatReadError, NotImplementedError, zlib.error) as error:
        raise ValueError(error) from None


def _first(arrays: Mapping[str, Any], names: Sequence[str]) -> NDArray[np.float64]:
    found = [name for name in names if name in arrays]
    if not found:
        raise ValueError(f"no array is called {' or '.join(names)}")
    return np.asarray(arrays[found[0]], np.float64)


def _checked(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> Pristine:
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise ValueError(f"the mean is not {FEATURES} numbers, or the covariance not {FEATURES} x {FEATURES}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)):
        raise ValueError("the numbers are not finite, or the covariance is not symmetric")
    if np.linalg.eigvalsh(covariance)[0] <= 0:
        raise ValueError("the covariance is not positive definite: it comes of too few blocks")
    return Pristine(mean, covariance)
