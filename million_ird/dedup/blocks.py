"""How 64 bits are cut into blocks for the join of `near`: which bits, how many blocks, how many must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

CHUNK = 16384  # hashes at a time where several operations follow each other: they stay in the cache
SAMPLE = 65536  # hashes from which collisions are estimated
TRIALS = 4  # masks for which they are
MOST_AGREE = 8  # blocks: more masks than that takes never pay
# Nanoseconds, for the choice only: sort and scan one hash under a mask; compare one pair; what a mask costs besides.
NS_HASH, NS_PAIR, NS_MASK = 25.0, 6.0, 200_000.0


@dataclass(frozen=True)
class Blocks:
    """The bits of a hash, shuffled so that block 0 is on top, then block 1, ...; bits that never vary come last.

    Attributes:
        bits: the 64 bit positions (0 = least significant) from top to bottom.
        widths: bits in each of the k blocks.
        agree: blocks that a mask takes, b; 0 = no blocks pay, compare all with all.
    """

    bits: tuple[int, ...]
    widths: tuple[int, ...] = ()
    agree: int = 0

    @classmethod
    def best(cls, hashes: Hashes, distance: int) -> Blocks:
        """The cut that joins `hashes` within `distance` bits at the least expected cost."""
        n = len(hashes)
        rng = np.random.default_rng(0)
        sample = hashes if n <= SAMPLE else hashes[rng.choice(n, SAMPLE, replace=False)]
        bits, varying = _by_balance(hashes, sample)
        best, least = cls(tuple(bits)), n * (n - 1) / 2 * NS_PAIR
        for agree in range(1, min(MOST_AGREE, varying - distance) + 1):
            masks = comb(distance + agree, agree)
            sorting = masks * (n * NS_HASH + NS_MASK)
            if sorting >= least:
                break
            blocks = cls.dealt(bits, varying, distance + agree, agree)
            cost = sorting + masks * blocks._collisions(blocks.shuffle(sample), n, rng) * NS_PAIR
            if cost < least:
                best, least = blocks, cost
        return best

    @classmethod
    def dealt(cls, bits: Sequence[int], varying: int, count: int, agree: int) -> Blocks:
        """Bits dealt to `count` blocks in turn, so that each block has its share of the evenly varying ones."""
        hands = [tuple(bits[block:varying:count]) for block in range(count)]
        order = tuple(bit for hand in hands for bit in hand) + tuple(bits[varying:])
        return cls(order, tuple(len(hand) for hand in hands), agree)

    def _collisions(self, sample: Hashes, n: int, rng: np.random.Generator) -> float:
        """Pairs, on average over masks, that `n` such hashes would bring together (in shuffled bits)."""
        met = 0.0
        for _ in range(TRIALS):
            mask = sum(self._fields[block] for block in rng.choice(len(self.widths), self.agree, replace=False))
            keys = np.sort(sample & np.uint64(mask))
            lengths = np.diff(np.flatnonzero(keys[1:] != keys[:-1]), prepend=-1, append=len(keys) - 1).astype(float)
            met += float((lengths * (lengths - 1)).sum()) / 2
        return met / TRIALS * (n * (n - 1)) / (len(sample) * (len(sample) - 1))

    @property
    def masks(self) -> Iterator[tuple[int, ...]]:
        """The choices of blocks, in lexicographic order."""
        return combinations(range(len(self.widths)), self.agree)

    @property
    def count(self) -> int:
        """How many masks there are."""
        return comb(len(self.widths), self.agree)

    @cached_property
    def shuffle(self) -> Callable[[Hashes], Hashes]:
        """Hashes with their bits in the order of the blocks."""
        return _Permutation({bit: 63 - place for place, bit in enumerate(self.bits)})

    @cached_property
    def unshuffle(self) -> Callable[[Hashes], Hashes]:
        """The inverse of `shuffle`."""
        return _Permutation({63 - place: bit for place, bit in enumerate(self.bits)})

    @cached_property
    def _fields(self) -> tuple[int, ...]:
        """For each block the bits it has after `shuffle`."""
        ends = 64 - np.cumsum(self.widths)
        return tuple(((1 << width) - 1) << int(end) for width, end in zip(self.widths, ends, strict=True))

    def key_bits(self, mask: Sequence[int]) -> int:
        """Bits in the blocks of a mask."""
        return sum(self.widths[block] for block in mask)

    def moves(self, mask: Sequence[int]) -> list[tuple[int, int]]:
        """What brings the blocks of a mask on top, the others behind them: (bits, shift), shift > 0 is to the left."""
        moves: list[tuple[int, int]] = []
        above_taken = above_left = 0
        rest = (1 << (64 - sum(self.widths))) - 1
        key = self.key_bits(mask)
        for block, (field, width) in enumerate(zip(self._fields, self.widths, strict=True)):
            taken = block in mask
            shift = above_left if taken else above_taken - key
            if moves and moves[-1][1] == shift:
                moves[-1] = (moves[-1][0] | field, shift)
            else:
                moves.append((field, shift))
            above_taken, above_left = above_taken + width * taken, above_left + width * (not taken)
        return [*moves, (rest, 0)] if rest else moves

    def first(self, mask: Sequence[int]) -> tuple[np.uint64, Hashes]:
        """How to tell that `mask` is the first to bring a pair together, from the XOR of its hashes, bits moved.

        Returns:
            The bits that must be zero; and groups of bits (the blocks left out before the last one taken, any of
            which would have made an earlier mask) none of which may be zero.
        """
        key = self.key_bits(mask)
        unlike = [self._fields[block] for block in range(max(mask, default=0)) if block not in mask]
        return np.uint64((1 << key) - 1 << (64 - key)), move(np.array(unlike, np.uint64), self.moves(mask))


def move(hashes: Hashes, moves: Sequence[tuple[int, int]]) -> Hashes:
    """Each group of bits shifted to its place: what `Blocks.moves` gives."""
    out = np.empty_like(hashes)
    for start in range(0, len(hashes), CHUNK):
        part, place = hashes[start : start + CHUNK], out[start : start + CHUNK]
        place[:] = 0
        for bits, shift in moves:
            group = part & np.uint64(bits)
            place |= group << np.uint64(shift) if shift >= 0 else group >> np.uint64(-shift)
    return out


def reverse(moves: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The moves that undo `moves`."""
    return [(bits << shift if shift >= 0 else bits >> -shift, -shift) for bits, shift in moves]


class _Permutation:
    """A permutation of the 64 bits, by one table of 256 entries per byte."""

    def __init__(self, target: dict[int, int]) -> None:
        byte = np.arange(256, dtype=np.uint64)
        self.tables = np.zeros((8, 256), np.uint64)
        for bit, place in target.items():
            self.tables[bit // 8] |= (byte >> np.uint64(bit % 8) & np.uint64(1)) << np.uint64(place)

    def __call__(self, hashes: Hashes) -> Hashes:
        out = np.empty_like(hashes)
        for start in range(0, len(hashes), CHUNK):
            part, place = hashes[start : start + CHUNK], out[start : start + CHUNK]
            place[:] = 0
            for byte, table in enumerate(self.tables):
                place |= table.take((part >> np.uint64(8 * byte) & np.uint64(255)).astype(np.intp))
        return out


def _by_balance(hashes: Hashes, sample: Hashes) -> tuple[list[int], int]:
    """The 64 bits, most evenly varying first, those that never vary last; and how many vary."""
    varies = int(np.bitwise_or.reduce(hashes ^ hashes[0]))
    ones = np.unpackbits(sample.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little").mean(axis=0)
    unevenness = np.where([varies >> bit & 1 for bit in range(64)], np.abs(ones - 0.5), 1.0)
    return np.argsort(unevenness, kind="stable").tolist(), varies.bit_count()
