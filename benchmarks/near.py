"""Time, memory and recall of the near-duplicate join.

    python benchmarks/near.py                       2 million hashes, distances 4, 6 and 8, three distributions
    python benchmarks/near.py --count 200000        a smaller one

Each case runs in a process of its own, so that its peak memory is its own. Into every set copies are planted, each
within the distance of its original; all must be found, and what is found for a sample of hashes must be what comparing
them with all others finds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup import near

Hashes = NDArray[np.uint64]

COPIES = 0.01  # part of the set
SAMPLE = 200  # hashes that are compared with all others


def uniform(count: int, rng: np.random.Generator) -> Hashes:
    """Every bit by itself."""
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def balanced(count: int, rng: np.random.Generator) -> Hashes:
    """As `phash` makes them: of random fields with the spectrum of photos and a sky above, 32 bits set."""
    low = 8
    falloff = 1 / np.maximum(np.hypot(*np.mgrid[:low, :low]), 1).ravel()
    parts = []
    for start in range(0, count, 1 << 16):
        waves = rng.standard_normal((min(1 << 16, count - start), low * low)) * falloff
        waves[:, low] += 0.5  # brighter at the top
        bits = waves > np.median(waves, axis=1, keepdims=True)
        parts.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(parts)


def crowded(count: int, rng: np.random.Generator) -> Hashes:
    """A tenth of them within 14 bits of one of 20 centres, as pictures of one kind are."""
    hashes = uniform(count, rng)
    crowd = count // 10
    hashes[:crowd] = altered(rng.choice(hashes[-20:], crowd), 14, rng)
    return hashes


def altered(hashes: Hashes, bits: int, rng: np.random.Generator) -> Hashes:
    """Each with at most `bits` bits changed."""
    out = hashes.copy()
    for _ in range(bits):
        out ^= np.uint64(1) << rng.integers(0, 64, len(out), dtype=np.uint64)
    return out


KINDS = {"uniform": uniform, "balanced": balanced, "crowded": crowded}


def run(kind: str, count: int, distance: int, threads: int | None) -> None:
    """One case; prints its line."""
    rng = np.random.default_rng(1)
    originals = KINDS[kind](count - int(count * COPIES), rng)
    chosen = rng.choice(originals, int(count * COPIES))
    copies = altered(chosen, distance, rng)
    hashes = rng.permutation(np.unique(np.concatenate([originals, copies])))

    wall, cpu = time.perf_counter(), time.process_time()
    i, j, _ = near.pairs(hashes, distance, threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    scale = 1 << (20 if sys.platform == "darwin" else 10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale

    order = np.argsort(hashes)
    one, other = (order[np.searchsorted(hashes, side, sorter=order)] for side in (chosen, copies))
    planted = np.unique(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
    planted = planted[planted // len(hashes) != planted % len(hashes)]
    recall = np.isin(planted, i * len(hashes) + j).mean()

    missed = 0
    for index in rng.choice(len(hashes), SAMPLE, replace=False):
        truth = np.flatnonzero(np.bitwise_count(hashes ^ hashes[index]) <= distance)
        found = np.concatenate([j[i == index], i[j == index]])
        missed += len(np.setxor1d(truth[truth != index], found))
    print(
        f"{kind:9} n {len(hashes):>9,} d {distance}  {wall:7.1f} s  {cpu:7.1f} s CPU  {peak:6,.0f} MB  "
        f"{len(i):>11,} pairs  planted found {recall:.4f}  wrong in sample {missed}",
        flush=True,
    )


def main() -> None:
    """Read the arguments and run every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--distances", type=int, nargs="+", default=[4, 6, 8])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        for distance in arguments.distances:
            case = multiprocessing.get_context("spawn").Process(
                target=run, args=(kind, arguments.count, distance, arguments.threads)
            )
            case.start()
            case.join()
            if case.exitcode:
                sys.exit(f"{kind}, distance {distance}: the process ended with {case.exitcode}")


if __name__ == "__main__":
    main()
