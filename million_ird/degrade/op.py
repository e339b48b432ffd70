"""The contract of a degradation: draw, then apply.

An op is a frozen model; its fields are ranges. `draw(rng, shape)` turns them into a few numbers, the parameters, which
are all there is to know: they label the image, are its trace, and `apply(image, params)` does the same thing with them
on any day, in any process. To write one, give `draw` and `render`; everything else follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from million_ird.config import Config
from million_ird.errors import ConfigError, InputError
from million_ird.rng import Chance, rng_for

Image = NDArray[Any]
"""(H, W, 3) RGB: uint8, or float32 in [0, 1]. Between ops of a chain, float32 that may leave [0, 1]."""

Floats = NDArray[Any]
"""float32 (numpy's stubs forget it on the way through arithmetic, so that the type checker is told no more)."""

Bytes = NDArray[Any]
"""uint8, likewise."""

Shape = tuple[int, int]
"""Height and width, px."""

Params = dict[str, Any]
"""Drawn parameters: JSON values, seeds instead of arrays."""

Support = NDArray[np.uint8]
"""(H, W) uint8: 0 where the op cannot have changed the pixel, else how strongly it acts there (255 = fully)."""

Step = dict[str, Any]
"""An entry of a trace: {"op": name, "v": version, "class": label, "params": {...}}; CutMix adds "branches"."""

Tier = Literal["exact", "versions", "codec"]
"""How far the result repeats: "exact" = the same bytes on any machine; "versions" = with the same versions of numpy and
OpenCV on the same kind of processor (elsewhere within one level of 255); "codec" = with the same build of the codec."""

TIERS: tuple[Tier, ...] = ("exact", "versions", "codec")
"""From the strictest to the loosest: a chain is as loose as its loosest op."""

MAX_CLASSES = 16
"""Classes of a recipe at most: one bit each in a 16-bit mask."""


@dataclass(frozen=True)
class Key:
    """Where in a recipe, for which picture: what a step's chance depends on, and nothing else.

    Attributes:
        seed: the recipe's seed.
        image_id: what the picture is called.
        view: which of its degraded versions (or which epoch).
        path: the op's place in the recipe's tree, as "0.2.1".
    """

    seed: int
    image_id: str
    view: int
    path: str = ""

    def at(self, index: int) -> Key:
        """The key of child `index`."""
        return Key(self.seed, self.image_id, self.view, f"{self.path}.{index}" if self.path else str(index))

    def rng(self) -> Chance:
        """The chance of this place, from its start."""
        return rng_for(self.seed, self.image_id, self.view, self.path)


class Node(Config):
    """A part of a recipe: an op, or a combinator of nodes."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Fields that hold nodes."""

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        """All chance at once: the steps to take, in order."""
        raise NotImplementedError

    def children(self) -> Sequence[Node]:
        """The nodes within."""
        found: list[Node] = []
        for name in self.parts:
            value = getattr(self, name)
            found += [value] if isinstance(value, Node) else list(value)
        return found

    def labels(self) -> tuple[str, ...]:
        """The classes that it can set, in order of first appearance."""
        found = [label for child in self.children() for label in child.labels()]
        return tuple(dict.fromkeys(found))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each bit of the mask.

        Raises:
            ConfigError: there are more than 16.
        """
        return check_classes(self.labels())

    def __call__(self, image: Image, *, seed: int, image_id: str = "", view: int = 0, strength: bool = False) -> Any:
        """Degrade an image.

        Args:
            image: (H, W, 3) RGB, uint8 or float32 in [0, 1].
            seed, image_id, view: what the result depends on, beside the image and the recipe.
            strength: give the strength maps too.

        Returns:
            A `Degraded`.

        Raises:
            InputError: a wrong dtype, shape or range.
        """
        from million_ird.degrade.run import degrade

        return degrade(self, image, seed, image_id, view, strength=strength)


class Op(Node):
    """A degradation. Subclasses give `family`, `tier`, `draw` and `render`, and `render8` where that is faster."""

    family: ClassVar[str]
    """The class that it labels unless `label` says otherwise."""
    tier: ClassVar[Tier]
    version: ClassVar[int] = 1
    """Raised whenever the same parameters would give another picture."""
    codec: ClassVar[bool] = False
    """Works on 8-bit pictures by nature: a chain rounds before it. Such an op gives `render8` alone."""

    label: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$")
    """Class to label instead of the op's own."""

    def draw(self, rng: Chance, shape: Shape) -> Params:
        """Everything that chance decides, for a picture of this shape."""
        raise NotImplementedError

    @classmethod
    def render(cls, image: Floats, params: Params) -> tuple[Floats, Support | None]:
        """Degrade.

        Args:
            image: (H, W, 3) float32, 1 = white; may leave [0, 1]. Not to be changed.
            params: what `draw` gave.

        Returns:
            The new image, not clipped, and its support; None = everywhere. Outside of the support the very same values.
        """
        x, support = cls.render8(to_uint8(image), params)
        return to_float(x), support

    @classmethod
    def render8(cls, image: Bytes, params: Params) -> tuple[Bytes, Support | None]:
        """The same for an 8-bit picture whose result is rounded to 8 bits: equal to rounding what `render` gives."""
        x, support = cls.render(to_float(image), params)
        return to_uint8(x), support

    @classmethod
    def apply(cls, image: Image, params: Params) -> tuple[Image, Support]:
        """Degrade by drawn parameters: pure, and nothing but the picture and the parameters counts.

        Args:
            image: (H, W, 3) RGB, uint8 or float32 in [0, 1].
            params: what `draw` gave.

        Returns:
            The image, same dtype and range, and (H, W) uint8: 0 where nothing can have changed, else how strongly.

        Raises:
            InputError: a wrong dtype, shape or range.
        """
        check_image(image)
        if image.dtype == np.uint8:
            out, support = cls.render8(image, params)
        else:
            out, support = cls.render(image, params)
            out = clip(out)
        if out is image:  # an op that has nothing to do need not copy
            out = image.copy()
        return out, np.full(image.shape[:2], 255, np.uint8) if support is None else support

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        params = self.draw(key.rng(), shape)
        return [{"op": type(self).__name__, "v": self.version, "class": self.label or self.family, "params": params}]

    def labels(self) -> tuple[str, ...]:
        return (self.label or self.family,)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Make one from plain fields; a wrong one is a `ConfigError` that names it."""
        from million_ird.config import validate

        return validate(cls, fields)


def check_image(image: Any, name: str = "image") -> None:
    """Raises:
    InputError: it is not (H, W, 3) uint8 or float32 in [0, 1].
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name}: expected a numpy array (H, W, 3), got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"{name}: expected shape (H, W, 3), RGB, got {image.shape}")
    if image.dtype not in (np.uint8, np.float32):
        raise InputError(f"{name}: expected dtype uint8 or float32, got {image.dtype}")
    if image.dtype == np.float32:
        lo, hi = float(image.min()), float(image.max())
        if not (lo >= 0 and hi <= 1):
            raise InputError(f"{name}: float32 values must lie in [0, 1], these are from {lo:g} to {hi:g}")


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Raises:
    ConfigError: more than 16, or one twice.
    """
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"classes: a recipe has {MAX_CLASSES} at most (bits of the mask), this one has {len(classes)}: "
            f"{', '.join(classes)}; give some ops the same `label`"
        )
    if len(set(classes)) != len(classes):
        raise ConfigError(f"classes: {', '.join(classes)} has one twice")
    return tuple(classes)


def to_float(image: Image) -> Floats:
    """8 bits to float32 in [0, 1] (k / 255, so that times 255 it is k again); float32 as it is."""
    if image.dtype == np.uint8:
        return np.divide(image, np.float32(255), dtype=np.float32)
    return image


def to_uint8(image: Image) -> Bytes:
    """Clip and round to 8 bits, halves up; uint8 as it is. The only place where a float picture is rounded."""
    if image.dtype == np.uint8:
        return image
    # Truncation of x + 0.5 rounds halves up; the bounds keep both ends in range of the cast.
    scaled = np.multiply(image, np.float32(255))
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, 255.5, out=scaled).astype(np.uint8)


def clip(image: Floats) -> Floats:
    """To [0, 1]; pixels that lie there stay the very same."""
    return np.clip(image, 0, 1)


def luma(image: Image) -> NDArray[Any]:
    """(H, W) BT.601 luma of an RGB picture, in its dtype."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
