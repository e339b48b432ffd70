"""Clusters are what the plain greedy procedure gives, and do not chain."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup import Edges, cluster
from million_ird.dedup.clusters import Forest, families

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


def components(count: int, i: Index, j: Index) -> Index:
    """The first image of each family, by walking it."""
    near: dict[int, set[int]] = {}
    for one, other in zip(i.tolist(), j.tolist(), strict=True):
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    first = np.full(count, -1)
    for image in range(count):
        reached = [image] if first[image] < 0 else []
        while reached:
            first[found := reached.pop()] = image
            reached += [other for other in near.get(found, ()) if first[other] < 0]
    return first


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 50])
def test_families_are_what_hangs_together_whatever_the_parts_the_edges_come_in(
    parts: int, in_file: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(parts)
    for edges in (0, 30, 90, 150, 600):
        i, j = rng.integers(0, 200, (2, edges))
        forest = Forest(200, tmp_path / "forest" if in_file else None)
        for part in np.array_split(rng.permutation(edges), parts):
            forest.join(i[part], j[part])
        assert np.array_equal(forest.roots(np.arange(200)), components(200, i, j))


@pytest.mark.parametrize("shape", ["chain", "chain in pieces", "star", "star of the last", "tangle"])
def test_a_family_of_half_a_million_takes_a_moment(shape: str) -> None:
    """However it hangs together: a step for each link, or for each arm of a star, would take hours."""
    count = 500_000
    forest, rest = Forest(count), np.arange(1, count)
    i, j = {
        "chain": (rest - 1, rest),
        "chain in pieces": (rest - 1, rest),
        "star": (np.zeros_like(rest), rest),
        "star of the last": (np.full_like(rest, count - 1), rest - 1),
        "tangle": (np.random.default_rng(0).permutation(rest) - 1, rest),
    }[shape]
    begin = time.process_time()
    for part in np.array_split(np.arange(len(rest))[::-1], 40 if "pieces" in shape else 1):
        forest.join(i[part], j[part])
    assert time.process_time() - begin < 10
    if shape != "tangle":
        assert not forest.roots(np.arange(count)).any()


@pytest.mark.parametrize("in_file", [False, True])
def test_families_of_hashes_are_those_of_all_their_pairs(in_file: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hashes = rng.integers(0, 2**64, 300, dtype=np.uint64)[rng.integers(0, 300, 1200)]  # some of them equal
    for _ in range(3):
        hashes ^= np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
    i, j = np.nonzero(np.bitwise_count(hashes[:, None] ^ hashes) <= 4)
    found = families(hashes, 4, threads=1, folder=tmp_path if in_file else None)
    assert np.array_equal(found, components(len(hashes), i, j))
    assert 100 < len(np.unique(found)) < 1100


def test_a_hundred_thousand_equal_hashes_are_one_family_without_quadratic_work() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 101_000, dtype=np.uint64)
    hashes[1000:] = hashes[0] ^ np.uint64(3)
    begin = time.process_time()
    found = families(hashes, 4, threads=1)
    assert time.process_time() - begin < 10
    assert (found == np.where(np.arange(len(hashes)) < 1000, np.arange(len(hashes)), 0)).all()


def test_no_images_have_no_families() -> None:
    assert families(np.empty(0, np.uint64), 4).size == 0
    assert Forest(0).roots(np.empty(0, np.int64)).size == 0


def test_no_images_have_no_clusters() -> None:
    none = np.empty(0, np.int64)
    assert cluster(Edges(none, none, none, none.astype(np.uint8)), none).size == 0
