"""Run a picklable task over shards, in this process or in many, and survive a worker that dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

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


__all__ = ["Executor", "InlineExecutor", "LocalExecutor", "Progress", "Task", "WorkerEvent"]
