"""Taking inputs out of a build for good: their rows, their bytes, and whatever would bring them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from million_ird.curate.blocklist import TOMBSTONES, tombstones
from million_ird.curate.ledger import schema
from million_ird.curate.measure import fact_row
from million_ird.curate.passes.ledger import PASSES, forget
from million_ird.curate.pins import matching
from million_ird.curate.pipeline import Pipeline, Watch
from million_ird.curate.plan import STORE, listed_items, load_plan, web_shards
from million_ird.curate.settings import BuildConfig
from million_ird.curate.workspace import check_build, opened, stored_config
from million_ird.errors import InputError, OutputError
from million_ird.sources.web.guard import canonical
from million_ird.sources.web.store import REMOVED, without
from million_ird.tables import part_path, read_parts, rows_to_table, write_json, write_table


@dataclass(frozen=True)
class Removal:
    """What was taken out.

    Attributes:
        removed: inputs, with the copies of what was named.
        copies: of these, near duplicates and equal files that nobody named.
        unknown: names that match no input; a later build of this folder will not take them in either.
        kept: inputs that the dataset holds now.
    """

    removed: int
    copies: int
    unknown: tuple[str, ...]
    kept: int


def read_names(file: str | Path) -> list[str]:
    """Ids, keys or URLs of a text file, one a line; # begins a comment.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a text file with one id or URL a line") from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise InputError(f"{file}: holds no id or URL; write one a line")
    return names


def remove(out: str | Path, names: Sequence[str], watch: Watch = lambda *progress: None) -> Removal:
    """Take inputs out of a build: from the store, the ledger, the decisions, the dataset and the report.

    Copies go with them (equal bytes, and the other members of their near-duplicate cluster), so that none takes their
    place. What is left behind is `removed.json` with their ids, keys and URLs, which outlives `--fresh`. Killed in
    between, the same call goes on.

    Args:
        out: folder of the build.
        names: ids (sha256), keys or URIs.
        watch: told of progress.

    Raises:
        OutputError: no finished build there.
    """
    if Path(out).is_dir():
        check_build(Path(out))
    with opened(Path(out)) as space:
        config, plan = stored_config(space.out), load_plan(space.out)
        if plan is None or not (space.out / "decisions.parquet").exists():
            raise OutputError(f"{space.out}: nothing is decided here yet; run `mird build` first")
        wanted = [*names, *(canonical(name) for name in names if "://" in name)]
        with (space.out / "decisions.parquet").open("rb") as file:
            decided = pq.read_table(file, columns=["key", "id", "uri", "group"])
        named = matching(decided, wanted)
        rows = _with_copies(decided, named)
        known = {value for name in ("key", "id", "uri") for value in decided.column(name).filter(named).to_pylist()}
        unknown = tuple(name for name in names if name not in known and canonical(name) not in known)
        taken = decided.filter(pa.array(rows))
        stones = {*tombstones(space.out), *wanted}
        stones.update(value for name in ("key", "id", "uri") for value in taken.column(name).to_pylist() if value)
        write_json(space.out / TOMBSTONES, sorted(stones))
        keys = frozenset(taken.column("key").to_pylist())
        shards = sorted({plan.shard_of(int(row)) for row in np.flatnonzero(rows)})
        for shard in set(shards) & set(web_shards(space.out, plan)):
            without(space.out / STORE, shard, keys)
        for shard in shards:
            _blank(space.out, shard, keys, config)
            for name in PASSES:
                forget(space.out / "ledger" / name, shard, keys)
        space.event("remove", inputs=len(keys), unknown=len(unknown))
        summary = Pipeline(space, plan, config, watch).run()
        return Removal(len(keys), len(keys) - int(named.sum()), unknown, summary.kept)


def _with_copies(decided: pa.Table, named: Any) -> Any:
    """(N,) bool: rows named, those of the same bytes, and those of the same cluster."""
    found = named.copy()
    for column in ("id", "group"):
        values = decided.column(column).combine_chunks()
        of_named = values.filter(pa.array(found)).drop_null()
        if len(of_named):
            same = pc.call_function("is_in", [values], pc.SetLookupOptions(of_named, skip_nulls=True))
            found |= same.to_numpy(zero_copy_only=False)
    return found


def _blank(out: Path, shard: int, keys: frozenset[str], config: BuildConfig) -> None:
    """The ledger's rows of these keys, without anything that was measured."""
    ledger = out / "ledger" / "base"
    rows = read_parts(ledger, shard + 1, first=shard).to_pylist()
    for place, item in enumerate(listed_items(out, shard)):
        if item.key in keys:
            rows[place] = fact_row(item) | {"status": "blocked", "error": REMOVED, "bytes": None, "meta": None}
    write_table(part_path(ledger, shard), rows_to_table(rows, schema(config)))
