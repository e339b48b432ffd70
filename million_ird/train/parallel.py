"""One process or many: what torchrun (or accelerate launch) says, and what the processes tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from million_ird.errors import ConfigError

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
    place = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
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


def _device(asked: str, local: int) -> torch.device:
    kind = asked.partition(":")[0]
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        kind = next(name for name, here in there.items() if here)
    if not there.get(kind, False):
        here = ", ".join(name for name, present in there.items() if present)
        raise ConfigError(f"run.device: {asked} is not here; here are: auto, {here}")
    return (
        torch.device(kind, local)
        if kind == "cuda" and ":" not in asked
        else torch.device(kind if asked == "auto" else asked)
    )
