"""Degradation CutMix: differently degraded versions of the same clean picture, composed by region (ABAIR, section 3).

Every branch degrades the whole picture before it is cut, so that blur has its surroundings and haze its whole depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from million_ird.degrade.combine import Nodes, permutation
from million_ird.degrade.dist import (
    Among,
    Between,
    Choice,
    Names,
    Spec,
    check_weights,
    draw,
    draw_name,
    draw_seed,
    draw_whole,
    ends_of,
    pick,
)
from million_ird.degrade.op import Floats, Image, Key, Shape, Step, Tier, to_float, to_uint8
from million_ird.degrade.regions import SHAPES, region_map
from million_ird.degrade.run import Labels, Regional, run
from million_ird.rng import Chance

MAX_REGIONS = 24
DUST = 1e-4
"""Weight below which a region does not reach a pixel: box sums leave about 1e-6 outside of it."""


class CutMix(Regional):
    """Regions of one picture, each degraded in its own way; the clean picture is the same for all."""

    parts: ClassVar = ("branches",)
    tier: ClassVar[Tier] = "versions"

    branches: Nodes
    """What may be done to a region."""
    p: tuple[float, ...] | None = None
    """Weights of the branches; None = all alike."""
    regions: Annotated[Spec, Between(1, MAX_REGIONS, whole=True)] = (2, 4)
    """How many regions are degraded (ignored with `shares`)."""
    untouched: Annotated[Spec, Between(0, 0.95)] = 0.0
    """Share of the area left clean. 0 = the first region is everywhere and the others lie on it."""
    shares: tuple[Annotated[Spec, Between(0.01, 1)], ...] | None = None
    """Share of the area per branch, each branch once, the rest left clean; replaces `regions`, `untouched`, `p`."""
    shapes: Annotated[Names, Among(SHAPES)] = Choice(choice=SHAPES[:5])
    """Shape of the regions of one picture."""
    cell: Annotated[Spec, Between(1, 1024, whole=True)] = 16
    """Side of the cells of "grid", px."""
    feather: Annotated[Spec, Between(0, 32)] = 0
    """Width over which neighbouring regions blend, px; the blended band is reported as `ignore`. 0 = hard edges."""
    distinct: bool = True
    """No branch twice while there are unused ones."""

    def __init__(self, branches: Sequence[Any] = (), **fields: Any) -> None:
        super().__init__(**{"branches": tuple(branches), **fields})

    @model_validator(mode="after")
    def _fits(self) -> CutMix:
        check_weights(self.p, len(self.branches))
        if self.shares is not None:
            if len(self.shares) != len(self.branches):
                raise ValueError(f"shares has {len(self.shares)} values for {len(self.branches)} branches")
            if (least := sum(ends_of(share)[0] for share in self.shares)) > 1 + 1e-9:
                raise ValueError(f"shares add up to {least:g} at least, more than the whole")
        return self

    def plan(self, key: Key, shape: Shape) -> list[Step]:
        rng = key.rng()
        kind = draw_name(self.shapes, rng)
        if self.shares is not None:
            shares = [draw(share, rng) for share in self.shares]
            scale = max(1.0, sum(shares))
            shares = [share / scale for share in shares]
            chosen = list(range(len(self.branches)))
        else:
            count = draw_whole(self.regions, rng)
            weights = [0.5 + rng.random() for _ in range(count)]
            covered = 1 - draw(self.untouched, rng)
            shares = [covered * weight / sum(weights) for weight in weights]
            chosen = self._branches(count, rng)
        params = {
            "shape": kind,
            "shares": _short(shares),
            "seed": draw_seed(rng),
            "cell": draw_whole(self.cell, rng),
            "feather": draw(self.feather, rng),
        }
        branches = [self.branches[index].plan(key.at(index).at(region), shape) for region, index in enumerate(chosen)]
        return [{"op": "CutMix", "v": self.version, "params": params, "branches": branches}]

    def _branches(self, count: int, rng: Chance) -> list[int]:
        """Which branch each region gets."""
        if not self.distinct:
            return [pick(rng, len(self.branches), self.p) for _ in range(count)]
        chosen: list[int] = []
        while len(chosen) < count:
            if self.p is None:
                chosen += permutation(len(self.branches), rng)
                continue
            left = list(self.p)
            while sum(left) > 0:
                index = pick(rng, len(left), left)
                chosen.append(index)
                left[index] = 0
        return chosen[:count]

    @classmethod
    def perform(cls, image: Image, step: Step, labels: Labels, *, rounded: bool) -> Image:
        params = step["params"]
        owner = region_map(image.shape[:2], params["shape"], params["shares"], params["seed"], params["cell"])
        results = []
        for branch in step["branches"]:
            found = labels.nothing()
            results.append((run(image, branch, found, rounded=rounded and params["feather"] == 0), found))
        if params["feather"] > 0:
            return _blend(image, owner, results, params["feather"], labels, rounded)
        clean = image if rounded and image.dtype == np.uint8 else to_float(image)
        # The first region's picture, which is often the largest, is what the others are laid on.
        out = results[0][0].copy()
        for region, (result, found) in enumerate(results, 1):
            where = owner == region
            if region > 1:
                cv2.copyTo(result, where.view(np.uint8), out)
            labels.paste(found, where)
        untouched = owner == 0
        if untouched.any():
            cv2.copyTo(clean, untouched.view(np.uint8), out)
        return out


def _short(shares: Sequence[float]) -> list[float]:
    """Shares in four digits, for the trace; the last takes what rounding gave or took, so that a whole stays whole."""
    short = [round(share, 4) for share in shares[:-1]]
    return [*short, round(sum(shares) - sum(short), 4)]


def weight_of(region: NDArray[np.bool_], feather: float) -> Floats:
    """(H, W) float32: 1 in a region; with a feathered border, its share of the box of `feather` px about each pixel."""
    weight = region.astype(np.float32)
    if feather > 0:
        side = 2 * round(feather) + 1
        weight = np.asarray(cv2.blur(weight, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)
    return weight


def _blend(
    image: Image,
    owner: NDArray[np.uint8],
    results: Sequence[tuple[Image, Labels]],
    feather: float,
    labels: Labels,
    rounded: bool,
) -> Image:
    """Regions whose borders fade into each other over `feather` px on both sides."""
    clean = to_float(image)
    out = clean.copy()
    changed = np.zeros(owner.shape, bool)
    band = np.zeros(owner.shape, bool)
    for region, (result, found) in enumerate(results, 1):
        weight = weight_of(owner == region, feather)
        acts, whole = weight > DUST, weight > 1 - DUST
        out += (to_float(result) - clean) * np.where(acts, weight, 0)[..., None]
        np.copyto(out, to_float(result), where=whole[..., None])
        labels.paste(found, acts)
        band |= acts & ~whole
        changed |= acts
    np.copyto(out, clean, where=~changed[..., None])
    labels.ignored(band)
    return to_uint8(out) if rounded and image.dtype == np.uint8 else out
