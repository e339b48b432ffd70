"""The degradations by name: a name is resolved when it is used, and listing names imports nothing.

A third-party op registers its class under the entry-point group `million_ird.degradations`.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from million_ird.errors import ConfigError

GROUP = "million_ird.degradations"

OPS = {
    "GaussianNoise": "noise",
    "PoissonNoise": "poisson",
    "ISPNoise": "isp",
    "PoissonGaussianNoise": "noise",
    "SpeckleNoise": "noise",
    "ImpulseNoise": "noise",
    "UniformNoise": "noise",
    "JPEG": "codec",
    "WebP": "codec",
    "Mask": "masking",
    "Rain": "rain",
    "Raindrop": "raindrop",
    "Haze": "haze",
    "Snow": "snow",
    "GaussianBlur": "blur",
    "MotionBlur": "motion",
    "DefocusBlur": "defocus",
    "LowLight": "lowlight",
    "BitDepth": "bitdepth",
    "Resize": "resize",
    "Ringing": "blur",
    "Albumentations": "interop",
}
"""Op -> module of this package."""

COMBINATORS = {
    "Compose": "combine",
    "OneOf": "combine",
    "SomeOf": "combine",
    "Shuffle": "combine",
    "Maybe": "combine",
    "CutMix": "cutmix",
}
"""Combinator -> module of this package."""


def names() -> tuple[str, ...]:
    """Every op, the project's own first."""
    return (*OPS, *(point.name for point in _third_party() if point.name not in OPS))


@cache
def find(name: str) -> Any:
    """The class of an op or a combinator.

    Raises:
        ConfigError: there is none of this name; the nearest is suggested.
    """
    module = OPS.get(name) or COMBINATORS.get(name)
    if module is not None:
        return getattr(import_module(f"million_ird.degrade.{module}"), name)
    for point in _third_party():
        if point.name == name:
            return point.load()
    known = [*names(), *COMBINATORS]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    raise ConfigError(f"op {name}: unknown; {hint}")


@cache
def _third_party() -> tuple[Any, ...]:
    return tuple(entry_points(group=GROUP))
