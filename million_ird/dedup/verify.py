"""Whether two thumbs show the same picture: what stands between a small Hamming distance and dropping an image.

Both are smoothed, brought to the same mean and contrast, and aligned by the shift and the zoom along each axis that
explain most of their difference, to first order (Lucas and Kanade 1981). Then they are compared window by window with
the contrast and structure term of SSIM (Wang et al. 2004), twice: with a stabiliser that forgives what is faint, so
that the sampling of a re-cropped copy does, and a strict mean; and with almost none, so that two pictures of which
only the silhouette agrees do not pass. The bounds were set on copies and on different pictures whose hashes are near
(tests/dedup/test_real.py): cartons that differ in their label only, dark shapes on plain ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.views import SIDE, Thumbs

CORRELATION = 0.7  # of the thumbs as they are; below it nothing else is looked at
VISIBLE, FORGIVE = 0.992, 1600.0  # mean similarity with a stabiliser of so many squared grey levels
STRUCTURE, STEADY = 0.95, 0.005  # mean similarity with a stabiliser of so much of the thumb's variance
WINDOW = 7  # px
FLAT = 2.0  # grey levels: standard deviation, but for an even gradient, below which there is nothing to compare
FLAT_CLOSE = 2  # grey levels: flat thumbs that differ by no more in any place look the same
PART = 1024  # pairs at a time


Planes = NDArray[np.floating]


def _stencil(*taps: float) -> Planes:
    """(16, 16) that correlates a column with `taps`, its ends repeated."""
    out = np.zeros((SIDE, SIDE), np.float32)
    for offset, tap in enumerate(taps, -(len(taps) // 2)):
        out[np.arange(SIDE), np.clip(np.arange(SIDE) + offset, 0, SIDE - 1)] += tap
    return out


SOFTEN = _stencil(0.2, 0.6, 0.2)
SLOPE = _stencil(1 / 12, -8 / 12, 0, 8 / 12, -1 / 12)
RAMP = np.linspace(-1, 1, SIDE, dtype=np.float32)
RIDGE = 0.1 * np.eye(4, dtype=np.float32)  # squared grey levels: for thumbs that no motion changes
WINDOWS = np.tril(np.triu(np.ones((SIDE - WINDOW + 1, SIDE), np.float32)), WINDOW - 1) / WINDOW


def look_alike(left: Thumbs, right: Thumbs) -> NDArray[np.bool_]:
    """(n,) whether thumbs (n, 256) uint8 show the same picture, up to tone, compression and a small re-crop."""
    alike = np.zeros(len(left), bool)
    for start in range(0, len(left), PART):
        one, other = left[start : start + PART], right[start : start + PART]
        likely = np.flatnonzero(_correlation(one, other) >= CORRELATION)
        alike[start + likely] = _similar(one[likely], other[likely])
    return alike


def look_equal(left: Thumbs, right: Thumbs) -> NDArray[np.bool_]:
    """(n,) whether thumbs (n, 256) uint8 are the same but for rounding: what can be said of flat ones."""
    return (np.maximum(left, right) - np.minimum(left, right)).max(axis=1) <= FLAT_CLOSE


def flat(thumbs: Thumbs) -> NDArray[np.bool_]:
    """(n,) whether thumbs (n, 256) uint8 hold nothing but an even gradient: their hash is noise."""
    ramp = np.arange(SIDE) - (SIDE - 1) / 2
    planes = np.stack([np.ones(SIDE * SIDE), np.tile(ramp, SIDE), np.repeat(ramp, SIDE)])
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    out = np.empty(len(thumbs), bool)
    for start in range(0, len(thumbs), PART):
        pixels = thumbs[start : start + PART].astype(np.float64)
        rest = (pixels**2).sum(axis=1) - ((pixels @ planes.T) ** 2).sum(axis=1)
        out[start : start + PART] = rest < FLAT**2 * SIDE * SIDE
    return out


def _correlation(left: Thumbs, right: Thumbs) -> NDArray[np.float32]:
    one, other = left.astype(np.float32), right.astype(np.float32)
    one -= one.mean(axis=1, keepdims=True)
    other -= other.mean(axis=1, keepdims=True)
    energy = np.einsum("np,np->n", one, one) * np.einsum("np,np->n", other, other)
    return np.einsum("np,np->n", one, other) / np.sqrt(energy + 1)


def _similar(left: Thumbs, right: Thumbs) -> NDArray[np.bool_]:
    one, variance_one = _softened(left)
    other, variance_other = _softened(right)
    variance = np.sqrt(variance_one * variance_other)
    one, other = _aligned(one * np.sqrt(variance / variance_one), other * np.sqrt(variance / variance_other))
    mean_one, mean_other = _windows(one), _windows(other)
    spread = _windows(one * one + other * other) - mean_one**2 - mean_other**2
    common = 2 * (_windows(one * other) - mean_one * mean_other)
    visible = ((common + FORGIVE) / (spread + FORGIVE)).mean(axis=(1, 2))
    steady = STEADY * variance
    return (visible > VISIBLE) & (((common + steady) / (spread + steady)).mean(axis=(1, 2)) > STRUCTURE)


def _softened(thumbs: Thumbs) -> tuple[Planes, Planes]:
    """(n, 16, 16) of mean 0, and their variance (n, 1, 1), at least a thousandth."""
    soft = SOFTEN @ thumbs.reshape(-1, SIDE, SIDE).astype(np.float32) @ SOFTEN.T
    soft -= soft.mean(axis=(1, 2), keepdims=True)
    return soft, np.maximum(np.square(soft).mean(axis=(1, 2), keepdims=True), np.float32(1e-3))


def _aligned(one: Planes, other: Planes) -> tuple[Planes, Planes]:
    """Each moved half the way to the other: least squares of their difference on what motion makes of their mean."""
    middle = (one + other) / 2
    across, down = middle @ SLOPE.T, SLOPE @ middle
    fields = np.stack([across, down, across * RAMP, down * RAMP[:, None]], axis=1).reshape(-1, 4, SIDE * SIDE)
    gram = fields @ fields.transpose(0, 2, 1) + RIDGE
    amounts = np.linalg.solve(gram, fields @ (other - one).reshape(-1, SIDE * SIDE, 1))
    half = (amounts.transpose(0, 2, 1) @ fields).reshape(-1, SIDE, SIDE) / 2
    return one + half, other - half


def _windows(planes: Planes) -> Planes:
    """Means over all windows, (n, w, w)."""
    return WINDOWS @ planes @ WINDOWS.T
