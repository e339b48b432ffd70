"""Muon for convolutions with batch normalisation behind them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from million_ird.train.muon import even

_ROUNDS = 4


class Normed(torch.optim.Optimizer):
    """For weights (out, in, k, k) whose length means nothing, as what they give is normalised: it is kept at the square
    root of `out`.

    Args:
        weights: of convolutions.
        lr: of a weight's length, taken in one step.
        momentum: Nesterov's.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, momentum: float = 0.9) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                state, momentum = self.state[weight], group["momentum"]
                run = state.setdefault("run", torch.zeros_like(weight))
                run.mul_(momentum).add_(weight.grad)
                way = even((weight.grad + momentum * run).flatten(1), _ROUNDS).view_as(weight)
                weight.mul_(len(weight) ** 0.5 / weight.norm()).sub_(way, alpha=group["lr"])
