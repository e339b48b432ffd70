"""Resize: down to a smaller size and up again, which loses detail and leaves the marks of both kernels."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from million_ird.degrade.blur import SPACES
from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name
from million_ird.degrade.light import linear8, to_linear, to_srgb
from million_ird.degrade.op import Op, Params, Shape, Support, Tier, to_float, to_uint8
from million_ird.rng import Chance

_OPENCV = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "area": cv2.INTER_AREA,
    "bilinear_cv": cv2.INTER_LINEAR,
    "bicubic_cv": cv2.INTER_CUBIC,
}
_PILLOW = {
    "bilinear_aa": Pillow.Resampling.BILINEAR,
    "bicubic_aa": Pillow.Resampling.BICUBIC,
    "lanczos_aa": Pillow.Resampling.LANCZOS,
}
DOWN = (*_OPENCV, *_PILLOW)
"""Kernels to shrink with. `_aa`: widened by the scale against aliasing (Pillow, MATLAB's imresize; cubic a = -1/2).
`_cv`: not widened, so that it aliases (OpenCV, PyTorch's interpolate; cubic a = -3/4). area: the mean of what a pixel
covers."""
UP = tuple(name for name in DOWN if name != "area")
"""Kernels to enlarge with: there is no aliasing then, and `_aa` and `_cv` differ by the cubic's a alone."""


class Resize(Op):
    """Down and up again to the same size and phase: pixels are areas and their corners stay where they were."""

    family: ClassVar[str] = "resize"
    tier: ClassVar[Tier] = "versions"

    scale: Annotated[Spec, Between(0.001, 1)] = (0.15, 1)
    """Small sides over large ones; the small size is rounded up, as by MATLAB's imresize. 0.15 to 1: Real-ESRGAN."""
    down: Annotated[Names, Among(DOWN)] = "bicubic_aa"
    """Kernel to shrink with; bicubic_aa is the "bicubic" of super-resolution papers."""
    up: Annotated[Names, Among(UP)] = "bicubic_aa"
    """Kernel to enlarge with."""
    space: Annotated[Names, Among(SPACES)] = "srgb"
    """Where light is mixed. srgb: as nearly all software does; linear: as it should be."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {
            "scale": draw(self.scale, rng),
            "down": draw_name(self.down, rng),
            "up": draw_name(self.up, rng),
            "space": draw_name(self.space, rng),
        }

    @classmethod
    def render(cls, image: NDArray[np.float32], params: Params) -> tuple[NDArray[np.float32], Support | None]:
        if small_size(image.shape[:2], params["scale"]) == image.shape[:2]:
            return image, None
        linear = params["space"] == "linear"
        out = _down_up(to_linear(image) if linear else image, params)
        return to_srgb(out) if linear else out, None

    @classmethod
    def render8(cls, image: NDArray[np.uint8], params: Params) -> tuple[NDArray[np.uint8], Support | None]:
        if small_size(image.shape[:2], params["scale"]) == image.shape[:2]:
            return image, None
        linear = params["space"] == "linear"
        out = _down_up(linear8(image) if linear else to_float(image), params)
        return to_uint8(to_srgb(out) if linear else out), None


def small_size(shape: Shape, scale: float) -> Shape:
    """Height and width after shrinking: rounded up, 1 px or more."""
    # A millionth less, lest 100 * 0.07 = 7.000000000000001 become 8.
    height, width = (max(1, math.ceil(side * scale - 1e-6)) for side in shape)
    return height, width


def resample(image: NDArray[np.float32], shape: Shape, kernel: str) -> NDArray[np.float32]:
    """To another size with a named kernel.

    Args:
        image: (H, W, 3) float32, any values.
        shape: height and width wanted.
        kernel: one of `DOWN`.

    Returns:
        (*shape, 3) float32; cubic and Lanczos kernels over- and undershoot.
    """
    height, width = shape
    if kernel in _OPENCV:
        return np.asarray(cv2.resize(image, (width, height), interpolation=_OPENCV[kernel]), np.float32)
    planes = [Pillow.fromarray(plane).resize((width, height), _PILLOW[kernel]) for plane in cv2.split(image)]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=2)


def _down_up(image: NDArray[np.float32], params: Params) -> NDArray[np.float32]:
    shape = image.shape[:2]
    small = resample(image, small_size(shape, params["scale"]), params["down"])
    return resample(small, shape, params["up"])
