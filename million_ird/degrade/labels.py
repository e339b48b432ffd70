"""Views of a label mask: one class per pixel, classes per image, and run lengths as COCO has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Palette index of pixels that belong to no class alone, as in Pascal VOC."""


def palette(
    mask: NDArray[np.uint16], classes: int, ignore: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One class per pixel, for losses and viewers that know no more: the last bit set wins.

    Args:
        mask: (H, W) uint16 bits.
        classes: how many there are.
        ignore: (H, W) bool, pixels to leave out.

    Returns:
        (H, W) uint8: 0 = clean, i + 1 = class i, 255 = ignore; and the (256, 3) RGB palette of its PNG.
    """
    view = np.zeros(mask.shape, np.uint8)
    for bit in range(classes):
        view[(mask >> bit & 1).astype(bool)] = bit + 1
    if ignore is not None:
        view[ignore] = IGNORE
    return view, colours()


def colours() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB: black for clean, colours that are told apart for the classes, light grey for ignore.

    The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart, then darker ones.
    """
    named = [
        (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
        (148, 103, 189),
    ]  # fmt: skip
    table = np.zeros((256, 3), np.uint8)
    table[1 : len(named) + 1] = named
    table[len(named) + 1 : 2 * len(named) + 1] = np.array(named, np.uint8) // 2
    table[IGNORE] = 224
    return table


def multi_hot(mask: NDArray[np.uint16], classes: int) -> NDArray[np.uint8]:
    """(classes,) uint8: 1 where a class is somewhere in the picture."""
    present = int(np.bitwise_or.reduce(mask, axis=None))
    return np.array([present >> bit & 1 for bit in range(classes)], np.uint8)


def coco_rle(mask: NDArray[np.uint16], classes: Sequence[str]) -> list[dict[str, Any]]:
    """COCO annotations, one per class present: uncompressed run lengths, column by column, zeros first.

    Returns:
        Mappings of "category" (name), "category_id" (bit + 1), "area" (px), "bbox" ([x, y, width, height]) and
        "segmentation" ({"size": [H, W], "counts": [...]}), which `pycocotools` reads.
    """
    out = []
    for bit, name in enumerate(classes):
        own = (mask >> bit & 1).astype(bool)
        if not own.any():
            continue
        flat = own.ravel(order="F")
        ends = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
        if flat[0]:
            counts.insert(0, 0)
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        out.append(
            {
                "category": name,
                "category_id": bit + 1,
                "area": int(own.sum()),
                "bbox": [int(value) for value in box],
                "segmentation": {"size": list(mask.shape), "counts": counts},
            }
        )
    return out
