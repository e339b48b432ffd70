"""Watermark: how surely a visible mark lies over the picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from million_ird.meters import Frame, Luma
from million_ird.meters.files import OURS, Modelled
from million_ird.meters.onnx import network

ENLARGED = 1.5
"""So many times as wide and high a small picture is made at most: small letters are found more surely."""

_NEARLY = 0.7
"""A plane with this share of the pixels will do."""

_SHIPPED = Path(__file__).parent / "weights" / "watermark.onnx"


class Watermark(Modelled):
    """A small network over luma at about a quarter of a megapixel, trained on marks of this project's own making.

    It tells marks laid over a picture (names, logos, tiles, grids, date stamps, captions) from what is part of the
    scene. One thread of onnxruntime; the same picture gives the same value on the same kind of processor.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "watermark": "0..1, visible watermark, higher = surer; no probability: hardly a clean photo is above 0.5"
    }

    model: str = OURS
    """The network: `million-ird`, or an ONNX file written by `mird train detectors`."""

    pixels: int = Field(default=280_000, ge=2**12)
    """Size at which the network looks, px; larger pictures are made so small, smaller ones up to 1.5 times as wide and
    high. The shipped one was trained for the default."""

    @field_validator("model")
    @classmethod
    def _readable(cls, model: str) -> str:
        if model != OURS:
            session(model)  # a wrong file is reported before any picture is read
        return model

    def __call__(self, frame: Frame) -> tuple[float | None]:
        """Returns:
        `watermark`.
        """
        return (self._run(frame)[0],)

    def map(self, frame: Frame) -> NDArray[np.float32]:
        """(h, w) float32, 0..1: where the mark lies, one value for each 16 x 16 px of the picture as the network sees
        it."""
        return self._run(frame)[1]

    def _run(self, frame: Frame) -> tuple[float, NDArray[np.float32]]:
        luma = seen(frame, self.pixels)
        score, cells = session(self.model).run(["score", "cells"], {"luma": luma[None, None]})
        return float(score[0]), cells[0, 0]


def seen(frame: Frame, pixels: int) -> Luma:
    """Luma of about so many pixels: one of the frame's planes as it is where it has nearly as many, or made smaller
    from the next larger one, or larger."""
    plane = frame.luma
    for smaller in ("half", "quarter"):
        if plane.size <= pixels:
            break
        if plane.size / 4 < _NEARLY * pixels:
            return _resized(plane, pixels)
        plane = getattr(frame, smaller)
    return plane if _NEARLY * pixels <= plane.size <= pixels else _resized(plane, pixels)


def _resized(plane: Luma, pixels: int) -> Luma:
    height, width = plane.shape
    scale = min(ENLARGED, (pixels / plane.size) ** 0.5)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(plane, size, interpolation=way).astype(np.uint8, copy=False)


@lru_cache(maxsize=4)
def session(model: str = OURS) -> Any:
    """The network by name or from a file, on one thread.

    Raises:
        ConfigError: no such file, or one that holds no such network.
    """
    path = _SHIPPED if model == OURS else Path(model)
    remedy = f"give '{OURS}' or a file that `mird train detectors` wrote"
    return network("watermark", path, remedy, "luma", {"score": None, "cells": None})
