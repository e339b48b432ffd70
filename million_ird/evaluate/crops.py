"""Side by side, where it went wrong: the input, the output and the target of the worst and the median picture."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.evaluate.metrics import Picture
from million_ird.evaluate.protocols import Protocol
from million_ird.evaluate.run import Restore, Scores, checked, to_float
from million_ird.evaluate.sets import TestSet
from million_ird.images import encode_png
from million_ird.tables import whole

SIDE = 256
"""Of a crop at most, px."""
GAP = 4
"""White between two crops, px."""


def write(folder: Path, test: TestSet, scores: Scores, restore: Restore, protocol: Protocol) -> list[Path]:
    """PNG files `SET-worst-NAME.png` and `SET-median-NAME.png`: input | output | target where the error is largest.

    The two pictures are restored once more, so that no output has to be kept while a set is evaluated.

    Args:
        folder: made if it is not there.
        test: the set.
        scores: of it; which picture is worst is a matter of the first metric.
        restore, protocol: as they were evaluated.
    """
    ranked = scores.ranked()
    chosen = {"worst": ranked[0].name, "median": ranked[len(ranked) // 2].name}
    strips = {}
    for sample in test.samples(protocol, set(chosen.values())):
        given, target = to_float(sample.input), to_float(sample.target)
        output = protocol.finish(checked(restore(given.astype(np.float32)), target, sample.name))
        strips[sample.name] = strip(given, output, target)
    paths = []
    for which, name in chosen.items():
        path = folder / f"{_slug(scores.label)}-{which}-{_slug(name.rpartition('.')[0] or name)}.png"
        with whole(path) as file:
            file.write(encode_png(strips[name]))
        paths.append(path)
    return paths


def strip(given: Picture, output: Picture, target: Picture, side: int = SIDE) -> NDArray[np.uint8]:
    """Three (H, W, 3) pictures to one (h, 3 w + gaps, 3) uint8: the square of `side` px where the output is worst."""
    height, width = (min(side, length) for length in target.shape[:2])
    error = np.square(output - target).sum(axis=2)
    sums = cv2.integral(error)
    boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    parts = []
    for picture in (given, output, target):
        crop = picture[top : top + height, left : left + width]
        parts += [np.rint(np.clip(crop, 0, 1) * 255).astype(np.uint8), np.full((height, GAP, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_")[-80:] or "image"
