"""Steps of many samples at once: whatever samples have the same op before them take it together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from million_ird.degrade.cutmix import DUST, weight_of
from million_ird.degrade.op import Step
from million_ird.degrade.regions import region_map
from million_ird.degrade.run import Labels, op_of
from million_ird.degrade.run import run as run_on_cpu
from million_ird.degrade.tensor import filters, jpeg, noise, scene
from million_ird.degrade.tensor.words import Tensor

_OPS: dict[str, Any] = {
    "GaussianNoise": noise.gaussian,
    "UniformNoise": noise.uniform,
    "SpeckleNoise": noise.speckle,
    "ImpulseNoise": noise.impulse,
    "PoissonGaussianNoise": noise.poisson_gaussian,
    "PoissonNoise": noise.poisson,
    "JPEG": jpeg.jpeg,
    "Mask": scene.mask,
    "Rain": scene.rain,
    "Haze": scene.haze,
    "LowLight": filters.lowlight,
}
_BLURS = ("GaussianBlur", "MotionBlur", "DefocusBlur", "Ringing")

NATIVE = (*_OPS, *_BLURS, "CutMix")
"""Ops that run on the device; any other goes by way of the CPU, sample by sample."""


@dataclass
class Marks:
    """Labels of N samples.

    Attributes:
        bits: class -> bit number.
        mask: (N, H, W) int32.
        ignore: (N, H, W) bool.
    """

    bits: Mapping[str, int]
    mask: Tensor
    ignore: Tensor

    @classmethod
    def none(cls, bits: Mapping[str, int], x: Tensor) -> Marks:
        """For the samples of (N, 3, H, W), with nothing set."""
        shape = (x.shape[0], *x.shape[2:])
        mask, ignore = (torch.zeros(shape, dtype=dtype, device=x.device) for dtype in (torch.int32, torch.bool))
        return cls(bits, mask, ignore)


def run(x: Tensor, steps: Sequence[Sequence[Step]], marks: Marks) -> Tensor:
    """Take each sample's steps in their order.

    Args:
        x: (N, 3, H, W) float32.
        steps: of each sample.
        marks: written to.

    Returns:
        A new (N, 3, H, W), not clipped.
    """
    x = x.clone()
    done = [0] * len(steps)
    while waiting := [i for i, todo in enumerate(steps) if done[i] < len(todo)]:
        # The op that most wait for; the others may be joined by more until their turn comes.
        name = Counter(steps[i][done[i]]["op"] for i in waiting).most_common(1)[0][0]
        which = [i for i in waiting if steps[i][done[i]]["op"] == name]
        _take(name, x, which, [steps[i][done[i]] for i in which], marks)
        for i in which:
            done[i] += 1
    return x


def _take(name: str, x: Tensor, which: list[int], steps: list[Step], marks: Marks) -> None:
    """One op on some of the samples, in place."""
    op = op_of(steps[0])
    if name == "CutMix":
        _cutmix(x, which, steps, marks)
        return
    native = partial(filters.blur, op=op) if name in _BLURS else _OPS.get(name)
    if native is None:
        for i, step in zip(which, steps, strict=True):
            _on_cpu(x, i, step, marks)
        return
    x[which], support = native(x[which], [step["params"] for step in steps])
    bits = torch.tensor([1 << marks.bits[step["class"]] for step in steps], dtype=torch.int32, device=x.device)
    bits = bits.view(-1, 1, 1)
    marks.mask[which] |= bits if support is None else bits * support


def _on_cpu(x: Tensor, i: int, step: Step, marks: Marks) -> None:
    image = np.ascontiguousarray(x[i].permute(1, 2, 0).cpu().numpy())
    labels = Labels.of(marks.bits, image.shape, False)
    out = run_on_cpu(image, [step], labels)
    x[i] = torch.from_numpy(np.ascontiguousarray(out)).to(x.device).permute(2, 0, 1)
    marks.mask[i] |= torch.from_numpy(labels.mask.astype(np.int32)).to(x.device)
    if labels.ignore is not None:
        marks.ignore[i] |= torch.from_numpy(labels.ignore).to(x.device)


def _cutmix(x: Tensor, which: list[int], steps: list[Step], marks: Marks) -> None:
    """All branches of all samples in one batch, then each region from its branch."""
    shape = (x.shape[2], x.shape[3])
    maps = []
    for step in steps:
        p = step["params"]
        maps.append(region_map(shape, p["shape"], p["shares"], p["seed"], p["cell"]))
    lanes = [(at, region) for at, step in enumerate(steps) for region in range(len(step["branches"]))]
    clean = x[which]
    inner = Marks.none(marks.bits, clean[[at for at, _ in lanes]])
    results = run(clean[[at for at, _ in lanes]], [steps[at]["branches"][region] for at, region in lanes], inner)
    out = clean.clone()
    for region in sorted({region for _, region in lanes}):
        of = [lane for lane, (_, other) in enumerate(lanes) if other == region]
        at = [lanes[lane][0] for lane in of]
        samples = [which[i] for i in at]
        weight = scene.uploaded([weight_of(maps[i] == region + 1, steps[i]["params"]["feather"]) for i in at], x)
        where, whole = weight > DUST, weight > 1 - DUST
        blended = out[at] + (results[of] - clean[at]) * torch.where(where, weight, 0)[:, None]
        out[at] = torch.where(whole[:, None], results[of], torch.where(where[:, None], blended, out[at]))
        marks.mask[samples] |= inner.mask[of] * where
        marks.ignore[samples] |= inner.ignore[of] & where | where & ~whole
    x[which] = out
