"""What of an index has rotted: the addresses asked again, by a build of their own, and compared with its hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.blocklist import PHASH_BITS
from million_ird.errors import InputError, OutputError
from million_ird.publish.facts import Build
from million_ird.publish.indexes import HASH
from million_ird.sources.web.guard import canonical
from million_ird.tables import read_parts

SHOWN = 5
_INDEX = ("url", "sha256", "phash")


@dataclass(frozen=True)
class Rot:
    """What became of the rows of an index that have an address.

    Attributes:
        rows: of the index, with an address.
        same: the same bytes.
        reencoded: other bytes, the same picture: their hashes differ in `blocklist.PHASH_BITS` bits at most.
        changed: another picture.
        gone: not to be had, or no picture any more.
        unasked: not in the build.
        why: of those gone, class of failure -> rows, the most frequent first.
        examples: of changed and gone, the first few: (URL, what became of it).
    """

    rows: int
    same: int
    reencoded: int
    changed: int
    gone: int
    unasked: int
    why: dict[str, int]
    examples: tuple[tuple[str, str], ...]


def compare(index: str | Path, ledger: str | Path) -> Rot:
    """Compare an index with a build of its addresses.

    Args:
        index: folder of an index (as published or downloaded; its `kept` part is what counts), or one Parquet file.
        ledger: DIR of the `mird build` that fetched it.

    Raises:
        InputError: one of them is not what it should be.
        OutputError: they hold hashes of two kinds.
    """
    build = Build.of(ledger)
    found = build.table(["uri", "id", "phash", "status", "error"])
    kind = _kind(read_parts(build.out / "ledger" / "base", min(1, build.plan.shards)).schema)
    now = {row["uri"]: row for row in found.to_pylist()}
    counts: Counter[str] = Counter()
    why: Counter[str] = Counter()
    examples: list[tuple[str, str]] = []
    for table in _parts(Path(index)):
        if (theirs := _kind(table.schema)) and kind and theirs != kind:
            raise OutputError(
                f"{index}: holds hashes of kind '{theirs}', {ledger} of '{kind}'; build with its build.yaml"
            )
        for row in table.select(list(_INDEX)).to_pylist():
            if not row["url"]:
                continue
            state, reason = _state(row, now.get(canonical(row["url"])))
            counts[state] += 1
            if state == "gone":
                why[reason] += 1
            if state in ("gone", "changed") and len(examples) < SHOWN:
                examples.append((row["url"], reason or state))
    found_in = {state: counts[state] for state in ("same", "reencoded", "changed", "gone", "unasked")}
    return Rot(counts.total(), **found_in, why=dict(why.most_common()), examples=tuple(examples))


def _state(then: dict[str, Any], now: dict[str, Any] | None) -> tuple[str, str]:
    """What became of a row, and why it is gone."""
    if now is None:
        return "unasked", ""
    if now["id"] == then["sha256"]:
        return "same", ""
    if now["status"] != "ok":
        return "gone", str(now["error"] or now["status"]).split(":")[0]
    if None not in (then["phash"], now["phash"]) and (now["phash"] ^ then["phash"]).bit_count() <= PHASH_BITS:
        return "reencoded", ""
    return "changed", ""


def _kind(schema: pa.Schema) -> str:
    return (schema.metadata or {}).get(HASH, b"").decode()


def _parts(index: Path) -> Iterator[pa.Table]:
    paths = (
        [index] if index.is_file() else sorted((index / "kept").glob("*.parquet")) or sorted(index.glob("*.parquet"))
    )
    if not paths:
        raise InputError(f"{index}: no index here (kept/*.parquet is missing); give what `mird publish index` wrote")
    for path in paths:
        try:
            with path.open("rb") as file:
                table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read ({error}); download it again") from None
        if missing := [name for name in _INDEX if name not in table.column_names]:
            raise InputError(f"{path}: is no index: no column {', '.join(missing)}")
        yield table
