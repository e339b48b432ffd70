"""The network that sees artefacts: a fixed look at each patch, then learnt layers for all heads together.

What tells how a picture was degraded are statistics that are known beforehand: how strong each frequency of 8 x 8
blocks is, at three scales; how rough the smoothest places are; how much brighter than their surroundings, and how much
darker, things stand out; how light it is. They need no learning, only weighing: minutes instead of hours.

What a JPEG leaves behind after it was saved again are combs: its coefficients lie near multiples of its steps. A comb
is a peak of the characteristic function, the mean of cos(2 pi f c) over coefficients c, at f = 1 / step; these means,
for many f, are what the network is given. They are as cheap as sums: cosines of multiples come of a recursion.

Legend: B pictures, P patches of each, N = B P, K = 63 frequencies of a block.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from million_ird.train.detectors.artefacts.samples import KINDS, WEATHER

BLOCK = 8
"""Side of a block of JPEG, px."""

PITCHES = 48
"""How many frequencies f = 1/96, 2/96 ... 48/96 of the combs are looked at: steps of 2 and more."""

COMBS = tuple((u, v) for u in range(BLOCK) for v in range(BLOCK) if 2 <= u + v <= 4)
"""Rows and columns of the coefficients whose combs are looked at."""

SCALES = 3
"""The patch itself, half of it, a quarter."""

FLOOR, RARE = 0.25, 0.02
"""Added to means before their logarithm, and to the mean weight of a comb before it divides: blocks may be empty."""

CELL = 16
"""Side of the cells of which the smoothest counts, px."""

LUMA = 0.299, 0.587, 0.114
"""Of red, green and blue: JPEG's (BT.601)."""

ROUGH = (1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0)
"""Immerkaer's mask (CVIU 64(2), 1996): blind to ramps and straight edges."""

CALM = 6
"""How many cells of a patch, the smoothest, show its noise."""

DARK, LIGHT = 40.0, 215.0
"""Means of cells beyond which clipping swallows part of strong noise."""

ROUGHNESS = 40.0
"""Of white noise with a sigma of 8, about: the mean of what `ROUGH` answers."""

AROUND = 7
"""Side of the surroundings that things stand out from, px of their scale."""

HEADS = ("noise", "quality", "octaves", "extent", *KINDS, "upscaled", *WEATHER)
"""What the network gives: four numbers in units of `UNITS`, logits of the kinds of blur, logits."""

UNITS = {"noise": 5.0, "quality": 15.0, "octaves": 0.5, "extent": 1.5}
"""What 1 of an output means; errors of 1 weigh alike."""

FEATURES = (BLOCK * BLOCK - 1) * (SCALES + 1) + 4 * SCALES + 3 * (2 + 4) + 4
"""Numbers that `look` gives for a patch; the combs are apart."""

WIDE, COMB_WIDE = 64, 32


class Estimator(nn.Module):
    """What `look` sees, (B, P, FEATURES) and `combs` (B, P, combs * pitches) of patches -> (B, heads).

    Features are centred and scaled by `middle` and `spread`, which are set before training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.combs = nn.Linear(len(COMBS) * PITCHES, COMB_WIDE)
        self.hidden = nn.Linear(3 * FEATURES + COMB_WIDE, WIDE)
        self.second = nn.Linear(WIDE, WIDE)
        self.rows = nn.Linear(WIDE, len(HEADS))
        self.middle: Tensor
        self.spread: Tensor
        self.register_buffer("middle", torch.zeros(3 * FEATURES))
        self.register_buffer("spread", torch.ones(3 * FEATURES))

    def forward(self, seen: Tensor, combs: Tensor) -> Tensor:
        teeth = F.relu(self.combs(combs.mean(1)))
        x = torch.cat([(pooled(seen) - self.middle) / self.spread, teeth], 1)
        x = F.relu(self.hidden(x))
        return self.rows(F.relu(self.second(x)))


def pooled(seen: Tensor) -> Tensor:
    """(B, P, FEATURES) -> (B, 3 FEATURES): mean, least and most over the patches of a picture."""
    return torch.cat([seen.mean(1), seen.amin(1), seen.amax(1)], 1)


@torch.no_grad()
def look(patches: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P, 3, 96, 96) uint8 -> (B, P, FEATURES) and (B, P, combs * pitches)."""
    shape = patches.shape[:2]
    x = patches.flatten(0, 1).float()
    luma = torch.einsum("nchw,c->nhw", x, torch.tensor(LUMA))[:, None]
    found, planes = [], [luma]
    for _ in range(SCALES - 1):
        planes.append(F.avg_pool2d(planes[-1], 2))
    coefficients = [F.conv2d(plane, transform(), stride=BLOCK).flatten(2) for plane in planes]
    found += [logarithm(part.square()) for part in coefficients]
    found.append(logarithm(coefficients[0].abs()))
    for plane in planes:
        beyond = (plane - F.avg_pool2d(plane, AROUND, 1, AROUND // 2, count_include_pad=False)).flatten(2)
        up, down = F.relu(beyond), F.relu(-beyond)
        found += [logarithm(part) for part in (up, down, up.square(), down.square())]
    # Curved along rows, then along columns: `ROUGH`, and quicker than a convolution of single planes.
    rough = x[:, :, :, 2:] - 2 * x[:, :, :, 1:-1] + x[:, :, :, :-2]
    rough = (rough[:, :, 2:] - 2 * rough[:, :, 1:-1] + rough[:, :, :-2]).abs()
    cells = F.avg_pool2d(rough, CELL).flatten(2)
    found += [torch.log(cells.amin(2) + FLOOR), torch.log(cells.mean(2) + FLOOR)]
    found += calm(cells, F.avg_pool2d(x[:, :, 1:-1, 1:-1], CELL).flatten(2))
    found += [x.mean((2, 3)) / 64, x.amin(1).mean((1, 2))[:, None] / 64]
    return torch.cat(found, 1).unflatten(0, shape), teeth(coefficients[0]).unflatten(0, shape)


def calm(cells: Tensor, level: Tensor) -> list[Tensor]:
    """How rough the smoothest cells are, and the smoothest of those that are neither dark nor light: (N, C) each, as
    multiples of `ROUGHNESS` and as logarithms.

    Args:
        cells: how rough each is, (N, C, cells).
        level: their means, (N, C, cells), grey levels.
    """
    clipped = F.relu(DARK - level) + F.relu(level - LIGHT)
    found = []
    for part in (cells, cells + clipped):
        least = part.topk(CALM, 2, largest=False).values
        found += [least.mean(2) / ROUGHNESS, logarithm(least)]
    return found


def logarithm(part: Tensor) -> Tensor:
    """Of the mean over the last axis."""
    return torch.log(part.mean(2) + FLOOR)


def teeth(coefficients: Tensor) -> Tensor:
    """(N, K, blocks) -> (N, combs * pitches): characteristic functions of some, weighed so that zeros don't count."""
    chosen = coefficients[:, [u * BLOCK + v - 1 for u, v in COMBS]]
    weight = chosen.square() / (chosen.square() + 1)
    once = torch.cos(chosen * (math.pi / PITCHES))
    before, now, twice = weight, weight * once, 2 * once
    means = []
    total = weight.mean(2) + RARE
    for _ in range(PITCHES):
        means.append(now.mean(2) / total)
        before, now = now, twice * now - before
    return torch.cat(means, 1)


def transform() -> Tensor:
    """(K, 1, 8, 8): the discrete cosine transform, orthonormal as JPEG's, without the mean of the block."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * k + 1) * k[:, None] / (2 * BLOCK)) * (2 / BLOCK) ** 0.5
    basis[0] /= 2**0.5
    return torch.einsum("ui,vj->uvij", basis, basis).flatten(0, 1)[1:, None].float()
