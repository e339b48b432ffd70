"""Watermarks: visible marks laid over photos, and where they lie.

Made to train and to test what finds them. The marks are the project's own: made-up names, drawn logos. `TRAINING` and
`HELD_OUT` share no font, logo or layout, so that a detector can be tested on styles it has never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from million_ird.degrade.op import Bytes, Floats, check_image, luma, to_uint8
from million_ird.degrade.watermark.layouts import layout
from million_ird.degrade.watermark.lettering import PILLOW, between, pick
from million_ird.degrade.watermark.placing import Layer, Layers, Style, cover_of
from million_ird.rng import Chance

__all__ = ["HELD_OUT", "SIZES", "TRAINING", "Marked", "Style", "stamp"]

TRAINING = Style(
    fonts=(
        *(f"DejaVuSans{way}" for way in ("", "-Bold", "-Oblique", "-BoldOblique")),
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
        *("cmr10", "cmti10", "cmtt10", "cmb10"),
        *(PILLOW, PILLOW),
    ),
    logos=("disc", "polygon", "star", "camera", "waves", "bars"),
    layouts=(
        *("corner", "corner", "corner", "centre", "centre", "diagonal", "rows", "slanted", "slanted"),
        *("cross", "date", "caption", "side", "signature"),
    ),
)
"""What detectors are trained on; what stands twice is drawn twice as often."""

HELD_OUT = Style(
    fonts=("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmss10"),
    logos=("petals", "aperture", "peaks", "shield"),
    layouts=("brick", "ribbon", "stack", "seal", "lattice"),
)
"""What they are tested on and never see."""

SIZES = 0.015, 0.12
"""Height of capitals, as a share of the square root of the picture's area."""

LEAST = 7.0
"""Grey levels by which a mark changes the pixels it covers, on average, at least; below, nobody sees it."""

MASKING = 0.3
"""On texture it takes more: so much of its mean local deviation is added."""

_OPACITY = 0.15, 0.9
_EFFECTS = ("plain", "plain", "plain", "plain", "shadow", "outline", "hollow", "emboss")


@dataclass(frozen=True)
class Marked:
    """A picture with a mark.

    Attributes:
        image: (H, W, 3) uint8.
        cover: (H, W) uint8, 255 where the mark covers the pixel; plates count.
        layout, effect: how it was made.
        opacity: 0..1.
        height: of the capitals, px.
        contrast: grey levels by which it changes the pixels that it covers, on average.
    """

    image: Bytes
    cover: Bytes
    layout: str
    effect: str
    opacity: float
    height: float
    contrast: float


def stamp(
    image: Bytes,
    rng: Chance,
    style: Style = TRAINING,
    *,
    height: float | None = None,
    opacity: float | None = None,
    layout_name: str | None = None,
) -> Marked:
    """Lay a mark over a picture. A mark that would hardly be seen is made lighter or darker, then more opaque.

    Args:
        image: (H, W, 3) RGB uint8; not changed.
        rng: all chance.
        style: fonts, logos and layouts to choose from.
        height: of the capitals, px; None = drawn from `SIZES`.
        opacity: 0..1; None = drawn from .15 to .9, now and then 1. The least contrast may raise it.
        layout_name: None = drawn.

    Raises:
        InputError: not a picture, or a font is not on this machine.
    """
    check_image(image)
    shape = image.shape[:2]
    name = layout_name or pick(rng, style.layouts)
    if height is None:
        height = float(between(rng, *SIZES, log=True) * (shape[0] * shape[1]) ** 0.5)
    marked, contrast = image, 0.0
    if opacity is None:
        opacity = 1.0 if rng.random() < 0.12 else between(rng, *_OPACITY)
    high = max(5.0, height)
    layers = layout(rng, style, name, shape, high)
    effect = pick(rng, _EFFECTS)
    ink = _ink(rng, name)
    cover = cover_of(layers)
    box = _box(cover, round(high / 4) + 8)  # shadows and rims fall beside the letters, nothing falls farther
    part, there = image[box], cover[box]
    layers = [Layer(np.ascontiguousarray(layer.cover[box]), layer.plate) for layer in layers]
    ground = part.astype(np.float32)
    least = LEAST + MASKING * _texture(part, there)
    for attempt in range(8):
        if attempt:
            if opacity > 0.5 or contrast < least / 4:
                ink = _apart(ink, dark=_under(ground, there) > 127)
                effect = "plain"
            opacity = min(1.0, opacity * 1.3)
        marked = to_uint8(_blended(ground, layers, ink, opacity, effect, high) / np.float32(255))
        contrast = _contrast(part, marked, there)
        if contrast >= least:
            break
    out = image.copy()
    out[box] = marked
    return Marked(out, cover, name, effect, opacity, high, contrast)


def _box(cover: Bytes, room: int) -> tuple[slice, slice]:
    """Where the mark is, with room around; all of the picture if it is nowhere."""
    rows, columns = (np.flatnonzero(cover.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(max(0, rows[0] - room), rows[-1] + room + 1), slice(max(0, columns[0] - room), columns[-1] + room + 1)


def _apart(ink: Floats, dark: bool) -> Floats:
    """The ink moved most of the way to black or to white."""
    return (ink * np.float32(0.25) if dark else 255 - (255 - ink) * np.float32(0.25)).astype(np.float32)


def _ink(rng: Chance, name: str) -> Floats:
    """(3,) float32, 0..255."""
    if name == "date" and rng.random() < 0.8:
        return np.array([255, between(rng, 60, 220), between(rng, 0, 60)], np.float32)
    kind = rng.random()
    if kind < 0.6:
        return np.full(3, between(rng, 225, 255), np.float32)
    if kind < 0.8:
        return np.full(3, between(rng, 0, 40), np.float32)
    if kind < 0.87:
        return np.full(3, between(rng, 90, 190), np.float32)
    return np.array([rng.random() * 255 for _ in range(3)], np.float32)


def _blended(ground: Floats, layers: Layers, ink: Floats, opacity: float, effect: str, height: float) -> Floats:
    out = ground
    for layer in layers:
        cover = layer.cover.astype(np.float32)[..., None] * np.float32(1 / 255)
        if layer.plate:
            tone, share = (np.float32(0), 0.55) if float(ink.mean()) > 127 else (np.float32(255), 0.55)
            out = out + (tone - out) * cover * np.float32(opacity * share)
        elif effect == "emboss":
            out = out + _relief(layer, height) * np.float32(70 * opacity + 20)
        else:
            out = _inked(out, layer.cover, cover, ink, opacity, effect, height)
    return out


def _inked(
    out: Floats, stencil: Bytes, cover: Floats, ink: Floats, opacity: float, effect: str, height: float
) -> Floats:
    tone = np.float32(0 if float(ink.mean()) > 127 else 255)
    width = max(1, round(height / 16))
    if effect == "shadow":
        moved = _moved(stencil, width)
        soft = cv2.GaussianBlur(moved, (0, 0), max(0.6, width * 0.8)).astype(np.float32)[..., None]
        out = out + (tone - out) * soft * np.float32(0.6 * opacity / 255)
    elif effect in ("outline", "hollow"):
        kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
        wide = cv2.dilate(stencil, kernel).astype(np.float32)[..., None] * np.float32(1 / 255)
        rim = np.clip(wide - cover, 0, 1)
        if effect == "hollow":
            return out + (ink - out) * rim * np.float32(opacity)
        out = out + (tone - out) * rim * np.float32(0.7 * opacity)
    return out + (ink - out) * cover * np.float32(opacity)


def _relief(layer: Layer, height: float) -> Floats:
    """(H, W, 1), about -1..1: edges that face the light, and those that turn away."""
    cover = cv2.GaussianBlur(layer.cover, (0, 0), max(0.5, height / 40)).astype(np.float32) * np.float32(1 / 255)
    step = max(1, round(height / 18))
    return (_moved(cover, -step) - _moved(cover, step))[..., None]


def _moved(plane: Floats, by: int) -> Floats:
    """Down and to the right by so many px, up and to the left where negative; nothing comes in."""
    matrix = np.array([[1, 0, by], [0, 1, by]], np.float64)
    return cv2.warpAffine(plane, matrix, plane.shape[::-1], flags=cv2.INTER_NEAREST)


def _contrast(image: Bytes, marked: Bytes, cover: Bytes) -> float:
    """Mean change where the mark is; an outline or a relief counts by its changed pixels."""
    change = np.abs(luma(marked).astype(np.float32) - luma(image).astype(np.float32))
    there = cover > 100
    if not there.any():
        return 0.0
    return float(max(change[there].mean(), 0.5 * change.sum() / there.sum()))


def _texture(image: Bytes, cover: Bytes) -> float:
    """Mean deviation from the surroundings where the mark lies, grey levels."""
    grey = luma(image)
    apart = cv2.absdiff(grey, cv2.blur(grey, (9, 9)))[cover > 100]
    return float(apart.mean()) if apart.size else 0.0


def _under(ground: Floats, cover: Bytes) -> float:
    there = cover > 100
    return float(ground[there].mean()) if there.any() else 128.0
