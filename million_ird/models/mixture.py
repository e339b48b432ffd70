"""How much of which adapter, and the layers whose weight follows from it.

Legend: B images, N adapters, D outputs of a layer.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from million_ird.errors import ConfigError
from million_ird.models.layers import Conv, Pointwise
from million_ird.models.lowrank import AdapterConfig

AUTO = "auto"

Amounts = list[tuple[str, float | Tensor]]
"""Adapters that are not at 0, in the order of adding; a number, or a tensor () or (B,)."""


class Mixture:
    """One for a network, known to all its adapted layers."""

    def __init__(self) -> None:
        self.configs: dict[str, AdapterConfig] = {}  # in the order of adding
        self.asked: Any = {}  # as the user wrote it
        self.active: Amounts = []
        self.merged = False  # the weights hold it
        self.settled = False  # "auto" has decided
        self.cache: dict[AdaptedLayer, Tensor] | None = None  # of the forward pass that is running

    def weight(self, layer: AdaptedLayer) -> Tensor:
        """(D, ...), or (B, D, ...) where images differ. Made once in a forward pass that asks for no gradient.

        With gradients a layer that is used twice makes it twice: a checkpointed block must save the same tensors when
        it is run again, and the products are small.
        """
        if self.merged or not any(name in layer.deltas for name, _ in self.active):
            return layer.base
        if self.cache is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._make(layer)
        if layer not in self.cache:
            self.cache[layer] = self._make(layer)
        return self.cache[layer]

    def _make(self, layer: AdaptedLayer) -> Tensor:
        """Base + sum of a_i dW_i, term by term in the order of adding, so that a later adapter at 0 changes no bit."""
        weight: Tensor = layer.base
        for name, amount in self.active:
            if name in layer.deltas:
                delta = layer.deltas[name]()
                if isinstance(amount, Tensor):
                    amount = amount.to(delta).view(*amount.shape, *[1] * delta.ndim)
                weight = weight + amount * delta
        return weight

    def known(self, name: str) -> str:
        """The name; ConfigError if no adapter has it."""
        if name not in self.configs:
            near = difflib.get_close_matches(str(name), self.configs, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.configs) or 'none'}"
            raise ConfigError(f"adapter {name}: unknown; {hint}")
        return name

    def resolve(self, value: Any) -> Amounts:
        """What a user asks for, checked; see `Adaptable.adapters`.

        Raises:
            ConfigError: an unknown name, a number that is none, a tensor that does not fit.
        """
        names = list(self.configs)
        if value is None:
            return []
        if isinstance(value, str):
            value = parse(value)
        if isinstance(value, Mapping):
            amounts = {self.known(name): _number(name, amount) for name, amount in value.items()}
            return [(name, amounts[name]) for name in names if amounts.get(name)]
        if isinstance(value, Sequence):
            rows = [dict(self.resolve(row)) for row in value]
            value = torch.tensor([[row.get(name, 0.0) for name in names] for row in rows])
        if not isinstance(value, Tensor) or value.ndim not in (1, 2) or value.shape[-1] != len(names):
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"adapters: expected names and numbers or a tensor (B, {len(names)}), got {found}")
        return _columns(names, value)

    def fits(self, batch: int) -> None:
        """ConfigError if there are amounts per image for another number of images."""
        for _, amount in self.active:
            if isinstance(amount, Tensor) and amount.ndim and len(amount) != batch:
                raise ConfigError(f"adapters: amounts for {len(amount)} images, but a batch of {batch}")


def parse(text: str) -> dict[str, float]:
    """ "rain" -> {"rain": 1.0}; "rain:0.7,haze:0.3" -> {"rain": 0.7, "haze": 0.3}."""
    amounts = {}
    for part in text.split(","):
        name, colon, amount = part.strip().partition(":")
        amounts[name] = _number(name, amount) if colon else 1.0
    return amounts


def _number(name: str, amount: Any) -> float:
    try:
        number = float(amount)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"adapter {name}: expected a number, got {amount!r}")
    return number


def _columns(names: list[str], amounts: Tensor) -> Amounts:
    """Amounts (N,) or (B, N) by name: plain numbers where all images share them and no gradient is asked for."""
    if amounts.ndim == 2 and len(amounts) == 1:
        amounts = amounts[0]
    if not amounts.requires_grad:
        if amounts.ndim == 2 and bool((amounts == amounts[:1]).all()):
            amounts = amounts[0]
        if amounts.ndim == 1:
            return [(name, amount) for name, amount in zip(names, amounts.tolist(), strict=True) if amount]
        return [(name, column) for name, column in zip(names, amounts.unbind(-1), strict=True) if column.any()]
    return list(zip(names, amounts.unbind(-1), strict=True))


class AdaptedLayer(nn.Module):
    """A layer whose `weight` is its own (`base`) and what the adapters add; its parameters keep their names."""

    mixture: Mixture
    deltas: nn.ModuleDict
    aside: Tensor | None
    """The base weight while another is in its place."""

    @property
    def base(self) -> nn.Parameter:
        return self._parameters["weight"]  # type: ignore[return-value]

    @property
    def weight(self) -> Tensor:
        return self.mixture.weight(self)


@cache
def _adapted(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (AdaptedLayer, kind), {"__module__": kind.__module__})


def adapt(layer: nn.Module, mixture: Mixture) -> AdaptedLayer:
    """Make a `Pointwise` or `Conv` (or a kind of these) an `AdaptedLayer`, in place."""
    if not isinstance(layer, AdaptedLayer):
        if not isinstance(layer, (Conv, Pointwise)):
            raise TypeError(f"{type(layer).__name__} takes no adapters")
        layer.__class__ = _adapted(type(layer))  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(layer, AdaptedLayer)
        layer.deltas, layer.mixture, layer.aside = nn.ModuleDict(), mixture, None
    return layer
