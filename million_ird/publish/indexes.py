"""`mird publish index`: a build as addresses, hashes, measurements and decisions, so that others can build it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from million_ird.cards import index_card
from million_ird.curate.blocklist import tombstones
from million_ird.curate.credit import licence_of, parsed
from million_ird.curate.ledger import hash_name, measurement_columns
from million_ird.curate.passes.columns import pass_columns, pass_rows
from million_ird.curate.workspace import opened
from million_ird.errors import InputError
from million_ird.publish import checks
from million_ird.publish.facts import Build, address_of, described
from million_ird.publish.hub import Target
from million_ird.publish.outcome import Published, Unfit, Watch, send, sizes, write_files
from million_ird.publish.places import local_path, own_folders, without_password
from million_ird.sources.web.guard import canonical
from million_ird.tables import read_parts, sweep, whole

FOLDER = "index"
"""In the folder of a build: what is published of it without pixels."""
CARD, CONFIG = "README.md", "build.yaml"
PARTS = ("kept", "dropped")
REPLACED = tuple(f"{part}/*" for part in PARTS)
ROWS = 1_000_000
"""In one file at most."""
HASH = b"mird.hash"
"""Of the schema's metadata: the kind of perceptual hash, as in the ledger."""

_LEDGER = ("key", "id", "uri", "source", "status", "bytes", "format", "width", "height", "meta", "phash")
_STATED = ("licence", "author", "page_url")


def index(
    folder: str | Path,
    repo: str,
    *,
    public: bool = False,
    revision: str = "",
    create_pr: bool = False,
    contact: str = "",
    allow_unknown_licence: bool = False,
    dry_run: bool = False,
    show: bool = False,
    watch: Watch = lambda *progress: None,
) -> Published:
    """Write DIR/index from a build, and put it on the Hub; arguments as of `dataset`.

    `kept/` is a list of URLs that `mird build` takes as a SOURCE; `dropped/` says what was left out, and why. What
    `mird remove` took out is in neither.

    Raises:
        Unfit: a check failed; nothing was sent.
        MirdError: there is no finished build; the Hub refuses.
    """
    target = Target(repo, "dataset", not public, revision, create_pr)
    if not (Path(folder) / CONFIG).is_file():
        raise InputError(f"{folder}: no build here (build.yaml is missing); DIR is the --out of `mird build`")
    with opened(Path(folder)):
        watch("card", 0, 1)
        build = Build.of(folder)
        home = build.out / FOLDER
        facts, pictures = described(build, repo, contact)
        schema = index_schema(build)
        counts, problems = dict.fromkeys(PARTS, 0), _Problems(build, allow_unknown_licence)
        written: set[str] = set()
        for part in PARTS:
            for number, table in enumerate(_tables(build, schema, part == "kept")):
                problems.look(table, part == "kept")
                counts[part] += table.num_rows
                name = f"{part}/part-{number:05d}.parquet"
                written.add(name)
                if not dry_run:
                    with whole(home / name) as file:
                        pq.write_table(table, file, compression="zstd")
        text = index_card(facts, counts["kept"], counts["dropped"])
        files = {CARD: text.encode(), CONFIG: build.recipe.encode(), **pictures}
        found = [
            *problems.lines(counts["kept"]),
            *checks.card_problems(CARD, text, [*written, *files]),
            *checks.text_problems({CARD: text, CONFIG: build.recipe}, own_folders(build.out)),
        ]
        if dry_run:
            listed = {**dict.fromkeys(written, 0), **{name: len(data) for name, data in files.items()}}
            return Published(repo, "index", dict(sorted(listed.items())), tuple(found), private=not public)
        _tidy(home, written | files.keys())
        write_files(home, files)
        if found:
            raise Unfit(str(home), tuple(found))
        watch("upload", 0, len(sizes(home, {})))
        message = f"mird publish index: {counts['kept']:,} kept, configuration {build.commit}"
        replaced = (*REPLACED, "card/*")
        return send(home, target, "index", message, replaced, tuple(checks.removal_warnings(build.out, repo)), show)


def index_schema(build: Build) -> pa.Schema:
    """The columns of an index."""
    measured = [(name, pa.float32()) for name in (*_measured(build), *pass_columns(build.config))]
    fields: list[Any] = [
        ("url", pa.string()),
        ("uri", pa.string()),
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.uint64()),
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("kept_as", pa.string()),
        *((name, pa.string()) for name in _STATED),
        *measured,
    ]
    return pa.schema(fields, metadata={HASH: hash_name(build.config)})


def _measured(build: Build) -> list[str]:
    known = read_parts(build.out / "ledger" / "base", min(1, build.plan.shards)).schema.names
    return [name for name in measurement_columns(build.config) if name in known]


def _tables(build: Build, schema: pa.Schema, kept: bool) -> Iterator[pa.Table]:
    """The rows of one part, in plan order, a file at a time."""
    removed = tombstones(build.out)
    leaders = build.decisions.filter(_among(build.decisions.column("key"), _leaders(build)))
    ids = dict(zip(*(leaders.column(name).to_pylist() for name in ("key", "id")), strict=True))
    held: list[pa.Table] = []
    columns = [*_LEDGER, *_measured(build)]
    for shard in range(build.plan.shards):
        ledger = read_parts(build.out / "ledger" / "base", shard + 1, columns, first=shard)
        decided = build.decisions.slice(build.plan.starts[shard], build.plan.count(shard))
        mask = decided.column("keep").to_numpy(zero_copy_only=False) == kept
        if removed:
            mask &= np.array(
                [removed.isdisjoint(_names(row)) for row in ledger.select(["key", "id", "uri"]).to_pylist()]
            )
        if mask.any():
            taken = pa.array(mask)
            passed = pass_rows(build.out / "ledger", shard, build.config)
            held.append(_rows(ledger.filter(taken), decided.filter(taken), ids, passed, schema))
        if sum(table.num_rows for table in held) >= ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _among(column: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    return pc.call_function("is_in", [column], pc.SetLookupOptions(names))


def _leaders(build: Build) -> pa.Array:
    """Keys of what was kept in place of something else."""
    return build.decisions.column("kept_as").combine_chunks().drop_null().unique()


def _names(row: dict[str, Any]) -> set[str]:
    names = {row["key"], row["id"], row["uri"]}
    return names | {canonical(row["uri"])} if "://" in row["uri"] else names


def _rows(
    ledger: pa.Table,
    decided: pa.Table,
    ids: Mapping[str, str],
    passed: Mapping[str, Mapping[str, float | None]],
    schema: pa.Schema,
) -> pa.Table:
    """Rows of the schema: from the ledger, what was decided, the ids of what was kept in place of others by their keys,
    and what the passes found by key."""
    uris = [without_password(uri) for uri in ledger.column("uri").to_pylist()]
    metas = [parsed(text) for text in ledger.column("meta").to_pylist()]
    made: dict[str, Any] = {
        "url": [address_of(uri) or None for uri in uris],
        "uri": uris,
        "sha256": ledger.column("id"),
        "kept_as": [ids.get(key) if key else None for key in decided.column("kept_as").to_pylist()],
        "licence": [licence_of(meta) or None for meta in metas],
        **{name: [str(meta[name]) if meta.get(name) else None for meta in metas] for name in _STATED[1:]},
    }
    seen = [passed.get(key, {}) for key in ledger.column("key").to_pylist()]
    columns = []
    for field in schema:
        where = next((table for table in (decided, ledger) if field.name in table.column_names), None)
        if field.name in made:
            found = made[field.name]
        elif where is not None:
            found = where.column(field.name)
        else:
            found = [row.get(field.name) for row in seen]
        array = pa.array(found, field.type) if isinstance(found, list) else found.cast(field.type).combine_chunks()
        columns.append(array)
    return pa.Table.from_arrays(columns, schema=schema)


class _Problems:
    """What is wrong with the rows of an index."""

    def __init__(self, build: Build, allow_unknown_licence: bool) -> None:
        self._own = own_folders(build.out)
        self._allowed = allow_unknown_licence
        self.addresses = self.unlicensed = 0
        self.first, self.local = "", ""

    def look(self, table: pa.Table, kept: bool) -> None:
        uris = table.column("uri").to_pylist()
        if kept:
            self.addresses += len(uris) - table.column("url").null_count
            for uri, licence in zip(uris, table.column("licence").to_pylist(), strict=True):
                if not licence:
                    self.unlicensed += 1
                    self.first = self.first or uri
        for name in ("uri", "source", *_STATED):
            for text in table.column(name).to_pylist():
                if text and not self.local:
                    self.local = local_path(text) or next((one for one in self._own if one in text), "")

    def lines(self, kept: int) -> list[str]:
        out = []
        if not self.addresses:
            out.append(
                "no kept image has an address on the web, so nobody could build it again from the index; publish the "
                "dataset instead (mird publish dataset)"
            )
        if self.unlicensed and not self._allowed:
            out.append(
                f"{self.unlicensed:,} of {kept:,} kept rows name no licence: give the list a column `licence`, or "
                f"publish with --allow-unknown-licence; first: {self.first}"
            )
        if self.local:
            out.append(f"the rows hold a path of this machine: {self.local}; build from a source that has none")
        return out


def _tidy(home: Path, names: set[str]) -> None:
    """Delete what a former index left."""
    sweep(home)
    for path in home.rglob("*"):
        if path.is_file() and path.relative_to(home).as_posix() not in names:
            path.unlink()
