"""Which images are near duplicates of which: candidates by their hashes, each verified on the thumbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup import near
from million_ird.dedup.blocks import Hashes
from million_ird.dedup.verify import flat, look_alike, look_equal
from million_ird.dedup.views import Thumbs, turn, view_hashes

Index = NDArray[np.int64]

CROWD = 64  # different pictures of one hash that are told apart; a hash that more share says nothing of them
FEW_BITS = 3  # set, or clear, in a hash that is no better than that of a flat image
VIEWS_NEAR = 6  # bits: views of a copy are nearer than the pictures, and there are twice as many of them
PART = 1 << 18  # candidates at a time


@dataclass(frozen=True)
class Edges:
    """Verified near duplicates among N images.

    A bundle is images of equal hash, each verified against the first of them; edges join the first images of bundles.

    Attributes:
        bundle: (N,) int64, index of the first image of one's bundle, one's own where alone, -1 where not valid.
        i, j: (m,) int64, first images of bundles, i < j, sorted.
        d: (m,) uint8, bits in which the hashes that brought them together differ (of the pictures, or of views).
    """

    bundle: Index
    i: Index
    j: Index
    d: NDArray[np.uint8]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For a cache: plain arrays by name."""
        return {"bundle": self.bundle, "i": self.i, "j": self.j, "d": self.d}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Edges:
        """The inverse of `to_arrays`."""
        return cls(**{name: arrays[name] for name in ("bundle", "i", "j", "d")})


def find_edges(
    hashes: Hashes,
    thumbs: Thumbs,
    valid: NDArray[np.bool_],
    distance: int,
    *,
    flips: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Edges:
    """All near duplicates among N images.

    Two searches find candidates within `distance` bits: by the hashes of the pictures, and (within 6 bits at most) by
    hashes made of the thumbs, with and without their border: copies that were re-cropped and, if asked, mirrored or
    turned.

    Images without detail are kept apart: they are joined only if their hashes are equal and their thumbs the same, so
    that two skies are not taken for one.

    Args:
        hashes: (N,) uint64 perceptual hashes, all of one kind.
        thumbs: (N, 256) uint8, 16x16 luma row by row.
        valid: (N,) bool, which images take part.
        distance: bits, 0..64.
        flips: find copies that are mirrored or turned by quarters, too.
        progress: called with the fraction that is done, 0..1.
    """
    plain = flat(thumbs) | (np.minimum(np.bitwise_count(hashes), np.bitwise_count(~hashes)) <= FEW_BITS)
    bundle = _bundles(hashes, thumbs, np.flatnonzero(valid), plain)
    first = np.flatnonzero((bundle == np.arange(len(hashes))) & ~plain)
    still = np.zeros(len(first), np.uint8)
    searches = (
        lambda: (distance, np.arange(len(first)), still, hashes[first]),
        lambda: (min(distance, VIEWS_NEAR), *_views(thumbs, first, flips)),
    )
    found: list[tuple[Index, Index, NDArray[np.uint8]]] = []
    for step, entries in enumerate(searches):
        bits, which, turns, keys = entries()
        for a, b, d in _meet(keys, bits, _share(progress, step, len(searches))):
            a, b, d = _once(which, turns, a, b, d)
            i, j = first[which[a]], first[which[b]]
            alike = look_alike(turn(thumbs[i], turns[a]), turn(thumbs[j], turns[b]))
            found.append((np.minimum(i, j)[alike], np.maximum(i, j)[alike], d[alike]))
    if progress:
        progress(1.0)
    return Edges(bundle, *_nearest(found))


def _bundles(hashes: Hashes, thumbs: Thumbs, members: Index, plain: NDArray[np.bool_]) -> Index:
    """The bundles of `members`: in rounds, the first of each hash that is left takes those that look like it."""
    bundle = np.full(len(hashes), -1, np.int64)
    bundle[members] = members
    left = members[np.argsort(hashes[members], kind="stable")]
    left = left[np.argsort(plain[left], kind="stable")]
    for _ in range(CROWD):
        key, kind = hashes[left], plain[left]
        begins = np.ones(len(left), bool)
        begins[1:] = (key[1:] != key[:-1]) | (kind[1:] != kind[:-1])
        leader = left[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        rest = np.flatnonzero(~begins)
        if not len(rest):
            break
        left, leader = left[rest], leader[rest]
        alike = np.empty(len(left), bool)
        for start in range(0, len(left), PART):
            part = slice(start, start + PART)
            one, other = thumbs[leader[part]], thumbs[left[part]]
            alike[part] = np.where(plain[left[part]], look_equal(one, other), False)
            detailed = np.flatnonzero(~plain[left[part]])
            alike[start + detailed] = look_alike(one[detailed], other[detailed])
        bundle[left[alike]] = leader[alike]
        left = left[~alike]
    return bundle


def _views(thumbs: Thumbs, first: Index, flips: bool) -> tuple[Index, NDArray[np.uint8], Hashes]:
    """`view_hashes` of the thumbs of `first`, without a copy of them all: they are most of what is held."""
    parts = []
    for start in range(0, max(len(first), 1), PART):
        which, turns, hashes = view_hashes(thumbs[first[start : start + PART]], turned=flips)
        parts.append((start + which, turns, hashes))
    which, turns, hashes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return which, turns, hashes


def _meet(
    keys: Hashes, distance: int, progress: Callable[[float], None] | None
) -> Iterator[tuple[Index, Index, NDArray[np.uint8]]]:
    """Pairs of entries whose keys are within the distance, equal ones included; of a key the first `CROWD` entries."""
    order = np.argsort(keys, kind="stable")
    unique, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    counts = np.minimum(counts, CROWD)
    shared = np.flatnonzero(counts > 1)
    for a, b, d in _spread(starts, counts, shared, shared, np.zeros(len(shared), np.uint8)):
        yield order[a[a < b]], order[b[a < b]], d[a < b]
    for p, q, d in near.scan(unique, distance, progress=progress):
        for a, b, spread in _spread(starts, counts, p, q, d):
            yield order[a], order[b], spread


def _spread(
    starts: Index, counts: Index, p: Index, q: Index, d: NDArray[np.uint8]
) -> Iterator[tuple[Index, Index, NDArray[np.uint8]]]:
    """Pairs of groups as pairs of their members, about `PART` at a time."""
    ends = np.cumsum(counts[p] * counts[q])
    cuts = np.searchsorted(ends, np.arange(PART, ends[-1] if len(ends) else 0, PART))
    for part in np.split(np.arange(len(p)), np.unique(cuts)):
        sizes = counts[p[part]] * counts[q[part]]
        pair = np.repeat(part, sizes)
        member = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        wide = counts[q[pair]]
        yield starts[p[pair]] + member // wide, starts[q[pair]] + member % wide, d[pair]


def _once(
    which: Index, turns: NDArray[np.uint8], a: Index, b: Index, d: NDArray[np.uint8]
) -> tuple[Index, Index, NDArray[np.uint8]]:
    """Entries of two different images, each pair of images and turns once, at its smallest distance."""
    order = np.argsort(d, kind="stable")
    swap = which[a[order]] > which[b[order]]
    a, b, d = np.where(swap, b[order], a[order]), np.where(swap, a[order], b[order]), d[order]
    key = ((which[a] * len(which) + which[b]) * 8 + turns[a]) * 8 + turns[b]
    _, kept = np.unique(key, return_index=True)
    kept = kept[which[a[kept]] != which[b[kept]]]
    return a[kept], b[kept], d[kept]


def _nearest(found: list[tuple[Index, Index, NDArray[np.uint8]]]) -> tuple[Index, Index, NDArray[np.uint8]]:
    """All pairs that were found, sorted, each once with its smallest distance."""
    none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))
    i, j, d = (np.concatenate(parts) for parts in zip(none, *found, strict=True))
    order = np.argsort(d, kind="stable")
    order = order[np.argsort(i[order] << 32 | j[order], kind="stable")]
    i, j, d = i[order], j[order], d[order]
    new = np.ones(len(i), bool)
    new[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    return i[new], j[new], d[new]


def _share(progress: Callable[[float], None] | None, step: int, steps: int) -> Callable[[float], None] | None:
    return progress and (lambda done: progress((step + done) / steps))
