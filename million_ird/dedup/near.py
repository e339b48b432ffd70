"""All pairs of 64-bit hashes within a Hamming distance: exact, without comparing all with all.

Pigeonhole: cut the bits into k = distance + b blocks; two hashes within the distance differ in at most `distance`
blocks, so they agree in at least b of them. For each choice of b blocks (a mask) the hashes are sorted with these
blocks on top, and only runs that agree there are compared. Each pair is reported by the first mask, in lexicographic
order, that brings it together, so nothing needs to be made unique afterwards.

What keeps it from blowing up on skewed hashes: b is chosen by the collisions in a sample of them, bits are dealt to
the blocks by how evenly they vary, and a long run is joined by the same method on the bits that vary within it.

Memory, beyond the hashes themselves (8 bytes each): 8 bytes a hash for the shuffled ones, in a temporary file that can
leave the memory, and 10 for each lane (8 sorted, and what is at work): 28 in all on two cores. Hashes that are not
sorted yet take 12 more, for their order and a sorted copy. `benchmarks/dedup.py` prints what it comes to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.blocks import Blocks, Hashes
from million_ird.dedup.lanes import found_under_masks

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]

MOST_LANES = 8  # by default: each holds memory


def pairs(hashes: Hashes, distance: int, *, threads: int | None = None) -> Pairs:
    """All pairs of hashes that differ in at most `distance` bits.

    Args:
        hashes: (n,) uint64, no two equal.
        distance: bits, 0..64.
        threads: masks that are looked at at a time; None = one per core, at most 8.

    Returns:
        i, j: (m,) int64 with i < j, sorted by (i, j); d: (m,) uint8, the bits in which they differ.
    """
    found = list(scan(hashes, distance, threads=threads))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
    i, j, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((j, i))
    return i[order], j[order], d[order]


def scan(
    hashes: Hashes,
    distance: int,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Pairs]:
    """`pairs` in chunks, in no particular order: for answers too large to hold. Sorted hashes take less memory.

    Args:
        progress: called with the fraction that is done, 0..1.
    """
    ordered, order = _ordered(hashes)
    if distance < 1 or len(hashes) < 2:
        return
    blocks = Blocks.best(ordered, distance)
    lanes = threads or min(os.cpu_count() or 1, MOST_LANES)
    finished = 0
    for found in found_under_masks(blocks.shuffle(ordered), blocks, distance, lanes):
        if found is None:
            finished += 1
            if progress:
                progress(finished / blocks.count)
            continue
        left, right = (blocks.unshuffle(values) for values in found)
        i, j = np.searchsorted(ordered, left), np.searchsorted(ordered, right)
        if order is not None:
            i, j = order[i].astype(np.int64), order[j].astype(np.int64)
        yield np.minimum(i, j), np.maximum(i, j), np.bitwise_count(left ^ right)


def _ordered(hashes: Hashes) -> tuple[Hashes, NDArray[np.integer] | None]:
    """The hashes sorted, and where each was; None where they were sorted already.

    Raises:
        ValueError: two are equal.
    """
    if (hashes[1:] > hashes[:-1]).all():
        return hashes, None
    order = np.argsort(hashes).astype(np.uint32 if len(hashes) < 1 << 32 else np.int64)
    ordered = hashes[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError("hashes must be unique")
    return ordered, order
