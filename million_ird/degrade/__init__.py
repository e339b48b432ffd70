"""Composable, physically sound degradations with a label for every pixel, replayable bit for bit.

from million_ird import degrade as D

pipe = D.load("abair")                           # a recipe; or D.Compose([D.Haze(), D.JPEG(quality=(30, 95))])
out = pipe(image, seed=7, image_id="cat.jpg")    # image: (H, W, 3) RGB uint8, or float32 in [0, 1]
out.lq, out.mask, out.labels, out.trace
D.replay(image, out.trace)                       # out.lq again
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from million_ird.degrade.registry import COMBINATORS, OPS

_ELSEWHERE = {
    "Degraded": "run",
    "perform": "run",
    "replay": "run",
    "trace_of": "run",
    "tier_of": "run",
    "Op": "op",
    "Node": "op",
    "Recipe": "recipe",
    "builtin": "recipe",
    "load": "recipe",
    "schema": "recipe",
    "Choice": "dist",
    "Log": "dist",
    "palette": "labels",
    "multi_hot": "labels",
    "coco_rle": "labels",
    "DegradedDataset": "dataset",
    "to_albumentations": "interop",
    "from_albumentations": "interop",
}
_MODULES = ("tensor",)

__all__ = [*OPS, *COMBINATORS, *_ELSEWHERE, *_MODULES]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: torch and albumentations are nobody's business until then."""
    if name in _MODULES:
        return import_module(f"million_ird.degrade.{name}")
    module = OPS.get(name) or COMBINATORS.get(name) or _ELSEWHERE.get(name)
    if module is None:
        raise AttributeError(f"million_ird.degrade has no {name}")
    return getattr(import_module(f"million_ird.degrade.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from million_ird.degrade import tensor as tensor
