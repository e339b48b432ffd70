"""Which job comes when: as many at a time as there are cores, the longest chain of what waits for what first."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from jobs import Job
from rows import Row
from trainings import Scope, seed_of


def jobs_of(rows: Sequence[Row], seeds: int | None) -> list[Job]:
    """All jobs behind some rows, each once, with what they need before them; `seeds` as for `Row.drawn`."""
    found: dict[Job, None] = {}

    def add(job: Job) -> None:
        for other in job.needs:
            add(other)
        found.setdefault(job)

    for row in rows:
        for name, training, view in row.cells():
            for seed in row.drawn(seeds):
                add(Job(training, seed_of(training, seed), name, view))
    return list(found)


def chains(jobs: Sequence[Job], scale: float) -> dict[Job, float]:
    """Seconds from a job's start to the end of the longest chain that begins with it."""
    after: dict[Job, float] = {}
    for job in reversed(jobs):
        after[job] = after.get(job, 0.0) + job.seconds(scale)
        for other in job.needs:
            after[other] = max(after.get(other, 0.0), after[job])
    return after


def minutes(jobs: Sequence[Job], scale: float, cores: int = 2) -> float:
    """To expect on so many cores, each as fast as the one that `RATES` was measured on."""
    ends = [0.0] * cores
    for job in sorted(jobs, key=chains(jobs, scale).__getitem__, reverse=True):
        ends[ends.index(min(ends))] += job.seconds(scale)
    return max([*ends, *chains(jobs, scale).values()], default=0.0) / 60


def scale_for(jobs: Sequence[Job], budget: float, cores: int = 2) -> float:
    """The largest scale, to two places, with which jobs take no longer than `budget` minutes; at least .01."""
    low, high = 0.01, 1000.0
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if minutes(jobs, middle, cores) <= budget else (low, middle)
    return max(0.01, int(low * 100) / 100)


def run_all(jobs: Sequence[Job], scope: Scope, count: int, say: Callable[[str], None]) -> list[str]:
    """Do the jobs that are not done, `count` at a time.

    Returns:
        What went wrong, one line each; what needs a failed job is left out.
    """
    done = {job for job in jobs if job.done(scope)}
    left = [job for job in jobs if job not in done]
    say(f"{len(jobs)} jobs, {len(done)} of them done before")
    order = chains(jobs, scope.scale)
    left.sort(key=order.__getitem__, reverse=True)
    diary = _Diary(len(jobs), done, [], say)
    if count == 1:
        _one_by_one(left, scope, diary)
    else:
        _side_by_side(left, scope, count, diary)
    return diary.faults


class _Diary:
    """What is done, and what went wrong."""

    def __init__(self, total: int, done: set[Job], faults: list[str], say: Callable[[str], None]) -> None:
        self.total, self.done, self.faults, self.say = total, done, faults, say
        self.failed: set[Job] = set()
        self.began = time.monotonic()

    def ready(self, job: Job) -> bool:
        return all(other in self.done for other in job.needs)

    def hopeless(self, job: Job) -> bool:
        return any(other in self.failed for other in job.needs)

    def note(self, job: Job, result: Callable[[], float]) -> None:
        """Take down a job that has ended; bugs keep their traceback."""
        from million_ird.errors import MirdError

        try:
            took = result()
        except MirdError as error:
            self.failed.add(job)
            self.faults.append(f"{job.training}, seed {job.seed}: {error}")
            self.say(f"FAILED {self.faults[-1]}")
            return
        self.done.add(job)
        passed = int(time.monotonic() - self.began)
        clock = f"{passed // 3600}:{passed // 60 % 60:02}:{passed % 60:02}"
        self.say(f"[{len(self.done)}/{self.total}] {clock} {job.text}: {took:.0f} s")


def _one_by_one(left: list[Job], scope: Scope, diary: _Diary) -> None:
    while left:
        job = next((job for job in left if diary.ready(job)), None)
        if job is None:
            if not any(diary.hopeless(job) for job in left):
                raise AssertionError("jobs wait for each other")
            diary.failed.update(lost := [job for job in left if diary.hopeless(job)])
            left[:] = [job for job in left if job not in lost]
            continue
        left.remove(job)
        diary.note(job, lambda job=job: job.run(scope))


def _side_by_side(left: list[Job], scope: Scope, count: int, diary: _Diary) -> None:
    from million_ird.errors import MirdError

    running: dict[Future[float], Job] = {}
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        try:
            while left or running:
                for job in [job for job in left if diary.ready(job)][: count - len(running)]:
                    left.remove(job)
                    running[pool.submit(job.run, scope)] = job
                if not running:  # all that is left needs something that failed
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    diary.note(running.pop(future), future.result)
        except BrokenProcessPool:
            raise MirdError("a job was killed, perhaps for want of memory; run the same command again") from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()  # a training then leaves a checkpoint
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """In a worker: end when the parent is gone, however it went, and leave the folder to the next run."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()  # pyright: ignore[reportOptionalMemberAccess]
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
