"""All pairs of 64-bit hashes within a Hamming distance: exact, without comparing all with all.

Pigeonhole: cut the bits into k = distance + b blocks; two hashes within the distance differ in at most `distance`
blocks, so they agree in at least b of them. For each choice of b blocks (a mask) the hashes are sorted with these
blocks on top, and only runs that agree there are compared. Each pair is reported by the first mask, in lexicographic
order, that brings it together, so nothing needs to be made unique afterwards.

What makes it fast: values are sorted, never indices (an index is looked up for the few pairs that remain), and the
members of runs are compared at a lag, long runs first, so that every comparison is a contiguous vector operation.
What keeps it from blowing up on skewed hashes: b is chosen by the collisions in a sample of them, bits are dealt to
the blocks by how evenly they vary, and a long run is joined by the same method on the bits that vary within it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.blocks import CHUNK, Blocks, Hashes, move, reverse

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]
Values = tuple[Hashes, Hashes]

LONG_RUN = 4096  # members from which on a run is joined by blocks of its own
COMPACT = 0.6  # part of the hashes whose runs go on, below which the others are put aside
BATCH = 1 << 20  # pairs that are handed on at a time
MOST_THREADS = 8  # each holds about 50 bytes a hash


def pairs(hashes: Hashes, distance: int, *, threads: int | None = None) -> Pairs:
    """All pairs of hashes that differ in at most `distance` bits.

    Args:
        hashes: (n,) uint64, no two equal.
        distance: bits, 0..64.
        threads: None = one per core, at most 8.

    Returns:
        i, j: (m,) int64 with i < j, sorted by (i, j); d: (m,) uint8, the bits in which they differ.
    """
    found = list(scan(hashes, distance, threads=threads))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
    i, j, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(i * len(hashes) + j)
    return i[order], j[order], d[order]


def scan(
    hashes: Hashes,
    distance: int,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Pairs]:
    """`pairs` in chunks, in no particular order: for answers too large to hold.

    Args:
        progress: called with the fraction that is done, 0..1.
    """
    order = np.argsort(hashes)
    ordered = hashes[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError("hashes must be unique")
    if distance < 1 or len(hashes) < 2:
        return
    blocks = Blocks.best(ordered, distance)
    shuffled = blocks.shuffle(ordered)
    finished = 0
    under = (_under_mask(shuffled, blocks, mask, distance) for mask in blocks.masks)
    for found in _side_by_side(under, threads or min(os.cpu_count() or 1, MOST_THREADS)):
        if found is None:
            finished += 1
            if progress:
                progress(finished / blocks.count)
            continue
        left, right = (blocks.unshuffle(values) for values in found)
        i, j = order[np.searchsorted(ordered, left)], order[np.searchsorted(ordered, right)]
        yield np.minimum(i, j), np.maximum(i, j), np.bitwise_count(left ^ right)


def _side_by_side(streams: Iterator[Iterator[Values]], threads: int) -> Iterator[Values | None]:
    """What the streams yield, `threads` of them at a time, none more than one item ahead; None as each ends."""
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(next, stream, None): stream for stream in islice(streams, threads)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stream, item = running.pop(future), future.result()
                yield item
                stream = next(streams, None) if item is None else stream
                if stream is not None:
                    running[pool.submit(next, stream, None)] = stream


def _join(hashes: Hashes, distance: int) -> Iterator[Values]:
    """All pairs within the distance, as values."""
    blocks = Blocks.best(hashes, distance)
    shuffled = blocks.shuffle(hashes)
    for mask in blocks.masks:
        for left, right in _under_mask(shuffled, blocks, mask, distance):
            yield blocks.unshuffle(left), blocks.unshuffle(right)


def _under_mask(shuffled: Hashes, blocks: Blocks, mask: Sequence[int], distance: int) -> Iterator[Values]:
    """The pairs that this mask is the first to bring together, in batches of about `BATCH`."""
    moves = blocks.moves(mask)
    back = reverse(moves)
    hashes = move(shuffled, moves)
    hashes.sort()
    for left, right in _batches(_candidates(hashes, blocks, mask, distance)):
        yield move(left, back), move(right, back)


def _candidates(hashes: Hashes, blocks: Blocks, mask: Sequence[int], distance: int) -> Iterator[Values]:
    """What `_under_mask` yields, of sorted hashes whose bits are moved, in pieces of any size."""
    alike, unlike = blocks.first(mask)
    for left, right in _close(hashes, blocks.key_bits(mask), distance):
        differ = left ^ right
        mine = differ & alike == 0
        for block in unlike:
            mine &= differ & block != 0
        yield left[mine], right[mine]


def _close(hashes: Hashes, key_bits: int, distance: int) -> Iterator[Values]:
    """Pairs within the distance: all that agree in the upper `key_bits`, and some that do not."""
    lengths = _runs(hashes, key_bits)
    long = np.flatnonzero(lengths >= LONG_RUN) if key_bits else []
    if len(long):
        ends = np.cumsum(lengths)
        for run in long:
            yield from _join(hashes[ends[run] - lengths[run] : ends[run]], distance)
        short = lengths < LONG_RUN
        hashes, lengths = hashes[np.repeat(short, lengths)], lengths[short]
    members = np.bincount(lengths, weights=lengths)  # [length] -> hashes in runs of that length
    longer = members[::-1].cumsum()[::-1]  # [length] -> hashes in runs at least as long
    for lag in range(1, len(longer) - 1):
        if longer[lag + 1] < COMPACT * len(hashes):
            kept = lengths > lag
            hashes, lengths = hashes[np.repeat(kept, lengths)], lengths[kept]
        yield from _at_lag(hashes, lag, distance)


def _runs(ordered: Hashes, key_bits: int) -> NDArray[np.int64]:
    """Lengths of the runs that agree in the upper `key_bits`."""
    if not key_bits:
        return np.full(1, len(ordered))
    breaks = ordered[1:] ^ ordered[:-1] >= np.uint64(1 << (64 - key_bits))
    return np.diff(np.flatnonzero(breaks), prepend=-1, append=len(ordered) - 1)


def _at_lag(hashes: Hashes, lag: int, distance: int) -> Iterator[Values]:
    """Pairs within the distance that are `lag` places apart."""
    differ, count, near = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.uint8), np.empty(CHUNK, bool)
    for start in range(0, len(hashes) - lag, CHUNK):
        size = min(CHUNK, len(hashes) - lag - start)
        left, right = hashes[start : start + size], hashes[start + lag : start + lag + size]
        np.bitwise_xor(left, right, out=differ[:size])
        np.bitwise_count(differ[:size], out=count[:size])
        np.less_equal(count[:size], distance, out=near[:size])
        near[size:] = False
        # Eight at a time: few are near, and numpy is slow to find those.
        words = np.flatnonzero(near.view(np.uint64))
        if len(words):
            found = words[:, None] * 8 + np.arange(8)
            found = found[near[found]]
            yield left[found], right[found]


def _batches(found: Iterator[Values]) -> Iterator[Values]:
    lefts, rights, size = [], [], 0
    for left, right in found:
        lefts.append(left)
        rights.append(right)
        size += len(left)
        if size >= BATCH:
            yield np.concatenate(lefts), np.concatenate(rights)
            lefts, rights, size = [], [], 0
    if size:
        yield np.concatenate(lefts), np.concatenate(rights)
