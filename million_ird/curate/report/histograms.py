"""Histograms over all rows, on an axis that a few wild values cannot stretch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.curate.report.embed import packed

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

BINS = 60
"""Most bins between the two that hold what lies outside the axis."""
TAIL = 0.005
"""Share of the values that may lie outside the axis at either end."""


def describe(values: Values, kept: Mask, limits: Sequence[float]) -> dict[str, Any]:
    """One measurement as the page draws it.

    Args:
        values: (N,) float32, NaN = null.
        kept: (N,) bool.
        limits: the thresholds on this measurement; those near the values are kept within the axis.

    Returns:
        `nulls`; `whole` (no value or limit has a fraction); `scales`, the one to show first in front, each with `log`,
        B + 1 ascending `edges` (float32) and B + 2 counts `all` and `kept` (float64): below the first edge, the B bins,
        and from the last edge on.
    """
    known = ~np.isnan(values)
    shown, kept = values[known], kept[known]
    finite = shown[np.isfinite(shown)]
    limits = [limit for limit in limits if np.isfinite(limit)]
    whole = bool(np.all(finite == np.rint(finite)) and all(limit == round(limit) for limit in limits))
    count = int(np.clip(2 * np.cbrt(finite.size), 12, BINS))
    low, high = _span(finite, limits)
    scales = [_counted(shown, kept, _whole_edges(low, high, count) if whole else np.linspace(low, high, count + 1))]
    positive = finite[finite > 0]
    if positive.size and positive.size >= 0.9 * finite.size:
        smallest, largest = np.exp(_span(np.log(positive), [np.log(limit) for limit in limits if limit > 0]))
        if largest >= 20 * smallest:
            scale = _counted(shown, kept, np.geomspace(smallest, largest, count + 1), log=True)
            heavy_tailed = float(np.median(finite)) < low + 0.1 * (high - low)
            scales.insert(0 if heavy_tailed else 1, scale)
    return {"nulls": int(values.size - shown.size), "whole": whole, "scales": scales}


def _span(values: Values, limits: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: all values where the tails are short, else without `TAIL` at each end."""
    if values.size:
        low, high = (float(q) for q in np.quantile(values, (TAIL, 1 - TAIL), method="nearest"))
        first, last = float(values.min()), float(values.max())
        if last - first <= 1.5 * (high - low):
            low, high = first, last
    else:
        low, high = min(limits, default=0.0), max(limits, default=1.0)
    reach = high - low or max(abs(low), 1.0)
    near = [limit for limit in limits if low - reach <= limit <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    return (low, high) if low < high else (low - reach / 2, high + reach / 2)


def _whole_edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Bins of one whole width whose edges lie half-way between integers."""
    low, high = np.ceil(low), np.floor(high)
    width = np.ceil((high - low + 1) / count)
    return low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)


def _counted(values: Values, kept: Mask, edges: NDArray[np.float64], *, log: bool = False) -> dict[str, Any]:
    cuts = np.unique(edges.astype(np.float32))  # the page bins its rows by the same float32 comparisons
    cuts[-1] = np.nextafter(cuts[-1], np.float32(np.inf))  # the largest value belongs to the last bin
    place = np.searchsorted(cuts, values, side="right")
    size = cuts.size + 1
    return {
        "log": log,
        "edges": packed(cuts, "<f4"),
        "all": packed(np.bincount(place, minlength=size), "<f8"),
        "kept": packed(np.bincount(place[kept], minlength=size), "<f8"),
    }
