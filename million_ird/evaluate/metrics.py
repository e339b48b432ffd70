"""How near a picture is to its target, by name, and how good it looks on its own.

Legend: H rows, W columns; pictures are (H, W, 3) RGB floats in [0, 1]. All sums are made in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.errors import ConfigError

Picture = NDArray[np.floating[Any]]
Window = Literal["uniform7", "gaussian11"]

WINDOWS: Mapping[str, int] = {"uniform7": 7, "gaussian11": 11}
"""Side of each window, px."""

BAND = 256
"""Rows that SSIM holds at a time, so that a large picture needs no more memory than a small one."""


def psnr(output: Picture, target: Picture) -> float:
    """Peak signal-to-noise ratio of all three channels together, dB; the peak is 1.

    10 log10(1 / MSE), what `skimage.metrics.peak_signal_noise_ratio(data_range=1)` gives; infinite for equal pictures.

    Raises:
        ValueError: the pictures differ in shape.
    """
    _same(output, target)
    error = np.mean(np.square(np.asarray(output, np.float64) - np.asarray(target, np.float64)))
    return math.inf if error == 0 else float(-10 * np.log10(error))


def ssim(output: Picture, target: Picture, window: Window = "gaussian11") -> float:
    """Structural similarity, the mean over pixels and channels; 1 for equal pictures.

    Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13(4), 2004, eq. 13; K1 .01, K2 .03, peak 1. Only
    windows that lie inside the picture count.

    Args:
        output, target: (H, W, 3), or (H, W).
        window: "gaussian11": 11 x 11, sigma 1.5, weighted variances, as in that paper (scikit-image's with
            `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`). "uniform7": 7 x 7 equal weights and
            variances over 49 - 1, scikit-image's default, which the AirNet, PromptIR and DyNet papers print.

    Raises:
        ValueError: the pictures differ in shape, or are smaller than a window.
    """
    _same(output, target)
    side = WINDOWS[window]
    if min(output.shape[:2]) < side:
        raise ValueError(f"SSIM {window} needs {side} px on each side, the picture is {output.shape[:2]}")
    total = count = 0.0
    for first, second in _bands(output, target, side):
        values = _similarity(first, second, window)
        total += float(values.sum())
        count += values.size
    return total / count


def luma(picture: Picture) -> NDArray[np.float64]:
    """(H, W, 3) to (H, W): Y of ITU-R BT.601 in its studio swing, 16/255 to 235/255, as MATLAB's `rgb2ycbcr` gives it.

    It is what "PSNR on Y" means in the deraining and super-resolution papers.
    """
    rgb = np.asarray(picture, np.float64)
    return (16 + rgb @ np.array([65.481, 128.553, 24.966])) / 255


def psnr_y(output: Picture, target: Picture) -> float:
    """`psnr` of `luma`, dB."""
    return psnr(luma(output), luma(target))


def ssim_y(output: Picture, target: Picture) -> float:
    """`ssim` "gaussian11" of `luma`."""
    return ssim(luma(output), luma(target), "gaussian11")


def ssim_uniform7(output: Picture, target: Picture) -> float:
    """`ssim` with the window "uniform7"."""
    return ssim(output, target, "uniform7")


def ssim_gaussian11(output: Picture, target: Picture) -> float:
    """`ssim` with the window "gaussian11"."""
    return ssim(output, target, "gaussian11")


METRICS: Mapping[str, Callable[[Picture, Picture], float]] = {
    "psnr": psnr,
    "ssim_uniform7": ssim_uniform7,
    "ssim_gaussian11": ssim_gaussian11,
    "psnr_y": psnr_y,
    "ssim_y": ssim_y,
}
"""What compares a picture with its target; higher is better in all of them."""

ALIASES = {"ssim": "ssim_gaussian11"}


@dataclass(frozen=True)
class Metric:
    """A metric by its name.

    Attributes:
        name: of it.
        call: (output, target) -> score; None where it has none for this picture.
        lower_better: whether less is better.
    """

    name: str
    call: Callable[[Picture, Picture], float | None]
    lower_better: bool = False

    def __call__(self, output: Picture, target: Picture) -> float | None:
        return self.call(output, target)


def metric(name: str) -> Metric:
    """A metric: one of `METRICS`, "ssim" (= "ssim_gaussian11"), "niqe", or "pyiqa:NAME" where pyiqa is installed.

    Raises:
        ConfigError: there is no such metric, or pyiqa is not installed.
    """
    found = METRICS.get(ALIASES.get(name, name))
    if found is not None:
        return Metric(name, found)
    if name == "niqe" or name.startswith("pyiqa:"):
        from million_ird.evaluate import iqa

        return iqa.niqe() if name == "niqe" else iqa.from_pyiqa(name)
    raise ConfigError(f"metric {name}: unknown; known: {', '.join([*METRICS, *ALIASES])}, niqe, pyiqa:NAME")


def score(output: Picture, target: Picture, metrics: Sequence[str] = ("psnr", "ssim")) -> dict[str, float | None]:
    """Several metrics of one picture, by the names they were asked for; see `metric`.

    Raises:
        ConfigError: there is no such metric.
        ValueError: the pictures differ in shape, or are smaller than a window.
    """
    return {name: metric(name)(output, target) for name in metrics}


def _same(output: Picture, target: Picture) -> None:
    if output.shape != target.shape:
        raise ValueError(f"pictures of one size are compared; got {output.shape} and {target.shape}")


def _bands(output: Picture, target: Picture, side: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Both pictures as (h, W) float64, channel by channel, in bands that overlap so that each window is in just one."""
    if output.ndim == 2:
        output, target = output[..., None], target[..., None]
    for channel in range(output.shape[2]):
        for top in range(0, output.shape[0] - side + 1, BAND):
            rows = slice(top, top + BAND + side - 1)
            yield (
                np.ascontiguousarray(output[rows, :, channel], np.float64),
                np.ascontiguousarray(target[rows, :, channel], np.float64),
            )


def _similarity(first: NDArray[np.float64], second: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """(h, w) planes to the (h - side + 1, w - side + 1) SSIM of the windows inside them."""
    mean = _gaussian if window == "gaussian11" else _uniform
    # Variances over 49 - 1 samples: the unbiased estimate, which scikit-image takes for equal weights.
    unbiased = 49 / 48 if window == "uniform7" else 1.0
    a, b = mean(first), mean(second)
    products, squares = a * b, a * a + b * b
    covariance = unbiased * (mean(first * second) - products)
    # The two variances occur as their sum only, which takes one filter less.
    variances = unbiased * (mean(first * first + second * second) - squares)
    one, two = 0.01**2, 0.03**2
    return (2 * products + one) * (2 * covariance + two) / ((squares + one) * (variances + two))


def _uniform(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.boxFilter(plane, cv2.CV_64F, (7, 7))[3:-3, 3:-3]  # type: ignore[return-value]


def _gaussian(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = _bell()
    return cv2.sepFilter2D(plane, cv2.CV_64F, weights, weights)[5:-5, 5:-5]  # type: ignore[return-value]


@lru_cache(1)
def _bell() -> NDArray[np.float64]:
    bell = np.exp(-np.square(np.arange(-5, 6) / 1.5) / 2)
    return bell / bell.sum()
