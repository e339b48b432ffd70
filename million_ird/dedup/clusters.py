"""Clusters of near duplicates that do not chain: every member is a verified neighbour of its leader."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from million_ird.dedup.edges import Edges

Index = NDArray[np.int64]


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

    One pass over plain lists: at most one step per edge, however long a chain is, where rounds of whole arrays need
    as many rounds as the longest chain has links.
    """
    follows = list(range(count))
    for one, other in zip(better.tolist(), worse.tolist(), strict=True):
        if follows[one] == one and follows[other] == other:
            follows[other] = one
    return np.array(follows, np.int64)
