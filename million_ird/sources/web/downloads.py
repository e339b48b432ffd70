"""Shards of URLs fetched in the background, several at a time, and handed out as they are finished."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from million_ird.records import Item
from million_ird.sources.web.answer import Answer, heals
from million_ird.sources.web.fetcher import Fetcher, Judge, Refuse
from million_ird.sources.web.guard import host_of
from million_ird.sources.web.lanes import Lane, Lanes
from million_ird.sources.web.settings import Fetch
from million_ird.sources.web.store import Row, StoreWriter, index_rows, stored

SITE_PER_HOST = 2
"""Requests at a time to a host of a site that is crawled."""
_SILENT = frozenset(["dns", "timeout", "connect", "reset", "slow", "tls"])
"""Failures in which a host gave no answer."""
_DOWN_SECONDS = 600.0
AHEAD = 4
"""Inputs that wait or are under way for each connection, before no more shards are begun."""


@dataclass
class Traffic:
    """What the network has given so far.

    Attributes:
        done: inputs finished, one way or the other.
        good: of these, with their bytes, or judged by their head.
        bytes: received.
        saved: bytes of files whose head was enough.
        errors: class -> inputs.
        slow: host -> seconds that its last answers took, of the slowest ones.
        began, last: first and last sign of it, s on the monotonic clock.
    """

    done: int = 0
    good: int = 0
    bytes: int = 0
    saved: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    slow: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    last: float = 0.0

    def count(self, host: str, answer: Answer) -> None:
        """Add an answer."""
        self.done += 1
        self.last = time.monotonic()
        self.bytes += answer.received
        if answer.error:
            self.errors[answer.error] += 1
        else:
            self.good += 1
            self.saved += max(0, answer.size - answer.received) if answer.header else 0
        before = self.slow.get(host)
        self.slow[host] = answer.seconds if before is None else 0.8 * before + 0.2 * answer.seconds
        if len(self.slow) > 64:
            del self.slow[min(self.slow, key=lambda name: self.slow[name])]

    def text(self) -> str:
        """Speed, success and the slowest hosts on one line."""
        seconds = max(1e-3, self.last - self.began)
        share = self.good / self.done if self.done else 1.0
        slowest = sorted(self.slow, key=lambda host: -self.slow[host])[:2]
        named = ", ".join(f"{host} {self.slow[host]:.1f} s" for host in slowest if self.slow[host] >= 1)
        rate = f"{self.done / seconds:,.0f} images/s, {self.bytes / seconds / 1e6:,.1f} MB/s, {share:.0%} fetched"
        return f"{rate}; slowest: {named}" if named else rate


@dataclass(frozen=True)
class Work:
    """What there is to fetch.

    Attributes:
        folder: the store.
        shards: their numbers, in the order in which they are begun.
        items: the inputs of a shard.
        web: label of a source -> whether it is a crawled site; inputs of other sources are not fetched.
        whole: keys that are fetched whatever their head says.
        again: whether an input is fetched although the index has this row of it.
    """

    folder: Path
    shards: Sequence[int]
    items: Callable[[int], list[Item]]
    web: Mapping[str, bool]
    whole: frozenset[str] = frozenset()
    again: Callable[[Row], bool] = lambda row: False


class Downloads:
    """Iterate: a shard's number when it is fetched, None when nothing is ready just now. A context manager.

    Args:
        work: what to fetch.
        rules: limits and manners.
        judge: by the header; None = everything is fetched whole.
        refuse: what must not be kept.
        robots: file that remembers robots.txt of sites.
    """

    def __init__(self, work: Work, rules: Fetch, judge: Judge | None, refuse: Refuse, robots: Path | None) -> None:
        self.traffic = Traffic()
        self._work, self._rules = work, rules
        self._fetcher = lambda: Fetcher(rules, judge, refuse, robots)
        self._ready: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = ThreadPoolExecutor(1, "downloads")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Downloads:
        self._end = self._thread.submit(lambda: asyncio.run(self._main()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._loop is not None and self._task is not None and not self._end.done():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.shutdown()

    def __iter__(self) -> Iterator[int | None]:
        while True:
            ended = self._end.done()
            try:
                yield self._ready.get_nowait()
            except queue.Empty:
                if ended:
                    return self._end.result()
                yield None

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async with self._fetcher() as fetcher:
            await _Crowd(self._work, self._rules, fetcher, self.traffic, self._ready.put).run()


@dataclass(eq=False)
class _Open:
    """A shard under way."""

    shard: int
    items: list[Item]
    writer: StoreWriter
    left: int
    moved: float
    closed: bool = False


@dataclass(eq=False)
class _Job:
    """An input of a shard, and how often it was tried."""

    home: _Open
    place: int
    tries: int = 0

    @property
    def item(self) -> Item:
        return self.home.items[self.place]


class _Crowd:
    """All requests of all open shards."""

    def __init__(
        self, work: Work, rules: Fetch, fetcher: Fetcher, traffic: Traffic, ready: Callable[[int], None]
    ) -> None:
        self._work, self._rules, self._fetcher, self._traffic, self._ready = work, rules, fetcher, traffic, ready
        gap = 1 / rules.host_rate if rules.host_rate else 0.0
        self._lanes: Lanes[_Job] = Lanes(rules.per_host, gap)
        self._pending = deque(work.shards)
        self._open: list[_Open] = []
        self._down: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._idle = asyncio.Event()

    async def run(self) -> None:
        """Until every shard is in the store.

        Raises:
            OutputError: the store cannot be written.
        """
        dispatcher = asyncio.create_task(self._dispatch())
        try:
            while self._pending or self._open:
                while self._pending and self._has_room():
                    await self._begin(self._pending.popleft())
                self._idle.clear()
                try:
                    async with asyncio.timeout(1.0):
                        await self._idle.wait()
                except TimeoutError:
                    self._close_stalled()
                if self._failure is not None:
                    raise self._failure
                if dispatcher.done():
                    dispatcher.result()
                for done in [one for one in self._open if not one.left]:
                    self._open.remove(done)
                    await asyncio.to_thread(done.writer.finish)
                    self._ready(done.shard)
        finally:
            for task in (dispatcher, *self._tasks):
                task.cancel()
            await asyncio.gather(dispatcher, *self._tasks, return_exceptions=True)
            for one in self._open:
                one.writer.abandon()

    def _has_room(self) -> bool:
        left = sum(one.left for one in self._open)
        return len(self._open) < self._rules.shards and left < AHEAD * self._rules.connections

    async def _begin(self, shard: int) -> None:
        items = await asyncio.to_thread(self._work.items, shard)
        kept: dict[int, Row] = {}
        if stored(self._work.folder, shard):
            rows = await asyncio.to_thread(index_rows, self._work.folder, shard)
            kept = {place: row for place, row in enumerate(rows) if not self._work.again(row)}
        writer = StoreWriter(self._work.folder, shard, items, kept)
        home = _Open(shard, items, writer, 0, self._now())
        self._open.append(home)
        wanted = writer.missing
        home.left = len(wanted)
        for place in wanted:
            item = items[place]
            if item.status or item.source not in self._work.web:
                # What is wrong with a URL as it stands is its class; other sources only keep their place.
                writer.add(place, Answer(item.detail if item.source in self._work.web else ""))
                home.left -= 1
            else:
                site = self._work.web[item.source]
                self._lanes.put(host_of(item.uri), _Job(home, place), SITE_PER_HOST if site else None)
        if not home.left:
            self._idle.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _dispatch(self) -> None:
        slots = asyncio.Semaphore(self._rules.connections)
        while True:
            await slots.acquire()
            lane, job = await self._lanes.take()
            task = asyncio.create_task(self._work_on(lane, job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            task.add_done_callback(lambda done: slots.release())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
            self._idle.set()

    async def _work_on(self, lane: Lane[_Job], job: _Job) -> None:
        try:
            if job.home.closed:
                return
            if self._is_down(lane):
                self._finish(job, Answer("host_down", f"{lane.host} gives no good answer"))
                return
            answer = await self._fetcher.fetch(job.item.uri, judged=job.item.key not in self._work.whole)
            self._learn(lane, answer)
            if not job.home.closed and not self._again(lane, job, answer):
                self._finish(job, answer)
        finally:
            self._lanes.release(lane)

    def _is_down(self, lane: Lane[_Job]) -> bool:
        if lane.failures < self._rules.give_up:
            return False
        if self._down.setdefault(lane.host, self._now() + _DOWN_SECONDS) > self._now():
            return True
        del self._down[lane.host]
        lane.failures = self._rules.give_up - 1  # one is let through, to see
        return False

    def _learn(self, lane: Lane[_Job], answer: Answer) -> None:
        """What an answer says about its host."""
        lane.failures = lane.failures + 1 if _troubled(answer.error) else 0
        lane.gap = max(lane.gap, answer.delay)
        if lane.gap and answer.requests > 1:
            lane.free_at += (answer.requests - 1) * lane.gap
        if answer.error in ("http_429", "http_503") and answer.wait <= self._rules.patience:
            self._lanes.hold(lane, answer.wait or self._rules.backoff)

    def _again(self, lane: Lane[_Job], job: _Job, answer: Answer) -> bool:
        """Whether it is tried once more, and then set in motion."""
        if not heals(answer.error) or job.tries >= self._rules.retries or answer.wait > self._rules.patience:
            return False
        delay = max(answer.wait, self._rules.backoff * 2**job.tries)
        job.tries += 1
        job.home.moved = self._now() + delay
        asyncio.get_running_loop().call_later(delay, self._lanes.put, lane.host, job)
        return True

    def _finish(self, job: _Job, answer: Answer) -> None:
        home = job.home
        home.writer.add(job.place, answer)
        home.left -= 1
        home.moved = max(home.moved, self._now())
        self._traffic.count(host_of(job.item.uri), answer)
        if not home.left or (self._pending and self._has_room()):
            self._idle.set()

    def _close_stalled(self) -> None:
        for home in self._open:
            if home.left and self._now() - home.moved > self._rules.stall_seconds:
                home.closed = True
                for place in home.writer.missing:
                    answer = Answer("stalled", f"nothing of its shard came for {self._rules.stall_seconds:g} s")
                    self._finish(_Job(home, place), answer)


def _troubled(error: str) -> bool:
    """Whether a failure is the host's, and not that of one file."""
    return error in _SILENT or error == "http_429" or error.startswith("http_5")
