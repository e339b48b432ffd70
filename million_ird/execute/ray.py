"""The same shards as tasks of a Ray cluster; the one file that knows `ray`.

Only shard numbers and small results travel: what is read and written lies on storage that all nodes share. Ray's own
retries are off, so that a task that dies is counted, and given out again, by the same rules as a local worker.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from million_ird.errors import InputError, MirdError
from million_ird.execute.local import ASK_AGAIN_SECONDS, DEATHS_WITHOUT_PROGRESS, Queue, WorkerEvent

KNOCK_SECONDS = 20.0
"""How long a cluster may take to accept a connection."""

_DEATHS = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, TaskCancelledError)
_TASKS: dict[str, Any] = {}
"""In a worker: the task of the run that it works for, with the models and files that it holds open."""


@dataclass
class RayExecutor:
    """Shards as Ray tasks of one core each.

    Attributes:
        workers: most tasks at a time; None = as many as the cluster has cores.
        address: of the cluster: "auto", "ray://HOST:PORT"; None = one of this machine's own.
        stall_seconds: a task that finishes no image for so long is killed, as if it had crashed.
        on_death: called when a worker dies.
    """

    workers: int | None
    address: str | None
    stall_seconds: float
    on_death: Callable[[WorkerEvent], None] = field(default=lambda event: None)

    def run(
        self, task: Callable[..., Any], shards: Iterable[int | None], progress: Callable[[int], None]
    ) -> Iterator[tuple[int, Any]]:
        """As `Executor.run`.

        Raises:
            InputError: the cluster cannot be reached.
            MirdError: workers die on one shard again and again without finishing an image.
        """
        connect(self.address, self.workers)
        most = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        queue, crew = Queue(shards), _Crew(task, self.stall_seconds)
        deaths: dict[int, int] = {}
        try:
            while queue or crew.running:
                while len(crew.running) < most and (shard := queue.next()) is not None:
                    crew.give(shard)
                ended = list(crew.ended())
                for shard, count in crew.signs().items():
                    if count:
                        deaths.pop(shard, None)
                        progress(count)
                for shard, result, died in ended:
                    if not died:
                        yield shard, result
                        continue
                    deaths[shard] = deaths.get(shard, 0) + 1
                    if deaths[shard] >= DEATHS_WITHOUT_PROGRESS:
                        raise MirdError(f"workers die on shard {shard} without finishing an image ({died})")
                    self.on_death(WorkerEvent(shard, died, ""))
                    queue.put_back(shard)
        finally:
            crew.dismiss()


class _Crew:
    """Tasks under way, and what they tell."""

    def __init__(self, task: Callable[..., Any], stall_seconds: float) -> None:
        self.running: dict[Any, int] = {}
        self._stall_seconds = stall_seconds
        # Where the driver is: on any other node it would be lost with that node, and the run with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._tally: Any = ray.remote(num_cpus=0)(_Tally).options(scheduling_strategy=here).remote()
        self._serve = ray.remote(num_cpus=1, max_retries=0)(_serve)
        self._name, self._task = uuid.uuid4().hex, ray.put(task)
        self._last: dict[int, float] = {}

    def give(self, shard: int) -> None:
        """Begin a shard."""
        self.running[self._serve.remote(self._name, self._task, self._tally, shard)] = shard
        self._last[shard] = float("inf")  # until its worker has started, which may wait for a core

    def signs(self) -> dict[int, int]:
        """Images finished since the last call, by shard; tasks that stand still are killed."""
        counts: Any = ray.get(self._tally.take.remote())
        now = time.monotonic()
        self._last.update(dict.fromkeys(counts, now))
        for ref, shard in self.running.items():
            if now - self._last[shard] > self._stall_seconds:
                ray.cancel(ref, force=True)
        return counts

    def ended(self) -> Iterator[tuple[int, Any, str]]:
        """Shards that ended, waiting a moment for one: (shard, result, how its worker died or "")."""
        if not self.running:
            time.sleep(ASK_AGAIN_SECONDS)
            return
        done, _ = ray.wait(list(self.running), timeout=0.2)
        for ref in done:
            shard = self.running.pop(ref)
            try:
                result = ray.get(ref)
            except _DEATHS as error:
                yield shard, None, type(error).__name__
                continue
            except RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            yield shard, result, ""

    def dismiss(self) -> None:
        """End all of it."""
        for ref in self.running:
            ray.cancel(ref, force=True)
        ray.kill(self._tally)


def connect(address: str | None, workers: int | None) -> None:
    """Join a cluster, or start one on this machine; nothing is done where one is joined already.

    Raises:
        InputError: it cannot be reached.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray is kept quiet: workers die here for good reasons (hostile images), and the run says so itself.
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        if address is None:
            # "local": left out, it would be any cluster that happens to run on this machine.
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except (OSError, RayError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        remedy = "start one by `ray start --head`, or leave --ray-address out"
        raise InputError(f"--ray-address {address}: no cluster answers there ({words}); {remedy}") from None


def _knock(address: str) -> None:
    """See whether anything listens there: Ray itself would try for minutes, and talk on standard error meanwhile.

    Raises:
        OSError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():  # not "auto"
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


class _Tally:
    """An actor: images finished since it was last asked, by shard."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, shard: int, count: int) -> None:
        self._counts[shard] = self._counts.get(shard, 0) + count

    def take(self) -> dict[int, int]:
        counts, self._counts = self._counts, {}
        return counts


def _serve(name: str, task: Any, tally: Any, shard: int) -> Any:
    """One shard, in a worker; what the task keeps open is kept for the next one."""
    if name not in _TASKS:
        for old in _TASKS.values():
            getattr(old, "close", lambda: None)()
        _TASKS.clear()
        _TASKS[name] = task
    ray.get(tally.add.remote(shard, 0))
    waiting, last = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal waiting, last
        waiting += count
        if time.monotonic() - last > 0.2:
            tally.add.remote(shard, waiting)
            waiting, last = 0, time.monotonic()

    result = _TASKS[name](shard, progress)
    ray.get(tally.add.remote(shard, waiting))
    return result
