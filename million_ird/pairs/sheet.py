"""The contact sheet: input, result and mask of a few samples, and which colour is which class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from million_ird.degrade.labels import colours
from million_ird.pairs.shots import Picture, Shot, fitted

CELL = 360
"""Long side of a picture on the sheet, px."""
LEAST = 160
"""Width of a column of narrow pictures, px: what the words need."""
_GAP = 12
_LINE = 24
_INK, _FAINT, _PAPER = (32, 32, 32), (112, 112, 112), (250, 250, 250)


def sheet(shots: Sequence[Shot], classes: Sequence[str], title: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB uint8: a row per sample, its columns input, result and mask, and the legend below."""
    rows = [[_fitted(picture) for picture in (one.hq, one.lq, one.overlay) if picture is not None] for one in shots]
    column = _GAP + max([LEAST, *(picture.shape[1] for row in rows for picture in row)])
    width = _GAP + 3 * column
    heights = [max(picture.shape[0] for picture in row) + _LINE + _GAP for row in rows]
    legend = _legend_places(classes, width)
    last = legend[-1][1] + _LINE if legend else 0
    page = Image.new("RGB", (width, _GAP + 2 * _LINE + sum(heights) + _GAP + last), _PAPER)
    pen = ImageDraw.Draw(page)
    _text(pen, (_GAP, _GAP), title, 17, _INK, width - 2 * _GAP)
    for number, name in enumerate(("input", "result", "mask")):
        _text(pen, (_GAP + number * column, _GAP + _LINE), name, 14, _FAINT, column - _GAP)
    top = _GAP + 2 * _LINE
    for one, row, height in zip(shots, rows, heights, strict=True):
        for number, picture in enumerate(row):
            page.paste(Image.fromarray(picture), (_GAP + number * column, top))
        caption = f"{one.name}   {one.psnr:.1f} dB   " + (", ".join(one.labels) or "clean")
        _text(pen, (_GAP, top + height - _LINE - _GAP + 3), caption, 13, _FAINT, width - 2 * _GAP)
        top += height
    for bit, (left, down) in enumerate(legend):
        box = (left, top + down + 4, left + 14, top + down + 18)
        pen.rectangle(box, fill=tuple(int(value) for value in colours()[bit + 1]))
        _text(pen, (left + 20, top + down + 2), classes[bit], 14, _INK, width)
    return np.asarray(page)


def _legend_places(classes: Sequence[str], width: int) -> list[tuple[int, int]]:
    """Left and top of each class's swatch, in as many lines as it takes."""
    places: list[tuple[int, int]] = []
    left, top = _GAP, 0
    for name in classes:
        length = 20 + round(_font(14).getlength(name)) + 2 * _GAP
        if left + length > width and left > _GAP:
            left, top = _GAP, top + _LINE
        places.append((left, top))
        left += length
    return places


def _fitted(image: Picture) -> Picture:
    """To `CELL` px: averaged down, or enlarged by a whole factor."""
    times = max(1, CELL // max(image.shape[:2]))
    return fitted(np.repeat(np.repeat(image, times, axis=0), times, axis=1), CELL)


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, ink: tuple[int, int, int], width: int
) -> None:
    """One line, cut off where it is too long."""
    font = _font(size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        text += "…"
    pen.text(at, text, fill=ink, font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
