"""`mird decide` over a synthetic ledger: seconds with and beyond the near-duplicate join, and peak memory.

python benchmarks/decide.py [--rows 2000000] [--distance 8]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.config import to_yaml
from million_ird.curate.ledger import measurement_columns, schema
from million_ird.curate.rules import lines
from million_ird.curate.settings import BuildConfig, load_config
from million_ird.curate.stages import decide
from million_ird.curate.survey import Line
from million_ird.tables import part_path, write_json, write_table, write_text

SHARD = 4096
COPIES = 0.1
"""Share of rows that are near copies of an earlier row."""


def make_ledger(out: Path, rows: int, config: BuildConfig) -> None:
    """A ledger that looks like a finished base pass: most rows good, each rule failed by some, a tenth near copies."""
    rng = np.random.default_rng(0)
    shards = -(-rows // SHARD)
    hashes = rng.integers(0, 2**63, rows, dtype=np.uint64) << np.uint64(1)
    copies = np.flatnonzero(rng.random(rows) < COPIES)[1:]
    origin = (copies * rng.random(len(copies))).astype(np.int64)
    hashes[copies] = hashes[origin] ^ (np.uint64(1) << rng.integers(0, 64, len(copies), dtype=np.uint64))
    coarse = rng.integers(0, 256, (rows, 36), np.uint8)
    coarse[copies] = coarse[origin]
    spread = cv2.resize(np.eye(36, dtype=np.float32).reshape(6, 6, 36), (16, 16), interpolation=cv2.INTER_LINEAR)
    weights = spread.reshape(256, 36).T
    layout = schema(config)
    for shard in range(shards):
        first, last = shard * SHARD, min(rows, (shard + 1) * SHARD)
        count = last - first
        facts = {
            "key": [f"{row:032x}" for row in range(first, last)],
            "id": [f"{row:064x}" for row in range(first, last)],
            "uri": [f"{row // 1000:05d}/{row:09d}.jpg" for row in range(first, last)],
            "source": ["synthetic"] * count,
            "status": np.where(rng.random(count) < 0.02, "truncated", "ok").tolist(),
            "error": [None] * count,
            "bytes": rng.integers(100_000, 1_000_000, count),
            "format": ["jpeg"] * count,
            "width": rng.integers(400, 4000, count).astype(np.int32),
            "height": rng.integers(400, 4000, count).astype(np.int32),
            "meta": [None] * count,
            "phash": hashes[first:last],
            "thumb": [row.tobytes() for row in (coarse[first:last] @ weights).astype(np.uint8)],
            "meters": [",".join(["phash", *config.measure.meters])] * count,
        }
        columns = [pa.array(facts[name], layout.field(name).type) for name in facts]
        bounds = {line.column: line for line in lines(config.policy)}
        columns += [pa.array(_values(rng, bounds.get(name), count)) for name in measurement_columns(config)]
        write_table(part_path(out / "ledger" / "base", shard), pa.Table.from_arrays(columns, schema=layout))
    source = {"label": "synthetic", "kind": "folder", "protocol": "", "root": "/nowhere", "paths": []}
    write_json(out / "plan.json", {"sources": [source], "inputs": rows, "shard_size": SHARD, "skipped": {}})
    write_text(out / "build.yaml", to_yaml(config))


def _values(rng: np.random.Generator, line: Line | None, count: int) -> NDArray[np.float32]:
    """Values of which about 3 % fail their line."""
    drawn = rng.random(count)
    if line is None:
        return drawn.astype(np.float32)
    scaled = line.value * (1.03 * drawn if line.bound == "max" else 0.97 + drawn)
    return scaled.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--distance", type=int, default=8)
    given = parser.parse_args()
    today = time.strftime("%Y-%m-%d")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {today}")
    config = load_config("photos", sets=[f"policy.near_duplicate.distance={given.distance}"])
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        began = time.perf_counter()
        make_ledger(out, given.rows, config)
        print(f"ledger of {given.rows:,} rows made in {time.perf_counter() - began:.0f} s")
        seconds = []
        for label in ("with the join", "join kept"):
            began = time.perf_counter()
            summary = decide(out)
            seconds.append(time.perf_counter() - began)
            print(f"decide, {label}: {seconds[-1]:.1f} s, {summary.kept:,} kept, {summary.reasons}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
