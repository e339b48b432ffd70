"""The plan: every input, listed once and cut into shards. It is frozen, so that a resumed run does the same work."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.settings import BuildConfig
from million_ird.errors import InputError, OutputError
from million_ird.records import Item
from million_ird.sources import SourceSpec, Web
from million_ird.sources.web.bring import brought
from million_ird.sources.web.store import located, stored
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
PLAN = "plan.json"
LISTED = "plan.parquet"
"""The listing beside it: one row per input, one row group per shard."""
_CHUNK = 8192
STORE = "store"
"""Folder of what came over the network."""
CRAWL = "crawl"
"""Folder of what is remembered of crawls."""


@dataclass(frozen=True)
class Plan:
    """What a run works on.

    Attributes:
        sources: where the inputs lie.
        inputs: how many there are.
        starts: row at which each shard begins; shards that were added with a source may have another size.
        skipped: what a source passed over, by kind.
        paths: what the sources were asked for as; None in plans that don't say.
    """

    sources: tuple[SourceSpec, ...]
    inputs: int
    starts: tuple[int, ...]
    skipped: dict[str, int]
    paths: tuple[str, ...] | None = None

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.starts)

    def count(self, shard: int) -> int:
        """Inputs of a shard."""
        return (*self.starts, self.inputs)[shard + 1] - self.starts[shard]

    def shard_of(self, row: int) -> int:
        """The shard that holds a row of the plan."""
        return bisect_right(self.starts, row) - 1

    def place(self, row: int) -> tuple[int, int]:
        """The shard that holds a row of the plan, and the row's place in it."""
        shard = self.shard_of(row)
        return shard, row - self.starts[shard]


def make_plan(out: Path, config: BuildConfig, specs: Sequence[SourceSpec]) -> Plan:
    """List all inputs of a configuration's sources and write plan.json and the listing beside it.

    Raises:
        InputError: a source cannot be read, or there is no input at all.
    """
    return _grown(out, Plan((), 0, (), {}, ()), config, specs)


def grow_plan(out: Path, plan: Plan, config: BuildConfig, specs: Sequence[SourceSpec]) -> Plan:
    """Add sources to a plan: their inputs make shards of their own, behind those that are there.

    Args:
        out: the run's folder.
        plan: its plan so far.
        config: the configuration with all sources.
        specs: the new ones.

    Raises:
        InputError: a source cannot be read, or there is no input in the new ones.
    """
    return _grown(out, plan, config, specs)


def _grown(out: Path, plan: Plan, config: BuildConfig, specs: Sequence[SourceSpec]) -> Plan:
    specs = tuple(brought(spec, out / CRAWL, config.fetch) if spec.kind == "brought" else spec for spec in specs)
    skipped: Counter[str] = Counter(plan.skipped)
    web = Web(config.fetch, config.crawl, str(out / CRAWL))
    limit = config.sources.limit
    left = None if limit is None else max(0, limit - plan.inputs)
    items = islice(all_items(specs, skipped, str(out.resolve()), web), left)
    added = out / f".{LISTED}.added.tmp"
    try:
        count = _write(added, items, _CHUNK)
        if not count:
            raise InputError(nothing(config.sources.paths[len(plan.paths or ()) :], skipped))
        size = config.run.shard_size or shard_size(count)
        _regroup(added, size)
        _append(out / LISTED, plan.shards, added)
    finally:
        added.unlink(missing_ok=True)
    starts = (*plan.starts, *range(plan.inputs, plan.inputs + count, size))
    plan = Plan((*plan.sources, *specs), plan.inputs + count, starts, dict(skipped), config.sources.paths)
    write_json(out / PLAN, _as_json(plan))  # last: until it is there, the plan is what it was
    return plan


def check_inputs(out: Path, config: BuildConfig, specs: Sequence[SourceSpec]) -> None:
    """Refuse sources without any input, before something is deleted for their sake; those on the web are not asked.

    Raises:
        InputError: there is none.
    """
    if any(spec.web or spec.kind == "brought" for spec in specs):
        return
    skipped: Counter[str] = Counter()
    with closing(all_items(specs, skipped, str(out.resolve()))) as items:
        if next(items, None) is None:
            raise InputError(nothing(config.sources.paths, skipped))


def write_plan(out: Path, plan: Plan, shards: Iterator[pa.Table]) -> None:
    """Write a plan whose inputs are known, one table of the listing for each shard."""
    with whole(out / LISTED) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for shard in shards:
            writer.write_table(shard, row_group_size=max(1, shard.num_rows))
    write_json(out / PLAN, _as_json(plan))


def listing(items: Sequence[Item]) -> pa.Table:
    """Inputs as rows of the listing."""
    return pa.Table.from_pylist([_row(item) for item in items], schema=_SCHEMA)


def nothing(paths: Sequence[str], skipped: Mapping[str, int]) -> str:
    """That there are no inputs, and what became of what there was."""
    passed = "; ".join(f"{count} {kind}" for kind, count in skipped.items())
    return f"no inputs in {', '.join(paths)}" + (f" (passed over: {passed})" if passed else "")


def _write(path: Path, items: Iterator[Item], group: int) -> int:
    """Write the listing as it comes, so that its length is no matter of memory; how many there are."""
    count = 0
    with whole(path) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        while chunk := list(islice(items, group)):
            writer.write_table(listing(chunk))
            count += len(chunk)
    return count


def _append(path: Path, shards: int, added: Path) -> None:
    """The first row groups of a listing, and behind them all of another one."""
    with whole(path) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for source, count in ((path, shards), (added, None)):
            if count == 0:
                continue
            with source.open("rb") as listed:
                reader = pq.ParquetFile(listed)
                for group in range(reader.num_row_groups if count is None else count):
                    writer.write_table(reader.read_row_group(group))


def _regroup(path: Path, size: int) -> None:
    """Row groups of so many rows each, so that one is a shard: how many it takes is known when all are listed."""
    with path.open("rb") as source, whole(path) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        rest = _SCHEMA.empty_table()
        for batch in pq.ParquetFile(source).iter_batches(batch_size=max(size, _CHUNK)):
            rest = pa.concat_tables([rest, pa.Table.from_batches([batch])]).combine_chunks()
            whole_groups = rest.num_rows // size * size
            if whole_groups:
                writer.write_table(rest.slice(0, whole_groups), row_group_size=size)
                rest = rest.slice(whole_groups)
        if rest.num_rows:
            writer.write_table(rest, row_group_size=size)


def all_items(
    specs: Sequence[SourceSpec], skipped: Counter[str], leave_out: str, web: Web | None = None
) -> Generator[Item]:
    """The inputs of all sources, one after the other."""
    for spec in specs:
        for item in spec.open(leave_out, web).items(skipped):
            # The licence of a list of URLs is the list's, not that of the pictures it points to.
            yield _licensed(item, spec.licence) if spec.licence and not spec.web else item


def _licensed(item: Item, licence: str) -> Item:
    """An item with the licence of its source, unless it names one of its own."""
    meta = {"licence": licence, **json.loads(item.meta or "{}")}
    return replace(item, meta=json.dumps(meta, ensure_ascii=False, sort_keys=True))


def shard_size(inputs: int) -> int:
    """64 shards or more, of 32 to 4096 inputs: small enough to spread and to resume, large enough to write well."""
    return min(4096, max(32, -(-inputs // 64)))


def load_plan(out: Path) -> Plan | None:
    """The plan of a folder, None where none was made.

    Raises:
        OutputError: the folder holds the run of another command.
    """
    data = read_json(out / PLAN)
    if data is None:
        return None
    if "skipped" not in data:  # `mird degrade` has a plan.json of its own
        raise OutputError(f"{out}: holds the run of another command (plan.json is no build's); choose another folder")
    sources = tuple(SourceSpec.of(spec) for spec in data["sources"])
    shards = data.get("shards")
    starts = [first for first, _ in shards] if shards else range(0, data["inputs"], data["shard_size"])
    paths = data.get("paths")
    return Plan(sources, data["inputs"], tuple(starts), data["skipped"], None if paths is None else tuple(paths))


def shard_items(out: Path, shard: int) -> list[Item]:
    """The inputs of one shard, in order; those of the web with where they lie in the store, once they are there."""
    items = listed_items(out, shard)
    return located(out / STORE, shard, items) if stored(out / STORE, shard) else items


def listed_items(out: Path, shard: int) -> list[Item]:
    """The inputs of one shard, in order, as they were listed."""
    try:
        with (out / LISTED).open("rb") as file:
            rows = pq.ParquetFile(file).read_row_group(shard).to_pylist()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise OutputError(f"{out / LISTED}: {error}; start over with --fresh") from None
    return [Item(**row) for row in rows]


def web_shards(out: Path, plan: Plan) -> list[int]:
    """The shards that hold inputs of the web."""
    labels = {spec.label for spec in plan.sources if spec.web}
    if not labels:
        return []
    with (out / LISTED).open("rb") as file:
        reader = pq.ParquetFile(file)
        found = []
        for shard in range(plan.shards):
            column = reader.read_row_group(shard, ["source"]).column("source")
            if labels.intersection(column.unique().to_pylist()):
                found.append(shard)
    return found


def _row(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _SCHEMA.names}


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "version": 1,
        "paths": plan.paths,
        "sources": [asdict(spec) for spec in plan.sources],
        "inputs": plan.inputs,
        "skipped": plan.skipped,
        "listing": LISTED,
        "shards": [[first, plan.count(shard)] for shard, first in enumerate(plan.starts)],
    }
