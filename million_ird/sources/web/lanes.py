"""Which URL is fetched next: fair among hosts, and never too many or too fast at one of them."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")

MOST = 100_000
"""Hosts remembered beyond those that something waits for."""


@dataclass
class Lane(Generic[Job]):
    """One host: what waits for it, and what was met there.

    Attributes:
        host: name and port.
        waiting: jobs, the next one first.
        active: requests under way.
        free_at: when the next one may begin, on the loop's clock.
        gap: seconds between the beginnings of two.
        most: requests at a time.
        failures: in a row without an answer.
        listed: whether the lane stands in the heap.
    """

    host: str
    waiting: deque[Job] = field(default_factory=deque)
    active: int = 0
    free_at: float = 0.0
    gap: float = 0.0
    most: int = 1
    failures: int = 0
    listed: bool = False


class Lanes(Generic[Job]):
    """The queue of all jobs: a heap of hosts that could take one, by when.

    Args:
        per_host: requests to one host at a time.
        gap: seconds between two of them, unless a lane is told otherwise.
    """

    def __init__(self, per_host: int, gap: float) -> None:
        self._per_host, self._gap = per_host, gap
        self._lanes: dict[str, Lane[Job]] = {}
        self._heap: list[tuple[float, int, Lane[Job]]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self._next_sweep = MOST

    def put(self, host: str, job: Job, most: int | None = None) -> None:
        """Add a job for a host; `most` requests at a time from now on, where that is less than before."""
        lane = self._lanes.get(host)
        if lane is None:
            lane = self._lanes[host] = Lane(host, gap=self._gap, most=self._per_host)
        lane.most = min(lane.most, most or lane.most)
        lane.waiting.append(job)
        self._list(lane)

    async def take(self) -> tuple[Lane[Job], Job]:
        """The next job, as soon as there is one that may begin, for one taker at a time. Tell its end by `release`."""
        loop = asyncio.get_running_loop()
        while True:
            wait: float | None = None
            if self._heap:
                at, _, lane = self._heap[0]
                now = loop.time()
                if at <= now:
                    heapq.heappop(self._heap)
                    lane.listed = False
                    if not lane.waiting:
                        continue
                    if lane.free_at > now:  # moved back by what another request was told
                        self._list(lane)
                        continue
                    job = lane.waiting.popleft()
                    lane.active += 1
                    lane.free_at = now + lane.gap
                    self._list(lane)
                    return lane, job
                wait = at - now
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def release(self, lane: Lane[Job]) -> None:
        """A job of this lane has ended."""
        lane.active -= 1
        self._list(lane)
        if len(self._lanes) > self._next_sweep:
            now = asyncio.get_running_loop().time()
            idle = [one for one in self._lanes.values() if not (one.waiting or one.active or one.free_at > now)]
            for one in idle:
                del self._lanes[one.host]
            self._next_sweep = MOST + len(self._lanes)

    def hold(self, lane: Lane[Job], seconds: float) -> None:
        """Begin nothing at this host for so long."""
        lane.free_at = max(lane.free_at, asyncio.get_running_loop().time() + seconds)

    def _list(self, lane: Lane[Job]) -> None:
        if lane.waiting and not lane.listed and lane.active < lane.most:
            lane.listed = True
            # A lane that was served lately has a later free_at (without a gap, a later number): the others come first.
            heapq.heappush(self._heap, (lane.free_at, next(self._order), lane))
            self._changed.set()
