"""What a preview shows of one sample: pictures small enough to show, and how much each class took away."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.labels import colours
from million_ird.degrade.run import Degraded
from million_ird.pairs.render import Trace

SIDE = 512
"""Long side of a picture that is shown, px."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """One sample to show.

    Attributes:
        name, uri: of the sample and its image.
        trace: how it was made.
        labels: classes present.
        psnr: dB over the whole picture; infinite where nothing changed.
        class_psnr: dB over the pixels of each class that is present.
        share: of the area, of each class that is present.
        hq, lq, overlay: (h, w, 3) RGB uint8, at most `SIDE` px; None where they are not shown.
    """

    name: str
    uri: str
    trace: Trace
    labels: tuple[str, ...]
    psnr: float
    class_psnr: dict[str, float]
    share: dict[str, float]
    hq: Picture | None = field(default=None, repr=False)
    lq: Picture | None = field(default=None, repr=False)
    overlay: Picture | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Survey:
    """What a preview shows.

    Attributes:
        recipe, about: of the recipe.
        classes: class of each bit.
        shots: the samples; the first `SHOWN` of them with pictures.
        skipped: images that could not be used, with the reason.
    """

    recipe: str
    about: str
    classes: tuple[str, ...]
    shots: list[Shot]
    skipped: list[tuple[str, str]]


def shot(name: str, uri: str, found: Degraded) -> Shot:
    """What is shown and told of a sample."""
    error = np.square(found.lq.astype(np.float32) - found.hq).mean(axis=2)
    psnr: dict[str, float] = {}
    share: dict[str, float] = {}
    for bit, label in enumerate(found.classes):
        own = (found.mask >> bit & 1).astype(bool)
        if own.any():
            psnr[label] = decibel(float(error[own].mean()))
            share[label] = float(own.mean())
    pictures = (fitted(found.hq, SIDE), fitted(found.lq, SIDE), overlay(found, SIDE))
    return Shot(name, uri, found.trace, found.labels, decibel(float(error.mean())), psnr, share, *pictures)


def decibel(error: float) -> float:
    """PSNR of a mean squared error in grey levels; infinite for none."""
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


def fitted(image: Picture, side: int) -> Picture:
    """Area-averaged to at most `side` px on the long side; a smaller one as it is."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def overlay(found: Degraded, side: int) -> Picture:
    """The degraded picture in grey under the colours of its classes, mixed where several act on a pixel."""
    grey = cv2.cvtColor(fitted(found.lq, side), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    rows = np.arange(height) * found.mask.shape[0] // height
    columns = np.arange(width) * found.mask.shape[1] // width
    mask = found.mask[rows][:, columns]
    total = np.zeros((height, width, 3), np.float32)
    count = np.zeros((height, width, 1), np.float32)
    table = colours()
    for bit in range(len(found.classes)):
        own = (mask >> bit & 1).astype(np.float32)[..., None]
        total += own * table[bit + 1]
        count += own
    light = grey[..., None].astype(np.float32)
    tint = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return np.where(count > 0, 0.4 * light + 0.6 * tint, light).round().astype(np.uint8)
