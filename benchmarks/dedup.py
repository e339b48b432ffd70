"""Near duplicates by their hashes, 2 and 20 million of them: time, memory, recall; and others on the same hashes.

    python benchmarks/dedup.py                          all of it: half an hour on two cores
    python benchmarks/dedup.py --counts 200000 --no-peers
    python benchmarks/dedup.py --no-cases --faiss-2m    only the others, faiss on 2 million too: ten minutes more
    python benchmarks/dedup.py --far                    20 million at 8 bits, too

What is timed is `clusters.families`: equal hashes brought together, all pairs within the distance found, union-find.
Each case has a process of its own. Memory is that of the case and of all processes that it starts, above what it held
with the hashes in memory before (shared pages counted once, where the system tells).

"photos" is made as sets from the web are: hashes of fields with the spectrum of photos, of which some are posted again
(equal hashes, few of them very often), some are near copies, some belong to crowds that look alike, and flat pictures
all fall upon a few hashes. Recall is that of the pairs of a sample, half of it copies, against comparing with all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from million_ird.dedup import near
from million_ird.dedup.blocks import Blocks
from million_ird.dedup.clusters import families

Hashes = NDArray[np.uint64]

AGAIN, COPIES, CROWDS, FLAT = 0.10, 0.10, 0.05, 0.01  # parts of "photos"
SAMPLE = 200  # hashes that are compared with all others
PEERS = ["faiss-cpu==1.15.1", "imagededup==0.3.3.post2"]
FAISS, IMAGEDEDUP = 600_000, 20_000  # hashes that each can do in about a minute


@dataclass(frozen=True)
class Case:
    """What is run."""

    kind: str
    count: int
    distance: int
    threads: int | None


def uniform(count: int, distance: int, rng: np.random.Generator) -> Hashes:
    """Every bit by itself; one in a hundred a copy."""
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    copies = count // 100
    hashes[:copies] = altered(hashes[-copies:], rng.integers(1, distance + 1, copies), rng)
    return hashes


def photos(count: int, distance: int, rng: np.random.Generator) -> Hashes:
    """What the web holds, see above."""
    again, copies, crowds, flat = (int(count * part) for part in (AGAIN, COPIES, CROWDS, FLAT))
    strangers = spectra(count - again - copies - crowds - flat, rng)
    popular = (len(strangers) * rng.random(again) ** 3).astype(np.int64)
    copied = (len(strangers) * rng.random(copies) ** 3).astype(np.int64)
    changed = np.minimum(rng.geometric(0.5, copies), distance)
    centres = rng.choice(strangers[-1000:], 200)
    levels = np.array([0, 1 << 63, 0x8080808080808080, 0xFF00000000000000, 2**64 - 1], np.uint64)
    parts = [
        altered(strangers[copied], changed, rng),
        strangers,
        strangers[popular],
        altered(rng.choice(centres, crowds), np.full(crowds, 10), rng),
        altered(rng.choice(levels, flat), rng.choice(3, flat, p=(0.7, 0.2, 0.1)), rng),
    ]
    return np.concatenate(parts)


def spectra(count: int, rng: np.random.Generator) -> Hashes:
    """As `phash` makes them: of random fields with the spectrum of photos and a sky above, 32 bits set."""
    low = 8
    falloff = (1 / np.maximum(np.hypot(*np.mgrid[:low, :low]), 1)).ravel().astype(np.float32)
    out = np.empty(count, np.uint64)
    for start in range(0, count, 1 << 16):
        waves = rng.standard_normal((min(1 << 16, count - start), low * low), np.float32) * falloff
        waves[:, low] += 0.5  # brighter at the top
        bits = waves > np.partition(waves, low * low // 2 - 1, axis=1)[:, [low * low // 2 - 1]]
        out[start : start + len(waves)] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return out


def altered(hashes: Hashes, bits: NDArray[np.int64], rng: np.random.Generator) -> Hashes:
    """Each with at most so many bits changed."""
    out = hashes.copy()
    for step in range(int(bits.max(initial=0))):
        out[bits > step] ^= np.uint64(1) << rng.integers(0, 64, int((bits > step).sum()), dtype=np.uint64)
    return out


KINDS: dict[str, Callable[[int, int, np.random.Generator], Hashes]] = {"photos": photos, "uniform": uniform}


def run(case: Case, tell: Connection) -> None:
    """One case, in a process of its own; says when it begins and ends, and prints its line."""
    rng = np.random.default_rng(1)
    hashes = KINDS[case.kind](case.count, case.distance, rng)
    copies = rng.choice(case.count // 100, SAMPLE // 2, replace=False)  # in either kind copies come first
    sample = np.concatenate([copies, rng.choice(case.count, SAMPLE // 2)])
    hashes = hashes[order := rng.permutation(case.count)]
    place = np.empty_like(order)
    place[order] = np.arange(case.count)
    asked = np.unique(hashes[place[sample]])
    del order, place
    pairs = _Pairs(asked)
    near.scan = pairs.scan

    tell.send("begin")
    tell.recv()
    wall, cpu = time.perf_counter(), _cpu()
    family = families(hashes, case.distance, threads=case.threads)
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    tell.send("end")
    peak = tell.recv()

    recall, wrong, truth = pairs.judged(case.distance)
    print(
        f"{case.kind:8} n {case.count:>10,} d {case.distance}  {wall:6.1f} s  {cpu:6.1f} s CPU  {peak / 1e6:6,.0f} MB "
        f"= {peak / case.count:3.0f} bytes an image beside its hash   agree in {pairs.blocks.agree} of "
        f"{len(pairs.blocks.widths)} blocks   {pairs.count:>11,} pairs of {len(pairs.hashes):,} different hashes, "
        f"{len(np.unique(family)):,} families   recall {recall:.4f}, wrong {wrong} ({truth} pairs of a sample)",
        flush=True,
    )


def _cpu() -> float:
    """Seconds of this process and of those it has waited for."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


class _Pairs:
    """Stands before the search, and remembers the pairs of some hashes as they pass."""

    def __init__(self, asked: Hashes) -> None:
        self.asked, self.count = asked, 0
        self._scan, self._found = near.scan, [np.empty((2, 0), np.uint64)]

    def scan(self, hashes: Hashes, distance: int, **options: Any) -> Iterator[near.Pairs]:
        """As `near.scan`."""
        self.hashes, self.blocks = hashes, Blocks.best(hashes, distance)
        wanted = np.zeros(len(hashes), bool)
        wanted[np.searchsorted(hashes, self.asked)] = True
        for i, j, d in self._scan(hashes, distance, **options):
            self.count += len(i)
            mine = np.flatnonzero(wanted[i] | wanted[j])
            self._found.append(np.stack([hashes[i[mine]], hashes[j[mine]]]))
            yield i, j, d

    def judged(self, distance: int) -> tuple[float, int, int]:
        """Part of the true pairs that was found; pairs found that are none, or twice; true pairs."""
        first, second = np.concatenate(self._found, axis=1)
        good = wrong = total = 0
        for one in self.asked:
            truth = self.hashes[np.bitwise_count(self.hashes ^ one) <= distance]
            truth = truth[truth != one]
            found = np.concatenate([second[first == one], first[second == one]])
            hits = int(np.isin(truth, found).sum())
            good, wrong, total = good + hits, wrong + len(found) - hits, total + len(truth)
        return good / max(total, 1), wrong, total


def watched(case: Case) -> None:
    """Run a case and sample its memory."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(case, there))
    process.start()
    there.close()
    try:
        here.recv()
        before = peak = memory(process.pid or 0)
        here.send(None)
        while not here.poll(0.1 if case.count < 5_000_000 else 0.5):  # looking costs, too
            peak = max(peak, memory(process.pid or 0))
        here.recv()
        here.send(peak - before)
    except EOFError:
        pass
    process.join()
    if process.exitcode:
        sys.exit(f"{case}: the process ended with {process.exitcode}")


def memory(pid: int) -> float:
    """Bytes that a process and its children hold; shared pages once, where the system tells."""
    total = 0.0
    for one in (parent := psutil.Process(pid), *parent.children(recursive=True)):
        try:
            told = one.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        total += getattr(told, "pss", told.uss)
    return total


_FAISS = """
import faiss
began = time.perf_counter()
index = faiss.IndexBinaryMultiHash(64, 5, 12)  # 5 x 12 bits: of 4 that differ one part knows nothing
index.add(hashes.view(np.uint8).reshape(-1, 8))
ends, apart, found = index.range_search(hashes.view(np.uint8).reshape(-1, 8), 5)  # below 5
seconds, pairs = time.perf_counter() - began, (len(found) - len(hashes)) // 2
"""
_IMAGEDEDUP = """
from imagededup.methods import PHash
names = {str(place): f"{value:016x}" for place, value in enumerate(hashes.tolist())}
began = time.perf_counter()
found = PHash(verbose=False).find_duplicates(encoding_map=names, max_distance_threshold=4)
seconds, pairs = time.perf_counter() - began, sum(map(len, found.values())) // 2
"""


def beside(packages: Path, name: str, code: str, count: int) -> None:
    """A peer and we on the same different hashes at 4 bits; prints the ratio."""
    hashes = np.unique(photos(count, 4, np.random.default_rng(2)))
    np.save(packages / "hashes.npy", hashes)
    script = f"""
import json, sys, time
import numpy as np
if __name__ == "__main__":
    hashes = np.load({str(packages / "hashes.npy")!r})
    {code.strip().replace(chr(10), chr(10) + "    ")}
    print(json.dumps([seconds, pairs]))
"""
    (packages / "peer.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(packages), "OMP_NUM_THREADS": str(os.cpu_count())}
    call = [sys.executable, str(packages / "peer.py")]
    done = subprocess.run(call, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        print(f"{name} fails here: {done.stderr.strip().splitlines()[-1:]}")
        return
    theirs, count_theirs = json.loads(done.stdout.splitlines()[-1])
    began = time.perf_counter()
    found = near.pairs(hashes, 4)
    ours = time.perf_counter() - began
    same = "the same" if len(found[0]) == count_theirs else f"{len(found[0]):,} here, {count_theirs:,} there:"
    print(
        f"{name:28} {len(hashes):>9,} hashes, d 4   {theirs:7.1f} s, ours {ours:6.2f} s: {theirs / ours:6.0f}x   "
        f"{same} pairs",
        flush=True,
    )


def peers(faiss_counts: list[int], imagededup: int) -> None:
    """Install them beside everything, without what they ask for, which is here; and compare."""
    with tempfile.TemporaryDirectory() as name:
        packages = Path(name)
        uv = str(Path(sys.executable).with_name("uv"))
        call = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", name, "--no-deps", *PEERS]
        if subprocess.run(call, check=False).returncode:
            print("faiss and imagededup cannot be had here")
            return
        beside(packages, "imagededup PHash", _IMAGEDEDUP, imagededup)
        for count in faiss_counts:
            beside(packages, "faiss IndexBinaryMultiHash", _FAISS, count)


def main() -> None:
    """Read the arguments and run every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", help="instead of the usual cases; with --distances, --kinds")
    parser.add_argument("--distances", type=int, nargs="+", default=[4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["photos"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--far", action="store_true")
    parser.add_argument("--no-cases", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peer-counts", type=int, nargs=2, default=[FAISS, IMAGEDEDUP], metavar=("FAISS", "OTHER"))
    parser.add_argument("--faiss-2m", action="store_true")
    given = parser.parse_args()
    usual = [("photos", 2_000_000, d) for d in (4, 6, 8)] + [("uniform", 2_000_000, 4)]
    usual += [("photos", 20_000_000, 4), ("uniform", 20_000_000, 4), ("photos", 20_000_000, 6)]
    usual += [("photos", 20_000_000, 8)] * given.far
    chosen = [(k, n, d) for n in given.counts or () for k in given.kinds for d in given.distances] or usual
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{time.strftime('%Y-%m-%d')}, load {load}; asked at d 4: 2M in 20 s, 20M in 180 s and 3 GB, recall 1")
    for kind, count, distance in () if given.no_cases else chosen:
        watched(Case(kind, count, distance, given.threads))
    if not given.no_peers:
        peers([given.peer_counts[0]] + [2_000_000] * given.faiss_2m, given.peer_counts[1])


if __name__ == "__main__":
    main()
