"""The executor: every shard is done, whatever becomes of the workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from million_ird.errors import InputError, MirdError
from million_ird.execute import InlineExecutor, LocalExecutor


@dataclass(frozen=True)
class Square:
    """Squares its shard number; counts one image of progress."""

    def __call__(self, shard, progress):
        progress(1)
        return shard * shard


@dataclass(frozen=True)
class DieOnce:
    """Aborts the process the first time it sees shard 2."""

    folder: str

    def __call__(self, shard, progress):
        mark = Path(self.folder) / "died"
        if shard == 2 and not mark.exists():
            mark.touch()
            os.write(2, b"codec says: /secret/path is bad\n")
            os.abort()
        progress(1)
        return shard


@dataclass(frozen=True)
class DieAlways:
    def __call__(self, shard, progress):
        os.abort()


@dataclass(frozen=True)
class Hang:
    folder: str

    def __call__(self, shard, progress):
        mark = Path(self.folder) / "hung"
        if not mark.exists():
            mark.touch()
            time.sleep(600)
        return "done"


@dataclass(frozen=True)
class Fail:
    def __call__(self, shard, progress):
        raise InputError("field x: wrong")


@dataclass(frozen=True)
class Threads:
    def __call__(self, shard, progress):
        return os.environ["OMP_NUM_THREADS"]


def executor(tmp_path, workers=2, stall=60.0, events=None):
    return LocalExecutor(workers, stall, tmp_path / "logs", (events if events is not None else []).append)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_is_done_once(tmp_path, workers):
    seen = []
    results = dict(executor(tmp_path, workers).run(Square(), range(7), seen.append))
    assert results == {n: n * n for n in range(7)}
    assert sum(seen) == 7
    assert dict(InlineExecutor().run(Square(), range(7), seen.append)) == results


def test_a_worker_that_dies_is_replaced_and_its_shard_done_again(tmp_path):
    events = []
    results = dict(executor(tmp_path, events=events).run(DieOnce(str(tmp_path)), range(5), lambda n: None))
    assert results == {n: n for n in range(5)}
    assert [(event.shard, event.why) for event in events] == [(2, "killed by SIGABRT")]
    assert "codec says" in events[0].said


def test_a_worker_that_stands_still_is_stopped(tmp_path):
    events = []
    results = dict(executor(tmp_path, 1, 3.0, events).run(Hang(str(tmp_path)), [0], lambda n: None))
    assert results == {0: "done"}
    assert events[0].why == "no image finished in 3 s"


def test_a_shard_that_always_kills_ends_the_run_with_one_line(tmp_path):
    with pytest.raises(MirdError, match="workers die on shard 0 without finishing an image"):
        list(executor(tmp_path, 1).run(DieAlways(), [0], lambda n: None))


def test_an_error_of_the_task_is_raised_in_the_driver_as_it_is(tmp_path):
    with pytest.raises(InputError, match="field x: wrong"):
        list(executor(tmp_path, 1).run(Fail(), [0], lambda n: None))


def test_workers_use_one_thread_and_the_driver_keeps_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert dict(executor(tmp_path, 1).run(Threads(), [0], lambda n: None)) == {0: "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


@dataclass(frozen=True)
class Sleeper:
    """Writes its process id, then works on for a long time."""

    folder: str

    def __call__(self, shard, progress):
        (Path(self.folder) / "pid").write_text(str(os.getpid()))
        time.sleep(120)


def drive(folder: str) -> None:
    """A driver to be killed."""
    list(LocalExecutor(1, 600, Path(folder) / "logs").run(Sleeper(folder), [0], print))


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_workers_die_with_a_driver_that_was_killed(tmp_path):
    code = f"from tests.execute.test_local import drive; drive({str(tmp_path)!r})"
    driver = subprocess.Popen([sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"])
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 20
    while alive(int(pid.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(int(pid.read_text()))


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and waits to be reaped does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
