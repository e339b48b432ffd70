"""Clusters are what the plain greedy procedure gives, and do not chain."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup import Edges, cluster

Index = NDArray[np.int64]


def greedy(edges: Edges, rank: Index) -> Index:
    """The definition, image by image."""
    near: dict[int, set[int]] = {}
    for i, j in zip(edges.i.tolist(), edges.j.tolist(), strict=True):
        near.setdefault(i, set()).add(j)
        near.setdefault(j, set()).add(i)
    leader = np.full(len(rank), -1)
    for image in np.argsort(rank).tolist():
        bundle = int(edges.bundle[image])
        if bundle >= 0 and leader[image] < 0:
            taken = np.isin(edges.bundle, [bundle, *near.get(bundle, ())]) & (leader < 0)
            leader[taken] = image
    return leader


def random_edges(count: int, edges: int, rng: np.random.Generator) -> Edges:
    bundle = np.arange(count)
    first = rng.choice(count, count // 2, replace=False)
    for image in np.setdiff1d(bundle, first)[: count // 4]:
        before = first[first < image]
        bundle[image] = rng.choice(before) if len(before) else image
    alone = np.setdiff1d(np.arange(count), bundle[bundle != np.arange(count)])
    bundle[rng.choice(alone, count // 10, replace=False)] = -1
    first = np.flatnonzero(bundle == np.arange(count))
    i, j = np.sort(rng.choice(first, (2, edges)), axis=0)
    pairs = np.unique(np.stack([i, j], axis=1)[i < j], axis=0)
    return Edges(bundle, pairs[:, 0], pairs[:, 1], np.zeros(len(pairs), np.uint8))


@pytest.mark.parametrize(("count", "edges"), [(20, 0), (40, 20), (100, 60), (100, 800)])
def test_clusters_are_those_of_the_greedy_procedure(count: int, edges: int) -> None:
    rng = np.random.default_rng(count + edges)
    for _ in range(25):
        made = random_edges(count, edges, rng)
        rank = rng.permutation(count)
        assert np.array_equal(cluster(made, rank), greedy(made, rank))


def test_a_chain_is_not_one_cluster() -> None:
    """0 - 1 - 2 - 3 - 4 by rank 2 < 0 < 1 < 3 < 4: the best takes its neighbours, the ends lead themselves."""
    edges = Edges(np.arange(5), np.arange(4), np.arange(1, 5), np.zeros(4, np.uint8))
    assert cluster(edges, np.array([1, 2, 0, 3, 4])).tolist() == [0, 2, 2, 2, 4]


def test_the_leader_of_a_bundle_is_its_best_image_not_its_first() -> None:
    edges = Edges(np.array([0, 0, 0, -1, 4]), np.array([0]), np.array([4]), np.zeros(1, np.uint8))
    assert cluster(edges, np.array([3, 2, 1, 0, 4])).tolist() == [2, 2, 2, -1, 2]


def test_a_long_chain_takes_no_longer_than_its_links() -> None:
    count = 200_000
    edges = Edges(np.arange(count), np.arange(count - 1), np.arange(1, count), np.zeros(count - 1, np.uint8))
    leader = cluster(edges, np.arange(count))
    assert np.array_equal(leader, np.arange(count) // 2 * 2)


def test_no_images_have_no_clusters() -> None:
    none = np.empty(0, np.int64)
    assert cluster(Edges(none, none, none, none.astype(np.uint8)), none).size == 0
