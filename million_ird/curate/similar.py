"""Semantic duplicates of a run: the CLIP pass's embeddings of what all else keeps, and whom each picture follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from million_ird.curate.passes.ledger import holds, part_facts
from million_ird.curate.plan import Plan
from million_ird.curate.settings import BuildConfig
from million_ird.dedup.semantic import lead, library
from million_ird.errors import ConfigError, OutputError
from million_ird.meters.clip import Clip
from million_ird.tables import part_path, whole

PASS = "clip"
"""The pass whose embeddings are compared."""
Index = NDArray[np.int64]
Followed = tuple[Index, NDArray[np.float64]]
SimilarFinder = Callable[[Index], Followed]
"""Given rows, the best first: for each the row that it follows (itself where it leads), and their cosine."""


def check_similar(config: BuildConfig) -> None:
    """Refuse `policy.semantic_duplicate` where there is nothing to compare, or nothing to compare with.

    Raises:
        ConfigError: the CLIP pass is off, or faiss is not installed.
    """
    if not config.policy.semantic_duplicate.enabled:
        return
    if not config.passes.clip.enabled:
        raise ConfigError("policy.semantic_duplicate.enabled: passes.clip is off; set passes.clip.enabled=true")
    library()


def similar_rows(out: Path, plan: Plan, config: BuildConfig, keys: pa.ChunkedArray, rows: Index) -> Followed:
    """Whom each row follows, from the cache where it still fits.

    Args:
        out: the run's folder; the cache is `cache/semantic.npz` in it.
        plan: its plan.
        config: for the rule and the pass.
        keys: (N,) of the base pass, in plan order.
        rows: those to compare, the best first; one without an embedding leads.
    """
    rule = config.policy.semantic_duplicate
    folder = out / "ledger" / PASS
    mark = _mark(folder, plan, config, rows)
    path = out / "cache" / "semantic.npz"
    cached = _load(path, mark)
    if cached is None:
        places, cosine = lead(
            embeddings(folder, plan, config.passes.clip, keys, rows), rule.similarity, probe=rule.probe
        )
        with whole(path) as file:
            np.savez(file, mark=np.array(mark), places=places, cosine=cosine)
        cached = places, cosine
    return rows[cached[0]], cached[1]


def embeddings(folder: Path, plan: Plan, clip: Clip, keys: pa.ChunkedArray, rows: Index) -> NDArray[np.float16]:
    """(n, D) embeddings of rows, in their order; zeros where a picture has none.

    Args:
        folder: of the pass.
        plan: of the run.
        clip: parts that rest on another model are passed over.
        keys: (N,) of the base pass, in plan order.
        rows: (n,) row numbers, none twice.

    Raises:
        OutputError: a part cannot be read.
    """
    found: NDArray[np.float16] | None = None
    order = np.argsort(rows)
    ends = np.searchsorted(rows[order], np.array([*plan.starts[1:], plan.inputs], np.int64))
    for shard, places in enumerate(np.split(order, ends[:-1])):
        if not len(places) or not holds(part_facts(folder, shard), clip):
            continue
        with part_path(folder, shard).open("rb") as file:
            table = pq.read_table(file, columns=["key", "embedding"])
        table = table.filter(table.column("embedding").is_valid())
        vectors = table.column("embedding").combine_chunks()
        width = vectors.type.list_size
        found = np.zeros((len(rows), width), np.float16) if found is None else found
        if width != found.shape[1]:
            raise OutputError(
                f"{part_path(folder, shard)}: embeddings of {width} numbers, others have {found.shape[1]}; delete "
                f"{folder} and run `mird build` again"
            )
        wanted = pc.SetLookupOptions(value_set=table.column("key").combine_chunks(), skip_nulls=True)
        at = pc.call_function("index_in", [keys.take(pa.array(rows[places])).combine_chunks()], wanted)
        known = at.is_valid().to_numpy(zero_copy_only=False)
        values = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        found[places[known]] = values[at.drop_null().to_numpy()]
    return np.zeros((len(rows), 1), np.float16) if found is None else found


def _mark(folder: Path, plan: Plan, config: BuildConfig, rows: Index) -> str:
    """What goes into the answer, as one hash."""
    stats = [path.stat() for shard in range(plan.shards) if (path := part_path(folder, shard)).exists()]
    parts = [[stat.st_size, stat.st_mtime_ns] for stat in stats]
    rule = config.policy.semantic_duplicate.model_dump(mode="json")
    mark = hashlib.blake2b(json.dumps([1, rule, config.passes.clip.mark(), parts], sort_keys=True).encode())
    mark.update(rows.tobytes())
    return mark.hexdigest()


def _load(path: Path, mark: str) -> Followed | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return (arrays["places"], arrays["cosine"]) if str(arrays["mark"]) == mark else None
    except (OSError, ValueError, KeyError):
        return None  # absent, or not ours: it is made again
