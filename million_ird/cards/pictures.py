"""Histograms as small PNG files, for places that run no script."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 420, 140
"""px."""
BINS = 60
TAIL = 0.005
"""Share of the values at either end that must not stretch the axis; they are counted in the outermost bins."""

_MARGIN, _TOP, _BOTTOM = 8, 20, 18
_PAPER, _INK, _DROPPED, _KEPT, _LINE = (255, 255, 255), (60, 60, 60), (200, 204, 210), (60, 120, 200), (200, 40, 40)


def histogram(
    title: str, values: NDArray[np.floating], kept: NDArray[np.bool_], limits: Sequence[float] = ()
) -> bytes | None:
    """A PNG: all values in grey, those of kept images in blue before them, thresholds in red.

    Args:
        title: written above it.
        values: (N,), NaN = not measured.
        kept: (N,).
        limits: thresholds; the axis reaches as far as they do.

    Returns:
        None where no value is finite.
    """
    finite = np.isfinite(values)
    shown, good = values[finite].astype(np.float64), kept[finite]
    if not shown.size:
        return None
    bounds = [limit for limit in limits if np.isfinite(limit)]
    low, high = (float(edge) for edge in np.quantile(shown, (TAIL, 1 - TAIL)))
    low, high = min([low, *bounds]), max([high, *bounds])
    if low == high:
        low, high = low - 0.5, high + 0.5
    place = np.clip(((shown - low) / (high - low) * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS), np.bincount(place[good], minlength=BINS)
    return _drawn(title, counts, (low, high), bounds)


def _drawn(
    title: str,
    counts: tuple[NDArray[np.int64], NDArray[np.int64]],
    span: tuple[float, float],
    limits: Sequence[float],
) -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    floor, tall = HEIGHT - _BOTTOM, HEIGHT - _TOP - _BOTTOM
    wide = WIDTH - 2 * _MARGIN
    top = max(1, int(counts[0].max()))
    for found, colour in zip(counts, (_DROPPED, _KEPT), strict=True):
        for number, count in enumerate(found.tolist()):
            if count:
                left = _MARGIN + number * wide // BINS
                right = max(left, _MARGIN + (number + 1) * wide // BINS - 2)
                draw.rectangle((left, floor - max(1, count * tall // top), right, floor), fill=colour)
    draw.line((_MARGIN, floor, WIDTH - _MARGIN, floor), fill=_INK)
    low, high = span
    for limit in limits:
        at = _MARGIN + round((limit - low) / (high - low) * wide)
        draw.line((at, _TOP - 2, at, floor), fill=_LINE)
        anchor = "ra" if at > WIDTH / 2 else "la"
        draw.text((at + (-3 if anchor == "ra" else 3), _TOP - 2), f"{limit:g}", _LINE, font, anchor)
    draw.text((_MARGIN, 3), title, _INK, font)
    draw.text((WIDTH - _MARGIN, 3), f"n = {int(counts[0].sum()):,}", _INK, font, "ra")
    draw.text((_MARGIN, floor + 3), f"{low:.4g}", _INK, font)
    draw.text((WIDTH - _MARGIN, floor + 3), f"{high:.4g}", _INK, font, "ra")
    file = io.BytesIO()
    image.quantize(32, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()
