"""Where the work of a command is done, as its configuration says it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from million_ird.config import Config


class Running(Config):
    """How the work is done; none of it changes the result."""

    workers: int | None = Field(default=None, ge=0)
    """Processes; null = one per core; 0 = in this process."""
    executor: Literal["local", "ray"] = "local"
    """Where they run: on this machine, or on a Ray cluster that shares the inputs and the folder, or has an address as
    its output."""
    ray_address: str | None = None
    """The cluster: auto, ray://HOST:PORT; null = one that is started on this machine."""
    scratch: str | None = None
    """Where an output at an address (s3://…) has its working folder on each machine, variables of the environment
    replaced there; null = ~/.cache/million-ird/runs."""
    lease_seconds: float = Field(default=60.0, gt=0)
    """Another run on that address counts as dead when it has given no sign for so long, s."""
