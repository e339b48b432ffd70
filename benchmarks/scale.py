"""Many images in one run: throughput from the first thousand to the last, and the memory of all processes.

    python benchmarks/scale.py [FOLDER] [--count 10000] [--workers 2]

FOLDER holds large photos (default: the test data's clic2025); they are cut into 640x480 JPEGs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil

from million_ird.images import decode, encode_jpeg

TEST_DATA = Path(os.environ.get("MIRD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def make_images(folder: Path, sources: Path, count: int) -> None:
    """`count` different crops of 640x480 px at drawn places."""
    rng = np.random.default_rng(0)
    large = [decode(path.read_bytes()).rgb for path in sorted(sources.iterdir()) if path.suffix in (".png", ".jpg")]
    folder.mkdir()
    for number in range(count):
        image = large[number % len(large)]
        top, left = rng.integers(0, image.shape[0] - 479), rng.integers(0, image.shape[1] - 639)
        crop = np.ascontiguousarray(image[top : top + 480, left : left + 640])
        (folder / f"{number:06d}.jpg").write_bytes(encode_jpeg(crop, 88))


def memory(process: psutil.Process) -> float:
    """Resident memory of a process and its children, MB."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=TEST_DATA / "clic2025")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    today = time.strftime("%Y-%m-%d")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {today}")
    with tempfile.TemporaryDirectory() as scratch:
        images, out = Path(scratch) / "images", Path(scratch) / "out"
        make_images(images, given.folder, given.count)
        command = [sys.executable, "-m", "million_ird", "build", str(images), "--out", str(out), "--json", "-q"]
        command += ["--workers", str(given.workers), "--set", "policy.resolution.min_side=256"]
        began = time.time()
        process = psutil.Popen(command, stdout=subprocess.PIPE)
        samples: list[tuple[float, float]] = []
        while process.poll() is None:
            samples.append((time.time() - began, memory(process)))
            time.sleep(0.5)
        seconds = time.time() - began
        summary = json.loads(process.stdout.read()) if process.stdout else {}
        events = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
        done = [
            (datetime.fromisoformat(e["time"]).timestamp() - began, sum(e["statuses"].values()))
            for e in events
            if e["event"] == "shard"
        ]
        print(f"{given.count:,} images in {seconds:.0f} s, {summary['kept']:,} kept; measuring, by thousands:")
        total, last, mark = 0, 0.0, 1000
        for at, count in sorted(done):
            total += count
            if total >= mark:
                used = [value for moment, value in samples if last <= moment <= at]
                rate = 1000 / max(at - last, 1e-9)
                print(f"{total:8,}  {rate:7.0f} images/s   memory of all processes {max(used, default=0):6.0f} MB")
                last, mark = at, mark + 1000
        print(f"peak memory of all processes, export and report included: {max(v for _, v in samples):.0f} MB")


if __name__ == "__main__":
    main()
