"""Decoys: what looks like a watermark and is none. Words on signs, print on surfaces, screens, subtitles, wires, grids.

They are part of the scene: seen at an angle, lit and blurred as it is, under the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from million_ird.degrade.op import Bytes, Floats, check_image, luma
from million_ird.degrade.watermark import TRAINING, Style
from million_ird.degrade.watermark.emblems import emblem
from million_ird.degrade.watermark.lettering import Stencil, between, lettered, pick
from million_ird.rng import Chance


def disguise(image: Bytes, rng: Chance, style: Style = TRAINING, *, height: float) -> Bytes:
    """The picture with a decoy in it, of letters about `height` px high; not a watermark."""
    check_image(image)
    return DECOYS[pick(rng, tuple(DECOYS))](image, rng, style, max(5.0, height))


def _panel(rng: Chance, style: Style, height: float) -> Stencil:
    """A sheet with some lines of words, now and then a logo."""
    parts = [lettered(rng, style.fonts, height * between(rng, 0.6, 1.2)) for _ in range(1 + int(rng.random() * 3))]
    if rng.random() < 0.3:
        parts.insert(0, emblem(rng, style.logos, height * 2))
    gap = max(2, round(height * between(rng, 0.3, 0.8)))
    width = max(part.shape[1] for part in parts) + 2 * gap
    sheet = np.zeros((sum(part.shape[0] + gap for part in parts) + gap, width), np.uint8)
    top = gap
    for part in parts:
        left = (width - part.shape[1]) // 2
        sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
        top += part.shape[0] + gap
    return sheet


def _placed(rng: Chance, sheet: Stencil, shape: tuple[int, int], bend: float) -> tuple[Floats, Floats]:
    """The sheet seen at an angle, somewhere in the picture: coverage of its letters and of all of it, (H, W, 1)."""
    height, width = sheet.shape
    scale = min(1.0, shape[1] * 0.8 / width, shape[0] * 0.8 / height)
    centre = np.array([between(rng, 0.15, 0.85) * shape[1], between(rng, 0.15, 0.85) * shape[0]])
    turn = between(rng, -0.3, 0.3)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    far = (corners - corners.mean(0)) * scale @ spin.T
    far *= 1 + np.array([[between(rng, -bend, bend)] for _ in range(4)])
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), (far + centre).astype(np.float32))
    size = shape[1], shape[0]
    soft = between(rng, 0.5, 1.5)

    def seen(stencil: Stencil) -> Floats:
        plane = cv2.warpPerspective(stencil, matrix, size, flags=cv2.INTER_AREA)
        return cv2.GaussianBlur(plane, (0, 0), soft).astype(np.float32)[..., None] * np.float32(1 / 255)

    return seen(sheet), seen(np.full_like(sheet, 255))


def _light(image: Bytes) -> Floats:
    """(H, W, 1) how brightly the scene is lit, about 1 on average."""
    plane = cv2.blur(luma(image), (61, 61)).astype(np.float32) + np.float32(20)
    return (plane / plane.mean())[..., None]


def _paint(rng: Chance) -> tuple[Floats, Floats]:
    """Colours of a ground and of the letters on it, far enough apart."""
    ground = np.array([rng.random() * 235 + 10 for _ in range(3)], np.float32)
    if rng.random() < 0.5:
        ground[:] = ground.mean()
    dark = float(ground.mean()) > 127
    letters = np.full(3, between(rng, 5, 70) if dark else between(rng, 180, 250), np.float32)
    return ground, letters


def _bytes(values: Floats) -> Bytes:
    return np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)


def _grain(rng: Chance, shape: tuple[int, int], sigma: float) -> Floats:
    return rng.generator.standard_normal((*shape, 1), np.float32) * np.float32(sigma)


def _sign(image: Bytes, rng: Chance, style: Style, height: float) -> Bytes:
    letters, board = _placed(rng, _panel(rng, style, height), image.shape[:2], 0.2)
    ground, ink = _paint(rng)
    lit = np.clip(_light(image), 0.4, 1.4)
    painted = (ground * (1 - letters) + ink * letters) * lit + _grain(rng, image.shape[:2], between(rng, 1, 5))
    return _bytes(image * (1 - board) + painted * board)


def _print(image: Bytes, rng: Chance, style: Style, height: float) -> Bytes:
    """Ink on what is there: it takes the surface's light, texture and all."""
    letters, _ = _placed(rng, _panel(rng, style, height), image.shape[:2], 0.25)
    ink = np.array([between(rng, 0.05, 0.45)] * 3, np.float32)
    if rng.random() < 0.4:
        ink = np.clip(ink * np.array([between(rng, 0.5, 2.2) for _ in range(3)], np.float32), 0, 0.6)
    return _bytes(image * (1 - letters * (1 - ink)))


def _screen(image: Bytes, rng: Chance, style: Style, height: float) -> Bytes:
    """Many lines of small print: a page, a screen."""
    lines = [lettered(rng, style.fonts, max(5, height * 0.4)) for _ in range(5 + int(rng.random() * 8))]
    gap = max(2, round(height * 0.3))
    width = int(np.median([line.shape[1] for line in lines])) + 2 * gap
    sheet = np.zeros((sum(line.shape[0] + gap for line in lines) + gap, width), np.uint8)
    top = gap
    for line in lines:
        part = line[:, : width - 2 * gap]
        sheet[top : top + part.shape[0], gap : gap + part.shape[1]] = part
        top += part.shape[0] + gap
    letters, board = _placed(rng, sheet, image.shape[:2], 0.12)
    ground, ink = _paint(rng)
    return _bytes(image * (1 - board) + (ground * (1 - letters) + ink * letters) * board)


def _subtitle(image: Bytes, rng: Chance, style: Style, height: float) -> Bytes:
    """Full lines at the foot, solid white or yellow with a dark rim."""
    rows, columns = image.shape[:2]
    cover = np.zeros((rows, columns), np.uint8)
    bottom = rows - round(rows * between(rng, 0.03, 0.08))
    for _ in range(1 + (rng.random() < 0.4)):
        line = lettered(rng, style.fonts[:2], min(height, rows * 0.1))
        part = line[:, : int(columns * 0.95)]
        top, left = max(0, bottom - part.shape[0]), (columns - part.shape[1]) // 2
        cover[top:bottom, left : left + part.shape[1]] = part[: bottom - top]
        bottom = top - round(height * 0.4)
        if bottom < height:
            break
    rim = max(1, round(height / 10))
    wide = cv2.dilate(cover, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)).astype(np.float32)[..., None] / 255
    ink = np.array([250, 250, 250 if rng.random() < 0.7 else 40], np.float32)
    share = cover.astype(np.float32)[..., None] / 255
    return _bytes((image * (1 - wide)) * (1 - share) + ink * share)


def _wires(image: Bytes, rng: Chance, style: Style, height: float) -> Bytes:
    """Bars, wires, branches: lines of a scene, lit by it and out of parallel."""
    rows, columns = image.shape[:2]
    cover = np.zeros((rows, columns), np.uint8)
    turn, step = between(rng, 0, np.pi), between(rng, 8, 70)
    thick = 1 + int(rng.random() * rng.random() * min(10, step * 0.4))
    for angle in (turn, turn + np.pi / 2)[: 1 + (rng.random() < 0.5)]:
        ahead, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        fan = between(rng, -0.004, 0.004)
        reach = float(np.hypot(rows, columns))
        count = int(rng.random() * 4) + 1 if rng.random() < 0.4 else int(reach / step) + 1
        for line in range(-count // 2, count // 2 + 1):
            middle = np.array([columns, rows]) / 2 + aside * line * step
            way = ahead + aside * fan * line * step * 0.2
            ends = [tuple(int(v) for v in middle + way * far) for far in (-reach, reach)]
            cv2.line(cover, ends[0], ends[1], (255,), thick, cv2.LINE_AA)
    soft = cv2.GaussianBlur(cover, (0, 0), between(rng, 0.5, 1.4)).astype(np.float32)[..., None] / 255
    tone = between(rng, 0, 60) if rng.random() < 0.7 else between(rng, 150, 240)
    ink = np.float32(tone) * np.clip(_light(image), 0.5, 1.5) + _grain(rng, (rows, columns), 4)
    return _bytes(image * (1 - soft) + ink * soft)


DECOYS: Mapping[str, Callable[[Bytes, Chance, Style, float], Bytes]] = {
    "sign": _sign,
    "print": _print,
    "screen": _screen,
    "subtitle": _subtitle,
    "wires": _wires,
}
"""Kinds of decoys."""
