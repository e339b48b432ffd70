"""Where marks stand: each layout draws the coverage of a whole picture, as layers of ink and plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from million_ird.degrade.watermark.emblems import emblem, signature
from million_ird.degrade.watermark.lettering import Stencil, between, lettered, pick
from million_ird.degrade.watermark.placing import Layer, Layers, Shape, Style, blank, corner_of, fit, put, tiled, turned
from million_ird.rng import Chance


def _beside(rng: Chance, style: Style, high: float) -> Stencil:
    """A logo with words beside or below it."""
    badge, words = emblem(rng, style.logos, high * between(rng, 1.3, 2.5)), lettered(rng, style.fonts, high)
    gap = max(2, round(high * 0.4))
    if rng.random() < 0.6:
        sheet = blank((max(badge.shape[0], words.shape[0]), badge.shape[1] + gap + words.shape[1]))
        put(sheet, badge, badge.shape[1] / 2, sheet.shape[0] / 2)
        put(sheet, words, badge.shape[1] + gap + words.shape[1] / 2, sheet.shape[0] / 2)
    else:
        sheet = blank((badge.shape[0] + gap + words.shape[0], max(badge.shape[1], words.shape[1])))
        put(sheet, badge, sheet.shape[1] / 2, badge.shape[0] / 2)
        put(sheet, words, sheet.shape[1] / 2, badge.shape[0] + gap + words.shape[0] / 2)
    return sheet


def _mark(rng: Chance, style: Style, high: float) -> Stencil:
    """Words, a logo, or both."""
    kind = rng.random()
    if kind < 0.6:
        return lettered(rng, style.fonts, high)
    return emblem(rng, style.logos, high * between(rng, 1.5, 4)) if kind < 0.78 else _beside(rng, style, high)


def _corner(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    sheet = blank(shape)
    stencil = fit(_mark(rng, style, high), shape[1] * 0.9, shape[0] * 0.6)
    put(sheet, stencil, *corner_of(rng, shape, stencil))
    return [Layer(sheet)]


def _centre(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    sheet = blank(shape)
    stencil = fit(_mark(rng, style, high), shape[1] * 0.95, shape[0] * 0.9)
    put(sheet, stencil, shape[1] * between(rng, 0.3, 0.7), shape[0] * between(rng, 0.25, 0.75))
    return [Layer(sheet)]


def _diagonal(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    sheet = blank(shape)
    degrees = pick(rng, (-1, 1)) * between(rng, 15, 60)
    put(
        sheet,
        turned(_mark(rng, style, high), degrees),
        shape[1] * between(rng, 0.35, 0.65),
        shape[0] * between(rng, 0.35, 0.65),
    )
    return [Layer(sheet)]


def _rows(rng: Chance, style: Style, shape: Shape, high: float, slanted: bool = False) -> Layers:
    mark = fit(_mark(rng, style, high), shape[1] * 0.8, shape[0] * 0.5)
    across = mark.shape[1] + high * between(rng, 0.8, 5)
    down = mark.shape[0] + high * between(rng, 0.8, 5)
    degrees = pick(rng, (-1, 1)) * between(rng, 15, 55) if slanted else 0.0
    return [Layer(tiled(shape, [mark], across, down, 0.0, degrees))]


def _slanted(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    return _rows(rng, style, shape, high, slanted=True)


def _cross(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """Lines from corner to corner, or a coarse grid, with words in the middle: an agency's preview."""
    height, width = shape
    sheet, thick = blank(shape), max(1, round(high * between(rng, 0.04, 0.14)))
    if rng.random() < 0.5:
        for start, end in (((0, 0), (width, height)), ((width, 0), (0, height))):
            cv2.line(sheet, start, end, (255,), thick, cv2.LINE_AA)
    else:
        step = high * between(rng, 3, 9)
        for at in np.arange(step / 2, max(shape), step).astype(int).tolist():
            cv2.line(sheet, (at, 0), (at, height), (255,), thick)
            cv2.line(sheet, (0, at), (width, at), (255,), thick)
    stencil = fit(_mark(rng, style, high), width * 0.9, height * 0.5)
    gap = round(high * 0.3)
    hole = np.full((stencil.shape[0] + gap, stencil.shape[1] + gap), 255, np.uint8)
    cleared = blank(shape)
    put(cleared, hole, width / 2, height / 2)
    sheet[cleared > 0] = 0
    put(sheet, stencil, width / 2, height / 2)
    return [Layer(sheet)]


def _date(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """A camera's date stamp."""
    day, month, year = (int(between(rng, *bounds)) for bounds in ((1, 29), (1, 13), (1988, 2026)))
    break_ = pick(rng, (".", "-", "/", " "))
    text = pick(
        rng,
        (
            f"{day:02d}{break_}{month:02d}{break_}{year}",
            f"'{year % 100:02d} {month:2d} {day:2d}",
            f"{year}{break_}{month:02d}{break_}{day:02d}",
        ),
    )
    if rng.random() < 0.4:
        text += f" {int(rng.random() * 24):02d}:{int(rng.random() * 60):02d}"
    sheet = blank(shape)
    stencil = fit(lettered(rng, style.fonts, high, text), shape[1] * 0.9, shape[0] * 0.5)
    put(sheet, stencil, *corner_of(rng, shape, stencil))
    return [Layer(sheet)]


def _caption(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """A band along the lower or upper edge, with words at one end or both."""
    height, width = shape
    plate, words = blank(shape), blank(shape)
    band = min(height, round(high * between(rng, 1.6, 3)))
    top = height - band if rng.random() < 0.8 else 0
    plate[top : top + band] = 255
    for end in (0, 1) if rng.random() < 0.4 else (int(rng.random() * 2),):
        text = fit(lettered(rng, style.fonts, high), width * 0.45, band * 0.8)
        inset = width * 0.02 + text.shape[1] / 2
        put(words, text, width - inset if end else inset, top + band / 2)
    return [Layer(plate, plate=True), Layer(words)]


def _side(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """Words that run up a side."""
    sheet = blank(shape)
    stencil = fit(
        np.ascontiguousarray(np.rot90(lettered(rng, style.fonts, high), pick(rng, (1, 3)))),
        shape[1] * 0.4,
        shape[0] * 0.95,
    )
    inset = stencil.shape[1] / 2 + min(shape) * between(rng, 0.005, 0.04)
    put(sheet, stencil, shape[1] - inset if rng.random() < 0.6 else inset, shape[0] * between(rng, 0.3, 0.7))
    return [Layer(sheet)]


def _signed(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    sheet = blank(shape)
    stencil = fit(
        turned(signature(rng, high * between(rng, 1.6, 3)), between(rng, -5, 15)), shape[1] * 0.7, shape[0] * 0.4
    )
    put(sheet, stencil, *corner_of(rng, shape, stencil))
    return [Layer(sheet)]


def _brick(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """Words and logos by turns, every other row half a step aside."""
    marks = [
        fit(lettered(rng, style.fonts, high), shape[1] * 0.6, shape[0]),
        emblem(rng, style.logos, high * between(rng, 1.5, 3)),
    ]
    across = max(mark.shape[1] for mark in marks) + high * between(rng, 0.5, 3)
    down = max(mark.shape[0] for mark in marks) + high * between(rng, 0.5, 3)
    return [Layer(tiled(shape, marks, across, down, 0.5, between(rng, -40, 40)))]


def _ribbon(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """A band across the picture, words along it."""
    height, width = shape
    side, band = int(np.hypot(height, width)), round(high * between(rng, 1.5, 2.5))
    plate, words = blank((band, 2 * side)), blank((band, 2 * side))
    plate[:] = 255
    text = fit(lettered(rng, style.fonts, high), side, band)
    step = text.shape[1] + high * between(rng, 1, 4)
    for at in np.arange(side % step, 2 * side, step):
        put(words, text, float(at), band / 2)
    degrees, x, y = between(rng, -50, 50), width * between(rng, 0.35, 0.65), height * between(rng, 0.35, 0.65)
    layers = []
    for strip in (plate, words):
        sheet = blank(shape)
        put(sheet, turned(strip, degrees), x, y)
        layers.append(sheet)
    return [Layer(layers[0], plate=True), Layer(layers[1])]


def _stack(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """A logo over two or three lines, anywhere."""
    parts = [emblem(rng, style.logos, high * between(rng, 2, 4)), lettered(rng, style.fonts, high)]
    parts += [
        lettered(rng, style.fonts, max(5, high * between(rng, 0.4, 0.7))) for _ in range(1 + (rng.random() < 0.4))
    ]
    gap = max(2, round(high * 0.35))
    sheet = blank((sum(p.shape[0] + gap for p in parts), max(p.shape[1] for p in parts)))
    top = 0
    for part in parts:
        put(sheet, part, sheet.shape[1] / 2, top + part.shape[0] / 2)
        top += part.shape[0] + gap
    out = blank(shape)
    stencil = fit(sheet, shape[1] * 0.9, shape[0] * 0.8)
    put(out, stencil, shape[1] * between(rng, 0.15, 0.85), shape[0] * between(rng, 0.15, 0.85))
    return [Layer(out)]


def _seal(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """Words around a circle, a logo within."""
    strip = lettered(rng, style.fonts, high)
    radius = max(strip.shape[1] / 5.4, high * 2)
    side = int(2 * (radius + strip.shape[0])) + 4
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - np.float32((side - 1) / 2)
    along = (
        (np.arctan2(y, x) + np.pi) * np.float32(radius) - np.float32((2 * np.pi * radius - strip.shape[1]) / 2)
    ).astype(np.float32)
    down = (radius + strip.shape[0] - np.hypot(y, x)).astype(np.float32)
    seal = cv2.remap(strip, along, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,)).astype(
        np.uint8, copy=False
    )
    put(seal, emblem(rng, style.logos, radius * 1.2), side / 2, side / 2)
    if rng.random() < 0.5:
        cv2.circle(seal, (side // 2, side // 2), int(side / 2 - 2), (255,), max(1, round(high * 0.1)), cv2.LINE_AA)
    sheet = blank(shape)
    stencil = fit(turned(seal, between(rng, -180, 180)), shape[1] * 0.9, shape[0] * 0.9)
    put(sheet, stencil, shape[1] * between(rng, 0.2, 0.8), shape[0] * between(rng, 0.2, 0.8))
    return [Layer(sheet)]


def _lattice(rng: Chance, style: Style, shape: Shape, high: float) -> Layers:
    """A lattice of thin slanting lines, marks where they cross."""
    height, width = shape
    sheet, thick = blank(shape), max(1, round(high * between(rng, 0.04, 0.1)))
    mark = fit(_mark(rng, style, high), width * 0.5, height * 0.3)
    step = max(mark.shape) + high * between(rng, 1, 4)
    slope = between(rng, 0.5, 1.2)
    for at in np.arange(-height * 2.0, width + height * 2.0, step).tolist():
        for turn in (slope, -slope):
            cv2.line(sheet, (round(at), 0), (round(at + turn * height), height), (255,), thick, cv2.LINE_AA)
    for row in range(int(height / step) + 2):
        for column in range(int(width / step) + 2):
            put(sheet, mark, (column + 0.5 * (row % 2)) * step, row * step)
    return [Layer(sheet)]


Layout = Callable[[Chance, Style, Shape, float], Layers]

LAYOUTS: Mapping[str, Layout] = {
    "corner": _corner,
    "centre": _centre,
    "diagonal": _diagonal,
    "rows": _rows,
    "slanted": _slanted,
    "cross": _cross,
    "date": _date,
    "caption": _caption,
    "side": _side,
    "signature": _signed,
    "brick": _brick,
    "ribbon": _ribbon,
    "stack": _stack,
    "seal": _seal,
    "lattice": _lattice,
}
"""Ways to place marks: (chance, style, (H, W), height of capitals in px) -> layers."""


def layout(rng: Chance, style: Style, name: str, shape: Shape, high: float) -> Layers:
    """The layers of one layout."""
    return LAYOUTS[name](rng, style, shape, high)
