"""Masking: parts of the picture are taken away, for masked pre-training."""

from __future__ import annotations

from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name, draw_seed, draw_whole
from million_ird.degrade.op import Bytes, Floats, Op, Params, Shape, Support, Tier
from million_ird.rng import Chance, key_for, rng_for

_FILLS = {"black": 0, "grey": 128, "white": 255}


class Mask(Op):
    """Square cells of a grid are filled. The number of cells is exact; cells that the border cuts count as cells."""

    family: ClassVar[str] = "mask"
    tier: ClassVar[Tier] = "exact"

    patch: Annotated[Spec, Between(1, 1024, whole=True)] = 16
    """Side of a cell, px. 16: MAE, DyNet's figure; 32: SimMIM; 1: single pixels."""
    ratio: Annotated[Spec, Between(0, 1)] = 0.3
    """Share of the cells that is masked. .3: DyNet; .75: MAE; .6: SimMIM."""
    layout: Annotated[Names, Among(("random", "block"))] = "random"
    """Cells on their own, or in contiguous blocks."""
    fill: Annotated[Names, Among((*_FILLS, "mean", "noise"))] = "white"
    """What stands in a masked cell: a constant (DyNet's figure shows white), the picture's mean colour, or noise."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {
            "patch": draw_whole(self.patch, rng),
            "ratio": draw(self.ratio, rng),
            "layout": draw_name(self.layout, rng),
            "fill": draw_name(self.fill, rng),
            "seed": draw_seed(rng),
        }

    @classmethod
    def cells(cls, params: Params, shape: Shape) -> NDArray[np.bool_]:
        """(H, W) bool: what is masked."""
        height, width = shape
        patch = params["patch"]
        rows, columns = -(-height // patch), -(-width // patch)
        masked = _chosen(rows, columns, params)
        if patch == 1:
            return masked
        return np.repeat(np.repeat(masked, patch, axis=0), patch, axis=1)[:height, :width]

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        masked = cls.cells(params, image.shape[:2])
        return np.where(masked[..., None], filling(image, params) * np.float32(1 / 255), image), _support(masked)

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        masked = cls.cells(params, image.shape[:2])
        fill, support = filling(image, params), _support(masked)
        filled = np.empty_like(image)
        if params["fill"] in _FILLS:
            filled.fill(_FILLS[params["fill"]])  # a scalar: broadcasting three channels takes ten times as long
        else:
            filled[:] = fill
        cv2.copyTo(image, 255 - support, filled)
        return filled, support


def filling(image: NDArray, params: Params) -> Floats:
    """What stands in masked cells, whole grey levels of 255: (3,), or (H, W, 3) for noise."""
    fill = params["fill"]
    if fill == "noise":
        height, width, channels = image.shape
        words = np.random.Philox(key=key_for(params["seed"], "fill")).random_raw(-(-image.size // 8))
        return (
            words.astype("<u8", copy=False)
            .view(np.uint8)[: image.size]
            .reshape(height, width, channels)
            .astype(np.float32)
        )
    if fill == "mean":
        scale = 1.0 if image.dtype == np.uint8 else 255.0
        mean = image.mean(axis=(0, 1), dtype=np.float64) * scale
        return np.clip(np.floor(mean + 0.5), 0, 255).astype(np.float32)
    return np.full(3, _FILLS[fill], np.float32)


def _support(masked: NDArray[np.bool_]) -> Support:
    return masked.view(np.uint8) * np.uint8(255)


def _chosen(rows: int, columns: int, params: Params) -> NDArray[np.bool_]:
    """(rows, columns) bool with exactly round(ratio cells) set: those with the least random scores."""
    count = int(params["ratio"] * rows * columns + 0.5)
    out = np.zeros(rows * columns, bool)
    if params["layout"] == "block":
        grid = rng_for(params["seed"], "blocks").random((6, 6)).astype(np.float32)
        scores = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC).ravel()
    else:
        scores = np.random.Philox(key=key_for(params["seed"], "cells")).random_raw(rows * columns)
    if count:
        out[np.argpartition(scores, count - 1)[:count]] = True
    return out.reshape(rows, columns)
