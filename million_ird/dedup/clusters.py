"""Clusters of near duplicates that do not chain: every member is a verified neighbour of its leader.

And, for what is too large to hold its edges, families: all that hangs together, by union-find over a stream of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup import near
from million_ird.dedup.blocks import Hashes
from million_ird.dedup.edges import Edges

Index = NDArray[np.int64]

PART = 1 << 20  # images, or edges, at a time


def cluster(edges: Edges, rank: Index) -> Index:
    """Repeatedly the best-ranked image that is left leads, and takes all its neighbours that are left.

    Neighbours are the images of its own bundle and of the bundles joined to that by an edge: each was verified
    against its leader, bundle by bundle. That a resembles b and b resembles c does not put a and c together.

    Args:
        edges: of N images.
        rank: (N,) 0 = best, no two equal among valid images.

    Returns:
        (N,) int64, index of each image's leader; its own where it leads or is alone, -1 where it is not valid.
    """
    valid = np.flatnonzero(edges.bundle >= 0)
    worst_first = valid[np.argsort(-rank[valid])]
    head = np.full(len(rank), -1, np.int64)
    head[edges.bundle[worst_first]] = worst_first  # of a bundle its best image: the last one written stays

    # From here on a bundle is its place among those that have edges, best first, and an edge goes from better to worse.
    has_edge = np.zeros(len(rank), bool)
    has_edge[edges.i] = has_edge[edges.j] = True
    joined = np.flatnonzero(has_edge)
    joined = joined[np.argsort(rank[head[joined]])]
    place = np.full(len(rank), -1, np.int64)
    place[joined] = np.arange(len(joined))
    better = np.minimum(place[edges.i], place[edges.j])
    worse = np.maximum(place[edges.i], place[edges.j])
    order = np.argsort(better, kind="stable")
    taken = _take(len(joined), better[order], worse[order])

    lead = np.arange(len(rank))
    lead[joined] = joined[taken]
    leader = np.full(len(rank), -1, np.int64)
    leader[valid] = head[lead[edges.bundle[valid]]]
    return leader


def _take(count: int, better: Index, worse: Index) -> Index:
    """Whom each of `count` follows, itself where it leads; `better` is sorted, and a leader's edges are all later ones.

    One pass: at most one step per edge, however long a chain is, where rounds of whole arrays need as many rounds as
    the longest chain has links. A part of the edges at a time, since a Python number takes four times its place.
    """
    follows = np.arange(count)
    whom = follows.data
    for start in range(0, len(better), PART):
        part = slice(start, start + PART)
        for one, other in zip(better[part].tolist(), worse[part].tolist(), strict=True):
            if whom[one] == one and whom[other] == other:
                whom[other] = one
    return follows


class Forest:
    """Union-find over N images on one flat array: what hangs together, from edges that come in parts and are not kept.

    Takes 4 bytes an image (8 from 2**32 images on), in memory or in a file that the system pages in and out. The root
    of a family is its first image, whatever the order of the edges, so the outcome depends on the edges alone.
    """

    def __init__(self, count: int, path: Path | None = None) -> None:
        """N images, each by itself.

        Args:
            count: N.
            path: a file to hold the array; None = memory.
        """
        kind = np.uint32 if count < 1 << 32 else np.int64
        self._above: NDArray[np.integer] = np.empty(0, kind)
        if count:  # a file of no bytes cannot be mapped
            self._above = np.memmap(path, kind, "w+", shape=(count,)) if path else np.empty(count, kind)
        for start in range(0, count, PART):
            self._above[start : start + PART] = np.arange(start, min(start + PART, count), dtype=kind)

    def join(self, i: NDArray[np.integer], j: NDArray[np.integer]) -> None:
        """Add edges.

        Each round hangs every root under the earliest that it meets. A star is done in two rounds and a chain in one,
        so that there are few, whatever the order.

        Args:
            i, j: (m,) their ends, 0 .. N - 1.
        """
        one, other = self.roots(i), self.roots(j)
        while len(apart := np.flatnonzero(one != other)):
            one, other = one[apart], other[apart]
            np.minimum.at(self._above, np.maximum(one, other), np.minimum(one, other))
            one, other = self.roots(one), self.roots(other)

    def roots(self, of: NDArray[np.integer]) -> NDArray[np.integer]:
        """(m,) the first image of the family of each of `of`, (m,); each step halves the paths that are left."""
        above = self._above[of]
        while len(above):
            higher = self._above[above]
            if np.array_equal(higher, above):
                break
            self._above[of] = above = higher
        return above


def families(
    hashes: Hashes,
    distance: int,
    *,
    threads: int | None = None,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Index:
    """What hangs together by hashes alone: chains of steps of at most `distance` bits, equal hashes included.

    For a first look at sets too large to hold their edges: those are joined as they are found, and not kept. A family
    may chain; that two of its images are alike is for `find_edges` and `cluster` to say, family by family.

    Memory beyond the hashes: 12 bytes an image here, and what `near` says for each different hash.

    Args:
        hashes: (N,) uint64, in any order.
        distance: bits, 0..64.
        threads: see `near.scan`.
        folder: where the union-find lies; None = in memory.
        progress: called with the fraction that is done, 0..1.

    Returns:
        (N,) int64, the first image of the family of each.
    """
    count = len(hashes)
    order = np.argsort(hashes).astype(np.uint32 if count < 1 << 32 else np.int64)
    different = hashes[order]
    begins = np.ones(count, bool)
    begins[1:] = different[1:] != different[:-1]
    different = different[begins]
    forest = Forest(len(different), folder and folder / "families")
    for i, j, _ in near.scan(different, distance, threads=threads, progress=progress):
        forest.join(i, j)

    first, kinds = np.full(len(different), count, order.dtype), -1
    out = np.empty(count, np.int64)
    del different
    spans = []  # places in the order, and the roots of the kinds of hash there
    for start in range(0, count, PART):
        part = slice(start, start + PART)
        kind = kinds + np.cumsum(begins[part])
        kinds = int(kind[-1])
        root = forest.roots(kind)
        np.minimum.at(first, root, order[part])
        spans.append((part, root.astype(order.dtype)))
    for part, root in spans:
        out[order[part]] = first[root]
    return out
