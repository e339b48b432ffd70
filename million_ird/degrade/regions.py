"""Region maps for CutMix: who owns which pixel. Every shape grows until it has the share of the area asked for.

A shape is a score over the picture, least in its middle; its region is the pixels with the least scores among those
that are still free. So shares hold whatever the borders and earlier regions cut away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.op import Floats, Shape
from million_ird.rng import Chance, rng_for

SHAPES = ("rectangle", "polygon", "spline", "blob", "voronoi", "grid")
SAMPLE = 16384
"""Pixels at most from which a score's quantile is taken: a share is then right to about 0.5 %."""


def region_map(shape: Shape, kind: str, shares: Sequence[float], seed: int, cell: int) -> NDArray[np.uint8]:
    """Cut a picture into regions.

    Args:
        shape: (H, W).
        kind: one of `SHAPES`.
        shares: share of the area of region 1, 2, ...; what is left of 1 stays free.
        seed: where the regions lie.
        cell: side of a cell of "grid", px.

    Returns:
        (H, W) uint8, 0 = in no region, i = in region i.
    """
    rng = rng_for(seed, "regions")
    if kind == "grid":
        return _grid(shape, shares, cell, rng)
    if kind == "voronoi":
        return _voronoi(shape, shares, rng)
    return _grown(shape, kind, shares, rng)


def _grid(shape: Shape, shares: Sequence[float], cell: int, rng: Chance) -> NDArray[np.uint8]:
    """Square cells, the exact number of each kind, shuffled; cells at the right and lower border may be cut."""
    height, width = shape
    rows, columns = -(-height // cell), -(-width // cell)
    owners = _owners(rows * columns, shares)
    cells = owners[np.argsort(rng.random(rows * columns), kind="stable")].reshape(rows, columns)
    return np.repeat(np.repeat(cells, cell, axis=0), cell, axis=1)[:height, :width]


def _owners(count: int, shares: Sequence[float]) -> NDArray[np.uint8]:
    """(count,) owners of cells in order, each with its share rounded to whole cells."""
    owners = np.zeros(count, np.uint8)
    total, start = 0.0, 0
    for owner, share in enumerate(shares, 1):
        total += share
        end = int(total * count + 0.5)
        owners[start:end] = owner
        start = end
    return owners


def _voronoi(shape: Shape, shares: Sequence[float], rng: Chance) -> NDArray[np.uint8]:
    """Cells around random sites, given to the regions until each has about its share."""
    height, width = shape
    sites = np.full(shape, 255, np.uint8)
    count = 6 * len(shares) + 6
    places = rng.random((count, 2))
    sites[(places[:, 0] * height).astype(int), (places[:, 1] * width).astype(int)] = 0
    _, labels = cv2.distanceTransformWithLabels(sites, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    areas = np.bincount(labels.ravel())[1:]
    # Cells are dealt in random order to whoever lacks most; what is left free is owed its share like any region.
    owed = np.array([max(0.0, 1 - sum(shares)), *shares]) * height * width
    owner = np.zeros(len(areas) + 1, np.uint8)
    for cell in np.argsort(-areas * (0.75 + 0.5 * rng.random(len(areas))), kind="stable"):
        taker = int(np.argmax(owed))
        owner[cell + 1] = taker
        owed[taker] -= areas[cell]
    return owner[labels.astype(np.int32, copy=False)]


def _grown(shape: Shape, kind: str, shares: Sequence[float], rng: Chance) -> NDArray[np.uint8]:
    height, width = shape
    regions = np.zeros(shape, np.uint8)
    full = sum(shares) > 0.999
    if full:  # the first is everywhere, the others lie on it
        regions[:] = 1
    free = np.ones(shape, bool)
    for index, share in enumerate(shares, 1):
        if full and index == 1:
            continue
        score = _SCORES[kind](shape, rng)
        bound = _bound(score, free, share * height * width)
        own = score < bound
        own &= free
        regions[own] = index
        free &= ~own
    return regions


def _bound(score: Floats, free: NDArray[np.bool_], pixels: float) -> float:
    step = max(1, int(np.sqrt(score.size / SAMPLE)))
    values = score[::step, ::step][free[::step, ::step]]
    wanted = int(pixels / step**2 + 0.5)
    if wanted >= values.size:
        return np.inf
    return float(np.partition(values, wanted)[wanted]) if wanted else -np.inf


def _middle(shape: Shape, rng: Chance) -> tuple[Floats, Floats]:
    """Coordinates around a random middle, turned by a random angle where the shape has one: dy (H, 1), dx (1, W)."""
    height, width = shape
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(rng.random() * height)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(rng.random() * width)
    return y, x


def _rectangle(shape: Shape, rng: Chance) -> Floats:
    y, x = _middle(shape, rng)
    aspect = np.float32(2 ** (2 * rng.random() - 1))
    return np.maximum(np.abs(y) * aspect, np.abs(x) / aspect)


def _radial(shape: Shape, radius: Floats, rng: Chance) -> Floats:
    """Distance from the middle in units of a radius that depends on the direction, (360,) from -180 degrees on."""
    y, x = np.broadcast_arrays(*_middle(shape, rng))
    length, angle = cv2.cartToPolar(np.ascontiguousarray(x), np.ascontiguousarray(y), angleInDegrees=True)
    return length * (1 / radius).astype(np.float32)[np.minimum(angle, 359.5).astype(np.int16)]


def _polygon(shape: Shape, rng: Chance) -> Floats:
    corners, radii = _corners(rng, 3, 9)
    angles = np.arange(360) + 0.5
    after = np.searchsorted(corners, angles) % len(corners)
    before = after - 1
    a, b = np.radians(corners[before]), np.radians(corners[after])
    at = np.radians(angles)
    # The straight edge between two corners, in polar coordinates around the middle.
    edge = radii[before] * radii[after] * np.sin((b - a) % (2 * np.pi))
    radius = edge / (radii[before] * np.sin((at - a) % (2 * np.pi)) + radii[after] * np.sin((b - at) % (2 * np.pi)))
    return _radial(shape, radius.astype(np.float32), rng)


def _spline(shape: Shape, rng: Chance) -> Floats:
    """A closed curve: a periodic Catmull-Rom spline of the radius over the direction."""
    _, radii = _corners(rng, 5, 11)
    count = len(radii)
    at = np.arange(360) / 360 * count
    index = at.astype(int)
    t = at - index
    p0, p1, p2, p3 = (radii[(index + k) % count] for k in (-1, 0, 1, 2))
    radius = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return _radial(shape, np.maximum(radius, 0.2).astype(np.float32), rng)


def _corners(rng: Chance, least: int, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions in degrees, ascending, less than 180 apart, and their radii."""
    count = least + int(rng.random() * (most - least + 1))
    jitter = 0.6 if count > 3 else 0.3
    angles = (np.arange(count) + jitter * (rng.random(count) - 0.5)) * 360 / count
    return np.sort(angles % 360), 0.6 + 0.8 * rng.random(count)


def _blob(shape: Shape, rng: Chance) -> Floats:
    """Smooth noise: the region is wherever it is lowest, in a few pieces."""
    height, width = shape
    cells = 3 + int(rng.random() * 3)
    grid = rng.random((cells + 3, cells + 3)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


_SCORES: dict[str, Any] = {"rectangle": _rectangle, "polygon": _polygon, "spline": _spline, "blob": _blob}
