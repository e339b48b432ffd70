"""Albumentations, both ways: a pipeline of ours as one of its transforms, any of its transforms as an op of ours.

It is an optional package (`pip install albumentations==2.0.8`, the last MIT release) and imported when first needed,
with its question to PyPI for a newer release turned off unless NO_ALBUMENTATIONS_UPDATE says otherwise.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import uuid
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, field_validator

from million_ird.degrade.dist import draw_seed
from million_ird.degrade.op import Node, Op, Params, Shape, Support, Tier, to_float, to_uint8
from million_ird.degrade.recipe import dump, load
from million_ird.errors import ConfigError, InputError
from million_ird.rng import Chance, key_for

MASK = "degradation_mask"
"""Key of the label mask in the result of a `Degrade`."""

_CLASS = "__class_fullname__"
_held: dict[str, Any] = {}
"""Transforms that cannot be written down, by the name that traces give them in this process."""


def to_albumentations(pipe: str | Path | Node, p: float = 1.0) -> Any:
    """A pipeline as an albumentations transform.

    It takes `image` ((H, W, 3) RGB, uint8 or float32 in [0, 1]) and `images`, and leaves every other target as it is:
    no pixel moves. The result has one key more, "degradation_mask": (H, W) uint16, bit i where class i of the recipe
    acted ("degradation_masks", (N, H, W), beside `images`). To let later transforms crop or turn it with the picture,
    declare it: `A.Compose([...], additional_targets={"degradation_mask": "mask"})`.

    Args:
        pipe: a recipe's name, its file, or a node.
        p: how often it is done; else the mask is 0.

    Returns:
        A `Degrade`. Its one parameter is a seed, so that `ReplayCompose` stores a number and replays the very pixels.
    """
    return _degrade_class()(recipe=dump(load(pipe)), p=p)


def from_albumentations(transform: Any, name: str | None = None) -> Albumentations:
    """An albumentations transform as an op.

    Args:
        transform: a transform or a composition that keeps the size of the picture.
        name: class to label; None = "albumentations".

    Returns:
        An op that seeds the transform for each picture. Its traces hold the transform as albumentations writes it down,
        and replay anywhere; one that cannot be written down (a `Lambda`) replays in this process only.
    """
    _albumentations()
    plain = _written(transform)
    own = plain is None or any("." in part for part in _classes(plain))
    if plain is None:
        # Unlike that of any other process: a trace must never meet a stranger of the same name.
        plain = {"held": f"{name or type(transform).__name__}-{uuid.uuid4().hex[:12]}"}
        _held[plain["held"]] = transform
    op = Albumentations(transform=plain, label=name)
    if own:  # travels along to other processes, and takes the module that defines it with it
        op._source = transform
    return op


class Albumentations(Op):
    """A transform of albumentations, as `A.to_dict` writes it. 8-bit; its support is what it changed."""

    family: ClassVar[str] = "albumentations"
    tier: ClassVar[Tier] = "versions"

    transform: dict[str, Any] = Field(default_factory=lambda: {_CLASS: "GaussNoise", "p": 1.0})
    """What `A.to_dict(transform)` gives, or its part "transform"."""
    _source: Any = PrivateAttr(None)

    @field_validator("transform")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        value = value.get("transform", value)
        if "held" not in value:
            _read(value)
        return value

    def draw(self, rng: Chance, shape: Shape) -> Params:
        if "held" in self.transform and self._source is not None:
            _held.setdefault(self.transform["held"], self._source)
        return {"transform": self.transform, "seed": draw_seed(rng)}

    @classmethod
    def render(cls, image: NDArray[np.float32], params: Params) -> tuple[NDArray[np.float32], Support | None]:
        # Rounded like an 8-bit picture, so that both kinds give the same; what stays, stays to the last bit.
        out, support = cls.render8(to_uint8(image), params)
        assert support is not None
        return np.where(support[..., None] != 0, to_float(out), image), support

    @classmethod
    def render8(cls, image: NDArray[np.uint8], params: Params) -> tuple[NDArray[np.uint8], Support | None]:
        transform = _of(params["transform"])
        reseed(transform, params["seed"])
        # Some transforms draw from OpenCV's generator, which belongs to the thread.
        cv2.setRNGSeed(params["seed"] & 0x7FFFFFFF)
        out = transform(image=image.copy())["image"]
        if out.shape != image.shape or out.dtype != np.uint8:
            raise InputError(
                f"albumentations {type(transform).__name__}: a degradation keeps shape and dtype, "
                f"this made {out.shape} {out.dtype} of {image.shape} uint8"
            )
        return out, (out != image).any(axis=2).view(np.uint8) * np.uint8(255)


def reseed(transform: Any, seed: int, path: str = "") -> None:
    """Seed a transform and all within it, each with a seed of its own.

    `Compose.set_random_seed` alone gives all its parts the same one: two noises in a row would be the same noise.
    """
    key = key_for(seed, path)
    transform.seed = key
    transform.random_generator = np.random.default_rng(key)
    transform.py_random = random.Random(key)
    for index, part in enumerate(getattr(transform, "transforms", ())):
        reseed(part, seed, f"{path}.{index}")


def _albumentations() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError:
        raise ConfigError("albumentations is not installed; pip install albumentations==2.0.8") from None
    return albumentations


def _written(transform: Any) -> dict[str, Any] | None:
    """A transform in JSON values; None where what is read back from them would be another one."""
    from albumentations.core.serialization import serialize_enum

    try:
        plain = json.loads(json.dumps(serialize_enum(transform.to_dict()["transform"])))
        again = _read(plain)
    except (NotImplementedError, TypeError, ValueError, KeyError, ConfigError):
        return None
    return plain if _alike(transform, again) else None


def _alike(a: Any, b: Any) -> bool:
    """Whether two transforms do the same to a picture: a field that `to_dict` forgets shows here."""
    probe = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for seed in range(3):
        results = []
        for transform in (a, b):
            reseed(transform, seed)
            cv2.setRNGSeed(seed)
            results.append(transform(image=probe.copy())["image"])
        if not np.array_equal(*results):
            return False
    return True


def _classes(plain: dict[str, Any]) -> list[str]:
    """Names of the classes within."""
    return [str(plain[_CLASS]), *(name for part in plain.get("transforms", ()) for name in _classes(part))]


def _of(plain: dict[str, Any]) -> Any:
    """The transform of a trace; one object per thread, because it holds the state of its generators."""
    if "held" not in plain:
        return _made(json.dumps(plain, sort_keys=True), threading.get_ident())
    if plain["held"] not in _held:
        raise InputError(
            f"albumentations {plain['held']}: this transform cannot be written down, so only the process that called "
            "from_albumentations can apply it"
        )
    return _held[plain["held"]]


@lru_cache(maxsize=64)
def _made(text: str, thread: int) -> Any:
    return _read(json.loads(text))


def _read(plain: dict[str, Any]) -> Any:
    """Raises:
    ConfigError: unknown to albumentations, or with a wrong argument.
    """
    albumentations = _albumentations()
    if _CLASS not in plain:
        raise ValueError(f"expected what albumentations.to_dict gives, with '{_CLASS}'")
    try:
        return albumentations.from_dict({"transform": plain})
    except KeyError as error:
        raise ConfigError(f"albumentations knows no {error}; import the module that defines it first") from None


@cache
def _degrade_class() -> Any:
    """The class `Degrade`, made once albumentations is there to derive it from."""
    base = _albumentations().ImageOnlyTransform

    class Degrade(base):
        """A degradation pipeline as an albumentations transform; see `to_albumentations`."""

        def __init__(self, recipe: dict[str, Any], p: float = 1.0) -> None:
            super().__init__(p=p)
            self.recipe = recipe
            self._pipe = load(recipe)
            self.classes = self._pipe.classes

        @property
        def targets(self) -> dict[str, Any]:
            return {"image": self.apply, "images": self.apply_to_images}

        def get_params(self) -> dict[str, Any]:
            return {"seed": _apart(self.py_random.getrandbits(53))}

        def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
            out = super().__call__(*args, force_apply=force_apply, **data)
            if "image" in out:
                out.setdefault(MASK, np.zeros(out["image"].shape[:2], np.uint16))
            if "images" in out:
                shape = np.asarray(out["images"]).shape[:3]
                out.setdefault(MASK + "s", np.zeros(shape, np.uint16))
            return out

        def apply_with_params(self, params: dict[str, Any], *args: Any, **data: Any) -> dict[str, Any]:
            out = dict(data)
            for key, value in data.items():
                kind = self._additional_targets.get(key, key)
                if value is None or kind not in ("image", "images"):
                    continue
                made = [self._of(one, params["seed"], i) for i, one in enumerate([value] if kind == "image" else value)]
                pixels, masks = [one.lq for one in made], [one.mask for one in made]
                out[key] = pixels[0] if kind == "image" else np.stack(pixels)
                if key == "image":
                    out[MASK] = masks[0]
                elif key == "images":
                    out[MASK + "s"] = np.stack(masks)
            return out

        def apply(self, img: NDArray[Any], seed: int = 0, **params: Any) -> NDArray[Any]:
            return self._of(img, seed, 0).lq

        def _of(self, image: NDArray[Any], seed: int, view: int) -> Any:
            return self._pipe(image, seed=seed, view=view)

    Degrade.__module__, Degrade.__qualname__ = __name__, "Degrade"
    return Degrade


def _apart(drawn: int) -> int:
    """A seed that no other worker has: the generators of albumentations 2.0.8 are the same in all forked workers."""
    torch_data = sys.modules.get("torch.utils.data")
    worker = torch_data.get_worker_info() if torch_data else None
    return drawn if worker is None else key_for(drawn, worker.seed) % (1 << 53)


def __getattr__(name: str) -> Any:
    if name == "Degrade":  # where pickle looks for it
        return _degrade_class()
    raise AttributeError(f"module {__name__} has no {name}")
