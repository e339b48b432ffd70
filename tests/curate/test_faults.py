"""Kills, crashes and full disks: a build ends right, or says why in one line, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from million_ird import tables
from million_ird.curate import build
from million_ird.errors import OutputError
from tests.conftest import SMALL
from tests.curate.test_build import digest, rows, settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def command(corpus: Path, out: Path, config: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "million_ird",
        "build",
        str(corpus),
        "--out",
        str(out),
        "--config",
        str(config),
        *more,
    ]


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings(run={"workers": 2, "shard_size": 4})))
    return path


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "out"
    build([corpus], out, settings(run={"workers": 0, "shard_size": 4}))
    return digest(out)


@posix
@pytest.mark.parametrize(
    "moment",
    [
        *("spool", "dataset.partial"),
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("plan.json", "ledger/base", "decisions.parquet", "dataset")
        ),
    ],
)
def test_a_build_killed_at_any_moment_resumes_to_the_same_bytes(corpus, unbroken, config_file, tmp_path, moment):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(corpus, out, config_file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (out / moment).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    with_workers = moment in ("spool", "dataset.partial")
    os.killpg(process.pid, signal.SIGKILL) if with_workers else process.kill()
    process.wait()
    assert (out / moment).exists()
    done = subprocess.run(
        command(corpus, out, config_file, "--json", "-q"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert digest(out) == unbroken
    assert json.loads(done.stdout)["inputs"] == len(list(corpus.iterdir()))
    assert not (out / "dataset.partial").exists()


def test_half_a_file_of_a_killed_worker_gets_into_no_ledger_and_no_dataset(corpus, unbroken, tmp_path):
    out = tmp_path / "out"
    build([corpus], out, settings(run={"workers": 0, "shard_size": 4}))
    (out / "state.json").unlink()
    partial = out / "dataset.partial"
    shutil.copytree(out / "dataset", partial / "mark")
    halves = [out / ".plan.json.7.tmp", out / "ledger/base/.part-00000.parquet.7.tmp", partial / "mark/data/.x.7.tmp"]
    for half in halves:
        half.write_bytes(b"PAR1")
    build([corpus], out, settings(run={"workers": 0, "shard_size": 4}))
    assert digest(out) == unbroken
    assert not list(out.rglob("*.tmp"))


@posix
def test_ctrl_c_says_that_the_run_can_go_on_and_exits_130(corpus, unbroken, config_file, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(corpus, out, config_file),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell runs in the background ignores the signal, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "spool").exists():
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    subprocess.run(command(corpus, out, config_file, "-q"), check=True, timeout=120)
    assert digest(out) == unbroken


CRASHER = """
    import os
    from typing import ClassVar
    from million_ird.config import Config

    class Crash(Config):
        "Dies on pictures 77 px wide, as a bad codec would; measures the mean of the others."
        columns: ClassVar = {"mean": "0..255"}

        def __call__(self, frame):
            if frame.rgb.shape[1] == 77:
                os.write(2, b"codec: stack smashed in /secret/place/lib.so\\n")
                os.abort()
            return (float(frame.luma.mean()),)
"""


@pytest.fixture
def third_party_meter(tmp_path, monkeypatch):
    """A real distribution on the path that registers a meter: `crash`, column `mean`."""
    site = tmp_path / "site"
    info = site / "crash_meter-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crash-meter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[million_ird.meters]\ncrash = crash_meter:Crash\n")
    (site / "crash_meter.py").write_text(textwrap.dedent(CRASHER))
    monkeypatch.setenv("PYTHONPATH", str(site))


def test_an_image_that_kills_its_worker_is_found_and_costs_only_itself(corpus, tmp_path, third_party_meter):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in corpus.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in ("killer-1.png", "killer-2.png"):
        Image.new("RGB", (77, 100), "green").save(folder / name)
    config = tmp_path / "config.yaml"
    meters = ["blur", "crash"]
    policy = {"resolution": {"min_side": 96}, **{name: {"enabled": False} for name in DECODED_RULES}}
    policy["meters"] = {"mean": {"max": 250}}
    text = settings(measure={"meters": meters}, policy=policy, run={"workers": 2, "shard_size": 64})
    config.write_text(yaml.safe_dump(text))
    done = subprocess.run(
        command(folder, tmp_path / "out", config, "--json"), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["reasons"]["crashed"] == 2
    found = rows(tmp_path / "out")
    assert found["killer-1.png"]["reason"] == found["killer-2.png"]["reason"] == "crashed"
    assert sum(row["reason"] is None for row in found.values()) >= 10
    parts = sorted((tmp_path / "out" / "ledger" / "base").iterdir())
    means = [row["mean"] for part in parts for row in pq.ParquetFile(part).read().to_pylist() if row["status"] == "ok"]
    assert all(value > 0 for value in means)
    events = (tmp_path / "out" / "run.jsonl").read_text()
    assert "SIGABRT" in events
    assert "stack smashed" in events
    assert "/secret/place" not in events


DECODED_RULES = ("flat", "noise", "compression", "exposure", "border", "product", "upscaled", "iqa")


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    real = os.fsync
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(tables.os, "fsync", fsync)
    with pytest.raises(OutputError, match="the disk is full; free some space") as caught:
        build([corpus], out, SMALL)
    assert "\n" not in str(caught.value)
    assert not list(out.rglob("*.tmp"))
    monkeypatch.undo()
    build([corpus], out, SMALL)
    build([corpus], tmp_path / "unbroken" / "out", SMALL)
    assert digest(out) == digest(tmp_path / "unbroken" / "out")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line(corpus, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(OutputError, match="not writable"):
        build([corpus], folder / "out", SMALL)


@posix
def test_a_disk_that_is_really_full_is_one_line(corpus, tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputError, match="the disk is full"), tables.whole(tmp_path / "x") as file:
        os.dup2(os.open(full, os.O_WRONLY), file.fileno())
        file.write(b"data")
    assert not list(tmp_path.iterdir())


def test_a_kill_between_the_swap_and_its_note_writes_the_whole_dataset_again(corpus, unbroken, tmp_path):
    out = tmp_path / "out"
    build([corpus], out, settings(run={"workers": 0, "shard_size": 4}))
    state = json.loads((out / "state.json").read_text())
    (out / "state.json").write_text(json.dumps({"decisions": state["decisions"]}))
    build([corpus], out, settings(run={"workers": 0, "shard_size": 4}))
    assert digest(out) == unbroken
