"""Many images in one run: local with 1 and 2 workers, Ray with 2; throughput, memory, bytes written; what Ray costs.

    python benchmarks/scale.py [FOLDER] [--count 5000] [--runs local:1 local:2 ray:2] [--rounds 1]

FOLDER holds large photos (default: the test data's clic2025); they are cut into 640x480 JPEGs, every one another. A run
is a whole `mird build`. "After start-up" counts from when as many shards are done as there are workers until the last
one: what a longer run would go on at. A run on Ray starts a cluster of this machine and ends it. With several rounds
the runs take turns; the mean and the best of each are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil
from testdata import TEST_DATA

from million_ird.images import decode, encode_jpeg

ASKED = 15  # percent: what Ray may cost
SHARDS = 40  # in a run, so that none is alone at its end for long


@dataclass(frozen=True)
class Run:
    """What one run showed.

    Attributes:
        seconds: from the command's start to its end.
        rate: images/s after start-up.
        first, peak: MB of all processes, when a fifth was measured and at most.
        ledger, dataset: bytes written.
        digest: of the decisions and the dataset.
    """

    seconds: float
    rate: float
    first: float
    peak: float
    ledger: int
    dataset: int
    digest: str


def make_images(folder: Path, sources: Path, count: int) -> int:
    """`count` different crops of 640x480 px at drawn places; their bytes."""
    rng = np.random.default_rng(0)
    large = [decode(path.read_bytes()).rgb for path in sorted(sources.iterdir()) if path.suffix in (".png", ".jpg")]
    folder.mkdir()
    total = 0
    for number in range(count):
        image = large[number % len(large)]
        top, left = rng.integers(0, image.shape[0] - 479), rng.integers(0, image.shape[1] - 639)
        crop = np.ascontiguousarray(image[top : top + 480, left : left + 640])
        total += (folder / f"{number:06d}.jpg").write_bytes(encode_jpeg(crop, 88))
    return total


def build(images: Path, out: Path, executor: str, workers: int, count: int) -> Run:
    """One run, its folder removed."""
    command = [sys.executable, "-m", "million_ird", "build", str(images), "--out", str(out), "--json", "-q"]
    command += ["--workers", str(workers), "--executor", executor, "--set", "policy.resolution.min_side=256"]
    command += ["--set", f"run.shard_size={max(1, count // SHARDS)}"]
    began = time.time()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        samples.append((time.time(), memory(process)))
        time.sleep(0.5)
    seconds = time.time() - began
    if process.returncode:
        sys.exit(f"{executor} with {workers} workers: the run ended with {process.returncode}")
    events = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    done = sorted(
        (datetime.fromisoformat(event["time"]).timestamp(), sum(event["statuses"].values()))
        for event in events
        if event["event"] == "shard"
    )
    warm, last = done[workers - 1][0], done[-1][0]
    fifth = done[len(done) // 5][0]
    run = Run(
        seconds,
        sum(images for _, images in done[workers:]) / (last - warm),
        max((used for moment, used in samples if moment <= fifth), default=0.0),
        max(used for _, used in samples),
        written(out / "ledger") + written(out / "decisions.parquet"),
        written(out / "dataset"),
        digest(out),
    )
    shutil.rmtree(out)
    return run


def memory(process: psutil.Process) -> float:
    """Resident memory of a process and its children, MB; shared pages once, where the system tells."""
    total = 0.0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for one in family:
        try:
            told = one.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        total += getattr(told, "pss", told.uss)
    return total / 1e6


def written(place: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def digest(out: Path) -> str:
    """Of the bytes of all that must not depend on who did the work."""
    mark = hashlib.blake2b()
    for path in [out / "decisions.parquet", *sorted((out / "dataset").rglob("*.parquet"))]:
        mark.update(path.read_bytes())
    return mark.hexdigest()


def main() -> None:
    """Read the arguments, make the images, run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=TEST_DATA / "clic2025")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--runs", nargs="+", default=["local:1", "local:2", "ray:2"], metavar="EXECUTOR:WORKERS")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(f"{time.strftime('%Y-%m-%d')}, load {load}")
    runs: dict[str, list[Run]] = {name: [] for name in given.runs}
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        size = make_images(images, given.folder, given.count)
        print(f"{given.count:,} images of 640x480, {size / given.count / 1000:.0f} kB each", flush=True)
        for _ in range(given.rounds):
            for name in given.runs:
                executor, _, workers = name.partition(":")
                run = build(images, Path(scratch) / "out", executor, int(workers), given.count)
                runs[name].append(run)
                print(
                    f"{name:8} {run.rate:7.1f} images/s after start-up, {run.seconds:6.1f} s in all, memory of all "
                    f"processes {run.first:5.0f} MB at a fifth, {run.peak:5.0f} at most; ledger "
                    f"{run.ledger / given.count:.0f} bytes an image, dataset {run.dataset / given.count / 1000:.1f} kB",
                    flush=True,
                )
    digests = {run.digest for same in runs.values() for run in same}
    print("the same decisions and dataset, byte for byte:", len(digests) == 1)
    for name, mine in runs.items():
        others = runs.get(f"local:{name.partition(':')[2]}")
        if name.startswith("ray") and others:
            ratio = [100 * (of(o.rate for o in others) / of(m.rate for m in mine) - 1) for of in (fmean, max)]
            print(f"{name} takes longer than local {ratio[0]:+.1f} % on average, {ratio[1]:+.1f} % by the best of each")
            print(f"asked: under {ASKED} %")


if __name__ == "__main__":
    main()
