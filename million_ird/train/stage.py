"""What a stage of training is: what learns, from what loss, and in which states the network is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from million_ird.train.losses import Restoration
from million_ird.train.settings import TrainConfig


@dataclass(frozen=True)
class Set:
    """A named set of validation: its degraded and clean crops, (3, S, S) in [0, 1] each."""

    name: str
    pairs: Sequence[tuple[Tensor, Tensor]]


class Stage:
    """A stage as plain as can be: all of the network learns to turn `lq` into `hq`."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.loss = Restoration(config.loss, device)

    def prepare(self, net: Any) -> nn.Module:
        """The network as it is trained: parts added, removed, frozen.

        Raises:
            ConfigError: it does not go with the configuration.
        """
        return net

    def frozen(self, net: Any) -> str:
        """sha256 of the weights that must stay as they are, "" = none must."""
        return ""

    def learner(self, net: Any) -> nn.Module:
        """The module whose forward pass is differentiated."""
        return net

    def begin(self, net: Any, step: int) -> dict[str, Any]:
        """Set the network up for a step, alike in all processes; what is to be written down about it."""
        return {}

    def __call__(self, learner: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and figures to be written down, or tensors from which they can be told."""
        return self.loss(learner(batch["lq"]), batch["hq"])

    def figures(self, means: dict[str, Tensor]) -> dict[str, float]:
        """What is written down, from the means of a step over its parts and processes."""
        return {name: value.item() for name, value in means.items()}

    def views(self, net: Any, name: str) -> dict[str, dict[str, Any]]:
        """States in which the network is validated on the set `name`: label -> attributes to set."""
        return {"": {}}

    def states(self, net: Any) -> list[dict[str, Any]]:
        """States in which the network is trained."""
        return list(self.views(net, "").values())

    def judged(self, label: str) -> bool:
        """Whether a view counts when checkpoints are compared."""
        return True

    def finish(self, net: Any, sets: Sequence[Set] = ()) -> dict[str, Any]:
        """What is to be said at the end, of the network and of the sets of validation."""
        return {}
