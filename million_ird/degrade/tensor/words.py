"""Random words on any device, the same bits as `counter.words16`: Philox4x64-10 (Salmon et al., SC 2011) in int64.

torch has no unsigned 64-bit arithmetic on all devices; int64 has the same bits for sums, products and exclusive ors,
and the upper half of a product is put together from products of 32-bit halves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from million_ird.degrade.counter import words16
from million_ird.rng import key_for

Tensor = torch.Tensor

_HALF = 0xFFFFFFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10


def words(seeds: Sequence[int], count: int, device: torch.device, stream: str = "") -> Tensor:
    """(N, count) int32 in 0 to 65535: `words16` of each seed."""
    if device.type == "cpu":  # numpy's own generator is quicker there
        return torch.from_numpy(np.stack([words16(seed, count, stream) for seed in seeds]).astype(np.int32))
    raw = philox([key_for(seed, stream) for seed in seeds], -(-count // 16), device)
    return raw.view(torch.int16)[:, :count].to(torch.int32) & 0xFFFF


def philox(keys: Sequence[int], blocks: int, device: torch.device) -> Tensor:
    """(N, 4 blocks) int64 with the bits of `np.random.Philox(key=key).random_raw(4 * blocks)` for each 128-bit key."""
    low = torch.tensor([_signed(key) for key in keys], dtype=torch.int64, device=device)[:, None]
    high = torch.tensor([_signed(key >> 64) for key in keys], dtype=torch.int64, device=device)[:, None]
    # numpy counts up before it draws: the first block is number 1.
    a = torch.arange(1, blocks + 1, dtype=torch.int64, device=device)[None, :].expand(len(keys), blocks)
    b = c = d = torch.zeros_like(a)
    for number in range(_ROUNDS):
        k0, k1 = low + _signed(number * _WEYL[0]), high + _signed(number * _WEYL[1])
        high0, low0 = _product(a, _MULTIPLIERS[0])
        high1, low1 = _product(c, _MULTIPLIERS[1])
        a, b, c, d = high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0
    return torch.stack([a, b, c, d], dim=2).reshape(len(keys), 4 * blocks)


def _product(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Upper and lower 64 bits of the unsigned product."""
    x1, x0 = x >> 32 & _HALF, x & _HALF
    f1, f0 = factor >> 32, factor & _HALF
    low, cross0, cross1 = x0 * f0, x0 * f1, x1 * f0
    middle = (low >> 32 & _HALF) + (cross0 & _HALF) + (cross1 & _HALF)
    upper = x1 * f1 + (cross0 >> 32 & _HALF) + (cross1 >> 32 & _HALF) + (middle >> 32 & _HALF)
    return upper, x * _signed(factor)


def _signed(value: int) -> int:
    """The int64 with the lower 64 bits of a number."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
