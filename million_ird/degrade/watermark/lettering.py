"""Words as stencils: what marks say, in which face, and how the letters are set.

A stencil is (h, w) uint8, 255 = ink. Faces are those that Pillow and matplotlib bring; stretching, slanting, spacing
and the weight of strokes make many of each.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from million_ird.errors import InputError
from million_ird.rng import Chance

Stencil = NDArray[np.uint8]

PILLOW = "pillow"
"""The face that Pillow carries."""

_SIZES = (12, 16, 22, 30, 42, 60)
"""Sizes at which faces are opened, px; others are scaled down from the next one."""

_SYLLABLES = (
    *(
        "al",
        "an",
        "ar",
        "bo",
        "ca",
        "co",
        "da",
        "de",
        "el",
        "en",
        "fo",
        "ga",
        "gra",
        "ha",
        "il",
        "ka",
        "lo",
        "lu",
        "ma",
    ),
    *("mi", "mo", "na", "no", "or", "pa", "pix", "pho", "ra", "ri", "ro", "sa", "shu", "sto", "ta", "to", "tri", "ur"),
    *("va", "vi", "zo"),
)
_TRADE = (
    *("photo", "studio", "images", "stock", "art", "media", "press", "pictures", "photography", "design", "gallery"),
    *("shots", "archive", "lens", "prints"),
)
_NOTICES = (
    "SAMPLE",
    "PREVIEW",
    "PROOF",
    "DO NOT COPY",
    "COPYRIGHT",
    "DRAFT",
    "DEMO",
    "NOT FOR SALE",
    "ALL RIGHTS RESERVED",
)
_ALPHABETS = {
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщыэюя",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչ",
}
_MANY_SCRIPTS = ("DejaVuSans", "DejaVuSans-Bold")


def pick(rng: Chance, options: Sequence[Any]) -> Any:
    """One of them, all alike."""
    return options[int(rng.random() * len(options))]


def between(rng: Chance, lo: float, hi: float, *, log: bool = False) -> float:
    """A number in [lo, hi), even in value or in its logarithm."""
    return lo * (hi / lo) ** rng.random() if log else lo + (hi - lo) * rng.random()


@lru_cache(maxsize=512)
def face(name: str, size: int) -> Any:
    """A face at a size in px.

    Raises:
        InputError: it is not on this machine.
    """
    if name == PILLOW:
        return ImageFont.load_default(size)
    spec = importlib.util.find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf" if folders else Path(name)
    if not path.is_file():
        raise InputError(f"watermark: the font {name} is not here; pip install matplotlib")
    return ImageFont.truetype(path, size)


def phrase(rng: Chance, script: str = "latin") -> str:
    """What a mark says: a name, a trade, an address, a notice, a number."""
    if script in _ALPHABETS:
        letters = _ALPHABETS[script]
        return " ".join(
            "".join(pick(rng, letters) for _ in range(3 + int(rng.random() * 7)))
            for _ in range(1 + (rng.random() < 0.4))
        )
    kind = rng.random()
    name = _name(rng)
    if kind < 0.2:
        return _cased(rng, pick(rng, _NOTICES))
    if kind < 0.3:
        return f"{pick(rng, ('#', 'ID ', 'No. ', ''))}{int(1e5 + rng.random() * 9e8)}"
    if kind < 0.5:
        return f"{pick(rng, ('www.', '', '@'))}{name}{pick(rng, _TRADE)}{pick(rng, ('.com', '.net', '.org', ''))}"
    if kind < 0.65:
        return f"© {pick(rng, ('', str(int(1995 + rng.random() * 31)) + ' '))}{name.title()} {_name(rng).title()}"
    if kind < 0.75:
        return _cased(rng, name[: 3 + int(rng.random() * 3)])
    return _cased(rng, f"{name} {pick(rng, _TRADE)}" if rng.random() < 0.6 else name)


def _name(rng: Chance) -> str:
    return "".join(pick(rng, _SYLLABLES) for _ in range(2 + int(rng.random() * 2.5)))


def _cased(rng: Chance, text: str) -> str:
    return pick(rng, (text.upper(), text.lower(), text.title(), text.title()))


def lettered(rng: Chance, fonts: Sequence[str], height: float, text: str | None = None) -> Stencil:
    """Words about `height` px high (capitals), each time set in another way.

    Raises:
        InputError: a face is not on this machine.
    """
    name = pick(rng, fonts)
    if text is None:
        if rng.random() < 0.07:
            return _strokes(rng, height)
        script = pick(rng, tuple(_ALPHABETS)) if name in _MANY_SCRIPTS and rng.random() < 0.25 else "latin"
        text = phrase(rng, script)
    stencil = _set(rng, name, text, height)
    if rng.random() < 0.3:  # thicker or thinner strokes
        size = max(2, round(height / 14)) + (rng.random() < 0.3)
        kernel = np.ones((size, size), np.uint8)
        changed = cv2.dilate(stencil, kernel) if rng.random() < 0.6 or height < 20 else cv2.erode(stencil, kernel)
        stencil = changed.astype(np.uint8, copy=False)
    stretch = between(rng, 0.7, 1.5, log=True) if rng.random() < 0.5 else 1.0
    slant = between(rng, -0.3, 0.35) if rng.random() < 0.25 else 0.0
    return _sheared(stencil, stretch, slant)


def _set(rng: Chance, name: str, text: str, height: float) -> Stencil:
    size = height / 0.72  # capitals are about .72 of the size
    opened = next((known for known in _SIZES if known >= size), _SIZES[-1])
    spacing = opened * between(rng, 0.05, 0.5) if rng.random() < 0.2 else 0.0
    stencil = _typeset(name, opened, text, spacing)
    scale = size / opened
    shape = max(1, round(stencil.shape[1] * scale)), max(1, round(stencil.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(stencil, shape, interpolation=way).astype(np.uint8, copy=False)


def _typeset(name: str, size: int, text: str, spacing: float) -> Stencil:
    font = face(name, size)
    left, top, right, bottom = font.getbbox(text)
    extra = spacing * max(0, len(text) - 1)
    image = Image.new("L", (max(1, int(right - left + extra)) + 2, max(1, int(bottom - top)) + 2))
    draw = ImageDraw.Draw(image)
    if not spacing:
        draw.text((1 - left, 1 - top), text, font=font, fill=255)
        return np.asarray(image)
    at = 1.0 - left
    for letter in text:
        draw.text((at, 1 - top), letter, font=font, fill=255)
        at += font.getlength(letter) + spacing
    return np.asarray(image)


def _sheared(stencil: Stencil, stretch: float, slant: float) -> Stencil:
    if stretch == 1 and not slant:
        return stencil
    height, width = stencil.shape
    room = abs(slant) * height
    matrix = np.array([[stretch, -slant, room if slant > 0 else 0], [0, 1, 0]], np.float64)
    size = max(1, int(width * stretch + room)), height
    return cv2.warpAffine(stencil, matrix, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _strokes(rng: Chance, height: float) -> Stencil:
    """Signs of no script: a few straight and bent strokes in square boxes, as dense as Chinese ones."""
    box = max(6, round(height * 1.2))
    count = 2 + int(rng.random() * 6)
    sheet = np.zeros((box, int(box * 1.1) * count), np.uint8)
    thick = max(1, round(box * between(rng, 0.06, 0.13)))
    for sign in range(count):
        left = int(box * 1.1) * sign
        for _ in range(4 + int(rng.random() * 6)):
            x, y = left + box * between(rng, 0.1, 0.9), box * between(rng, 0.1, 0.9)
            if rng.random() < 0.7:  # level or upright
                across, down = (between(rng, 0.3, 0.8), 0.0) if rng.random() < 0.5 else (0.0, between(rng, 0.3, 0.8))
            else:
                across, down = between(rng, -0.5, 0.5), between(rng, 0.2, 0.5)
            far = min(max(x + across * box, left), left + box - 1), min(y + down * box, box - 1)
            cv2.line(sheet, (round(x), round(y)), (round(far[0]), round(far[1])), 255, thick, cv2.LINE_AA)
    return sheet
