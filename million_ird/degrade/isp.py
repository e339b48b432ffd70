"""Noise as it comes out of a camera: born on the Bayer mosaic, spread and coloured by what the camera does to it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import cv2
import numpy as np

from million_ird.degrade.counter import SCALE, look_up, normal_table, words16
from million_ird.degrade.dist import Between, Log, Spec, draw, draw_seed
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import Floats, Op, Params, Shape, Support, Tier
from million_ird.degrade.sensor import colour_matrices, demosaic, mosaic, read_variance
from million_ird.rng import Chance


class ISPNoise(Op):
    """Shot and read noise on the raw mosaic (Brooks et al. 2019), carried through demosaicing, gains and colour.

    Only the noise goes through the camera: bilinear demosaicing is linear, so what it makes of signal and noise is the
    sum of both, and the picture's own detail need not be lost to it.
    """

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "versions"

    shot: Annotated[Spec, Between(1e-7, 1)] = Log(log=(1e-4, 0.012))
    """Shot noise of the raw values, variance per unit of signal; read noise follows from it."""
    red: Annotated[Spec, Between(1, 4)] = (1.9, 2.4)
    """White-balance gain of red."""
    blue: Annotated[Spec, Between(1, 4)] = (1.5, 1.9)
    """White-balance gain of blue."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        shot = draw(self.shot, rng)
        return {
            "shot": shot,
            "read": read_variance(shot, rng),
            "red": draw(self.red, rng),
            "blue": draw(self.blue, rng),
            "seed": draw_seed(rng),
        }

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        to_camera, from_camera = colour_matrices(params["seed"])
        gains = np.array([params["red"], 1, params["blue"]], np.float32)
        light = to_linear(image)
        raw = mosaic(cv2.transform(light, to_camera / gains[:, None]))
        units = look_up(normal_table(), words16(params["seed"], raw.size)).reshape(raw.shape)
        variance = np.maximum(raw, 0) * np.float32(params["shot"]) + np.float32(params["read"])
        noise = demosaic(np.sqrt(variance) * (units * np.float32(1 / SCALE)))
        return to_srgb(light + cv2.transform(noise, from_camera * gains)), None
