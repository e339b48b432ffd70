"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def start(learning: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies to average in, float32."""
    return {name: tensor.detach().float().clone() for name, tensor in learning.items()}


@torch.no_grad()
def update(ema: Mapping[str, Tensor], learning: Mapping[str, Tensor], decay: float, updates: int) -> None:
    """One step: ema += (1 - d) (weights - ema), with d = min(decay, (1 + n) / (10 + n)) after n updates, so that the
    first random weights are soon forgotten."""
    d = min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        [ema[name] for name in learning], [tensor.detach().float() for tensor in learning.values()], 1 - d
    )


@contextmanager
def worn(ema: Mapping[str, Tensor], learning: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Within, the network has its averaged weights; nothing happens where there is no average."""
    if not ema:
        yield
        return
    aside = {name: tensor.detach().clone() for name, tensor in learning.items()}
    with torch.no_grad():
        for name, tensor in learning.items():
            tensor.copy_(ema[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in learning.items():
                tensor.copy_(aside[name])
