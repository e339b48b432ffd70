"""Noise on a device: the arithmetic of `noise` and `poisson`, step by step in float32, for the same bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from million_ird.degrade.counter import SCALE, STEPS, normal_table
from million_ird.degrade.noise import mixing
from million_ird.degrade.op import Params
from million_ird.degrade.poisson import residuals
from million_ird.degrade.tensor.words import Tensor, words

Result = tuple[Tensor, Tensor | None]
"""(N, 3, H, W) float32, and (N, H, W) bool where it can have changed; None = everywhere."""


def gaussian(x: Tensor, params: Sequence[Params]) -> Result:
    """GaussianNoise, all kinds."""
    parts = {kind: [i for i, p in enumerate(params) if p["kind"] == kind] for kind in ("colour", "grey", "correlated")}
    out = torch.empty_like(x)
    for kind, which in parts.items():
        if which:
            chosen, some = x[which], [params[i] for i in which]
            noise = _levels(_KINDS[kind](chosen, some), column(some, "sigma", x))
            out[which] = noise * (1 / 255) + chosen
    return out, None


def speckle(x: Tensor, params: Sequence[Params]) -> Result:
    """SpeckleNoise."""
    noise = _levels(_colour(x, params), x * 255 * column(params, "sigma", x))
    return x + noise * (1 / 255), None


def uniform(x: Tensor, params: Sequence[Params]) -> Result:
    """UniformNoise."""
    units = (_pixels(x, params, 3) >> 1) - 16384
    sigma = column([{"sigma": p["amplitude"] * SCALE / 16384} for p in params], "sigma", x)
    return _levels(units.float(), sigma) * (1 / 255) + x, None


def impulse(x: Tensor, params: Sequence[Params]) -> Result:
    """ImpulseNoise."""
    hit = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    salt = torch.zeros_like(hit)
    for i, p in enumerate(params):
        drawn = _pixels(x[i : i + 1], [p], 1 if p["per"] == "pixel" else 3)[0]
        # Whole numbers are below a bound where they are below the next whole number.
        hit[i] = drawn < math.ceil(p["amount"] * 65536)
        salt[i] = drawn < math.ceil(p["amount"] * p["salt"] * 65536)
    return torch.where(hit, salt.to(x.dtype), x), hit.any(dim=1)


def poisson_gaussian(x: Tensor, params: Sequence[Params]) -> Result:
    """PoissonGaussianNoise."""
    variance = x.clamp(min=0) * column(params, "shot", x) + column(params, "read", x)
    return x + _levels(_colour(x, params), root(variance) * 255) * (1 / 255), None


def poisson(x: Tensor, params: Sequence[Params]) -> Result:
    """PoissonNoise, by the same tables."""
    levels = (x * 255 + 0.5).floor().clamp(0, 255).to(torch.int32)
    index = levels << 12 | _pixels(x, params, 3) >> 4
    noise = torch.empty_like(x)
    for i, p in enumerate(params):
        noise[i] = _residuals(p["peak"], p["space"], x.device).take(index[i].long())
    return x + noise * (1 / 255), None


def column(params: Sequence[Params], name: str, x: Tensor) -> Tensor:
    """(N, 1, 1, 1) float32: a parameter of each sample."""
    return torch.tensor([p[name] for p in params], dtype=torch.float32, device=x.device).view(-1, 1, 1, 1)


def root(x: Tensor) -> Tensor:
    """Square root, rounded correctly as everywhere else (torch's own may be off by the last bit)."""
    return x.sqrt() if x.device.type == "mps" else x.double().sqrt().float()


def normal(x: Tensor, params: Sequence[Params]) -> Tensor:
    """(N, 3, H, W) float32, N(0, 1)."""
    return _colour(x, params) * (1 / SCALE)


def _colour(x: Tensor, params: Sequence[Params]) -> Tensor:
    return _table(x.device)[_pixels(x, params, 3)]


def _grey(x: Tensor, params: Sequence[Params]) -> Tensor:
    return _table(x.device)[_pixels(x, params, 1)].expand(x.shape)


def _correlated(x: Tensor, params: Sequence[Params]) -> Tensor:
    units = _colour(x, params).to(torch.int32)
    matrices = torch.from_numpy(np.stack([mixing(p["seed"]) for p in params])).to(x.device)
    mixed = sum(units[:, k, None] * matrices[:, k, :, None, None] for k in range(3))
    return (torch.as_tensor(mixed) >> 10).float()


_KINDS: dict[str, Any] = {"colour": _colour, "grey": _grey, "correlated": _correlated}


def _pixels(x: Tensor, params: Sequence[Params], channels: int) -> Tensor:
    """(N, channels, H, W) int32 random words; a pixel's channels lie side by side in their order."""
    height, width = x.shape[2:]
    drawn = words([p["seed"] for p in params], height * width * channels, x.device)
    return drawn.view(len(params), height, width, channels).permute(0, 3, 1, 2)


def _levels(units: Tensor, sigma: Tensor) -> Tensor:
    """`counter.level_noise`."""
    return ((units * (sigma * (STEPS / SCALE))).floor() + 0.5) * (1 / STEPS)


@lru_cache(maxsize=8)
def _table(device: torch.device) -> Tensor:
    return torch.from_numpy(normal_table().astype(np.float32)).to(device)


@lru_cache(maxsize=16)
def _residuals(peak: float, space: str, device: torch.device) -> Tensor:
    return torch.from_numpy(residuals(peak, space)).to(device)
