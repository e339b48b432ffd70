"""The pairs that one mask of `blocks` brings together: sort, cut into runs that agree, compare within runs.

Values are sorted, never indices. Short runs are compared piece by piece while the piece lies in the cache; the few
long ones at a lag, long runs first, so that every comparison is a contiguous vector operation; and the longest by the
same method as the whole, on the bits that vary within them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.blocks import CHUNK, Blocks, Hashes, move, reverse

Values = tuple[Hashes, Hashes]

PIECE = 1 << 15  # hashes at a time: 256 kB
SHORT_RUN = 32  # members up to which a run is compared within its piece
LONG_RUN = 4096  # members from which on a run is joined by blocks of its own
CROWD = 1 << 22  # members of longer runs that are put aside before they are compared
COMPACT = 0.6  # part of the hashes whose runs go on, below which the others are put aside
BATCH = 1 << 20  # pairs that are handed on at a time


def under_mask(shuffled: Hashes, blocks: Blocks, mask: Sequence[int], distance: int) -> Iterator[Values]:
    """The pairs within the distance that this mask is the first to bring together, in batches of about `BATCH`.

    Args:
        shuffled: (n,) uint64, in any order, bits as `blocks.shuffle` puts them.
    """
    moves = blocks.moves(mask)
    back = reverse(moves)
    hashes = move(shuffled, moves)
    hashes.sort()
    for left, right in _batches(_candidates(hashes, blocks, mask, distance)):
        yield move(left, back), move(right, back)


def _join(hashes: Hashes, distance: int) -> Iterator[Values]:
    """All pairs within the distance."""
    blocks = Blocks.best(hashes, distance)
    shuffled = blocks.shuffle(hashes)
    for mask in blocks.masks:
        for left, right in under_mask(shuffled, blocks, mask, distance):
            yield blocks.unshuffle(left), blocks.unshuffle(right)


def _candidates(hashes: Hashes, blocks: Blocks, mask: Sequence[int], distance: int) -> Iterator[Values]:
    """What `under_mask` yields, of sorted hashes whose bits are moved, in pieces of any size."""
    alike, unlike = blocks.first(mask)
    for left, right in _close(hashes, blocks.key_bits(mask), distance):
        differ = left ^ right
        mine = differ & alike == 0
        for block in unlike:
            mine &= differ & block != 0
        yield left[mine], right[mine]


def _close(hashes: Hashes, key_bits: int, distance: int) -> Iterator[Values]:
    """Pairs within the distance: all that agree in the upper `key_bits`, and some that do not."""
    if not key_bits:
        yield from _crowded([hashes], key_bits, distance)
        return
    rest = np.uint64((1 << (64 - key_bits)) - 1)
    crowd: list[Hashes] = []
    start = 0
    while start < len(hashes):
        end = start + PIECE
        if end < len(hashes):
            end = int(np.searchsorted(hashes, hashes[end - 1] | rest, side="right"))
        piece, start = hashes[start:end], end
        if (piece[SHORT_RUN:] ^ piece[:-SHORT_RUN] <= rest).any():
            lengths = _runs(piece, key_bits)
            long = np.repeat(lengths > SHORT_RUN, lengths)
            crowd.append(piece[long])
            piece = piece[~long]
            if sum(map(len, crowd)) >= CROWD:
                yield from _crowded(crowd, key_bits, distance)
                crowd = []
        yield from _in_piece(piece, rest, distance)
    if crowd:
        yield from _crowded(crowd, key_bits, distance)


def _in_piece(piece: Hashes, rest: np.uint64, distance: int) -> Iterator[Values]:
    """Pairs within the distance that differ in the bits `rest` only: at lag 1, 2, ... while runs go on."""
    differ = piece[1:] ^ piece[:-1]
    next_alike = differ <= rest
    alike, lag = next_alike, 1  # alike[i]: i and i + lag are in one run
    while count := np.count_nonzero(alike):
        if 3 * count < len(alike):
            left = np.flatnonzero(alike)
            apart = differ.take(left) if lag == 1 else piece.take(left) ^ piece.take(left + lag)
            left = left[np.bitwise_count(apart) <= distance]
        else:
            apart = differ if lag == 1 else piece[lag:] ^ piece[:-lag]
            left = np.flatnonzero((np.bitwise_count(apart) <= distance) & alike)
        if len(left):
            yield piece[left], piece[left + lag]
        alike = alike[:-1] & next_alike[lag:]
        lag += 1


def _crowded(crowd: list[Hashes], key_bits: int, distance: int) -> Iterator[Values]:
    """As `_close`, where runs are long."""
    hashes = np.concatenate(crowd)
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
