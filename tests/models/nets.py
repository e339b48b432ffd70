"""Little networks with adapters, which several files of tests look at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from million_ird import models
from million_ird.models import adapters
from million_ird.models.layers import Conv, Pointwise
from million_ird.models.lowrank import DELTAS, AdapterConfig

KINDS = tuple(DELTAS)

RAIN = AdapterConfig(rank=2)

LITTLE: dict[str, Any] = {
    "dim": 4,
    "depths": (2, 2, 2, 2),
    "heads": (1, 1, 2, 2),
    "refinement": 2,
    "prompt_sizes": (4, 2, 2),
    "estimator_dim": 4,
    "estimator_depths": (1, 1, 1, 1),
}


def little(*names: str, **sizes: Any) -> Any:
    """A little Abair, with adapters that change something."""
    torch.manual_seed(0)
    net = models.create("abair-tiny", **{**LITTLE, **sizes}).eval()
    for name in names:
        net.add_adapter(name, AdapterConfig(rank=2))
        with torch.no_grad():
            for tensor in net.adapter_parameters(name).values():
                tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return net


class Small(nn.Module):
    """Each kind of layer once, and one that is applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = Conv(3, 8)
        self.deep = Conv(8, 8, groups=8)
        self.mix = Pointwise(8, 8, bias=True)
        self.output = Conv(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.output(self.mix(self.deep(self.mix(x))))


def small(*names: str, trained: bool = True, **config: Any) -> Any:
    """A `Small` with adapters that change something."""
    torch.manual_seed(0)
    net = adapters.attach(Small())
    for name in names:
        net.add_adapter(name, AdapterConfig(rank=2, **config))
        if trained:
            train(net, name)
    return net.eval()


def train(net: Any, name: str) -> None:
    """What training would do: other numbers in each tensor of an adapter."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    with torch.no_grad():
        for tensor in net.adapter_parameters(name).values():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
