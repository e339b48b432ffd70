"""Drawn steps to pictures, labels and traces; and back again from a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.op import TIERS, Image, Key, Node, Step, Tier, check_image, clip, to_float, to_uint8
from million_ird.degrade.registry import find
from million_ird.errors import InputError

TRACE = 1
"""Version of the form of traces."""

MaskArray = NDArray[np.uint16]


@dataclass
class Labels:
    """What is written down while a chain runs.

    Attributes:
        bits: class -> bit number.
        mask: (H, W) uint16, the bits set so far.
        ignore: (H, W) bool where a feathered border belongs to no class alone; None = nowhere.
        strength: class -> (H, W) uint8 strongest action so far; None = not asked for.
    """

    bits: Mapping[str, int]
    mask: MaskArray
    ignore: NDArray[np.bool_] | None = None
    strength: dict[str, NDArray[np.uint8]] | None = None

    @classmethod
    def of(cls, bits: Mapping[str, int], shape: tuple[int, ...], strength: bool) -> Labels:
        """With nothing set."""
        return cls(bits, np.zeros(shape[:2], np.uint16), None, {} if strength else None)

    def add(self, label: str, support: NDArray[np.uint8] | None) -> None:
        """A class acts where its support is not 0; None = everywhere."""
        bit = np.uint16(1 << self.bits[label])
        if support is None:
            self.mask |= bit
        else:
            table = np.full(256, bit)
            table[0] = 0
            cv2.bitwise_or(self.mask, cv2.LUT(support, table), self.mask)
        if self.strength is not None:
            new = np.full(self.mask.shape, 255, np.uint8) if support is None else support
            old = self.strength.get(label)
            self.strength[label] = new if old is None else np.maximum(old, new)

    def ignored(self, band: NDArray[np.bool_]) -> None:
        """Add pixels to the ignore band."""
        self.ignore = band if self.ignore is None else self.ignore | band

    def nothing(self) -> Labels:
        """The same classes with nothing set, for a branch."""
        return Labels.of(self.bits, self.mask.shape, self.strength is not None)

    def paste(self, other: Labels, where: NDArray[np.bool_]) -> None:
        """Take another's labels at some pixels, beside those that are set there."""
        cv2.bitwise_or(self.mask, other.mask, self.mask, mask=where.view(np.uint8))
        if other.ignore is not None:
            self.ignored(other.ignore & where)
        if self.strength is not None:
            for label, new in (other.strength or {}).items():
                old = self.strength.get(label, np.zeros(where.shape, np.uint8))
                self.strength[label] = np.where(where, np.maximum(old, new), old)


@dataclass(frozen=True)
class Degraded:
    """A degraded picture with everything known of it.

    Attributes:
        lq: the degraded image, dtype and range of the input.
        hq: the input.
        mask: (H, W) uint16, bit i set where class i acted; 0 = the clean pixel.
        trace: JSON-able; `replay(hq, trace)` gives lq again, bit for bit.
        classes: class of each bit.
        ignore: (H, W) bool, feathered borders of regions; None = there are none.
        strength: class -> (H, W) uint8, how strongly it acts; None unless asked for.
    """

    lq: Image
    hq: Image
    mask: MaskArray
    trace: dict[str, Any]
    classes: tuple[str, ...]
    ignore: NDArray[np.bool_] | None = None
    strength: dict[str, NDArray[np.uint8]] | None = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes present somewhere, in bit order."""
        present = int(np.bitwise_or.reduce(self.mask, axis=None))
        return tuple(name for bit, name in enumerate(self.classes) if present >> bit & 1)


def degrade(node: Node, image: Image, seed: int, image_id: str, view: int, *, strength: bool = False) -> Degraded:
    """Draw and apply; see `Node.__call__`."""
    check_image(image)
    return perform(image, trace_of(node, image.shape[:2], seed, image_id, view), strength=strength)


def trace_of(node: Node, shape: tuple[int, int], seed: int, image_id: str, view: int) -> dict[str, Any]:
    """All chance for one picture of this shape: what `perform` needs, and nothing of the pixels."""
    height, width = shape
    return {
        "mird": TRACE,
        "seed": seed,
        "id": image_id,
        "view": view,
        "size": [height, width],
        "classes": list(node.classes),
        "steps": node.plan(Key(seed, image_id, view), (height, width)),
    }


def perform(image: Image, trace: Mapping[str, Any], *, strength: bool = False) -> Degraded:
    """Degrade an image as a trace says.

    Raises:
        InputError: another size than the trace's, an unknown op, or one of another version.
    """
    check_image(image)
    if trace.get("mird") != TRACE:
        raise InputError(
            f"trace: expected mird {TRACE}, got {trace.get('mird')!r}; was it made by a newer million-ird?"
        )
    if list(image.shape[:2]) != list(trace["size"]):
        raise InputError(f"trace: it is for {trace['size'][1]}x{trace['size'][0]} px, the image has {_size(image)}")
    labels = Labels.of({name: bit for bit, name in enumerate(trace["classes"])}, image.shape, strength)
    image = np.ascontiguousarray(image)
    lq = run(image, trace["steps"], labels)
    if lq.dtype == np.float32:
        lq = clip(lq)
    if lq is image:
        lq = image.copy()
    return Degraded(lq, image, labels.mask, dict(trace), tuple(trace["classes"]), labels.ignore, labels.strength)


def replay(image: Image, trace: Mapping[str, Any]) -> Image:
    """The degraded image of a trace again, bit for bit (see `Tier` for how far that goes).

    Args:
        image: the clean one, as it was: (H, W, 3) uint8 or float32.
        trace: `Degraded.trace`, or what became of it in JSON.
    """
    return perform(image, trace).lq


def run(image: Image, steps: Sequence[Step], labels: Labels, *, rounded: bool = True) -> Image:
    """Take steps one after another, rounding to 8 bits only before a codec and, for an 8-bit picture, at the end.

    Args:
        image: (H, W, 3) uint8, or float32 that may leave [0, 1].
        steps: of a trace.
        labels: written to.
        rounded: give uint8 for uint8; False = float32, because more is to come.
    """
    wants8 = image.dtype == np.uint8 and rounded
    for index, step in enumerate(steps):
        op = op_of(step)
        after = wants8 if index + 1 == len(steps) else op_of(steps[index + 1]).codec
        if issubclass(op, Regional):
            image = op.perform(image, step, labels, rounded=after)
            continue
        if op.codec or (after and image.dtype == np.uint8):
            image, support = op.render8(to_uint8(image), step["params"])
        else:
            image, support = op.render(to_float(image), step["params"])
        labels.add(step["class"], support)
    return to_uint8(image) if wants8 else to_float(image)


class Regional(Node):
    """A step that runs branches of its own (CutMix)."""

    codec: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @classmethod
    def perform(cls, image: Image, step: Step, labels: Labels, *, rounded: bool) -> Image:
        """Run the step: as `run`."""
        raise NotImplementedError


def op_of(step: Step) -> Any:
    """The class that takes a step.

    Raises:
        InputError: unknown, or of another version than the one here.
    """
    op = find(step["op"])
    if step["v"] != op.version:
        raise InputError(f"trace: made by {step['op']} version {step['v']}, this package has version {op.version}")
    return op


def tier_of(steps: Sequence[Step]) -> Tier:
    """The loosest tier among steps and their branches."""
    tiers = [TIERS.index(op_of(step).tier) for step in steps]
    tiers += [TIERS.index(tier_of(branch)) for step in steps for branch in step.get("branches", ())]
    return TIERS[max(tiers, default=0)]


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]} px"
