"""Processes that make batches: they end with the one that they work for, and are missed when they die themselves."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from million_ird.errors import MirdError
from million_ird.train.workers import alive

PROGRAM = """
import os, time
from torch.utils.data import DataLoader, Dataset
from million_ird.train.workers import alone

class Own(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, number):
        return os.getpid()

if __name__ == "__main__":
    made = DataLoader(Own(), batch_size=None, num_workers=1, worker_init_fn=alone, multiprocessing_context="forkserver")
    items = iter(made)
    print(next(items), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_ends_when_its_run_is_killed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True) as run:
        worker = Path("/proc") / run.stdout.readline().strip()
        there = worker.exists()
        run.send_signal(signal.SIGKILL)
    assert there
    until = time.monotonic() + 20
    while worker.exists():
        assert time.monotonic() < until, "the worker lives on"
        time.sleep(0.05)


def test_a_worker_that_died_is_told_with_the_remedy_and_other_errors_as_they_are():
    def dying(error):
        yield 1
        raise error

    made = alive(dying(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")), "buy memory")
    assert next(made) == 1
    with pytest.raises(MirdError, match=r"pid 7.*buy memory"):
        next(made)
    with pytest.raises(MirdError, match="ConnectionResetError"):
        list(alive(dying(ConnectionResetError()), ""))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(alive(dying(RuntimeError("shapes differ")), ""))
    assert list(alive([1, 2], "")) == [1, 2]
