"""Muon (Jordan et al. 2024) for convolutions: a step of the same length in all directions of a layer's weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_QUINTIC = 3.4445, -4.7750, 2.0315  # of the iteration that takes singular values towards 1
_ROUNDS = 4


class Muon(torch.optim.Optimizer):
    """For weights (out, in, k, k) of layers with batch normalisation behind them, which their length means nothing to:
    it is kept at the square root of `out`.

    `torch.optim.Muon` takes matrices alone.

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
                way = even((weight.grad + momentum * run).flatten(1)).view_as(weight)
                weight.mul_(len(weight) ** 0.5 / weight.norm()).sub_(way, alpha=group["lr"])


def even(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are about 1, by Newton and Schulz."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
