"""Run a picklable task over shards, in this process or in many, and survive a worker that dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from million_ird.errors import InputError
from million_ird.execute.local import InlineExecutor, LocalExecutor, WorkerEvent

Progress = Callable[[int], None]
"""What a task calls with the number of images it has finished since its last call."""

Task = Callable[[int, Progress], Any]
"""A picklable callable: shard number and progress callback in, a small picklable result out. It must be idempotent:
a shard whose worker died is given to another worker, whole. A task with a `close` method has it called at the end."""


class Executor(Protocol):
    """Runs a task over shards; results come as they finish, in any order."""

    def run(self, task: Task, shards: Iterable[int | None], progress: Progress) -> Iterator[tuple[int, Any]]:
        """Yield (shard, result) for each shard; an exception that a task raises is raised here. A None among the
        shards says that the next one is not ready yet: ask again in a moment."""
        ...


def make(
    kind: Literal["local", "ray"],
    workers: int | None,
    address: str | None,
    stall_seconds: float,
    logs: Path,
    on_death: Callable[[WorkerEvent], None],
) -> Executor:
    """An executor by name.

    Args:
        kind: "local" = processes of this machine, "ray" = tasks of a cluster.
        workers: how many at a time; 0 = in this process; None = one per core.
        address: of the cluster.
        stall_seconds: a worker that finishes no image for so long is killed.
        logs: folder for what local workers write to standard error.
        on_death: called when a worker dies.

    Raises:
        InputError: Ray is not installed.
    """
    if workers == 0:
        return InlineExecutor()
    if kind == "local":
        return LocalExecutor(workers or os.cpu_count() or 1, stall_seconds, logs, on_death)
    if find_spec("ray") is None:
        raise InputError('--executor ray: needs Ray: pip install "million-ird[ray]"')
    from million_ird.execute.ray import RayExecutor

    return RayExecutor(workers, address, stall_seconds, on_death)


__all__ = ["Executor", "InlineExecutor", "LocalExecutor", "Progress", "Task", "WorkerEvent", "make"]
