"""Logos and signatures as stencils, drawn from lines and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.watermark.lettering import PILLOW, Stencil, between, lettered, pick
from million_ird.rng import Chance

_SUB = 4  # bits below the pixel in OpenCV's coordinates
Points = NDArray[Any]


def logo(rng: Chance, kind: str, size: float) -> Stencil:
    """A logo of one of `LOGOS`, about `size` px across."""
    side = max(8, round(size))
    return LOGOS[kind](rng, np.zeros((side, side), np.uint8))


def signature(rng: Chance, size: float) -> Stencil:
    """A scrawl, about `size` px high: loops along a rising line, with a flourish below."""
    height = max(10, round(size))
    width = round(height * between(rng, 2.0, 4.5))
    sheet = np.zeros((height, width), np.uint8)
    knots = 7 + int(rng.random() * 9)
    x = np.linspace(0.06, 0.9, knots) + np.array([between(rng, -0.05, 0.05) for _ in range(knots)])
    y = np.array([between(rng, 0.15, 0.8) for _ in range(knots)])
    x[1::3] -= 0.06  # backwards now and then: loops
    _curve(sheet, np.stack([x * width, y * height], 1), max(1, round(height * between(rng, 0.025, 0.06))))
    if rng.random() < 0.5:
        tail = np.array([[0.1, 0.9], [0.5, between(rng, 0.75, 0.95)], [0.95, between(rng, 0.6, 0.95)]])
        _curve(sheet, tail * (width, height), max(1, round(height * 0.03)))
    return sheet


def _curve(sheet: Stencil, knots: Points, thick: int) -> None:
    """A Catmull-Rom spline through the knots."""
    padded = np.concatenate([knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, 10)[:, None]
    found = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        found.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    _line(sheet, np.concatenate(found), thick, closed=False)


def _fixed(points: Points) -> Any:
    return np.round(np.asarray(points) * (1 << _SUB)).astype(np.int32).reshape(-1, 1, 2)


def _line(sheet: Stencil, points: Points, thick: int, ink: int = 255, closed: bool = True) -> None:
    cv2.polylines(sheet, [_fixed(points)], closed, (ink,), max(1, thick), cv2.LINE_AA, _SUB)


def _fill(sheet: Stencil, points: Points, ink: int = 255) -> None:
    cv2.fillPoly(sheet, [_fixed(points)], (ink,), cv2.LINE_AA, _SUB)


def _ring(count: int, radius: float, side: int, turn: float = 0.0) -> Points:
    angles = turn + np.arange(count) * 2 * np.pi / count
    return side / 2 + side * radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _weight(rng: Chance, side: int) -> int:
    return max(1, round(side * between(rng, 0.04, 0.1)))


def _initials(rng: Chance, sheet: Stencil, share: float, ink: int) -> None:
    letters = "".join(pick(rng, "ABCDEFGHKLMNPRSTUVWXZ") for _ in range(1 + int(rng.random() * 2)))
    word = lettered(rng, (PILLOW,), len(sheet) * share, letters)
    side = len(sheet)
    scale = min(1.0, side * 0.66 / max(word.shape))
    size = max(1, round(word.shape[1] * scale)), max(1, round(word.shape[0] * scale))
    word = cv2.resize(word, size, interpolation=cv2.INTER_AREA)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    part = sheet[top : top + size[1], left : left + size[0]].astype(np.float32)
    share_of = word.astype(np.float32) / 255
    sheet[top : top + size[1], left : left + size[0]] = (part * (1 - share_of) + ink * share_of).astype(np.uint8)


def _disc(rng: Chance, sheet: Stencil) -> Stencil:
    side = len(sheet)
    solid = rng.random() < 0.4
    if solid:
        _fill(sheet, _ring(48, 0.46, side))
    else:
        _line(sheet, _ring(48, 0.45, side), _weight(rng, side))
    _initials(rng, sheet, 0.4, 0 if solid else 255)
    return sheet


def _polygon(rng: Chance, sheet: Stencil) -> Stencil:
    side, count = len(sheet), pick(rng, (3, 4, 5, 8))
    outer = _ring(count, 0.46, side, between(rng, 0, 6.3))
    if rng.random() < 0.5:
        _fill(sheet, outer)
        _fill(sheet, side / 2 + (outer - side / 2) * between(rng, 0.4, 0.8), 0)
    else:
        _line(sheet, outer, _weight(rng, side))
        _initials(rng, sheet, 0.35, 255)
    return sheet


def _star(rng: Chance, sheet: Stencil) -> Stencil:
    side, count = len(sheet), 4 + int(rng.random() * 5)
    points = np.empty((2 * count, 2))
    turn = between(rng, 0, 6.3)
    points[::2] = _ring(count, 0.47, side, turn)
    points[1::2] = _ring(count, between(rng, 0.15, 0.3), side, turn + np.pi / count)
    (_fill if rng.random() < 0.6 else lambda s, p: _line(s, p, _weight(rng, side)))(sheet, points)
    return sheet


def _camera(rng: Chance, sheet: Stencil) -> Stencil:
    side = len(sheet)
    body = np.array(
        [[0.06, 0.3], [0.32, 0.3], [0.4, 0.18], [0.62, 0.18], [0.7, 0.3], [0.94, 0.3], [0.94, 0.82], [0.06, 0.82]]
    )
    solid = rng.random() < 0.5
    (_fill if solid else lambda s, p: _line(s, p, _weight(rng, side)))(sheet, body * side)
    lens = _ring(32, 0.19, side) + np.array([0, side * 0.06])
    _fill(sheet, lens, 0 if solid else 255)
    _fill(sheet, side / 2 + (lens - side / 2) * 0.5, 255 if solid else 0)
    return sheet


def _waves(rng: Chance, sheet: Stencil) -> Stencil:
    side, lines = len(sheet), 2 + int(rng.random() * 3)
    x = np.linspace(0.05, 0.95, 24)
    phase, beats, thick = between(rng, 0, 6.3), between(rng, 1, 2.5), _weight(rng, side)
    for line in range(lines):
        y = (line + 1) / (lines + 1) + 0.09 * np.sin(x * beats * 6.3 + phase)
        _line(sheet, np.stack([x, y], 1) * side, thick, closed=False)
    return sheet


def _bars(rng: Chance, sheet: Stencil) -> Stencil:
    side, count = len(sheet), 3 + int(rng.random() * 3)
    for bar in range(count):
        left, width, top = (bar + 0.15) / count, 0.7 / count, between(rng, 0.1, 0.7)
        _fill(sheet, np.array([[left, top], [left + width, top], [left + width, 0.92], [left, 0.92]]) * side)
    return sheet


def _petals(rng: Chance, sheet: Stencil) -> Stencil:
    side, count = len(sheet), 3 + int(rng.random() * 4)
    turn, t = between(rng, 0, 6.3), np.linspace(0, 1, 12)
    for petal in range(count):
        angle = turn + petal * 2 * np.pi / count
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        bow = 0.13 * np.sin(np.pi * t)
        edge = np.concatenate(
            [
                np.outer(t * 0.46, along) + np.outer(bow, across),
                (np.outer(t * 0.46, along) - np.outer(bow, across))[::-1],
            ]
        )
        _fill(sheet, side * (0.5 + edge))
    return sheet


def _aperture(rng: Chance, sheet: Stencil) -> Stencil:
    side, count = len(sheet), 5 + int(rng.random() * 3)
    thick, turn = _weight(rng, side), between(rng, 0, 6.3)
    _line(sheet, _ring(48, 0.45, side), thick)
    outer, inner = _ring(count, 0.45, side, turn), _ring(count, 0.2, side, turn + 1.1)
    for start, end in zip(outer, inner, strict=True):
        _line(sheet, np.stack([start, end]), thick, closed=False)
    _line(sheet, inner, thick)
    return sheet


def _peaks(rng: Chance, sheet: Stencil) -> Stencil:
    side, high = len(sheet), between(rng, 0.15, 0.35)
    ridge = np.array([[0.04, 0.84], [0.36, high], [0.52, 0.55], [0.66, between(rng, 0.35, 0.5)], [0.96, 0.84]]) * side
    if rng.random() < 0.5:
        _fill(sheet, ridge)
    else:
        _line(sheet, ridge, _weight(rng, side))
    if rng.random() < 0.5:
        _fill(sheet, _ring(24, 0.09, side) + np.array([side * 0.26, -side * 0.28]))
    return sheet


def _shield(rng: Chance, sheet: Stencil) -> Stencil:
    side = len(sheet)
    t = np.linspace(0, 1, 12)
    right = np.stack([0.88 - 0.38 * t**2, 0.4 + 0.55 * t], 1)
    outline = np.concatenate([[[0.12, 0.08], [0.88, 0.08]], right, (right * (-1, 1) + (1, 0))[::-1]]) * side
    solid = rng.random() < 0.4
    (_fill if solid else lambda s, p: _line(s, p, _weight(rng, side)))(sheet, outline)
    _initials(rng, sheet, 0.35, 0 if solid else 255)
    return sheet


LOGOS: Mapping[str, Callable[[Chance, Stencil], Stencil]] = {
    "disc": _disc,
    "polygon": _polygon,
    "star": _star,
    "camera": _camera,
    "waves": _waves,
    "bars": _bars,
    "petals": _petals,
    "aperture": _aperture,
    "peaks": _peaks,
    "shield": _shield,
}
"""Kinds of logos."""


def emblem(rng: Chance, kinds: Sequence[str], size: float) -> Stencil:
    """A logo of one of the kinds."""
    return logo(rng, pick(rng, kinds), size)
