"""The Ray executor keeps the promises of the local one: every shard is done, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from million_ird.config import merge
from million_ird.curate import build
from million_ird.errors import InputError, MirdError
from tests.conftest import SMALL
from tests.curate.test_build import digest

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Ray clusters are not supported there"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RAY = merge(SMALL, {"run": {"workers": 2, "executor": "ray"}})


@dataclass(frozen=True)
class Square:
    def __call__(self, shard, progress):
        progress(1)
        return shard * shard


@dataclass(frozen=True)
class DieOnce:
    folder: str

    def __call__(self, shard, progress):
        mark = Path(self.folder) / "died"
        if shard == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        progress(1)
        return shard


@dataclass(frozen=True)
class DieAlways:
    def __call__(self, shard, progress):
        os._exit(3)


@dataclass(frozen=True)
class Refuse:
    def __call__(self, shard, progress):
        raise InputError("nothing to read here")


@dataclass(frozen=True)
class Hang:
    folder: str

    def __call__(self, shard, progress):
        mark = Path(self.folder) / "hung"
        if not mark.exists():
            mark.touch()
            time.sleep(600)
        return "done"


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine, two cores."""
    from million_ird.execute.ray import connect

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    connect(None, 2)
    yield
    ray.shutdown()


@pytest.fixture
def executor(cluster):
    from million_ird.execute.ray import RayExecutor

    events = []
    made = RayExecutor(2, None, 60, events.append)
    return made, events


def test_every_shard_comes_back_with_its_progress(executor):
    made, _ = executor
    seen: list[int] = []
    found = dict(made.run(Square(), iter([0, None, 1, 2, None, 3, 4]), seen.append))
    assert found == {n: n * n for n in range(5)}
    assert sum(seen) == 5


def test_a_worker_that_is_killed_is_replaced_and_its_shard_done(executor, tmp_path):
    made, events = executor
    assert sorted(shard for shard, _ in made.run(DieOnce(str(tmp_path)), range(4), lambda count: None)) == [0, 1, 2, 3]
    assert [event.shard for event in events] == [2]
    assert events[0].why == "WorkerCrashedError"


@pytest.mark.slow
def test_a_shard_on_which_workers_always_die_ends_the_run_in_one_line(executor):
    with pytest.raises(MirdError, match="workers die on shard 7 without finishing an image"):
        list(executor[0].run(DieAlways(), [7], lambda count: None))


def test_what_a_task_raises_is_raised_here(executor):
    with pytest.raises(InputError, match="nothing to read here"):
        list(executor[0].run(Refuse(), [0], lambda count: None))


@pytest.mark.slow
def test_a_task_that_stands_still_is_killed_and_done_again(cluster, tmp_path):
    from million_ird.execute.ray import RayExecutor

    events = []
    made = RayExecutor(1, None, 2.0, events.append)
    assert list(made.run(Hang(str(tmp_path)), [0], lambda count: None)) == [(0, "done")]
    assert len(events) == 1


def test_the_same_inputs_make_the_same_dataset_on_ray_and_here(cluster, corpus, tmp_path):
    build([corpus], tmp_path / "here" / "out", SMALL)
    build([corpus], tmp_path / "ray" / "out", RAY)
    assert digest(tmp_path / "ray" / "out") == digest(tmp_path / "here" / "out")


@pytest.mark.slow
def test_degrading_on_ray_makes_the_same_pairs(cluster, corpus, tmp_path):
    from million_ird.pairs import degrade_dataset

    config = {"recipe": "denoise", "size": 64, "limit": 4, "run": {"workers": 0}}
    degrade_dataset(corpus, tmp_path / "here", config)
    degrade_dataset(corpus, tmp_path / "ray", merge(config, {"run": {"workers": 2, "executor": "ray"}}))
    files = [sorted((tmp_path / name).rglob("*.parquet")) for name in ("here", "ray")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]] != []
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_build_whose_worker_is_killed_ends_as_if_nothing_had_been(cluster, corpus, tmp_path):
    build([corpus], tmp_path / "whole" / "out", SMALL)
    out, killed = tmp_path / "killed" / "out", []

    def kill_one():
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            began = list((out / "ledger" / "base").glob("*.parquet"))
            for process in psutil.Process().children(recursive=True) if began else []:
                with suppress(psutil.Error):
                    if process.cmdline()[:1] == ["ray::_serve"]:
                        process.kill()
                        killed.append(process.pid)
                        return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    build([corpus], out, RAY)
    killer.join()
    assert killed
    assert digest(out) == digest(tmp_path / "whole" / "out")


def test_a_cluster_that_is_not_there_is_one_clear_line(corpus, tmp_path):
    """In a process of its own: this one has joined a cluster already."""
    call = [sys.executable, "-m", "million_ird", "build", str(corpus), "--out", str(tmp_path / "out")]
    call += ["--executor", "ray", "--ray-address", "127.0.0.1:1"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 2, done.stderr[-500:]
    assert "--ray-address 127.0.0.1:1: no cluster answers there" in done.stderr
    assert "Traceback" not in done.stderr


DRIVER = """
import sys, yaml
from million_ird.curate import build
build([sys.argv[1]], sys.argv[2], yaml.safe_load(open(sys.argv[3])))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_driver_starts_again_where_it_was(corpus, tmp_path):
    build([corpus], tmp_path / "whole" / "out", SMALL)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RAY))
    out = tmp_path / "killed" / "out"
    call = [sys.executable, "-c", DRIVER, str(corpus), str(out), str(tmp_path / "config.yaml")]
    process = subprocess.Popen(call)
    deadline = time.monotonic() + 300
    while not list((out / "ledger" / "base").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert list((out / "ledger" / "base").glob("*.parquet"))
    assert subprocess.run(call, check=False).returncode == 0
    assert digest(out) == digest(tmp_path / "whole" / "out")


@dataclass(frozen=True)
class Slow:
    """Takes a while, and says on which node it was."""

    def __call__(self, shard, progress):
        import ray

        time.sleep(0.5)
        progress(1)
        return ray.get_runtime_context().get_node_id()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_is_lost_takes_no_shard_with_it():
    """In a process of its own: a cluster of two nodes, of which one is taken away in the middle."""
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from ray.cluster_utils import Cluster
import ray
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "include_dashboard": False}})
node = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
cluster.wait_for_nodes()
from million_ird.execute.ray import RayExecutor, _Crew
from tests.execute.test_ray import Slow
here = ray.get_runtime_context().get_node_id()
for _ in range(4):
    crew = _Crew(Slow(), 60)
    where = ray.get(crew._tally.__ray_call__.remote(lambda tally: ray.get_runtime_context().get_node_id()))
    assert where == here != node.node_id, "what the run needs lies on a node that may go"
    crew.dismiss()
events, found = [], []
for shard, where in RayExecutor(2, None, 60, events.append).run(Slow(), range(16), lambda count: None):
    found.append((shard, where))
    if [at for _, at in found].count(node.node_id) == 1 and where == node.node_id:  # it is at its second one soon
        thief = threading.Timer(0.3, lambda: cluster.remove_node(node, allow_graceful=False))
        thief.start()
assert sorted(shard for shard, _ in found) == list(range(16)), found
assert len({{where for _, where in found}}) == 2, found
thief.join()
ray.shutdown()
cluster.shutdown()
print("lost", len(events))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "lost" in done.stdout
