"""Near-duplicate edges of a ledger, kept on disk until the ledger or the search changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.curate.settings import BuildConfig
from million_ird.dedup import Edges, find_edges
from million_ird.tables import whole

Bools = NDArray[np.bool_]
Thumbs = Callable[[], NDArray[np.uint8]]


def first_copies(table: pa.Table, readable: Bools, keep: Bools, drop: Bools) -> NDArray[np.int64]:
    """(N,) int64: for each row the row that stands for all with the same bytes, -1 for rows without an id.

    Args:
        table: with the column `id`.
        readable: (N,) rows that take part.
        keep, drop: (N,) rows pinned; the first in plan order stands, but for those.
    """
    out = np.full(table.num_rows, -1, np.int64)
    ids = table.column("id").combine_chunks()
    rows = np.flatnonzero(readable & ids.is_valid().to_numpy(zero_copy_only=False))
    if not len(rows):
        return out
    codes = ids.take(pa.array(rows)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((rows, drop[rows], ~keep[rows]))
    _, first = np.unique(codes[order], return_index=True)
    out[rows] = rows[order][first][codes]
    return out


def near_edges(
    out: Path,
    hashes: NDArray[np.uint64],
    thumbs: Callable[[], NDArray[np.uint8]],
    nodes: NDArray[np.bool_],
    config: BuildConfig,
) -> Edges:
    """Verified near-duplicate edges among the rows `nodes`, from the cache where it still fits.

    Args:
        out: the run's folder; the cache is `cache/near.npz` in it.
        hashes: (N,) of the ledger, in plan order.
        thumbs: gives the (N, 256) thumbs of the ledger; called only where the cache does not fit.
        nodes: (N,) bool, the rows to compare.
        config: for the distance, flips and hash kind.
    """
    near = config.policy.near_duplicate
    asked = [1, near.distance, near.flips, config.dedup.hash, config.dedup.mode]
    mark = hashlib.blake2b(json.dumps(asked).encode())
    mark.update(hashes.tobytes())
    mark.update(np.packbits(nodes).tobytes())
    path = out / "cache" / "near.npz"
    cached = _load(path, mark.hexdigest())
    if cached is not None:
        return cached
    edges = find_edges(hashes, thumbs(), nodes, near.distance, flips=near.flips)
    with whole(path) as file:
        arrays: dict[str, Any] = {"mark": np.array(mark.hexdigest()), **edges.to_arrays()}
        np.savez(file, **arrays)
    return edges


def _load(path: Path, mark: str) -> Edges | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["mark"]) != mark:
                return None
            return Edges.from_arrays({name: arrays[name] for name in arrays.files if name != "mark"})
    except (OSError, ValueError, KeyError):
        return None  # absent, or not ours: it is made again


def distances(edges: Edges, rows: NDArray[np.int64], to: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bits in which the hashes differ that brought rows and their leaders together; 0 within a bundle."""
    first, second = edges.bundle[rows], edges.bundle[to]
    count = len(edges.bundle)
    known = edges.i * count + edges.j  # sorted, as the edges are
    wanted = np.minimum(first, second) * count + np.maximum(first, second)
    place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    return np.where(first == second, 0.0, edges.d[place] if len(known) else 0.0)
