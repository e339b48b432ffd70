"""Too little light: four models, from a plain gain to what a sensor makes of few photons."""

from __future__ import annotations

from typing import Annotated, ClassVar

import cv2
import numpy as np

from million_ird.degrade.counter import SCALE, look_up, normal_table, words16
from million_ird.degrade.dist import Among, Between, Log, Names, Spec, draw, draw_name, draw_seed, draw_whole
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import Bytes, Floats, Op, Params, Shape, Support, Tier, to_uint8
from million_ird.degrade.sensor import read_variance
from million_ird.rng import Chance

_SMALL = 8
"""An illumination map is smooth: it is made at an eighth of the size."""


class LowLight(Op):
    """Darkens, by `kind`:

    gain       y = gain x, in sRGB (what ABAIR's figure shows)
    gamma      y = beta (alpha x)^gamma, in sRGB (Lv et al. 2021)
    retinex    y = R L^gamma with R = x / L and L the illumination, in sRGB, plus noise (OneRestore's CDD-11)
    physical   linear light divided by `ratio`, shot and read noise, the converter's bits, back to sRGB
    """

    family: ClassVar[str] = "lowlight"
    tier: ClassVar[Tier] = "versions"

    kind: Annotated[Names, Among(("gain", "gamma", "retinex", "physical"))] = "physical"
    """Which model. Only "physical" loses information as a camera does."""
    gain: Annotated[Spec, Between(0, 1)] = (0.05, 0.5)
    """For "gain". LOL's mean is .1 to .2, ABAIR's figure .25."""
    gamma: Annotated[Spec, Between(1, 10)] = (1.5, 5)
    """For "gamma" (Lv: 1.5 to 5) and "retinex" (OneRestore: 2 to 3)."""
    alpha: Annotated[Spec, Between(0.01, 1)] = (0.9, 1)
    """For "gamma" (Lv: .9 to 1)."""
    beta: Annotated[Spec, Between(0.01, 1)] = (0.5, 1)
    """For "gamma" (Lv: .5 to 1)."""
    noise: Annotated[Spec, Between(0, 0.5)] = (0.03, 0.08)
    """For "retinex": deviation of white noise, parts of full scale (OneRestore)."""
    ratio: Annotated[Spec, Between(1, 1000)] = Log(log=(4, 100))
    """For "physical": how many times too short the exposure is (SID: 100 to 300, its milder half here)."""
    shot: Annotated[Spec, Between(1e-6, 1)] = Log(log=(1e-4, 0.012))
    """For "physical": shot noise, variance per unit of signal; read noise follows from it (Brooks et al. 2019)."""
    bits: Annotated[Spec, Between(8, 16, whole=True)] = (10, 14)
    """For "physical": of the sensor's converter."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        kind = draw_name(self.kind, rng)
        if kind == "gain":
            return {"kind": kind, "gain": draw(self.gain, rng)}
        if kind == "gamma":
            names = ("gamma", "alpha", "beta")
            return {"kind": kind, **{name: draw(getattr(self, name), rng) for name in names}}
        if kind == "retinex":
            gamma, noise = draw(self.gamma, rng), draw(self.noise, rng)
            return {"kind": kind, "gamma": gamma, "noise": noise, "seed": draw_seed(rng)}
        shot = draw(self.shot, rng)
        return {
            "kind": kind,
            "ratio": draw(self.ratio, rng),
            "shot": shot,
            "read": read_variance(shot, rng),
            "bits": draw_whole(self.bits, rng),
            "seed": draw_seed(rng),
        }

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        return _MODELS[params["kind"]](image, params), None

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        if params["kind"] not in ("gain", "gamma"):
            return super().render8(image, params)
        ramp = np.arange(256, dtype=np.float32) / np.float32(255)  # values on their own: a table does it
        return cv2.LUT(image, to_uint8(_MODELS[params["kind"]](ramp, params))), None


def illumination(image: Floats) -> Floats:
    """(H, W) float32 in (0, 1]: the brightest channel, smoothed over a 16th of the picture."""
    height, width = image.shape[:2]
    small = (max(1, width // _SMALL), max(1, height // _SMALL))
    brightest = np.clip(cv2.resize(image, small, interpolation=cv2.INTER_AREA).max(axis=2), 0.01, 1)
    sigma = max(small) / 16
    smooth = cv2.GaussianBlur(brightest, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0.3 else brightest
    return np.clip(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), 0.01, 1)


def _gain(image: Floats, params: Params) -> Floats:
    return image * np.float32(params["gain"])


def _gamma(image: Floats, params: Params) -> Floats:
    curved = np.power(np.maximum(image, 0) * np.float32(params["alpha"]), np.float32(params["gamma"]))
    return curved * np.float32(params["beta"])


def _retinex(image: Floats, params: Params) -> Floats:
    darkening = np.power(illumination(image), np.float32(params["gamma"] - 1))
    return image * darkening[..., None] + _normal(image, params) * np.float32(params["noise"])


def _physical(image: Floats, params: Params) -> Floats:
    light = to_linear(image) * np.float32(1 / params["ratio"])
    deviation = np.sqrt(np.maximum(light, 0) * np.float32(params["shot"]) + np.float32(params["read"]))
    light += deviation * _normal(image, params)
    steps = np.float32(2 ** params["bits"] - 1)
    counts: Floats = np.clip(np.floor(light * steps + np.float32(0.5)), 0, steps)
    return to_srgb(counts / steps)


def _normal(image: Floats, params: Params) -> Floats:
    units = look_up(normal_table(), words16(params["seed"], image.size)).reshape(image.shape)
    return units * np.float32(1 / SCALE)


_MODELS = {"gain": _gain, "gamma": _gamma, "retinex": _retinex, "physical": _physical}
