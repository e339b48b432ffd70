"""Too few bits: a picture quantised to 2^b levels per channel."""

from __future__ import annotations

from typing import Annotated, ClassVar

import cv2
import numpy as np

from million_ird.degrade.dist import Among, Between, Names, Spec, draw_name, draw_whole
from million_ird.degrade.op import Bytes, Floats, Op, Params, Shape, Support, Tier
from million_ird.rng import Chance


def _bayer(order: int) -> Floats:
    """The ordered-dither matrix of Bayer (1973), 2^order a side, thresholds in (-0.5, 0.5)."""
    matrix = np.zeros((1, 1), int)
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / matrix.size - 0.5).astype(np.float32)


_DITHER = _bayer(3)


class BitDepth(Op):
    """q = round(x (2^b - 1)) / (2^b - 1): black stays black, white stays white, the mean stays where it is."""

    family: ClassVar[str] = "bitdepth"
    tier: ClassVar[Tier] = "exact"

    bits: Annotated[Spec, Between(1, 7, whole=True)] = (2, 6)
    """Bits per channel that are left. 4: ABAIR's "4-to-8 bits"."""
    rounding: Annotated[Names, Among(("nearest", "floor"))] = "nearest"
    """To the nearest level, or cut off to the one below (rescaled to the full range), as a bit shift does."""
    dither: Annotated[Names, Among(("none", "ordered"))] = "none"
    """None shows banding; "ordered" trades it for an 8x8 pattern (Bayer 1973)."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {
            "bits": draw_whole(self.bits, rng),
            "rounding": draw_name(self.rounding, rng),
            "dither": draw_name(self.dither, rng),
        }

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        top = np.float32(2 ** params["bits"] - 1)
        scaled = np.clip(image, 0, 1) * top if params["rounding"] == "nearest" else _cut(image, top)
        if params["dither"] == "ordered":
            height, width = image.shape[:2]
            tiles = (-(-height // 8), -(-width // 8))
            scaled = scaled + np.tile(_DITHER, tiles)[:height, :width, None]
        half = np.float32(0.5 if params["rounding"] == "nearest" else 0)
        return np.clip(np.floor(scaled + half), 0, top) / top, None

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        if params["dither"] != "none":
            return super().render8(image, params)
        ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 256, 1), 3, axis=2)
        table, _ = super().render8(ramp, params)
        return cv2.LUT(image, table[0, :, 0]), None


def _cut(image: Floats, top: np.float32) -> Floats:
    """In units of levels, white just below the level that would be one too many."""
    levels = np.clip(np.floor(np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)), 0, 255)
    return levels * ((top + 1) / np.float32(256))
