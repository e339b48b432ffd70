"""Worker processes on this machine: spawned, one shard at a time each, replaced when they die or stand still."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from million_ird.errors import MirdError

DEATHS_WITHOUT_PROGRESS = 6
"""So many workers may die on one shard in a row without finishing an image before the run gives up."""

ASK_AGAIN_SECONDS = 0.02
"""How soon a source of shards that had none ready is asked again."""

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class WorkerEvent:
    """A worker died: which shard it had, why, and the last lines it wrote to standard error."""

    shard: int
    why: str
    said: str


class InlineExecutor:
    """Everything in this process, shard after shard: for file systems that other processes don't see (`memory://`)."""

    def run(
        self, task: Callable[..., Any], shards: Iterable[int | None], progress: Callable[[int], None]
    ) -> Iterator[tuple[int, Any]]:
        try:
            for shard in shards:
                if shard is None:
                    time.sleep(ASK_AGAIN_SECONDS)
                else:
                    yield shard, task(shard, progress)
        finally:
            _close(task)


@dataclass
class LocalExecutor:
    """`workers` spawned processes.

    Attributes:
        workers: how many, at least 1.
        stall_seconds: a worker that finishes no image for so long is killed, as if it had crashed.
        logs: folder for what workers write to standard error (their codecs talk); made and emptied here.
        on_death: called when a worker dies.
    """

    workers: int
    stall_seconds: float
    logs: Path
    on_death: Callable[[WorkerEvent], None] = field(default=lambda event: None)

    def run(
        self, task: Callable[..., Any], shards: Iterable[int | None], progress: Callable[[int], None]
    ) -> Iterator[tuple[int, Any]]:
        """As `Executor.run`.

        Raises:
            MirdError: workers die on one shard again and again without finishing an image.
        """
        queue = Queue(shards)
        deaths: dict[int, int] = {}
        payload = pickle.dumps(task)
        pool: list[_Worker] = []
        try:
            while queue or any(worker.shard is not None for worker in pool):
                for worker in pool:
                    if worker.shard is None and (shard := queue.next()) is not None:
                        worker.give(shard)
                while len(pool) < self.workers and (shard := queue.next()) is not None:
                    pool.append(_Worker.start(payload, self.logs / f"worker-{len(pool)}.log"))
                    pool[-1].give(shard)
                busy = [worker.connection for worker in pool if worker.shard is not None]
                hungry = len(busy) < self.workers and bool(queue)
                wait(busy, timeout=ASK_AGAIN_SECONDS if hungry else 1.0)
                for index, worker in enumerate(pool):
                    if worker.shard is None:
                        continue
                    shard = worker.shard
                    for kind, value in worker.messages(self.stall_seconds):
                        if kind == "progress":
                            deaths.pop(shard, None)
                            progress(value)
                        elif kind == "done":
                            yield shard, value
                        elif kind == "raised":
                            raise value
                        else:
                            event = WorkerEvent(shard, value, worker.last_words())
                            deaths[shard] = deaths.get(shard, 0) + 1
                            if deaths[shard] >= DEATHS_WITHOUT_PROGRESS:
                                raise MirdError(
                                    f"workers die on shard {shard} without finishing an image ({value}); "
                                    f"the last one said: {event.said or 'nothing'}"
                                )
                            self.on_death(event)
                            queue.put_back(shard)
                            pool[index] = _Worker.start(payload, worker.log)
        finally:
            for worker in pool:
                worker.stop()


class Queue:
    """Shards to be given out: those that came back first, then the others as they become ready. True until it ends."""

    def __init__(self, shards: Iterable[int | None]) -> None:
        self._shards = iter(shards)
        self._back: deque[int] = deque()
        self._ended = False

    def __bool__(self) -> bool:
        return bool(self._back) or not self._ended

    def next(self) -> int | None:
        """A shard, None where none is ready."""
        if self._back:
            return self._back.popleft()
        if self._ended:
            return None
        try:
            return next(self._shards)
        except StopIteration:
            self._ended = True
            return None

    def put_back(self, shard: int) -> None:
        """Give it out once more."""
        self._back.append(shard)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    log: Path
    shard: int | None = None
    last_sign: float = 0.0

    @classmethod
    def start(cls, payload: bytes, log: Path) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=_serve, args=(theirs, payload, str(log)), daemon=True)
        before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
        # One image at a time per process: threads of BLAS would only fight over the cores.
        os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        theirs.close()
        return cls(process, ours, log)

    def give(self, shard: int) -> None:
        self.shard = shard
        self.last_sign = time.monotonic()
        with suppress(OSError):  # a dead worker is noticed by `messages`
            self.connection.send(shard)

    def messages(self, stall_seconds: float) -> Iterator[tuple[str, Any]]:
        """What the worker has sent; last, a "died" with the reason, or its "done" or "raised"."""
        try:
            while self.connection.poll():
                kind, value = self.connection.recv()
                self.last_sign = time.monotonic()
                if kind != "progress":
                    self.shard = None
                yield kind, value
                if self.shard is None:
                    return
        except (EOFError, OSError):
            self.process.join(5)
            yield "died", _why(self.process.exitcode)
            return
        if time.monotonic() - self.last_sign > stall_seconds:
            self.process.kill()
            self.process.join(5)
            yield "died", f"no image finished in {stall_seconds:g} s"

    def last_words(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return " | ".join(lines[-3:])[:300]
        return ""

    def stop(self) -> None:
        with suppress(OSError):
            self.connection.close()
        if self.shard is not None:
            self.process.kill()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _why(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-exitcode).name}"
    return f"exit code {exitcode}"


def _serve(connection: Connection, payload: bytes, log: str) -> None:
    """A worker's life: take shards until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    threading.Thread(target=_die_with_driver, daemon=True).start()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    task = pickle.loads(payload)  # noqa: S301 (from our own parent process)

    def progress(count: int) -> None:
        with suppress(OSError):
            connection.send(("progress", count))

    while True:
        try:
            shard = connection.recv()
        except (EOFError, OSError):
            _close(task)
            return
        try:
            message = ("done", task(shard, progress))
        except Exception as error:  # noqa: BLE001 (handed to the driver, which raises it)
            print(traceback.format_exc(), file=sys.stderr, flush=True)  # noqa: T201
            message = ("raised", _picklable(error))
        with suppress(OSError):
            connection.send(message)


def _die_with_driver() -> None:
    """A driver that was killed cannot stop its workers, and the next run must not find them still writing."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)


def _close(task: Any) -> None:
    """Call a task's `close`, which it need not have."""
    getattr(task, "close", lambda: None)()


def _picklable(error: Exception) -> Exception:
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made one line above)
    except Exception:  # noqa: BLE001 (any failure means: not picklable)
        return RuntimeError(f"in a worker: {type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error
