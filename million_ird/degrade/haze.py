"""Haze and fog: light lost on its way through the air, and light of the air in its place."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from pydantic import field_validator

from million_ird.degrade import depth as distances
from million_ird.degrade.dist import Among, Between, Names, Spec, draw, draw_name, draw_seed
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import Bytes, Floats, Image, Key, Op, Params, Shape, Step, Support, Tier, to_float, to_uint8
from million_ird.degrade.weather import smooth_noise
from million_ird.rng import Chance, rng_for

THRESHOLD = 0.02
"""Loss of light below which a pixel counts as clean, and is left exactly as it is."""

_BAND = 64
"""Rows worked on at a time."""


class Haze(Op):
    """Koschmieder's law of scattering: I = J t + A (1 - t), t = exp(-beta d), d = distance in parts of the farthest."""

    family: ClassVar[str] = "haze"
    tier: ClassVar[Tier] = "versions"

    beta: Annotated[Spec, Between(0, 10)] = (0.6, 1.8)
    """Optical depth of the farthest. 0.6 to 1.8: RESIDE (indoor); 1 to 2: CDD-11."""
    airlight: Annotated[Spec, Between(0, 1)] = (0.7, 1)
    """Brightness of the air in sRGB. 0.7 to 1: RESIDE; 0.6 to 0.9: CDD-11."""
    tint: Annotated[Spec, Between(0, 0.3)] = 0.03
    """Greatest deviation of red and blue from grey, warm or cold. Own; 0 = neutral, as in RESIDE and CDD-11."""
    t_min: Annotated[Spec, Between(0, 1)] = 0.05
    """Floor of the transmission, so that nothing is lost entirely. CDD-11's cut of the depth keeps it above 0.24."""
    heterogeneity: Annotated[Spec, Between(0, 1)] = (0, 0.3)
    """How much the density of the air varies over the picture, in parts of beta: banks of fog. Own."""
    depth: str = "pseudo"
    """Where distances come from: "pseudo" (guessed from the picture), "flat" (all alike), "file:PATH" of a depth map
    (16-bit or 8-bit PNG in parts of its greatest value, or .npy; "{id}" and "{stem}" stand for the image's id, the
    latter without its suffix), or "module:function", a depth estimator to import: (H, W, 3) uint8 -> (H, W)."""
    space: Annotated[Names, Among(("srgb", "linear"))] = "srgb"
    """Where light is mixed: "srgb" as RESIDE, CDD-11 and their kin do; "linear" as air does."""

    @field_validator("depth")
    @classmethod
    def _known_depth(cls, value: str) -> str:
        return distances.check(value)

    def draw(self, rng: Chance, shape: Shape) -> Params:
        params: Params = {name: draw(getattr(self, name), rng) for name in ("beta", "t_min", "heterogeneity")}
        grey, tint = draw(self.airlight, rng), draw(self.tint, rng)
        warm, green = (tint * (2 * float(u) - 1) for u in rng.random(2))
        air = [min(max(value, 0), 1) for value in (grey + warm, grey + green / 4, grey - warm)]
        params["airlight"] = [float(f"{value:.6g}") for value in air]
        return params | {"depth": self.depth, "space": draw_name(self.space, rng), "seed": draw_seed(rng)}

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        steps = super().plan(key, shape)
        for step in steps:
            step["params"]["depth"] = distances.named(step["params"]["depth"], key.image_id)
        return steps

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        t = cls.transmission(image, params)
        return _hazed(image, t, params), _support(t)

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        t = cls.transmission(image, params)
        return _hazed(image, t, params), _support(t)

    @classmethod
    def transmission(cls, image: Image, params: Params) -> Floats:
        """Share of the light that comes through, pixel by pixel.

        Args:
            image: (H, W, 3) uint8 or float32, the clean one.
            params: what `draw` gave.

        Returns:
            (H, W) float32 in [t_min, 1]; 1 where the loss is below `THRESHOLD`. J = (I - A (1 - t)) / t inverts haze.
        """
        shape = image.shape[:2]
        t = distances.distance(to_uint8(image), params["depth"], params["seed"])
        t *= np.float32(-params["beta"])
        if params["heterogeneity"]:
            low = tuple(-(-side // 8) for side in t.shape)
            noise = smooth_noise((low[0], low[1]), 4, rng_for(params["seed"], "air"))
            density = 1 + np.float32(params["heterogeneity"]) * np.clip(noise, -1, 1)
            t *= cv2.resize(density, t.shape[::-1], interpolation=cv2.INTER_LINEAR)
        cv2.exp(t, t)
        np.maximum(t, np.float32(params["t_min"]), out=t)
        # Between one and two thresholds the loss rises from nothing, so that no contour shows where haze begins.
        np.maximum(t, np.minimum(2 * t - np.float32(1 - 2 * THRESHOLD), 1), out=t)
        return t if t.shape == shape else np.minimum(cv2.resize(t, shape[::-1], interpolation=cv2.INTER_LINEAR), 1)


def _hazed(image: Image, t: Floats, params: Params) -> Image:
    """Mix the light of scene and air, a band at a time: large temporaries cost more than the arithmetic."""
    out, air = np.empty_like(image), np.asarray(params["airlight"], np.float32)
    for top in range(0, len(image), _BAND):
        band = slice(top, top + _BAND)
        x = to_float(image[band])
        if params["space"] == "srgb":
            mixed = _mixed(x, t[band], air)
        else:
            mixed = to_srgb(_mixed(to_linear(x), t[band], to_linear(air)))
        # A value may come back with another last bit; where nothing is lost it must not.
        clean = t[band] == 1
        if clean.any():
            mixed[clean] = x[clean]
        out[band] = to_uint8(mixed) if image.dtype == np.uint8 else mixed
    return out


def _mixed(image: Floats, t: Floats, air: Floats) -> Floats:
    """A + t (J - A), which is J t + A (1 - t)."""
    scalar: Any = (*(float(value) for value in air), 0.0)
    out: Floats = cv2.subtract(image, scalar)
    cv2.multiply(out, cv2.cvtColor(t, cv2.COLOR_GRAY2RGB), out)
    return cv2.add(out, scalar, out)


def _support(t: Floats) -> Support:
    """255 (1 - t), at least 1 where anything is lost."""
    lost: Any = cv2.convertScaleAbs(1 - t, alpha=255)
    return np.maximum(lost, (t < 1).view(np.uint8))
