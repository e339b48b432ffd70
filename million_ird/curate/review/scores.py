"""How a threshold does on labels given by hand: precision, recall, and the threshold that reaches a wanted precision.

What a threshold drops is what is counted: precision is the share of the dropped that were dropped by hand too, recall
the share of those dropped by hand that it drops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from million_ird.curate.survey import Bound

Z95 = 1.96
"""Of the normal distribution: 95 % lie within."""


@dataclass(frozen=True)
class Score:
    """A threshold against labels.

    Attributes:
        threshold: it.
        right: dropped by the threshold and by hand.
        wrong: dropped by the threshold, kept by hand.
        missed: kept by the threshold, dropped by hand.
        agreed: kept by both.
    """

    threshold: float
    right: int
    wrong: int
    missed: int
    agreed: int

    @property
    def precision(self) -> float | None:
        """right / (right + wrong), 0..1; None where the threshold drops no labelled picture."""
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float | None:
        """right / (right + missed), 0..1; None where no picture was dropped by hand."""
        return _share(self.right, self.right + self.missed)


def beyond(values: NDArray[np.float64], threshold: float, bound: Bound) -> NDArray[np.bool_]:
    """(N,) which values a threshold drops; compared as float32, as `rules.fails` does, and NaN never is."""
    single, limit = values.astype(np.float32), np.float32(threshold)
    return single < limit if bound == "min" else single > limit


def score(values: NDArray[np.float64], keep: NDArray[np.bool_], threshold: float, bound: Bound) -> Score:
    """Count a threshold against labels.

    Args:
        values: (N,) measured; NaN rows are left out.
        keep: (N,) what was said by hand.
        threshold: the smallest (bound "min") or largest ("max") value that passes.
        bound: which of the two.
    """
    known = ~np.isnan(values)
    dropped, keep = beyond(values[known], threshold, bound), keep[known]
    counts = (dropped & ~keep, dropped & keep, ~dropped & ~keep, ~dropped & keep)
    return Score(float(threshold), *(int(found.sum()) for found in counts))


def threshold_for(values: NDArray[np.float64], keep: NDArray[np.bool_], bound: Bound, precision: float) -> Score | None:
    """The threshold that drops the most of what was dropped by hand, at a precision of at least `precision` (0..1).

    Of equal ones it is the strictest in precision. It lies between two labelled values, at a number of few digits.

    Returns:
        What it scores; None where no threshold that drops anything reaches the precision.
    """
    known = ~np.isnan(values)
    sign = np.float32(1 if bound == "min" else -1)
    order = np.argsort(values[known].astype(np.float32) * sign, kind="stable")
    ranked, bad = (values[known].astype(np.float32) * sign)[order], ~keep[known][order]
    if not len(ranked):
        return None
    last = np.append(ranked[1:] > ranked[:-1], True)  # a threshold cannot part equal values
    right, dropped = np.cumsum(bad)[last], np.flatnonzero(last) + 1
    reached = right / dropped
    fit = np.flatnonzero((reached >= precision) & (right > 0))
    if not len(fit):
        return None
    best = fit[np.lexsort((reached[fit], right[fit]))[-1]]
    edges = ranked[last]
    above = edges[best + 1] if best + 1 < len(edges) else _next(np.float32(edges[best]))
    return score(values, keep, float(sign) * between(float(edges[best]), float(above)), bound)


def between(low: float, high: float) -> float:
    """A number of as few digits as will do with low < it <= high, as float32; near the middle where there is room."""
    middle = low + (high - low) / 2
    for digits in range(1, 10):
        found = float(f"{middle:.{digits}g}")
        if np.float32(low) < np.float32(found) <= np.float32(high):
            return found
    return high


def interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share of `count` in `total`, after Wilson (1927); (0, 1) where total is 0."""
    if not total:
        return 0.0, 1.0
    share, spread = count / total, Z95**2 / total
    middle = share + spread / 2
    half = Z95 * np.sqrt(share * (1 - share) / total + spread / (4 * total))
    return float(max(0, (middle - half) / (1 + spread))), float(min(1, (middle + half) / (1 + spread)))


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _next(value: np.float32) -> float:
    """Clearly above a value: what is measured again of the same kind is still dropped."""
    return float(max(np.nextafter(value, np.float32(np.inf)), value + np.float32(1e-3) * abs(value)))
