"""From hashes and thumbs to verified edges: bundles, flat images, turned copies, bounds on the work."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup import Edges, find_edges
from million_ird.dedup.edges import CROWD
from million_ird.dedup.views import turn

Thumbs = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


def pictures(count: int, seed: int = 0) -> Thumbs:
    """Thumbs with the spectrum of photos, (count, 256) uint8."""
    rng = np.random.default_rng(seed)
    falloff = 1 / np.maximum(np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16)) * 16, 1)
    waves = np.fft.ifft2(np.fft.fft2(rng.standard_normal((count, 16, 16))) * falloff).real.reshape(count, 256)
    waves = (waves - waves.mean(axis=1, keepdims=True)) / waves.std(axis=1, keepdims=True)
    return np.clip(np.rint(waves * 40 + 128), 0, 255).astype(np.uint8)


def hashes(count: int, seed: int = 0) -> Hashes:
    """As far apart as strangers' hashes are."""
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def everything(count: int) -> NDArray[np.bool_]:
    return np.ones(count, bool)


def edge_list(edges: Edges) -> list[tuple[int, int, int]]:
    return list(zip(edges.i.tolist(), edges.j.tolist(), edges.d.tolist(), strict=True))


def test_near_hashes_are_joined_only_where_the_thumbs_agree() -> None:
    thumbs, keys = pictures(6), hashes(6)
    keys[1], thumbs[1] = keys[0] ^ np.uint64(0b111), thumbs[0]  # a copy, 3 bits away
    keys[3] = keys[2] ^ np.uint64(1)  # a stranger, 1 bit away
    keys[5], thumbs[5] = keys[4] ^ np.uint64(0x1FF), pictures(1, seed=9)[0]  # a stranger, 9 bits away
    edges = find_edges(keys, thumbs, everything(6), 8)
    assert edges.bundle.tolist() == list(range(6))
    assert [(i, j) for i, j, _ in edge_list(edges)] == [(0, 1)]


def test_images_of_equal_hash_and_look_are_a_bundle_led_by_the_first() -> None:
    thumbs, keys = pictures(7), hashes(7)
    keys[[1, 3, 4, 6]] = keys[1]
    thumbs[4], thumbs[6] = thumbs[1], thumbs[3]  # two pictures share the hash
    edges = find_edges(keys, thumbs, everything(7), 4)
    assert edges.bundle.tolist() == [0, 1, 2, 3, 1, 5, 3]
    assert edge_list(edges) == []


def test_images_that_are_not_valid_take_no_part() -> None:
    thumbs, keys = np.repeat(pictures(1), 4, axis=0), np.repeat(hashes(1), 4)
    edges = find_edges(keys, thumbs, np.array([False, True, False, True]), 4)
    assert edges.bundle.tolist() == [-1, 1, -1, 1]


def test_a_hundred_thousand_equal_images_are_one_bundle_without_quadratic_work() -> None:
    count = 100_000
    thumbs, keys = np.repeat(pictures(1), count, axis=0), np.repeat(hashes(1), count)
    begin = time.process_time()
    assert not find_edges(keys, thumbs, everything(count), 8).bundle.any()
    assert time.process_time() - begin < 30


def test_strangers_that_share_one_hash_do_not_make_quadratic_work() -> None:
    count = 3000
    edges = find_edges(np.repeat(hashes(1), count), pictures(count), everything(count), 4)
    assert (edges.bundle == np.arange(count)).all()
    assert edge_list(edges) == []
    assert count > 20 * CROWD


def test_flat_images_are_joined_only_when_they_are_the_same() -> None:
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 6, 16)
    thumbs = np.stack([ramp + 20, ramp + 21, ramp + 60, np.full(256, 200, np.uint8), np.full(256, 90, np.uint8)])
    keys = np.full(5, 1 << 63, np.uint64)
    keys[2] ^= np.uint64(1)
    edges = find_edges(keys, thumbs, everything(5), 8, flips=True)
    assert edges.bundle.tolist() == [0, 0, 2, 3, 4]
    assert edge_list(edges) == []


@pytest.mark.parametrize("kind", range(1, 8))
def test_turned_copies_are_found_when_asked_for_and_only_then(kind: int) -> None:
    count = 150
    thumbs = pictures(count)
    copies = turn(thumbs, np.full(count, kind, np.uint8))
    keys, both = hashes(2 * count), np.concatenate([thumbs, copies])
    assert edge_list(find_edges(keys, both, everything(2 * count), 6)) == []
    found = find_edges(keys, both, everything(2 * count), 6, flips=True)
    assert [(i, j) for i, j, _ in edge_list(found)] == [(i, i + count) for i in range(count)]


def test_edges_survive_a_trip_through_plain_arrays(tmp_path: Path) -> None:
    thumbs, keys = np.tile(pictures(20), (2, 1)), hashes(40)
    edges = find_edges(keys, thumbs, everything(40), 8)
    np.savez(f"{tmp_path}/edges.npz", allow_pickle=False, **edges.to_arrays())
    with np.load(f"{tmp_path}/edges.npz") as arrays:
        again = Edges.from_arrays(arrays)
    assert len(edges.i) == 20
    assert all(np.array_equal(getattr(edges, name), getattr(again, name)) for name in ("bundle", "i", "j", "d"))


def test_no_images_have_no_edges() -> None:
    edges = find_edges(hashes(0), np.empty((0, 256), np.uint8), everything(0), 8, flips=True)
    assert edges.bundle.size == edges.i.size == 0


def test_progress_goes_from_nothing_to_all() -> None:
    seen: list[float] = []
    find_edges(hashes(500), pictures(500), everything(500), 4, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
