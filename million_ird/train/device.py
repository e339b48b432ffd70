"""Batches to the device, and degraded there where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from million_ird.errors import ConfigError
from million_ird.train.settings import TrainConfig
from million_ird.train.tasks import IGNORED, Task


class Degrader:
    """What makes a batch ready. An op that only the CPU knows is done there, sample by sample, which takes its time.

    Raises:
        ConfigError: `data.degrade` is "device" and a task has pairs.
    """

    def __init__(self, tasks: Sequence[Task], config: TrainConfig, device: torch.device) -> None:
        self._device = device
        self._pipes: dict[str, Any] = {}
        if config.data.degrade == "device":
            from million_ird.degrade import tensor

            for task in tasks:
                if task.recipe is None:
                    raise ConfigError(f"data {task.name}: pairs are not degraded; set data.degrade=cpu")
                self._pipes[task.name] = tensor.load(task.recipe, config.seed)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with its tensors on the device; `lq`, `target` and `kinds` are made there from `hq` if need be."""
        blocking = self._device.type != "cuda"
        moved = {
            key: value.to(self._device, non_blocking=not blocking) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        return self._degraded(moved) if self._pipes else moved

    def _degraded(self, batch: dict[str, Any]) -> dict[str, Any]:
        hq = batch["hq"]
        lq = torch.empty_like(hq)
        target = torch.full((len(hq), *hq.shape[-2:]), IGNORED, device=hq.device)
        kinds: list[torch.Tensor] = [torch.empty(0)] * len(hq)
        for name, pipe in self._pipes.items():
            rows = [row for row, task in enumerate(batch["task"]) if task == name]
            if not rows:
                continue
            names, views = ([batch[key][row] for row in rows] for key in ("id", "view"))
            out = pipe(hq[rows], names, views)
            lq[rows] = out.lq
            for bit in range(len(out.classes)):
                target[rows] = torch.where(out.mask == 1 << bit, bit, target[rows])
            target[rows] = target[rows].masked_fill(out.ignore, IGNORED)
            for row, present in zip(rows, out.labels, strict=True):
                kinds[row] = present
        alike = len({tensor.shape for tensor in kinds}) == 1
        return {**batch, "lq": lq, "target": target, "kinds": torch.stack(kinds) if alike else kinds}
