"""Muon (Jordan et al. 2024): a step of the same length in every direction of a weight matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 8
"""Smaller matrices (of adapters, of what reads or writes three colours) are left to AdamW."""

_QUINTIC = 3.4445, -4.7750, 2.0315  # of the iteration that takes singular values towards 1


class Muon(torch.optim.AdamW):
    """Muon for matrices and full convolutions, AdamW for all else.

    A step changes a matrix of m x n by lr 0.2 sqrt(max(m, n)) on the scale of its singular values, as much as AdamW
    does (Liu et al. 2025, section 2.2), so that one learning rate serves both. `torch.optim.Muon` takes no convolution.

    Args:
        groups: mappings with "params", as any optimiser takes them.
        momentum: Nesterov's, of the matrices.
        settings: of AdamW; learning rate and weight decay hold for both.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], momentum: float = 0.95, **settings: Any) -> None:
        self.momentum = momentum
        split = []
        for group in groups:
            weights = list(group["params"])
            for matrices in (True, False):
                part = [weight for weight in weights if is_matrix(weight) == matrices]
                split += [{**group, "params": part, "matrices": matrices}] if part else []
        super().__init__(split, **settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["matrices"]]
            if self.param_groups:
                super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                self._step(group)

    def _step(self, group: Mapping[str, Any]) -> None:
        ways: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is None:
                continue
            # Under AdamW's name: checkpoints know that one.
            run = self.state[weight].setdefault("exp_avg", torch.zeros_like(weight))
            run.lerp_(weight.grad, 1 - self.momentum)
            way = weight.grad.lerp(run, self.momentum).flatten(1)
            ways[way.shape[0], way.shape[1]].append((weight, way))
        for shape, found in ways.items():  # those of a shape together: many small products cost more than few
            for (weight, _), way in zip(found, even(torch.stack([way for _, way in found])), strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(way.view_as(weight), alpha=group["lr"] * 0.2 * max(shape) ** 0.5)


def is_matrix(weight: Tensor) -> bool:
    """Whether all its inputs meet all its outputs, and both are many: no depthwise filter, no bias, no temperature."""
    full = weight.ndim == 2 or (weight.ndim == 4 and weight.shape[1] > 1)
    return full and min(len(weight), weight[0].numel()) >= LEAST


def even(matrices: Tensor, rounds: int = 5) -> Tensor:
    """(..., m, n) -> nearly the nearest matrices whose singular values are all 1 (they come out at 0.7 to 1.2), by
    Newton's and Schulz' iteration."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(rounds):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
