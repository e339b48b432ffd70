"""The plan: every input, listed once and cut into shards. It is frozen, so that a resumed run does the same work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.settings import BuildConfig
from million_ird.errors import InputError, OutputError
from million_ird.records import Item
from million_ird.sources import SourceSpec, resolve
from million_ird.tables import read_json, whole, write_json

_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("uri", pa.string()),
        ("path", pa.binary()),
        ("member", pa.int64()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("meta", pa.string()),
    ]
)
_LISTED = "plan.parquet"


@dataclass(frozen=True)
class Plan:
    """What a run works on.

    Attributes:
        sources: where the inputs lie.
        inputs: how many there are.
        shard_size: inputs per shard (the last one may hold fewer).
        skipped: what a source passed over, by kind.
    """

    sources: tuple[SourceSpec, ...]
    inputs: int
    shard_size: int
    skipped: dict[str, int]

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.inputs // self.shard_size)


def make_plan(out: Path, config: BuildConfig) -> Plan:
    """List all inputs of a configuration's sources and write plan.json and the listing beside it.

    Raises:
        InputError: a source cannot be read, or there is no input at all.
    """
    specs = tuple(resolve(config.sources.paths))
    skipped: Counter[str] = Counter()
    items = islice(all_items(specs, skipped, str(out.resolve())), config.sources.limit)
    tables = []
    while chunk := list(islice(items, 8192)):
        tables.append(pa.Table.from_pylist([_row(item) for item in chunk], schema=_SCHEMA))
    listed = pa.concat_tables(tables) if tables else _SCHEMA.empty_table()
    if not listed.num_rows:
        passed = "; ".join(f"{count} {kind}" for kind, count in skipped.items())
        raise InputError(
            f"no inputs in {', '.join(config.sources.paths)}" + (f" (passed over: {passed})" if passed else "")
        )
    plan = Plan(specs, listed.num_rows, config.run.shard_size or shard_size(listed.num_rows), dict(skipped))
    with whole(out / _LISTED) as file:
        pq.write_table(listed, file, row_group_size=plan.shard_size, compression="zstd")
    write_json(out / "plan.json", _as_json(plan))
    return plan


def all_items(specs: Sequence[SourceSpec], skipped: Counter[str], leave_out: str) -> Iterator[Item]:
    """The inputs of all sources, one after the other."""
    for spec in specs:
        yield from spec.open(leave_out).items(skipped)


def shard_size(inputs: int) -> int:
    """64 shards or more, of 32 to 4096 inputs: small enough to spread and to resume, large enough to write well."""
    return min(4096, max(32, -(-inputs // 64)))


def load_plan(out: Path) -> Plan | None:
    """The plan of a folder, None where none was made."""
    data = read_json(out / "plan.json")
    if data is None:
        return None
    sources = tuple(SourceSpec(**{**spec, "paths": tuple(spec["paths"])}) for spec in data["sources"])
    return Plan(sources, data["inputs"], data["shard_size"], data["skipped"])


def shard_items(out: Path, shard: int) -> list[Item]:
    """The inputs of one shard, in order."""
    try:
        with (out / _LISTED).open("rb") as file:
            rows = pq.ParquetFile(file).read_row_group(shard).to_pylist()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise OutputError(f"{out / _LISTED}: {error}; start over with --fresh") from None
    return [Item(**row) for row in rows]


def _row(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _SCHEMA.names}


def _as_json(plan: Plan) -> dict[str, Any]:
    firsts = range(0, plan.inputs, plan.shard_size)
    return {
        "version": 1,
        "sources": [asdict(spec) for spec in plan.sources],
        "inputs": plan.inputs,
        "skipped": plan.skipped,
        "shard_size": plan.shard_size,
        "listing": _LISTED,
        "shards": [[first, min(plan.shard_size, plan.inputs - first)] for first in firsts],
    }
