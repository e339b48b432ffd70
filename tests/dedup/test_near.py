"""The join finds every pair within the distance, on hashes of any distribution, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup import lanes, masks, near
from million_ird.dedup.blocks import Blocks, move, reverse

Hashes = NDArray[np.uint64]


def flipped(hashes: Hashes, bits: int, rng: np.random.Generator) -> Hashes:
    """Each with up to `bits` bits changed."""
    out = hashes.copy()
    for _ in range(bits):
        out ^= np.uint64(1) << rng.integers(0, 64, len(out), dtype=np.uint64)
    return out


def population(kind: str) -> Hashes:
    rng = np.random.default_rng(5)
    uniform = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    if kind == "uniform":
        hashes = np.concatenate([uniform, flipped(uniform[:300], 5, rng)])
    elif kind == "clustered":
        hashes = flipped(np.repeat(uniform[:80], 20), 6, rng)
    elif kind == "dense":  # 14 bits vary, the others never do
        hashes = rng.integers(0, 2**14, 1200, dtype=np.uint64) << np.uint64(13)
    elif kind == "lopsided":  # half of them lie close together
        hashes = np.concatenate([uniform[:1000], rng.integers(0, 2**22, 800, dtype=np.uint64)])
    else:  # "balanced": 32 bits set, neighbours alike, as perceptual hashes are
        waves = rng.standard_normal((3000, 66))
        waves = waves[:, :64] + waves[:, 1:65] + rng.standard_normal((3000, 1)) * np.sin(np.arange(64))
        bits = waves > np.median(waves, axis=1, keepdims=True)
        hashes = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    return rng.permutation(np.unique(hashes))


def by_comparing_all(hashes: Hashes, distance: int) -> NDArray[np.int64]:
    rows = []
    for i in range(len(hashes) - 1):
        apart = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        j = np.flatnonzero(apart <= distance)
        rows.append(np.stack([np.full(len(j), i), i + 1 + j, apart[j]], axis=1))
    return np.concatenate(rows)


@pytest.mark.parametrize("long_run", [masks.LONG_RUN, 40])
@pytest.mark.parametrize("kind", ["uniform", "clustered", "dense", "lopsided", "balanced"])
def test_all_pairs_and_no_others(kind: str, long_run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "LONG_RUN", long_run)
    hashes = population(kind)
    truth = by_comparing_all(hashes, 10)
    for distance in (0, 1, 4, 7, 10):
        found = np.stack(near.pairs(hashes, distance), axis=1)
        assert np.array_equal(found, truth[truth[:, 2] <= distance]), distance


@pytest.mark.parametrize("distance", [3, 6, 8])
@pytest.mark.parametrize("agree", [1, 2, 3, 4])
def test_every_cut_into_blocks_finds_the_same(agree: int, distance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = population("uniform")
    cut = Blocks.dealt(range(64), 64, distance + agree, agree)
    monkeypatch.setattr(Blocks, "best", lambda *_: cut)
    truth = by_comparing_all(hashes, distance)
    assert np.array_equal(np.stack(near.pairs(hashes, distance), axis=1), truth)


def test_every_bit_counts_up_to_a_distance_of_all_of_them() -> None:
    hashes = population("uniform")[:40]
    assert len(near.pairs(hashes, 64)[0]) == 40 * 39 // 2
    assert near.pairs(np.array([0, 2**64 - 1], np.uint64), 63)[0].size == 0


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pairs(count: int) -> None:
    assert [part.size for part in near.pairs(np.arange(count, dtype=np.uint64), 8)] == [0, 0, 0]


def test_equal_hashes_are_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        near.pairs(np.array([3, 4, 3], np.uint64), 2)


def test_the_number_of_threads_changes_nothing_and_progress_reaches_the_end() -> None:
    hashes = population("clustered")
    assert all(
        np.array_equal(one, three)
        for one, three in zip(near.pairs(hashes, 6, threads=1), near.pairs(hashes, 6, threads=3), strict=True)
    )
    seen: list[float] = []
    list(near.scan(hashes, 6, progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("left_alone", [(), ("AVX512_ICL",)])
def test_processes_of_their_own_find_the_same(left_alone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = population("clustered")
    here = near.pairs(hashes, 6)
    monkeypatch.setattr(lanes, "LARGE", 0)
    known = {*np.show_config(mode="dicts")["SIMD Extensions"]["found"]}
    monkeypatch.setattr(lanes, "_slow_to_sort_by", lambda: tuple(known.intersection(left_alone)))
    there = near.pairs(hashes, 6, threads=2)
    assert all(np.array_equal(one, other) for one, other in zip(here, there, strict=True))


def test_a_process_of_the_join_that_dies_is_not_taken_for_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LARGE", 0)
    monkeypatch.setattr(lanes, "_CHILD", "import os, sys; sys.stdin.buffer.read(100); os._exit(9)  # {!r}")
    with pytest.raises(RuntimeError, match="join ended with 9"):
        near.pairs(population("uniform"), 4, threads=2)


def test_a_lane_whose_process_died_is_left_with_words_unsent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lanes, "_CHILD", "import os, sys; sys.stdin.buffer.read(100); os._exit(9)  # {!r}")
    with lanes._Lane(tmp_path, Blocks.best(population("uniform"), 4), 4) as lane:
        lane._process.wait()
        lane._process.stdin.write(b"a mask")  # in the buffer: closing sends it
    assert lane._process.stdin.closed and lane._process.stdout.closed


def test_an_answer_that_nobody_reads_to_its_end_leaves_no_process_and_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lanes, "LARGE", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lane_processes: list[Any] = []
    start = subprocess.Popen

    def remembered(*args: Any, **kwargs: Any) -> Any:
        lane_processes.append(start(*args, **kwargs))
        return lane_processes[-1]

    monkeypatch.setattr(subprocess, "Popen", remembered)
    found: Any = near.scan(population("uniform"), 8, threads=2)
    next(found)
    assert list(tmp_path.iterdir())
    found.close()
    assert not list(tmp_path.iterdir())
    assert len(lane_processes) == 2
    assert all(process.returncode is not None for process in lane_processes)


def test_sorted_hashes_need_no_order_of_their_own() -> None:
    hashes = np.sort(population("clustered"))
    i, j, d = near.pairs(hashes, 6)
    assert np.array_equal(np.stack([i, j, d], axis=1), by_comparing_all(hashes, 6))


def test_pairs_come_in_batches_so_that_a_large_answer_need_not_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "BATCH", 1000)
    sizes = [len(i) for i, _, _ in near.scan(population("dense"), 8)]
    assert len(sizes) > 20
    assert max(sizes) < 1000 + masks.CHUNK


def test_moving_the_bits_of_a_mask_on_top_loses_none() -> None:
    hashes = population("uniform")
    blocks = Blocks.dealt(range(64), 60, 7, 3)
    for mask in blocks.masks:
        moves = blocks.moves(mask)
        moved = move(hashes, moves)
        assert np.array_equal(move(moved, reverse(moves)), hashes)
        assert np.array_equal(np.bitwise_count(moved), np.bitwise_count(hashes))
    assert np.array_equal(blocks.unshuffle(blocks.shuffle(hashes)), hashes)


def test_when_bits_hardly_vary_more_blocks_must_agree() -> None:
    rng = np.random.default_rng(0)
    even = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    rare = even & rng.integers(0, 2**64, 50_000, dtype=np.uint64) & rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    assert Blocks.best(np.unique(rare), 6).agree > Blocks.best(even, 6).agree
