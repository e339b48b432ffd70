"""Speed of the base pass against CleanVision and a bare decode, in one run on the same images.

    python benchmarks/build.py [FOLDER] [--images 40] [--count 1000]

FOLDER holds large photos (default: the test data's clic2025); they are cut into 1024x852 JPEGs of quality 88. Prints
images/s per core (CPU seconds, best of three; set OMP_NUM_THREADS=1, as `make bench` does) and ratios; then whole
builds of `--count` images with one and two workers (wall time).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from testdata import TEST_DATA

from million_ird.curate.measure import Measurer
from million_ird.curate.settings import DEFAULT_METERS, load_config
from million_ird.images import decode, encode_jpeg
from million_ird.sources import resolve


def make_images(folder: Path, sources: Path, count: int) -> list[Path]:
    """`count` different 1024x852 JPEGs, cut from large photos at drawn places."""
    rng = np.random.default_rng(0)
    large = [decode(path.read_bytes()).rgb for path in sorted(sources.iterdir()) if path.suffix in (".png", ".jpg")]
    large = [image for image in large if image.shape[0] >= 852 and image.shape[1] >= 1024]
    if not large:
        sys.exit(f"{sources}: no photo of 1024x852 px or more")
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        image = large[number % len(large)]
        top, left = rng.integers(0, image.shape[0] - 851), rng.integers(0, image.shape[1] - 1023)
        crop = np.ascontiguousarray(image[top : top + 852, left : left + 1024])
        if number % 2:
            crop = np.ascontiguousarray(crop[:, ::-1])
        paths.append(folder / f"{number:05d}.jpg")
        # Quality 88 of our encoder is 4:2:0, as most photos on the web are.
        paths[-1].write_bytes(encode_jpeg(crop, 88))
    return paths


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU time of the fastest of some runs."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def cleanvision(folder: Path) -> float:
    """CPU seconds of CleanVision's default issues over a folder, in this process."""
    from cleanvision import Imagelab

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            Imagelab(data_path=str(folder)).find_issues(n_jobs=1, verbose=False)

    return cpu_seconds(work, repeats=1)


def base_pass(folder: Path, *, without: Sequence[str] = (), more: Sequence[str] = ()) -> float:
    """CPU seconds of our base pass over a folder: read, hash, decode, all meters but some, and more."""
    meters = [name for name in (*DEFAULT_METERS, *more) if name not in without]
    config = load_config("photos", sets=[f"measure.meters={json.dumps(meters)}"])
    specs = resolve([str(folder)])
    items = list(specs[0].open().items({}))  # type: ignore[arg-type]
    measurer = Measurer(tuple(specs), config, folder)
    rows = [measurer(items[0])]
    seconds = cpu_seconds(lambda: rows.extend(measurer(item) for item in items))
    assert all(row["status"] == "ok" for row in rows)
    return seconds


def whole_build(folder: Path, out: Path, workers: int) -> tuple[float, float, int]:
    """Wall seconds of a whole `mird build`, those between the first and last shard of its base pass, images kept."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "million_ird", "build", str(folder), "--out", str(out), "--json", "-q"]
    began = time.perf_counter()
    done = subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    events = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    shards = [datetime.fromisoformat(event["time"]).timestamp() for event in events if event["event"] == "shard"]
    return seconds, max(shards) - min(shards), json.loads(done.stdout)["kept"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=TEST_DATA / "clic2025")
    parser.add_argument("--images", type=int, default=40, help="images for the single-core comparison")
    parser.add_argument("--count", type=int, default=1000, help="images of the whole builds; 0 = none")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        paths = make_images(folder, given.folder, given.images)
        files = [path.read_bytes() for path in paths]
        pixels = 1024 * 852 / 1e6
        print(f"{len(paths)} JPEGs of {pixels:.2f} MP, {sum(map(len, files)) / len(files) / 1000:.0f} kB on average\n")
        seconds = {
            "bare RGB decode": cpu_seconds(lambda: [simplejpeg.decode_jpeg(data, "RGB") for data in files]),
            "without NIQE and watermark": base_pass(folder, without=("niqe", "watermark")),
            "without NIQE": base_pass(folder, without=("niqe",)),
            "without watermark": base_pass(folder, without=("watermark",)),
            "base pass": base_pass(folder),
            "with artefacts, too": base_pass(folder, more=("artefacts",)),
            "CleanVision, default issues": cleanvision(folder),
        }
        slowest, decoding = seconds["CleanVision, default issues"], seconds["bare RGB decode"]
        print(f"{'':30}{'images/s/core':>14}{'x CleanVision':>15}{'x bare decode':>15}")
        for name, value in seconds.items():
            rate = len(paths) / value
            print(f"{name:30}{rate:14.1f}{slowest / value:15.2f}{decoding / value:15.2f}")
        if given.count:
            many = Path(scratch) / "many"
            make_images(many, given.folder, given.count)
            passes = {}
            for workers in (1, 2):
                seconds, passes[workers], kept = whole_build(many, Path(scratch) / "out", workers)
                rate = f"{seconds:.1f} s, base pass {passes[workers]:.1f} s"
                print(f"\nmird build, {given.count} images, {workers} workers: {rate}, {kept} kept")
            print(f"2 workers against 1, base pass: {passes[1] / passes[2]:.2f} x")


if __name__ == "__main__":
    main()
