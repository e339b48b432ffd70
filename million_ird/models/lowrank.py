"""Low-rank changes of weights: what one adapter adds to one layer.

Legend: D outputs, C inputs (of one group), k rows and columns of the kernel (none for a 1x1 layer), r rank.
What an adapter adds to a weight is a product of small matrices, zero at start:

    lora        D k x r  by  r x C k           LoRA (arXiv 2106.09685); for a kernel, a convolution along rows to r
                                               channels and one along columns back
    conv_lora   D x r    by  r x C k k         a k x k convolution to r channels, then 1x1 back
    vera        b * (D x r) by d * (r x C k k) VeRA (arXiv 2310.11454): only the vectors b and d learn, the matrices are
                                               random numbers that all layers share

On 1x1 layers the first two are one and the same. Depthwise layers (C = 1) share the second matrix among channels.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from million_ird.config import Config
from million_ird.rng import rng_for

VERA_START = 0.1
"""What VeRA's vector d is at start (the paper's choice)."""


class AdapterConfig(Config):
    """One adapter."""

    kind: Literal["lora", "vera", "conv_lora"] = "lora"
    """lora | vera | conv_lora."""
    rank: int = Field(default=4, ge=1)
    """Inner width r of the products."""
    alpha: float | None = None
    """The products are multiplied by alpha / rank; none = by 1."""
    targets: tuple[str, ...] = ("*",)
    """Which layers, by patterns (`*`, `?`) of their names: "*.attn.qkv", "decoder.*"."""
    depthwise: bool = False
    """Take the depthwise convolutions that the patterns name, too."""
    seed: int = 0
    """Of VeRA's shared random matrices, which are not stored."""

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank


class Delta(nn.Module):
    """The change that one adapter makes to one weight: calling it gives a tensor of the weight's shape."""

    def __init__(self, like: Tensor, config: AdapterConfig) -> None:
        super().__init__()
        self.shape = tuple(like.shape)
        self.scale = config.scale
        self.build(config.rank, like.shape[0], like.shape[1], like.shape[2] if like.ndim > 2 else 1)
        self.to(device=like.device, dtype=like.dtype)

    def build(self, rank: int, out: int, inner: int, kernel: int) -> None:
        raise NotImplementedError

    def product(self) -> Tensor:
        raise NotImplementedError

    def forward(self) -> Tensor:
        """(D, C) or (D, C, k, k), in the parameters' type even under autocast: rounding would fall on the base too."""
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return self.product() * self.scale


class LoRA(Delta):
    def build(self, rank: int, out: int, inner: int, kernel: int) -> None:
        self.kernel = kernel
        self.down = nn.Parameter(_kaiming(rank, inner * kernel))
        self.up = nn.Parameter(torch.zeros(out * kernel, rank))

    def product(self) -> Tensor:
        product = self.up @ self.down
        if len(self.shape) == 2:
            return product
        return product.view(self.shape[0], self.kernel, self.shape[1], self.kernel).transpose(1, 2)


class ConvLoRA(Delta):
    def build(self, rank: int, out: int, inner: int, kernel: int) -> None:
        self.down = nn.Parameter(_kaiming(rank, inner * kernel * kernel))
        self.up = nn.Parameter(torch.zeros(out, rank))

    def product(self) -> Tensor:
        return (self.up @ self.down).view(self.shape)


class VeRA(Delta):
    matrix_down: Tensor
    matrix_up: Tensor

    def __init__(self, like: Tensor, config: AdapterConfig) -> None:
        self.seed = config.seed
        super().__init__(like, config)

    def build(self, rank: int, out: int, inner: int, kernel: int) -> None:
        fan = inner * kernel * kernel
        down = _shared(self.seed, "down", rank, fan).t() * math.sqrt(3 / fan)
        self.register_buffer("matrix_down", down.contiguous(), persistent=False)  # (r, C k k), variance 1 / (C k k)
        up = _shared(self.seed, "up", rank, out) * math.sqrt(3 / rank)
        self.register_buffer("matrix_up", up, persistent=False)  # (D, r), variance 1 / r
        self.down = nn.Parameter(torch.full((rank,), VERA_START))
        self.up = nn.Parameter(torch.zeros(out))

    def product(self) -> Tensor:
        up, down = self.up.unsqueeze(1) * self.matrix_up, self.down.unsqueeze(1) * self.matrix_down
        return (up @ down).view(self.shape)


DELTAS: dict[str, type[Delta]] = {"lora": LoRA, "vera": VeRA, "conv_lora": ConvLoRA}


def _kaiming(rows: int, columns: int) -> Tensor:
    return nn.init.kaiming_uniform_(torch.empty(rows, columns), a=math.sqrt(5))


def _shared(seed: int, side: str, rank: int, length: int) -> Tensor:
    """(length, rank) in [-1, 1), the first rows of one endless matrix: so layers of all sizes share it."""
    values = rng_for(seed, "vera", side, rank).random((length, rank))
    return torch.from_numpy(values * 2 - 1).float()
