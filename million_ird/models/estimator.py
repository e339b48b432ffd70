"""Which adapters an image needs, seen from the image alone.

Legend: B images, H rows, W columns, C channels, N adapters, P patches per image.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mode = Literal["oh", "sw", "sum", "average"]
"""oh: all of the best; sw: by probability; sum: all of each; average: 1 / N of each."""

MODES: tuple[Mode, ...] = get_args(Mode)

SIDE = 256
"""Patches are of at most this many rows and columns."""

ACROSS = 3
"""At most so many patches across and down, spread evenly."""


def amounts(logits: Tensor, mode: Mode) -> Tensor:
    """How much of each adapter: logits (B, N) -> (B, N)."""
    if mode == "oh":
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    if mode == "sw":
        return torch.softmax(logits, -1)
    return torch.full_like(logits, 1.0 if mode == "sum" else 1 / logits.shape[-1])


def patches(image: Tensor) -> list[Tensor]:
    """What the estimator reads of images (B, C, H, W): the whole of a small one, else up to 3 x 3 patches (B, C, h, w).

    Never a smaller copy: to shrink an image is to average its noise, its streaks and its blocks away.
    """
    rows, columns = _starts(image.shape[-2]), _starts(image.shape[-1])
    return [image[..., top : top + SIDE, left : left + SIDE] for top in rows for left in columns]


def _starts(length: int) -> list[int]:
    count = min(math.ceil(length / SIDE), ACROSS)
    return [round(i * (length - SIDE) / (count - 1)) for i in range(count)] if count > 1 else [0]


class Residual(nn.Module):
    """x + 1x1(gelu(1x1(norm(depthwise 3x3 x)))), four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm = nn.GroupNorm(1, dim)
        self.widen = nn.Conv2d(dim, 4 * dim, 1)
        self.narrow = nn.Conv2d(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))


def _halve(width: int, first: bool) -> nn.Module:
    """A 3x3 convolution of stride 2: from the image, or channel by channel from half as many."""
    if first:
        return nn.Conv2d(3, width, 3, stride=2, padding=1)
    half = width // 2
    return nn.Sequential(nn.Conv2d(half, width, 3, stride=2, padding=1, groups=half), nn.Conv2d(width, width, 1))


def _spread(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C): the natural logarithm of the standard deviation over pixels; of flat channels -5.8."""
    return 0.5 * torch.log(x.float().var((2, 3), correction=0) + 1e-5).to(x.dtype)


class Estimator(nn.Module):
    """Four stages, each at half the size and twice the channels; of every channel of each stage the mean and the spread
    over pixels; one row per adapter.

    Spreads, since noise, streaks and blur leave the means as they are: from means alone it learns haze and darkness
    soon, the others hardly.
    Nothing between image and rows is normalised but inside the residual branches: how dark an image is must arrive.
    Rows are computed one by one, so that a new adapter leaves the logits of the others as they are to the last bit.

    Args:
        dim: channels of the first stage.
        depths: residual blocks of each stage.
    """

    def __init__(self, dim: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        widths = [dim * 2**stage for stage in range(len(depths))]
        self.stages = nn.ModuleList(
            nn.Sequential(_halve(width, first=stage == 0), *(Residual(width) for _ in range(depth)))
            for stage, (width, depth) in enumerate(zip(widths, depths, strict=True))
        )
        self.width = 2 * sum(widths)
        self.rows = nn.ModuleDict()

    @property
    def names(self) -> list[str]:
        """Adapters, in the order of the logits."""
        return list(self.rows)

    def add(self, name: str) -> None:
        """One adapter more."""
        self.rows[name] = nn.Linear(self.width, 1).to(next(self.parameters()))

    def remove(self, name: str) -> None:
        """One adapter less."""
        del self.rows[name]

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, H, W), nominally in [0, 1], -> (B, C): of each channel the mean and the logarithm of the standard
        deviation over a patch's pixels, and of these the means over all patches."""
        parts = []
        for x in patches(image - 0.5):
            found = []
            for stage in self.stages:
                x = stage(x)
                found += [x.mean((2, 3)), _spread(x)]
            parts.append(torch.cat(found, 1))
        return torch.stack(parts).mean(0)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W), any H and W, -> logits (B, N)."""
        x = self.features(image)
        return torch.cat([row(x) for row in self.rows.values()], 1)
