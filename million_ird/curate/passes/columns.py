"""What the passes measured of a shard's rows, as columns beside those of the base pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from million_ird.curate.ledger import Column, measurement_columns
from million_ird.curate.passes.ledger import enabled, holds, part_facts, scored
from million_ird.curate.settings import BuildConfig
from million_ird.tables import part_path


def pass_columns(config: BuildConfig) -> dict[str, Column]:
    """Every column that the passes of a run fill, with the pass that fills it, in their order; embeddings aside."""
    return {
        column: Column(name, text) for name, one in enabled(config).items() for column, text in one.columns().items()
    }


def filled_columns(config: BuildConfig) -> dict[str, Column]:
    """Every column of a run's dataset that was measured, by the base pass or by one of the others."""
    return {**measurement_columns(config), **pass_columns(config)}


def pass_rows(ledger: Path, shard: int, config: BuildConfig) -> dict[str, dict[str, float | None]]:
    """What the passes found of a shard, as far as it rests on what the configuration says now.

    Args:
        ledger: folder of the run, `ledger`, that holds one folder for each pass.
        shard: number of it.
        config: which passes there are.

    Returns:
        Key of a row -> column -> value, None where the metric has none for the picture. A row that a pass has not seen
        has none of its columns.

    Raises:
        OutputError: a part cannot be read.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name, one in enabled(config).items():
        facts = part_facts(ledger / name, shard)
        if not (holds(facts, one) and scored(facts, one)):
            continue
        with part_path(ledger / name, shard).open("rb") as file:
            rows = pq.read_table(file, columns=["key", *one.columns()]).to_pylist()
        for row in rows:
            found.setdefault(row.pop("key"), {}).update(row)
    return found


def with_passes(content: str, ledger: Path, shards: Iterable[int], config: BuildConfig) -> str:
    """A hash of what goes into a file, and of what the passes found of its shards; the former alone without passes."""
    names = enabled(config)
    if not names:
        return content
    what = hashlib.blake2b(" ".join([content, *pass_columns(config)]).encode(), digest_size=16)
    for part in (part_path(ledger / name, shard) for shard in sorted(set(shards)) for name in names):
        stat = part.stat() if part.exists() else None
        what.update(f"{part.name} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return what.hexdigest()
