"""Point spread functions: what a dot of light becomes.

All of them are (h, w) float32 with both sides odd, sum to 1, and have their centre of mass in the middle element, so
that blurring moves nothing. Rows and columns of zeros around them are cut off (evenly, to keep the middle). Lengths are
in px, angles in degrees, counted from the x axis towards the y axis of the picture, which points down: 0 = along a row,
90 = along a column. A kernel too narrow to reach beyond one pixel is [[1]], which changes nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1, ndtri

from million_ird.rng import rng_for

Kernel = NDArray[np.float32]

REACH = 3.5
"""Half-size of a Gaussian kernel in standard deviations, where none is given: 21 px for the published sigma of 3."""
SUBROWS = 32
"""Lines per pixel on which areas are measured; along a line the measure is exact."""
STEPS = 300
"""Steps of a trajectory."""


def gaussian(sigma_x: float, sigma_y: float | None = None, angle: float = 0, size: int = 0) -> Kernel:
    """Gaussian, sampled at the middles of pixels: exp(-d/2) with d = p^T C^-1 p.

    Args:
        sigma_x, sigma_y: standard deviations along its axes; `sigma_y` None = the same.
        angle: of the first axis.
        size: of the kernel, odd; 0 = what holds 3.5 standard deviations.
    """
    return _normal(np.exp(-0.5 * _distance(sigma_x, sigma_y, angle, size)))


def generalised(beta: float, sigma_x: float, sigma_y: float | None = None, angle: float = 0, size: int = 0) -> Kernel:
    """Generalised Gaussian exp(-d^beta / 2): pointed with long tails below beta = 1, flat-topped above.

    As Real-ESRGAN draws it (Wang et al. 2021, section 3.1). Arguments as of `gaussian`.
    """
    return _normal(np.exp(-0.5 * _distance(sigma_x, sigma_y, angle, size) ** beta))


def plateau(beta: float, sigma_x: float, sigma_y: float | None = None, angle: float = 0, size: int = 0) -> Kernel:
    """Plateau 1 / (1 + d^beta): flat in the middle, with a long foot (Real-ESRGAN, section 3.1).

    Arguments as of `gaussian`.
    """
    return _normal(1 / (1 + _distance(sigma_x, sigma_y, angle, size) ** beta))


def disk(radius: float) -> Kernel:
    """A point out of focus, seen through a round aperture: any radius, pixels on the rim by their covered area."""
    y = _sublines(radius)
    half = np.sqrt(np.maximum(radius * radius - y * y, 0))
    return _normal(_covered(-half, half, radius))


def polygon(radius: float, blades: int, rotation: float = 0) -> Kernel:
    """The same through an aperture of straight blades: a regular polygon.

    Args:
        radius: of the disk of the same area.
        blades: how many sides, 3 or more.
        rotation: of the polygon.
    """
    turn = 2 * math.pi / blades
    # Area of a regular polygon: blades * apothem^2 * tan(turn / 2).
    apothem = radius * math.sqrt(math.pi / (blades * math.tan(turn / 2)))
    normals = np.arange(float(blades)) * turn + math.radians(rotation)
    return _normal(_centred(_convex(normals, np.full(blades, apothem), apothem / math.cos(turn / 2))))


def line(length: float, angle: float) -> Kernel:
    """Steady motion on a straight line during the exposure: a stroke of this length, 1 px wide, anti-aliased.

    Args:
        length: px; 1 or less = no motion; an odd whole number at angle 0 gives that many equal elements.
        angle: of the motion.
    """
    if length <= 1:
        return np.ones((1, 1), np.float32)
    along = math.radians(angle)
    normals = np.array([along, along + math.pi / 2, along + math.pi, along + 3 * math.pi / 2])
    reach = np.array([length, 1, length, 1]) / 2
    return _normal(_convex(normals, reach, float(np.hypot(reach[0], reach[1]))))


def trajectory(length: float, shake: float, seed: int, exposure: float = 1.0) -> Kernel:
    """Camera shake: the path of a particle of constant speed whose direction wanders, leaps and is drawn back.

    The model of Boracchi and Foi, "Modeling the performance of image restoration from motion blur" (IEEE TIP 2012),
    with the figures of DeblurGAN (Kupyn et al. 2018): over a path of 60 units in 2000 steps a pull to the start of up
    to .7, leaps with probability up to .2 and Gaussian pushes of up to 10, all times .005. Here they hold for any
    length in px and any number of steps: the path is made 60 units long and scaled, and its unrest is per time.

    Args:
        length: of the whole path, px.
        shake: 0 = straight and steady, 1 = as in DeblurGAN, more = wilder.
        seed: of the path.
        exposure: share of the path that is seen, from its start.
    """
    path = _path(shake, seed)[: max(2, 1 + round(exposure * STEPS))] * (length / 60)
    # A point between two of the path for each, so that the trace has no beads.
    path = np.concatenate([path, (path[1:] + path[:-1]) / 2])
    return _normal(_splat(path - path.mean()))


def sinc(cutoff: float, size: int) -> Kernel:
    """Ideal circular low-pass filter, cut off to `size`: rings beside edges like sharpening and compression do.

    w J1(w r) / (2 pi r), with w^2 / (4 pi) in the middle (Real-ESRGAN, section 3.3). It has negative elements.

    Args:
        cutoff: w, radians per px; pi passes nearly everything.
        size: of the kernel, odd.
    """
    x = np.arange(size) - size // 2
    r = np.hypot(x, x[:, None])
    r[size // 2, size // 2] = 1
    taps = cutoff * j1(cutoff * r) / (2 * math.pi * r)
    taps[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return _normal(taps)


def spread(kernel: Kernel) -> float:
    """Standard deviation of a kernel, px, averaged over both axes: how strongly it blurs."""
    y, x = np.indices(kernel.shape)
    y, x = y - kernel.shape[0] // 2, x - kernel.shape[1] // 2
    return math.sqrt(max(float((kernel * (x * x + y * y)).sum()) / 2, 0))


def _distance(sigma_x: float, sigma_y: float | None, angle: float, size: int) -> NDArray[np.float64]:
    """(h, w): squared distance from the middle in standard deviations."""
    sigma_y = sigma_x if sigma_y is None else sigma_y
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = [size // 2] * 2
    if not size:
        half = [math.ceil(REACH * math.hypot(sigma_x * a, sigma_y * b)) for a, b in ((cos, sin), (sin, cos))]
    x, y = np.arange(-half[0], half[0] + 1.0), np.arange(-half[1], half[1] + 1.0)[:, None]
    if min(sigma_x, sigma_y) <= 0:
        return np.where((x == 0) & (y == 0), 0.0, np.inf)
    if sigma_x == sigma_y:
        return (x / sigma_x) ** 2 + (y / sigma_x) ** 2
    return ((x * cos + y * sin) / sigma_x) ** 2 + ((y * cos - x * sin) / sigma_y) ** 2


def _sublines(reach: float) -> NDArray[np.float64]:
    """y of the lines on which an area around 0 is measured: `SUBROWS` in each row of pixels that it can touch."""
    rows = 2 * math.ceil(max(reach - 0.5, 0)) + 1
    return (np.arange(rows * SUBROWS) + 0.5) / SUBROWS - rows / 2


def _covered(start: NDArray[np.float64], end: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """(n, n): share of each pixel that is covered by the stretches [start, end] of `_sublines`."""
    half = math.ceil(max(reach - 0.5, 0))
    left = np.arange(-half, half + 1) - 0.5
    covered = np.minimum(end[:, None], left + 1) - np.maximum(start[:, None], left)
    return np.maximum(covered, 0).reshape(2 * half + 1, SUBROWS, -1).mean(axis=1)


def _convex(normals: NDArray[np.float64], reach: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Covered area of the points p with n . p <= reach for each side's outward normal (an angle)."""
    y = _sublines(radius)
    start, end = np.full(y.shape, -radius), np.full(y.shape, radius)
    for angle, most in zip(normals, reach, strict=True):
        nx, ny = math.cos(angle), math.sin(angle)
        rest = most - ny * y
        if abs(nx) < 1e-9:
            end = np.where(rest < 0, start, end)
        elif nx > 0:
            end = np.minimum(end, rest / nx)
        else:
            start = np.maximum(start, rest / nx)
    return _covered(start, end, radius)


def _centred(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moved by the fraction of a pixel that brings the centre of mass into the middle: an odd number of blades covers
    pixels unevenly."""
    if not taps.any():
        return taps
    for axis in (0, 1):
        at = np.arange(taps.shape[axis]) - taps.shape[axis] // 2
        off = float(at @ taps.sum(axis=1 - axis)) / taps.sum()
        if abs(off) > 1e-9:
            # Shared linearly between neighbours, the mass moves exactly this far.
            taps = np.pad(taps, 1)
            taps = taps * (1 - abs(off)) + np.roll(taps, -1 if off > 0 else 1, axis) * abs(off)
    return taps


def _path(shake: float, seed: int) -> NDArray[np.complex128]:
    """(STEPS + 1,) positions x + iy of a path of length 60, from its start at 0."""
    rng = rng_for(seed, "trajectory")
    pull, leap, push = shake * rng.random(3) * (0.7, 0.2, 10)
    speed, time = 60 / STEPS, 2000 / STEPS * 0.005
    pushes = ndtri(np.maximum(rng.random((2, STEPS)), 2**-53))
    pushes = (pushes[0] + 1j * pushes[1]) * (push * 0.005 * math.sqrt(2000 / STEPS))
    # A leap turns back, give or take half a radian, at twice the speed that there was.
    leaps = np.where(rng.random(STEPS) < leap * time, 2 * np.exp(1j * (np.pi + rng.random(STEPS) - 0.5)), 0)
    at, direction = 0j, complex(np.exp(2j * np.pi * rng.random()))
    path = [at]
    for pushed, leapt in zip(pushes.tolist(), leaps.tolist(), strict=True):
        direction += direction * leapt + pushed - pull * time * at
        direction /= abs(direction) or 1
        at += direction * speed
        path.append(at)
    return np.array(path)


def _splat(points: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Points x + iy around 0, each shared among the four pixels around it, which keeps their centre of mass."""
    half = math.ceil(max(np.abs(points.real).max(), np.abs(points.imag).max())) + 1
    size = 2 * half + 1
    left, top = np.floor(points.real).astype(int), np.floor(points.imag).astype(int)
    x, y = points.real - left, points.imag - top
    index = (top + half) * size + left + half
    taps = np.zeros(size * size)
    for step, weight in ((0, (1 - x) * (1 - y)), (1, x * (1 - y)), (size, (1 - x) * y), (size + 1, x * y)):
        taps += np.bincount(index + step, weight, size * size)
    return taps.reshape(size, size)


def _normal(taps: NDArray[np.float64]) -> Kernel:
    """To a sum of 1, without what no float32 picture can show, cut to its extent evenly around the middle."""
    if not taps.any():
        return np.ones((1, 1), np.float32)
    taps = np.where(np.abs(taps) < 1e-7 * np.abs(taps).max(), 0, taps)
    rows, columns = np.flatnonzero(taps.any(axis=1)), np.flatnonzero(taps.any(axis=0))
    y, x = min(rows[0], len(taps) - 1 - rows[-1]), min(columns[0], taps.shape[1] - 1 - columns[-1])
    taps = taps[y : len(taps) - y, x : taps.shape[1] - x]
    return np.ascontiguousarray(taps / taps.sum(), np.float32)
