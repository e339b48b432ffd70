"""The plan: every image, listed once, named, and cut into shards. It is frozen, so that a resumed run does the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import BadImage, InputError, OutputError
from million_ird.pairs.inputs import sources_of, spec_as_json, spec_from_json
from million_ird.pairs.names import names_of
from million_ird.pairs.settings import DegradeConfig
from million_ird.records import Item
from million_ird.sources import Reader, SourceSpec
from million_ird.tables import read_json, whole, write_json

LISTED = "plan.parquet"

_ITEM = ("source", "uri", "path", "member", "offset", "size", "status", "detail", "meta")
_KINDS = {"path": pa.binary(), "member": pa.int64(), "offset": pa.int64(), "size": pa.int64()}
_SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in (*_ITEM, "id", "name")])
_SHARDS = 64
_SAMPLES = 1024
"""Samples in one output file at most, about."""
_IMAGES = 8
"""Images in one output file at least, where there are so many."""


@dataclass(frozen=True)
class Entry:
    """One image of the plan.

    Attributes:
        item: where it lies. Its uri is the one that the dataset it comes from gives it, where there is one.
        id: what its chance depends on, where the dataset gives it; "" = the sha256 of its bytes.
        name: what its samples are called.
    """

    item: Item
    id: str
    name: str


@dataclass(frozen=True)
class Plan:
    """What a run works on.

    Attributes:
        sources: where the images lie.
        inputs: how many there are.
        shard_size: images per shard (the last one may hold fewer).
        passed_over: what is no input, by kind.
    """

    sources: tuple[SourceSpec, ...]
    inputs: int
    shard_size: int
    passed_over: dict[str, int]

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.inputs // self.shard_size)


def listing(config: DegradeConfig, leave_out: str = "") -> tuple[Plan, list[Entry]]:
    """All images of a configuration's input.

    Args:
        config: with its input as an absolute address.
        leave_out: absolute path of a folder that is no part of the input (the output of the run).

    Raises:
        InputError: it cannot be read, or there is no image at all.
    """
    specs, passed = sources_of(config.input)
    items = [item for spec in specs for item in spec.open(leave_out).items(passed)]
    items = list(islice(_described(items, specs, passed), config.limit))
    if not items:
        seen = "; ".join(f"{count} {kind}" for kind, count in passed.items())
        raise InputError(f"no images in {config.input}" + (f" (passed over: {seen})" if seen else ""))
    entries = [Entry(item, own, name) for item, own, name in zip(items, ids_of(items), names_of(items), strict=True)]
    size = config.shard_images or shard_size(len(entries), config.per_image)
    return Plan(tuple(specs), len(entries), size, {kind: count for kind, count in passed.items() if count}), entries


def make_plan(out: Path, config: DegradeConfig) -> Plan:
    """List the images and write plan.json and the listing beside it.

    Raises:
        InputError: as `listing`.
    """
    plan, entries = listing(config, str(out.resolve()))
    with whole(out / LISTED) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for first in range(0, len(entries), plan.shard_size):
            rows = [_row(entry) for entry in entries[first : first + plan.shard_size]]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), row_group_size=len(rows))
    write_json(out / "plan.json", _as_json(plan))
    return plan


def load_plan(out: Path) -> Plan | None:
    """The plan of a folder, None where none was made.

    Raises:
        OutputError: the folder holds the run of another command.
    """
    data = read_json(out / "plan.json")
    if data is None:
        return None
    if "passed_over" not in data:  # `mird build` has a plan.json of its own
        raise OutputError(f"{out}: holds the run of another command (plan.json is no pairs'); choose another folder")
    sources = tuple(spec_from_json(spec) for spec in data["sources"])
    return Plan(sources, data["inputs"], data["shard_size"], data["passed_over"])


def shard_entries(out: Path, shard: int) -> list[Entry]:
    """The images of one shard, in order."""
    try:
        with (out / LISTED).open("rb") as file:
            rows = pq.ParquetFile(file).read_row_group(shard).to_pylist()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise OutputError(f"{out / LISTED}: {error}; start over with --fresh") from None
    return [Entry(Item(**{name: row[name] for name in _ITEM}), row["id"], row["name"]) for row in rows]


def shard_size(inputs: int, per_image: int) -> int:
    """64 shards or more, of at least 8 images, of about 1000 samples at most."""
    return min(max(_IMAGES, -(-inputs // _SHARDS)), max(1, _SAMPLES // per_image))


def ids_of(items: Sequence[Item]) -> list[str]:
    """The id that a dataset gives each image; "" where it gives none, or the same one to several."""
    found = [_named(item, "id") for item in items]
    count = Counter(found)
    return [own if count[own] == 1 else "" for own in found]


def _described(items: Sequence[Item], specs: Sequence[SourceSpec], passed: Counter[str]) -> Iterator[Item]:
    """The items with the uri that their dataset gives them; lists of metadata among files are read and passed over."""
    lists = [item for item in items if item.uri.rpartition("/")[2] == "metadata.jsonl" and not item.status]
    beside = _metadata(lists, specs) if lists else {}
    for item in items:
        if lists and item.uri.rpartition("/")[2] == "metadata.jsonl" and not item.status:
            passed["metadata of images"] += 1
            continue
        if (item.source, item.uri) in beside:
            item = replace(item, meta=beside[item.source, item.uri])
        yield replace(item, uri=_named(item, "uri") or item.uri)


def _metadata(lists: Sequence[Item], specs: Sequence[SourceSpec]) -> dict[tuple[str, str], str]:
    """What the metadata.jsonl of image folders say: (source, uri) -> JSON."""
    found: dict[tuple[str, str], str] = {}
    with Reader(specs) as reader:
        for item in lists:
            folder = item.uri.rpartition("/")[0]
            try:
                lines = reader.read(item).decode("utf-8", "replace").splitlines()
            except BadImage:
                continue
            for line in lines:
                try:
                    facts = json.loads(line)
                except ValueError:
                    continue
                if isinstance(facts, dict) and isinstance(name := facts.get("file_name"), str):
                    found[item.source, f"{folder}/{name}" if folder else name] = line
    return found


def _named(item: Item, name: str) -> str:
    """A column that names the image; patches of one image are told apart by their place."""
    if not item.meta:
        return ""
    facts: Mapping[str, Any] = json.loads(item.meta)
    value = facts.get(name)
    if value is None or not isinstance(value, (str, int)):
        return ""
    return f"{value}@{facts['patch_x']},{facts['patch_y']}" if facts.get("patch_x") is not None else str(value)


def _row(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry.item, name) for name in _ITEM} | {"id": entry.id, "name": entry.name}


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "version": 1,
        "sources": [spec_as_json(spec) for spec in plan.sources],
        "inputs": plan.inputs,
        "passed_over": plan.passed_over,
        "shard_size": plan.shard_size,
        "listing": LISTED,
    }
