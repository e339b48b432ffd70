"""DyNet's training: one variant is drawn for each step, and all share what they learn (arXiv 2404.02154)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from million_ird.errors import ConfigError
from million_ird.rng import rng_for
from million_ird.train.settings import TrainConfig
from million_ird.train.stage import Stage


class DyNetTraining(Stage):
    """Pre-training and fine-tuning differ in their data and rates alone.

    A network without variants (Restormer, PromptIR) is trained as it is, for comparison.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self._shares = config.dynet.variants
        if not self._shares or min(self._shares.values()) < 0 or not sum(self._shares.values()):
            raise ConfigError(f"dynet.variants: expected probabilities of variants, got {self._shares}")

    def prepare(self, net: Any) -> nn.Module:
        """The network; of an ABAIR's parts only those that restore."""
        if getattr(net, "head", None) is not None:
            net.remove_head()
        if getattr(net, "adapter_names", None):
            raise ConfigError("init: the network has adapters, which `mird train abair` trains; name its base")
        if hasattr(net, "variant"):
            for name in self._shares:
                net.variant = as_variant(name)
        return net

    def variant(self, step: int) -> str:
        """Of step `step`, by its share."""
        names, ends = list(self._shares), list(accumulate(self._shares.values()))
        mark = rng_for(self.config.seed, "variant", step).random() * ends[-1]
        return names[min(bisect_right(ends, mark), len(names) - 1)]

    def begin(self, net: Any, step: int) -> dict[str, Any]:
        if not hasattr(net, "variant"):
            return {}
        name = self.variant(step)
        net.variant = as_variant(name)
        return {"variant": name}

    def views(self, net: Any, name: str) -> dict[str, dict[str, Any]]:
        if not hasattr(net, "variant"):
            return {"": {}}
        return {variant: {"variant": as_variant(variant)} for variant in self._shares}


def as_variant(name: str) -> Any:
    """ "s" and "l" as they are; "2,3,3,4" as numbers.

    Raises:
        ConfigError: it is neither.
    """
    parts = name.split(",")
    if len(parts) == 1:
        return name
    if not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"dynet.variants: {name!r} is no variant; give s, l, or four numbers as 2,3,3,4")
    return tuple(int(part) for part in parts)
