"""One process or many: what torchrun (or accelerate launch) says, and what the processes tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from million_ird.models.devices import find_device

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    """This process among all that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """The one that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes; the same in each."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes; the same in each."""
        return flag if self.size == 1 else bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def gathered(self, names: list[str]) -> list[str]:
        """Those of all processes; the same in each."""
        if self.size == 1:
            return names
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, names)
        return [name for part in found for name in part]

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def team(device: str) -> Iterator[Team]:
    """The processes that the environment describes, joined for as long as the context lasts.

    Args:
        device: "cpu", "cuda", "mps", "auto".

    Raises:
        ConfigError: there is no such device.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    name = find_device(device, "run.device")
    if name == "cuda":  # each process has a card of its own
        name = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}", "run.device")
    place = torch.device(name)
    if size == 1:
        yield Team(device=place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, place)
    finally:
        dist.destroy_process_group()
