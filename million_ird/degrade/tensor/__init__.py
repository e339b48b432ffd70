"""The same degradations in batch on a device: `D.tensor.load("dynet")(batch, ids, views)`.

Every sample has parameters of its own, drawn by the very plan of the CPU path: with the same (seed, id, view)
`pipe(image, ...)` of a float32 picture is the reference, and the traces are the same. How near the pixels come to it
(1 = white):

    noise, impulses, masks, CutMix    the same bits on the CPU device; within 4e-5 on any
    blur, rain, haze, low light       1e-3 (a sensor count more or less in "physical" low light, in less than 0.1 %)
    JPEG                              approximate: libjpeg's arithmetic but for the cosine transforms; 38 dB and more
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from million_ird.degrade.op import Node
from million_ird.degrade.recipe import Recipe
from million_ird.degrade.recipe import load as load_recipe
from million_ird.degrade.run import trace_of
from million_ird.degrade.tensor.lanes import NATIVE, Marks, run
from million_ird.degrade.tensor.words import philox, words
from million_ird.errors import InputError

__all__ = ["NATIVE", "TensorDegraded", "TensorPipe", "load", "philox", "words"]


@dataclass(frozen=True)
class TensorDegraded:
    """A degraded batch.

    Attributes:
        lq: (B, 3, H, W), dtype and device of the input, in [0, 1].
        hq: the input.
        mask: (B, H, W) int32, bit i set where class i acted; 0 = the clean pixel.
        traces: of each sample; `million_ird.degrade.replay` makes the same of it on the CPU.
        classes: class of each bit.
        ignore: (B, H, W) bool, feathered borders of regions.
    """

    lq: torch.Tensor
    hq: torch.Tensor
    mask: torch.Tensor
    traces: list[dict[str, Any]] = field(repr=False)
    classes: tuple[str, ...]
    ignore: torch.Tensor

    @property
    def labels(self) -> torch.Tensor:
        """(B, K) float32, 1 for each class present in a sample."""
        found = [(self.mask >> bit & 1).amax(dim=(1, 2)) for bit in range(len(self.classes))]
        return torch.stack(found, dim=1).float() if found else self.mask.new_zeros(len(self.mask), 0).float()


@dataclass(frozen=True)
class TensorPipe:
    """A recipe for batches.

    Attributes:
        recipe: what is done.
        seed: of everything that is drawn.
    """

    recipe: Recipe
    seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each bit of the mask."""
        return self.recipe.classes

    @torch.no_grad()
    def __call__(self, batch: torch.Tensor, ids: Sequence[str], views: int | Sequence[int] = 0) -> TensorDegraded:
        """Degrade a batch.

        Args:
            batch: (B, 3, H, W) floating point RGB in [0, 1], on any device.
            ids: name of each picture.
            views: which version of each (the epoch); one number for all, or one each.

        Raises:
            InputError: a wrong shape, dtype or range, or as many names as there are not samples.
        """
        check(batch)
        names = [str(name) for name in ids]
        numbers = [views] * len(batch) if isinstance(views, int) else [int(view) for view in views]
        if len(names) != len(batch) or len(numbers) != len(batch):
            raise InputError(f"batch of {len(batch)} samples: {len(names)} ids and {len(numbers)} views given")
        shape = (batch.shape[2], batch.shape[3])
        pairs = zip(names, numbers, strict=True)
        traces = [trace_of(self.recipe, shape, self.seed, name, view) for name, view in pairs]
        x = batch.float()
        marks = Marks.none({name: bit for bit, name in enumerate(self.classes)}, x)
        lq = run(x, [trace["steps"] for trace in traces], marks).clamp_(0, 1).to(batch.dtype)
        return TensorDegraded(lq, batch, marks.mask, traces, self.classes, marks.ignore)


def load(pipe: str | Path | Node, seed: int = 0) -> TensorPipe:
    """A recipe for batches.

    Args:
        pipe: a recipe's name, its file, or a node.
        seed: of everything that is drawn.

    Raises:
        ConfigError: as `million_ird.degrade.load`.
    """
    return TensorPipe(load_recipe(pipe), seed)


def check(batch: Any) -> None:
    """Raises:
    InputError: it is not (B, 3, H, W) floating point in [0, 1].
    """
    if not isinstance(batch, torch.Tensor) or not batch.is_floating_point():
        kind = batch.dtype if isinstance(batch, torch.Tensor) else type(batch).__name__
        raise InputError(f"batch: expected a floating-point tensor, got {kind}")
    if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
        raise InputError(f"batch: expected shape (B, 3, H, W), RGB, got {tuple(batch.shape)}")
    lo, hi = (float(end) for end in torch.aminmax(batch))
    if not (lo >= 0 and hi <= 1):
        raise InputError(f"batch: values must lie in [0, 1], these are from {lo:g} to {hi:g}")
