"""Shards that another build has measured, taken along: ledger, passes and store, linked where nothing changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.blocklist import TOMBSTONES, tombstones
from million_ird.curate.measure import fact_row
from million_ird.curate.passes.ledger import PASSES
from million_ird.curate.plan import STORE, Plan, listed_items
from million_ird.errors import InputError, OutputError
from million_ird.records import Item
from million_ird.sources.web.store import REMOVED, stored, without
from million_ird.tables import locked, output_error, part_path, read_json, rows_to_table, whole, write_json, write_table

MERGE = "merge.json"
"""In the folder of a build made from others: where its shards come from."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Origin:
    """A build that shards come from.

    Attributes:
        folder: its folder, absolute.
        labels: of its sources -> those they have here.
    """

    folder: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Shard:
    """Where a shard comes from.

    Attributes:
        origin: number of the build.
        shard: its number there.
        plain: every row stays as it is.
    """

    origin: int
    shard: int
    plain: bool


def remember(out: Path, origins: Sequence[Origin], shards: Sequence[Shard]) -> None:
    """Note where the first shards of a plan come from."""
    rows = [[one.origin, one.shard, one.plain] for one in shards]
    write_json(out / MERGE, {"version": 1, "ledgers": [asdict(origin) for origin in origins], "shards": rows})


def carry_file(source: Path, place: Path) -> None:
    """Put a finished file in a second place: a hard link, or where there can be none a copy.

    Files of a build are never written in place, so that the two go their own ways.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(error, place) from error
    try:
        os.link(source, place)
    except OSError:
        with source.open("rb") as old, whole(place) as new:
            shutil.copyfileobj(old, new, 1 << 20)


def bring(out: Path, plan: Plan, watch: Callable[[int, int], None]) -> list[int]:
    """Bring the shards of other builds that are not here yet; nothing is read but tables.

    A shard's part of the base pass comes last: that it is there is the mark that all of the shard is. What was removed
    from one of the builds for good is blocked in all that comes from the others.

    Args:
        out: the run's folder.
        plan: its plan.
        watch: told of shards (done, total).

    Returns:
        The shards that were brought.

    Raises:
        MirdError: a build is gone, is being worked on, or has changed since the plan was made.
    """
    data = read_json(out / MERGE)
    if data is None:
        return []
    base = out / "ledger" / "base"
    shards = [Shard(*row) for row in data["shards"]]
    wanted = [number for number in range(len(shards)) if not part_path(base, number).exists()]
    if not wanted:
        return []
    origins = [Origin(**one) for one in data["ledgers"]]
    with ExitStack() as held:
        for origin in origins:
            held.enter_context(_reading(Path(origin.folder)))
        stones = _stones(out, origins)
        for done, number in enumerate(wanted):
            watch(done, len(wanted))
            _Carried(out, plan, number, origins[shards[number].origin], shards[number], stones).bring()
        watch(len(wanted), len(wanted))
    return wanted


def _reading(folder: Path) -> ExitStack:
    """Keep others from working on a build while it is read; where nobody may write, nobody does."""
    held = ExitStack()
    if not (folder / "ledger" / "base").is_dir():
        raise InputError(f"--from {folder}: the build is gone, and not all of it is here yet; bring it back")
    if os.access(folder, os.W_OK):
        held.enter_context(locked(folder, leave=("dataset", "dataset.partial", "ledger", STORE)))
    return held


def _stones(out: Path, origins: Sequence[Origin]) -> frozenset[str]:
    """What was removed from any of the builds: ids, keys and URLs; a path names other files in other folders."""
    found = {name for origin in origins for name in tombstones(Path(origin.folder))}
    found = {name for name in found if "://" in name or (len(name) in (32, 64) and _HEX.issuperset(name))}
    if found:
        write_json(out / TOMBSTONES, sorted(found | tombstones(out)))
    return frozenset(found)


@dataclass
class _Carried:
    """One shard on its way.

    Attributes:
        out: the folder it comes to.
        plan: of that folder.
        number: of the shard here.
        origin, shard: where it comes from.
        stones: what must not come along.
    """

    out: Path
    plan: Plan
    number: int
    origin: Origin
    shard: Shard
    stones: frozenset[str]

    def __post_init__(self) -> None:
        self.old = Path(self.origin.folder)
        self.keys = {} if self.shard.plain else self._new_keys()
        self.blocked = self._blocked() if self.stones else frozenset()

    @property
    def plain(self) -> bool:
        """Whether every row stays as it is."""
        return self.shard.plain and not self.blocked

    def bring(self) -> None:
        """Put all of it in its place."""
        for name in PASSES:
            self._part(name)
        if stored(self.old / STORE, self.shard.shard):
            self._store()
        self._part("base")

    def _new_keys(self) -> dict[str, str]:
        """Key there -> key here, of the rows that come along."""
        here = {item.key for item in listed_items(self.out, self.number)}
        there = [(item.key, self._renamed(item).key) for item in listed_items(self.old, self.shard.shard)]
        return {old: new for old, new in there if new in here}

    def _renamed(self, item: Item) -> Item:
        return Item(self.origin.labels[item.source], item.uri, b"")

    def _blocked(self) -> frozenset[str]:
        """Keys there of rows that were removed from another of the builds."""
        table = _read(part_path(self.old / "ledger" / "base", self.shard.shard), ["key", "id", "uri", "error"])
        rows = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
        return frozenset(row[0] for row in rows if row[3] != REMOVED and not self.stones.isdisjoint(row[:3]))

    def _part(self, name: str) -> None:
        """A part of the base pass or of another, with its metadata."""
        source = part_path(self.old / "ledger" / name, self.shard.shard)
        place = part_path(self.out / "ledger" / name, self.number)
        if name != "base" and not source.exists():
            return
        self._check(source, name)
        if self.plain:
            carry_file(source, place)
            return
        table = _read(source)
        if name == "base" and self.blocked:
            table = self._without_blocked(table)
        elif self.blocked:
            table = _only(table, lambda key: key not in self.blocked)
        write_table(place, table if self.shard.plain else self._rekeyed(table))

    def _check(self, source: Path, name: str) -> None:
        """Refuse a part of another plan than the one that was merged."""
        try:
            with source.open("rb") as file:
                rows = pq.ParquetFile(file).metadata.num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"--from {source}: cannot be read ({error}); bring it back") from None
        if name == "base" and (rows if self.shard.plain else len(self.keys)) != self.plan.count(self.number):
            raise OutputError(f"--from {self.old}: has changed since the merge began; start over with --fresh")

    def _without_blocked(self, table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for place, item in enumerate(listed_items(self.old, self.shard.shard)):
            if item.key in self.blocked:
                rows[place] = fact_row(item) | {"status": "blocked", "error": REMOVED, "bytes": None, "meta": None}
        return rows_to_table(rows, table.schema)

    def _rekeyed(self, table: pa.Table) -> pa.Table:
        """Rows that come along, under their keys here."""
        table = _only(table, self.keys.__contains__)
        changed = {"key": [self.keys[key] for key in table.column("key").to_pylist()]}
        if "source" in table.column_names:
            changed["source"] = [self.origin.labels[label] for label in table.column("source").to_pylist()]
        for name, values in changed.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(values, pa.string()))
        return table

    def _store(self) -> None:
        """Tars under this shard's number, written anew only where bytes go; and the index, which names them.

        The members of a tar keep the names that they were fetched under: samples are found by their offsets.
        """
        store = self.out / STORE
        begins, now = f"part-{self.shard.shard:05d}", f"part-{self.number:05d}"
        for left in store.glob(f"{now}.*"):  # of a run that was killed
            left.unlink()
        table = _read(part_path(self.old / STORE, self.shard.shard))
        names = table.column("tar").to_pylist()
        for name in sorted({name for name in names if name}):
            carry_file(self.old / STORE / name, store / name.replace(begins, now, 1))
        place = table.schema.get_field_index("tar")
        renamed = pa.array([name.replace(begins, now, 1) for name in names], pa.string())
        write_table(part_path(store, self.number), table.set_column(place, table.schema.field(place), renamed))
        going = frozenset(table.column("key").to_pylist()) - self.keys.keys() if self.keys else frozenset()
        if going | self.blocked:
            without(store, self.number, going | self.blocked)
        if not self.shard.plain:
            write_table(part_path(store, self.number), self._rekeyed(_read(part_path(store, self.number))))


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    with path.open("rb") as file:
        return pq.read_table(file, columns=columns)


def _only(table: pa.Table, wanted: Callable[[str], bool]) -> pa.Table:
    return table.filter(pa.array([wanted(key) for key in table.column("key").to_pylist()], pa.bool_()))
