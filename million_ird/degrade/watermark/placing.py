"""How stencils are laid on the sheet of a picture: placed, turned, fitted, repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.watermark.lettering import Stencil, between
from million_ird.rng import Chance

Shape = tuple[int, int]


@dataclass(frozen=True)
class Style:
    """What marks are made of.

    Attributes:
        fonts: faces, by name.
        logos: keys of `emblems.LOGOS`.
        layouts: keys of `LAYOUTS`.
    """

    fonts: tuple[str, ...]
    logos: tuple[str, ...]
    layouts: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """(H, W) uint8 coverage; `plate` = a ground for letters, in a tone opposite to theirs."""

    cover: Stencil
    plate: bool = False


Layers = list[Layer]


def cover_of(layers: Layers) -> NDArray[Any]:
    """(H, W) uint8: all layers together."""
    return np.maximum.reduce([layer.cover for layer in layers])


def blank(shape: Shape) -> Stencil:
    """A sheet without ink."""
    return np.zeros(shape, np.uint8)


def put(sheet: Stencil, stencil: Stencil, x: float, y: float) -> None:
    """Lay a stencil with its middle at (x, y); what sticks out is cut."""
    left, top = round(x - stencil.shape[1] / 2), round(y - stencil.shape[0] / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(sheet.shape[1], left + stencil.shape[1]), min(sheet.shape[0], top + stencil.shape[0])
    if x0 < x1 and y0 < y1:
        part = sheet[y0:y1, x0:x1]
        np.maximum(part, stencil[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def turned(stencil: Stencil, degrees: float) -> Stencil:
    """Turned about its middle, on a sheet that holds all of it."""
    if abs(degrees) < 0.5:
        return stencil
    height, width = stencil.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = max(1, int(width * cos + height * sin)), max(1, int(width * sin + height * cos))
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(stencil, matrix, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def fit(stencil: Stencil, width: float, height: float) -> Stencil:
    """Made smaller where it is larger than so many px."""
    scale = min(1.0, width / stencil.shape[1], height / stencil.shape[0])
    if scale == 1:
        return stencil
    size = max(1, round(stencil.shape[1] * scale)), max(1, round(stencil.shape[0] * scale))
    return cv2.resize(stencil, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def corner_of(rng: Chance, shape: Shape, stencil: Stencil) -> tuple[float, float]:
    """A place in a corner of the picture, with a margin; oftenest the lower right one."""
    height, width = shape
    margin = min(shape) * between(rng, 0.01, 0.06)
    x = margin + stencil.shape[1] / 2
    y = margin + stencil.shape[0] / 2
    return (width - x if rng.random() < 0.65 else x), (height - y if rng.random() < 0.75 else y)


def tiled(shape: Shape, marks: list[Stencil], across: float, down: float, shift: float, degrees: float) -> Stencil:
    """A grid of marks, each row moved by `shift` of a step, the whole turned."""
    height, width = shape
    side = int(np.hypot(height, width)) + 2 if degrees else 0
    ground = blank((side, side)) if degrees else blank(shape)
    for row in range(int(ground.shape[0] / down) + 2):
        for column in range(-1, int(ground.shape[1] / across) + 2):
            mark = marks[(row + column) % len(marks)]
            put(ground, mark, (column + 0.5 + shift * (row % 2)) * across, (row + 0.5) * down)
    if not degrees:
        return ground
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1)
    matrix[:, 2] += (width - side) / 2, (height - side) / 2
    return cv2.warpAffine(ground, matrix, (width, height), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
