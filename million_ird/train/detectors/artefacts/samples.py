"""Samples for the artefact estimator: parts of clean photos, degraded; what was done is read off the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from million_ird.degrade import (
    JPEG,
    Compose,
    DefocusBlur,
    GaussianBlur,
    GaussianNoise,
    Haze,
    LowLight,
    Maybe,
    MotionBlur,
    OneOf,
    Rain,
    Resize,
    Snow,
)
from million_ird.degrade.dist import Choice, Log
from million_ird.degrade.kernels import Kernel
from million_ird.degrade.op import Bytes, Floats, Node, Step
from million_ird.degrade.run import op_of
from million_ird.degrade.watermark.lettering import between
from million_ird.meters.artefacts import SIDE, patches
from million_ird.rng import Chance, rng_for

KINDS = ("none", "gaussian", "defocus", "motion")
"""Of blur, in the order of `kind`."""

WEATHER = ("haze", "lowlight", "rain", "snow")
"""Present or not."""

LABELS: tuple[str, ...] = ("noise", "quality", "octaves", "extent", "kind", "upscaled", *WEATHER)
"""What is asked: sigma in grey levels; IJG quality; log2 of the factor of upscaling; standard deviation of the blur
along its widest direction, px; number of its kind; presence, 1 or 0."""

AREA = 110_000
"""Pixels of a part, about: of 288 x 384."""

_UNSEEN = 50  # JPEG quality below which what is left of noise does not tell its sigma
_BLURS = {"GaussianBlur": 1, "DefocusBlur": 2, "MotionBlur": 3}
_UP = ("bilinear_cv", "bicubic_cv", "bicubic_aa", "lanczos_aa")


@dataclass(frozen=True)
class Sample:
    """`patches` (9, 3, 96, 96) uint8; `labels` float32 in the order of `LABELS`, NaN = not asked."""

    patches: Bytes
    labels: Floats


@cache
def degradations() -> Node:
    """What may happen to a picture, in the order in which it does: scene, optics, size, sensor, codec."""
    weather = [
        Haze(),
        OneOf([LowLight(kind="gain"), LowLight(kind="gamma"), LowLight(kind="physical")]),
        Rain(unit="pixel"),
        Snow(unit="pixel"),
    ]
    blur = [
        GaussianBlur(sigma=(0.8, 4)),
        DefocusBlur(radius=(1.5, 8)),
        OneOf([MotionBlur(kind="line", length=(5, 31)), MotionBlur(kind="trajectory", length=(10, 50))]),
    ]
    bigger = Resize(
        scale=Log(log=(0.25, 0.8)),
        down=Choice(choice=("area", "bicubic_aa", "lanczos_aa")),
        up=Choice(choice=_UP),
    )
    noise = GaussianNoise(sigma=(0.5, 60), kind=Choice(choice=("colour", "grey"), p=(0.8, 0.2)))
    codec = [JPEG(quality=(8, 96)), JPEG(quality=(8, 96), shift=(0, 7))]
    return Compose(
        [
            Maybe(OneOf(weather), 0.35),
            Maybe(OneOf([OneOf(blur), bigger], p=(0.5, 0.5)), 0.5),
            Maybe(noise, 0.4),
            Maybe(OneOf(codec, p=(0.85, 0.15)), 0.5),
        ]
    )


class Samples:
    """Sample `number` of a seed: always the same, whatever came before it.

    Args:
        pictures: clean photos, (H, W, 3) uint8, both sides 96 px or more.
        seed: of all chance.
    """

    def __init__(self, pictures: Sequence[Bytes], seed: int) -> None:
        self.pictures, self.seed = pictures, seed
        # Large pictures count more: a square root of their area in quarter megapixels.
        self._shares = np.cumsum([max(1.0, (p.shape[0] * p.shape[1] / 2**18) ** 0.5) for p in pictures])

    def __getitem__(self, number: int) -> Sample:
        rng = rng_for(self.seed, "artefacts", number)
        where = rng.random() * self._shares[-1]
        part = part_of(self.pictures[int(np.searchsorted(self._shares, where, side="right"))], rng)
        found = degradations()(part, seed=self.seed, image_id="artefacts", view=number)
        image, again = saved_again(found.lq, rng, any(step["op"] == "JPEG" for step in found.trace["steps"]))
        return Sample(patches(image, rng), labels_of(found.trace["steps"], again))


def part_of(picture: Bytes, rng: Chance) -> Bytes:
    """A part of a photo at some scale, mirrored or turned, lighter or darker, rarely without colour."""
    tall = between(rng, 0.6, 1.6, log=True)
    height, width = round((AREA * tall) ** 0.5), round((AREA / tall) ** 0.5)
    short = min(picture.shape[0] / height, picture.shape[1] / width)
    scale = 1.0 if rng.random() < 0.4 else between(rng, 1.0, max(1.0, min(3.0, short)), log=True)
    # Where a picture is small, the part is as much of it as there is.
    rows, columns = (min(side, round(want * scale)) for side, want in zip(picture.shape, (height, width), strict=False))
    top, left = (
        int(rng.random() * (side - take + 1)) for side, take in zip(picture.shape, (rows, columns), strict=False)
    )
    part = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    if scale > 1:
        size = max(SIDE, round(columns / scale)), max(SIDE, round(rows / scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.5:
        curve = (np.arange(256) / 255) ** between(rng, 0.7, 1.4, log=True) * between(rng, 0.8, 1.1) * 255
        part = cv2.LUT(part, np.clip(curve + 0.5, 0, 255).astype(np.uint8))
    if rng.random() < 0.05:
        part = cv2.cvtColor(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(part, np.uint8)


def saved_again(image: Bytes, rng: Chance, compressed: bool) -> tuple[Bytes, int]:
    """What becomes of a picture on its way: some are made a little smaller or larger, some saved as a good JPEG.

    Args:
        image: (H, W, 3) uint8.
        rng: of the sample.
        compressed: whether it has been a JPEG before.

    Returns:
        The picture and the quality it was saved at; 100 = it was not.
    """
    if compressed and rng.random() < 0.1:
        factor = between(rng, 0.75, 1.25)
        size = max(SIDE, round(image.shape[1] * factor)), max(SIDE, round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    if rng.random() > (0.6 if compressed else 0.2):
        return image, 100
    params = JPEG(quality=(90, 100)).draw(rng, (image.shape[0], image.shape[1]))
    return JPEG.render8(np.ascontiguousarray(image, np.uint8), params)[0], params["quality"]


def labels_of(steps: Sequence[Step], saved: int) -> Floats:
    """(labels,) float32 of what the steps did to a picture that was then saved at quality `saved`; NaN = not asked."""
    found: dict[str, Any] = dict.fromkeys(LABELS, 0.0) | {"quality": float(saved)}
    noisier = False
    for step in steps:
        params, name = step["params"], step["op"]
        if name == "GaussianNoise":
            found["noise"] = params["sigma"]
        elif name == "JPEG":
            found["quality"] = min(found["quality"], params["quality"])
        elif name in _BLURS:
            found |= {"kind": _BLURS[name], "extent": spread(op_of(step).psf(params))}
        elif name == "Resize":
            found |= {"octaves": -math.log2(params["scale"]), "upscaled": 1.0}
        else:
            found[step["class"]] = 1.0
            noisier |= params.get("kind") == "physical"
    if noisier or (found["noise"] and found["quality"] < _UNSEEN):
        found["noise"] = math.nan
    return np.array([found[name] for name in LABELS], np.float32)


def spread(kernel: Kernel) -> float:
    """Standard deviation of a point spread function along its widest direction, px."""
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]].astype(np.float64)
    y, x = y - (kernel * y).sum(), x - (kernel * x).sum()
    moments = [[(kernel * a * b).sum() for b in (y, x)] for a in (y, x)]
    return float(np.linalg.eigvalsh(moments)[-1] ** 0.5)
