"""Noise that needs no camera: Gaussian, speckle, impulse, uniform. All of it in sRGB, as the literature adds it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.counter import SCALE, level_noise, look_up, normal_table, words16
from million_ird.degrade.dist import Among, Between, Log, Names, Spec, draw, draw_name, draw_seed
from million_ird.degrade.op import Bytes, Floats, Op, Params, Shape, Support, Tier
from million_ird.rng import Chance, rng_for

_SIGN = np.uint8(128)
_TABLE_PAYS = 131072
"""Values from which scaling the whole table of quantiles once is quicker than scaling every value."""


class GaussianNoise(Op):
    """Additive white Gaussian noise in sRGB: y = x + n, n ~ N(0, sigma^2)."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "exact"

    sigma: Annotated[Spec, Between(0, 255)] = (0, 55)
    """Standard deviation in grey levels of 255. 0 to 55: blind denoising (DnCNN); 15, 25, 50 are the usual tests."""
    kind: Annotated[Names, Among(("colour", "grey", "correlated"))] = "colour"
    """Independent per channel; one value for all three; or with a random covariance of the channels (BSRGAN)."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"sigma": draw(self.sigma, rng), "kind": draw_name(self.kind, rng), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        noise = _gaussian(image.shape, params)
        noise *= np.float32(1 / 255)
        noise += image
        return noise, None

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        if params["kind"] != "colour" or image.size < _TABLE_PAYS:
            return _add8(image, _rounded(_gaussian(image.shape, params))), None
        noise = look_up(_rounded_table(params["sigma"]), words16(params["seed"], image.size))
        return _add8(image, noise.reshape(image.shape)), None


class SpeckleNoise(Op):
    """Multiplicative noise: y = x + x n, n ~ N(0, sigma^2)."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "exact"

    sigma: Annotated[Spec, Between(0, 2)] = (0.05, 0.6)
    """Standard deviation in parts of the value. .15, .2, .35, .45, .6: ImageNet-C; 2/255 to 25/255: BSRGAN."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"sigma": draw(self.sigma, rng), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        units = look_up(normal_table(), words16(params["seed"], image.size)).reshape(image.shape)
        noise = level_noise(units, image * np.float32(255) * np.float32(params["sigma"]))
        return image + noise * np.float32(1 / 255), None


class ImpulseNoise(Op):
    """Salt and pepper: some values are replaced by black or white."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "exact"

    amount: Annotated[Spec, Between(0, 1)] = (0.01, 0.27)
    """Share of the values (or pixels) that are hit. .03, .06, .09, .17, .27: ImageNet-C."""
    salt: Annotated[Spec, Between(0, 1)] = 0.5
    """Share of white among them."""
    per: Annotated[Names, Among(("channel", "pixel"))] = "channel"
    """Whether channels are hit one by one or together."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {
            "amount": draw(self.amount, rng),
            "salt": draw(self.salt, rng),
            "per": draw_name(self.per, rng),
            "seed": draw_seed(rng),
        }

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        hit, salt, support = _impulses(image.shape, params)
        return np.where(hit, salt.astype(np.float32), image), support

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        hit, salt, support = _impulses(image.shape, params)
        # Where hit: all bits set by salt, all cleared by pepper.
        return (image | -salt.view(np.uint8)) & ~-(hit & ~salt).view(np.uint8), support


class UniformNoise(Op):
    """Additive white uniform noise: y = x + n, n uniform in [-amplitude, amplitude]; DyNet's "random" noise."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "exact"

    amplitude: Annotated[Spec, Between(0, 255)] = (5, 95)
    """Grey levels of 255. Up to 95 = the deviation of Gaussian noise of sigma 55 (the paper gives no number)."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"amplitude": draw(self.amplitude, rng), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        noise = _uniform(image.shape, params)
        noise *= np.float32(1 / 255)
        noise += image
        return noise, None

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        return _add8(image, _rounded(_uniform(image.shape, params))), None


class PoissonGaussianNoise(Op):
    """Signal-dependent Gaussian noise, the usual model of a sensor: variance = shot x + read, x in [0, 1]."""

    family: ClassVar[str] = "noise"
    tier: ClassVar[Tier] = "exact"

    shot: Annotated[Spec, Between(0, 1)] = Log(log=(1e-4, 0.012))
    """Variance per unit of signal. 1e-4 to 1.2e-2: Brooks et al. 2019."""
    read: Annotated[Spec, Between(0, 1)] = (1e-6, 5e-4)
    """Variance of black."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        return {"shot": draw(self.shot, rng), "read": draw(self.read, rng), "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        units = look_up(normal_table(), words16(params["seed"], image.size)).reshape(image.shape)
        variance = np.maximum(image, 0) * np.float32(params["shot"]) + np.float32(params["read"])
        noise = level_noise(units, np.sqrt(variance) * np.float32(255))
        return image + noise * np.float32(1 / 255), None


def _gaussian(shape: tuple[int, ...], params: Params) -> Floats:
    """(H, W, 3) noise in grey levels."""
    height, width, _ = shape
    kind, table = params["kind"], normal_table()
    if kind == "grey":
        units = look_up(table, words16(params["seed"], height * width)).reshape(height, width, 1)
        return np.repeat(level_noise(units, params["sigma"]), 3, axis=2)
    units = look_up(table, words16(params["seed"], height * width * 3)).reshape(shape)
    if kind == "correlated":
        # Whole-number arithmetic: the same bits wherever it is done.
        mixed = units.reshape(-1, 3).astype(np.int32) @ mixing(params["seed"])
        return level_noise((mixed >> 10).astype(np.int16).reshape(shape), params["sigma"])
    return level_noise(units, params["sigma"])


def mixing(seed: int) -> NDArray[np.int32]:
    """(3, 3) in units of 1/1024: a root of U diag(d) U^T, a random rotation U and d in [0, 1], as BSRGAN draws it."""
    rng = rng_for(seed, "covariance")
    rotation, _ = np.linalg.qr(rng.random((3, 3)) - 0.5)
    return np.rint(np.sqrt(rng.random(3))[:, None] * rotation.T * 1024).astype(np.int32)


def _uniform(shape: tuple[int, ...], params: Params) -> Floats:
    height, width, channels = shape
    words = words16(params["seed"], height * width * channels).reshape(shape)
    units = (words >> 1).astype(np.int16) - np.int16(16384)
    return level_noise(units, params["amplitude"] * SCALE / 16384)


@lru_cache(maxsize=32)
def _rounded_table(sigma: float) -> NDArray[Any]:
    """Whole grey levels of noise for every random word."""
    return _rounded(level_noise(normal_table(), sigma))


def _rounded(noise: Floats) -> NDArray[Any]:
    """Noise in whole grey levels, in the smallest type that holds it."""
    noise = np.floor(noise + np.float32(0.5))
    small = noise.size == 0 or (noise.min() >= -127 and noise.max() <= 127)
    return noise.astype(np.int8 if small else np.int16)


def _add8(image: Bytes, noise: NDArray[Any]) -> Bytes:
    """image + noise, saturated at 0 and 255."""
    if noise.dtype == np.int16:
        return cv2.add(image, noise, dtype=cv2.CV_8U)
    # Shifted by half the range, both are signed bytes, whose saturating sum is one instruction.
    shifted = cv2.add((image ^ _SIGN).view(np.int8), noise)
    return shifted.view(np.uint8) ^ _SIGN


def _impulses(shape: tuple[int, ...], params: Params) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Support]:
    """Which values are hit, which of them are white, and the pixels."""
    channels = 1 if params["per"] == "pixel" else 3
    words = words16(params["seed"], shape[0] * shape[1] * channels).reshape(*shape[:2], channels)
    hit, salt = words < params["amount"] * 65536, words < params["amount"] * params["salt"] * 65536
    support = hit.any(axis=2).view(np.uint8) * np.uint8(255)
    if channels == 1:
        hit, salt = np.repeat(hit, 3, axis=2), np.repeat(salt, 3, axis=2)
    return hit, salt, support
