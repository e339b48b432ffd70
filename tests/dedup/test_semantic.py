"""Semantic duplicates by embeddings: the best leads, all others are as alike as asked, and little is missed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from million_ird.dedup import semantic
from million_ird.dedup.semantic import lead

pytest.importorskip("faiss", reason="semantic duplicates need the extra `semantic`")


def brute(vectors: np.ndarray, similarity: float) -> np.ndarray:
    """Whom each row follows, by asking every better leader."""
    exact = vectors.astype(np.float64)
    unit = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-300)
    leaders: list[int] = []
    found = np.arange(len(unit))
    for row in range(len(unit)):
        near = unit[leaders] @ unit[row] if leaders else np.zeros(0)
        if len(near) and near.max() >= similarity:
            found[row] = leaders[int(near.argmax())]
        else:
            leaders.append(row)
    return found


def crowd(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Embeddings of topics, a quarter of them shots of something that is there already, in any order."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(max(8, count // 200), width))
    found = topics[rng.integers(len(topics), size=count)] + 0.9 * rng.normal(size=(count, width))
    shots = count // 4
    of = rng.integers(0, count - shots, shots)
    length = np.linalg.norm(found[of], axis=1, keepdims=True) / np.sqrt(width)
    found[-shots:] = found[of] + rng.normal(size=(shots, width)) * rng.uniform(0.05, 0.6, (shots, 1)) * length
    return found[rng.permutation(count)].astype(np.float16)


def test_the_best_leads_and_all_that_follow_are_as_alike_as_asked() -> None:
    angles = np.radians([0, 10, 25, 30, 90, 95, 180, 12])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array([[1], [7], [1], [0.1], [1], [1], [1], [3]])
    leader, cosine = lead(vectors, np.cos(np.radians(15.5)))
    assert leader.tolist() == [0, 0, 2, 2, 4, 4, 6, 0], (
        "25 degrees are too far from 0, and 12 follow 0, though nearer to 10"
    )
    assert cosine == pytest.approx(np.cos(np.radians([0, 10, 0, 5, 0, 5, 0, 12])))


def test_it_is_what_asking_everyone_gives() -> None:
    vectors = crowd(3000, 24)
    leader, cosine = lead(vectors, 0.9)
    asked = brute(vectors, 0.9)
    assert ((leader != np.arange(3000)) == (asked != np.arange(3000))).all()
    assert 300 < (leader != np.arange(3000)).sum() < 2700
    assert (leader[leader] == leader).all() and (leader <= np.arange(3000)).all() and (cosine >= 0.9).all()


@pytest.mark.parametrize("count", [4000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_by_clusters_it_misses_next_to_nothing(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = crowd(count, 64)
    monkeypatch.setattr(semantic, "SMALL", count)
    whole, _ = lead(vectors, 0.9)
    monkeypatch.setattr(semantic, "SMALL", 0)
    found = {probe: lead(vectors, 0.9, probe=probe)[0] for probe in (1, 8)}
    assert (found[8] == lead(vectors, 0.9)[0]).all(), "the same call gives the same answer"
    rows = np.arange(count)
    unit = vectors.astype(np.float32) / np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)

    def recall(leader: np.ndarray) -> float:
        """Of the rows that have a better kept one as alike as asked, the share that follows."""
        kept = rows[leader == rows]
        near = unit[kept] @ unit[kept].T >= 0.9
        missed = int(np.tril(near, -1).any(1).sum())
        return (count - len(kept)) / (count - len(kept) + missed)

    assert recall(whole) == 1.0
    assert recall(found[8]) > 0.999
    assert recall(found[1]) > 0.95


def test_the_number_of_threads_changes_nothing() -> None:
    code = (
        "import sys, hashlib, faiss; from million_ird.dedup import semantic\n"
        "from tests.dedup.test_semantic import crowd\n"
        "faiss.omp_set_num_threads(int(sys.argv[1])); semantic.SMALL = 0\n"
        "a, b = semantic.lead(crowd(6000, 48), .9); print(hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest())"
    )
    said = {
        subprocess.run([sys.executable, "-c", code, threads], capture_output=True, text=True, check=True).stdout
        for threads in ("1", "2")
    }
    assert len(said) == 1


def test_ten_thousand_shots_of_one_thing_and_what_has_no_direction() -> None:
    rng = np.random.default_rng(0)
    vectors = (np.ones(16) + rng.normal(0, 0.01, (12_000, 16))).astype(np.float16)
    vectors[5] = 0
    vectors[7] = np.nan
    vectors[9] = np.inf
    leader, _ = lead(vectors, 0.95)
    assert np.flatnonzero(leader == np.arange(12_000)).tolist() == [0, 5, 7, 9]


def test_nothing_and_one() -> None:
    for count in (0, 1):
        leader, cosine = lead(np.ones((count, 4), np.float16), 0.9)
        assert leader.tolist() == list(range(count)) and cosine.tolist() == [1.0] * count
