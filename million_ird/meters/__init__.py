"""Meters: one decoded image in, a few numbers out.

A meter is a frozen `Config` whose fields are its settings, with a table of the columns it fills and a `__call__`.
`METERS` names the built-in ones; others register under the entry-point group `million_ird.meters`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.config import validate
from million_ird.errors import ConfigError
from million_ird.meters.detail import Detail, detail_of
from million_ird.records import Header

Luma = NDArray[np.uint8]
RGB = NDArray[np.uint8]

POINTS = 128
"""Long side of `Frame.points`."""


class Frame:
    """One decoded image and what several meters need of it, each plane made once, on first use.

    Args:
        rgb: (H, W, 3) uint8, sRGB, upright.
        header: what the file said of itself; None for pixels that came from no file.
    """

    def __init__(self, rgb: RGB, header: Header | None = None) -> None:
        self.rgb = rgb
        self.header = header

    @cached_property
    def luma(self) -> Luma:
        """(H, W) uint8, BT.601 full range."""
        return cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)

    @cached_property
    def half(self) -> Luma:
        """(H // 2, W // 2) uint8, 2x2 box means of `luma`."""
        return halve(self.luma)

    @cached_property
    def quarter(self) -> Luma:
        """(H // 4, W // 4) uint8, 2x2 box means of `half`."""
        return halve(self.half)

    @cached_property
    def points(self) -> RGB:
        """(h, w, 3) uint8, an even sample of single pixels, unaveraged, at most 128 on the long side."""
        height, width = self.rgb.shape[:2]
        scale = min(1, POINTS / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv2.resize(self.rgb, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)

    @cached_property
    def detail(self) -> Detail:
        """The sharpest tiles of `luma` and their spectrum."""
        return detail_of(self.luma)


def halve(luma: Luma) -> Luma:
    """Half-size by 2x2 box means; a last odd row or column is left out; a side of 1 px stays."""
    height, width = luma.shape
    size = max(1, width // 2), max(1, height // 2)
    even = luma[: max(1, height // 2 * 2), : max(1, width // 2 * 2)]
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


@runtime_checkable
class Meter(Protocol):
    """What measures a frame. `columns` maps each ledger column it fills to unit, range and direction, in words."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Column -> unit, range and direction; a class variable will do."""
        ...

    def __call__(self, frame: Frame) -> Sequence[float | None]:
        """One value per column, in order; None = does not apply to this image. Pure, and safe on any size >= 1 px."""
        ...


METERS: dict[str, str] = {
    "blur": "million_ird.meters.blur:Blur",
    "flat": "million_ird.meters.flatness:Flatness",
    "noise": "million_ird.meters.noise:Noise",
    "compression": "million_ird.meters.compression:Compression",
    "exposure": "million_ird.meters.exposure:Exposure",
    "border": "million_ird.meters.border:Border",
    "background": "million_ird.meters.background:Background",
    "upscale": "million_ird.meters.upscale:Upscale",
    "niqe": "million_ird.meters.niqe:Niqe",
    "watermark": "million_ird.meters.watermark:Watermark",
}
"""Built-in meters: name -> "module:class"; nothing is imported until one is made."""


def create(name: str, options: Mapping[str, Any] | None = None) -> Meter:
    """A meter by name, built-in or registered under `million_ird.meters`, with its fields set from `options`.

    Raises:
        ConfigError: unknown name or option.
    """
    target = METERS.get(name)
    if target is None:
        found = {point.name: point for point in entry_points(group="million_ird.meters")}
        if name not in found:
            known = ", ".join([*METERS, *sorted(found)])
            raise ConfigError(f"measure.meters: unknown meter '{name}'; known: {known}")
        return found[name].load()(**(options or {}))
    module, _, attribute = target.partition(":")
    return validate(getattr(importlib.import_module(module), attribute), options or {}, f"measure.options.{name}.")
