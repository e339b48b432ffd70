"""Pictures of the same thing, by their embeddings: of those that are as alike as asked, the best one leads.

After SemDeDup (Abbas et al. 2023, arXiv:2303.09540): the embeddings are clustered by k-means, and compared within
clusters alone, by cosine. Two things differ. A cluster's neighbours are looked through too, as an inverted index does,
since a pair that a border parts is otherwise never compared. And of those alike the best picture stays, not the one
that is farthest from its cluster's centre, and all others follow one that stays: nothing is dropped for a picture that
is dropped itself. So a picture is compared with leaders only, and ten thousand shots of one thing cost as much as
others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.errors import ConfigError

Index = NDArray[np.int64]

BLOCK = 2048
"""Rows that are compared with each other all at once, and with the leaders so far."""
SMALL = 8 * BLOCK
"""Up to so many rows there is one cluster: nothing is missed."""
_SLACK = 1e-4  # of a cosine in float32, before it is computed again in float64
_PER_CENTRE = 64  # rows that a centre is learnt from
_ROUNDS = 10


def library() -> Any:
    """faiss.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise ConfigError(
            "policy.semantic_duplicate.enabled: needs faiss; pip install 'million-ird[semantic]'"
        ) from None
    return faiss


def lead(
    vectors: NDArray[Any], similarity: float, *, probe: int = 8, seed: int = 0
) -> tuple[Index, NDArray[np.float64]]:
    """Whom each row follows.

    Row by row, the best first: a row that is at least as similar to a leader follows it, else it leads. Exact among the
    rows of the `probe` clusters nearest to each; there are 4 sqrt(N) clusters, and one of up to `SMALL` rows. Holds
    4 bytes for each number of a leader, beside the vectors.

    Args:
        vectors: (N, D) embeddings of any length, the best row first; one without a direction is like no other.
        similarity: smallest cosine, 0..1, of two that are alike.
        probe: clusters in which leaders are looked for.
        seed: of the rows that the clusters' centres are learnt from.

    Returns:
        (N,) int64 the row that each follows, itself where it leads; (N,) float64 the cosine of the two, 1 for leaders.

    Raises:
        ConfigError: faiss is not installed.
    """
    rows, leader = len(vectors), np.arange(len(vectors))
    cosine = np.ones(rows)
    if rows < 2:
        return leader, cosine
    index = _index(vectors, probe, seed)
    for start in range(0, rows, BLOCK):
        block = _unit(vectors[start : start + BLOCK])
        here = np.arange(start, start + len(block))
        if index.ntotal:
            _, found = index.search(block, 1)
            _follow(vectors, here, found[:, 0], similarity, leader, cosine)
        left = here[leader[here] == here]
        _among(vectors, left, block[left - start], similarity, leader, cosine)
        leads = left[leader[left] == left]
        index.add_with_ids(block[leads - start], leads)
    return leader, cosine


def _index(vectors: NDArray[Any], probe: int, seed: int) -> Any:
    """An empty inverted index whose lists are clusters of the vectors."""
    faiss = library()
    rows, width = vectors.shape
    if rows <= SMALL:
        return faiss.IndexIDMap(faiss.IndexFlatIP(width))
    count = round(4 * math.sqrt(rows))
    sample = np.random.default_rng(seed).choice(rows, min(rows, _PER_CENTRE * count), replace=False)
    means = faiss.Kmeans(
        width, count, niter=_ROUNDS, spherical=True, seed=seed, min_points_per_centroid=1, max_points_per_centroid=rows
    )
    means.train(_unit(vectors[np.sort(sample)]))
    centres = faiss.IndexFlatIP(width)
    centres.add(means.centroids)
    index = faiss.IndexIVFFlat(centres, width, count, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(probe, count)
    return index


def _follow(
    vectors: NDArray[Any], rows: Index, to: Index, similarity: float, leader: Index, cosine: NDArray[np.float64]
) -> None:
    """Let rows follow what was found for them, where they are as similar as asked."""
    rows, to = rows[to >= 0], to[to >= 0]
    found = _cosines(vectors, rows, to)
    alike = found >= similarity
    leader[rows[alike]], cosine[rows[alike]] = to[alike], found[alike]


def _among(
    vectors: NDArray[Any],
    rows: Index,
    block: NDArray[np.float32],
    similarity: float,
    leader: Index,
    cosine: NDArray[np.float64],
) -> None:
    """Let rows of one block follow each other: the better one leads."""
    better, worse = np.nonzero(np.triu(block @ block.T >= similarity - _SLACK, 1))
    found = np.empty(len(better))
    for start in range(0, len(better), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = _cosines(vectors, rows[better[part]], rows[worse[part]])
    alike = found >= similarity
    for one, other, value in zip(
        rows[better[alike]].tolist(), rows[worse[alike]].tolist(), found[alike].tolist(), strict=True
    ):
        if leader[one] == one and leader[other] == other:
            leader[other], cosine[other] = one, value


def _cosines(vectors: NDArray[Any], one: Index, other: Index) -> NDArray[np.float64]:
    """Cosines of pairs of rows; the same for a pair whatever stands beside it."""
    a, b = vectors[one].astype(np.float64), vectors[other].astype(np.float64)
    length = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.nan_to_num((a * b).sum(1) / np.maximum(length, 1e-300), nan=0.0, posinf=0.0, neginf=0.0)


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, D) float32 of length 1; zeros where there is no direction."""
    exact = vectors.astype(np.float32)
    exact[~np.isfinite(exact).all(1)] = 0
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
