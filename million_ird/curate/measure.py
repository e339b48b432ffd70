"""The base pass: one read, one decode, every meter; one ledger part per shard."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from million_ird.curate import contaminated
from million_ird.curate.blocklist import TOMBSTONES, tombstones
from million_ird.curate.contaminated import recogniser
from million_ird.curate.ledger import HASH_METER, make_meters, schema
from million_ird.curate.plan import STORE, shard_items
from million_ird.curate.remote import StoreReader, bring_shard, part_name, plan_mark, tar_names
from million_ird.curate.rules import header_judge
from million_ird.curate.settings import BuildConfig
from million_ird.curate.spool import Spool
from million_ird.errors import BadImage
from million_ird.images import credits_of, decode, read_header
from million_ird.meters import Frame, Meter
from million_ird.meters.phash import hash_frame, thumb
from million_ird.mirror import Mirror
from million_ird.records import Header, Item
from million_ird.sources import SourceSpec
from million_ird.sources.web.store import REMOVED
from million_ird.tables import part_path, read_parts, rows_to_table, write_table

HEAD_BYTES = 64 * 1024
Row = dict[str, Any]


@dataclass(frozen=True)
class MeasureShard:
    """The picklable task: measure one shard and write its ledger part.

    Attributes:
        out: the run's folder.
        specs: its sources.
        config: its configuration.
        run: name of this run of the command.
        only: keys to measure although the part exists (values were missing); None = the whole shard.
        mirror: where the folder is a copy of an address: a worker has one of its own, and fetches and puts there what
            it reads and writes.
    """

    out: str
    specs: tuple[SourceSpec, ...]
    config: BuildConfig
    run: str
    only: frozenset[str] | None = None
    mirror: Mirror | None = None

    @property
    def folder(self) -> Path:
        """The run's folder, as it is called on this machine."""
        return self.mirror.folder if self.mirror else Path(self.out)

    @cached_property
    def measurer(self) -> Measurer:
        """One per process: its reader keeps an archive open, its meters their models."""
        cv2.setNumThreads(1)
        if self.mirror:
            self.mirror.bring([TOMBSTONES])
        return Measurer(self.specs, self.config, self.folder / STORE, tombstones(self.folder), self.mirror)

    def close(self) -> None:
        """Let go of what reading holds open."""
        self.measurer.reader.close()

    def __call__(self, shard: int, progress: Callable[[int], None]) -> dict[str, int]:
        """Returns:
        Rows by status.
        """
        out = self.folder
        ledger, journals = out / "ledger" / "base", out / "spool"
        tars = []
        if self.mirror:
            bring_shard(self.mirror, self.specs, shard, part=self.only is not None)
            tars = self._tars(shard)
            self.mirror.bring(tars)
            journals /= plan_mark(out)
        items = shard_items(out, shard)
        known: list[Row] = []
        if self.only is not None:
            known = _part_rows(ledger, shard)
        with Spool(journals, shard, self.run) as spool:
            for index, item in enumerate(items):
                if index in spool.rows:
                    continue
                if self.only is not None and item.key not in self.only:
                    spool.rows[index] = known[index]
                    continue
                if index in spool.crashed:
                    row = crashed_row(item)
                else:
                    spool.start(index)
                    row = self.measurer(item, known[index] if known else None)
                spool.finish(index, row)
                progress(1)
            rows = [spool.rows[index] for index in range(len(items))]
            if self.measurer.recogniser is None:  # the rule was on when these were measured
                rows = [{name: row[name] for name in row if name != contaminated.COLUMN} for row in rows]
            write_table(part_path(ledger, shard), rows_to_table(rows, schema(self.config)))
            if self.mirror:  # before the journals go: without it there the shard is not done
                self.mirror.push([part_name(shard)])
            spool.remove()
        for name in tars:
            (out / name).unlink(missing_ok=True)
        return dict(Counter(row["status"] for row in rows))

    def _tars(self, shard: int) -> list[str]:
        """What was fetched for a shard and lies on another machine; of single images, single ones are read there."""
        if self.only is not None:
            return []
        return [name for name in tar_names(self.folder, shard) if not (self.folder / name).exists()]


def _part_rows(ledger: Path, shard: int) -> list[Row]:
    return read_parts(ledger, shard + 1, first=shard).to_pylist()


class Measurer:
    """From an item to its ledger row.

    Args:
        specs: the sources that items come from.
        config: limits, meters, hash and triage.
        store: what was fetched from the web.
        removed: ids, URIs and keys of what was taken out of this build for good.
        mirror: where else the store lies.
    """

    def __init__(
        self,
        specs: tuple[SourceSpec, ...],
        config: BuildConfig,
        store: Path,
        removed: frozenset[str] = frozenset(),
        mirror: Mirror | None = None,
    ) -> None:
        self.reader = StoreReader(specs, store, mirror)
        self.config = config
        self.removed = removed
        self.meters: Mapping[str, Meter] = make_meters(config)
        self.judge = header_judge(config.policy) if config.measure.triage else None
        self.recogniser = recogniser(config.policy)

    def __call__(self, item: Item, known: Row | None = None) -> Row:
        """The row of one input, whatever is wrong with it.

        Args:
            item: the input.
            known: its row in the ledger, where it is measured again: of the same bytes, what was measured stays.

        Raises:
            Exception: what a meter raises on a readable image is a bug and carries a note with the image's uri.
        """
        row = fact_row(item)
        try:
            if item.status:
                raise BadImage(item.status, item.detail)
            if self.removed and not self.removed.isdisjoint((item.key, item.uri)):
                raise BadImage("blocked", REMOVED)
            if item.facts:
                row |= json.loads(item.facts)
            else:
                self._measure(item, row, known or {})
        except BadImage as bad:
            row |= {"status": bad.status, "error": bad.detail}
        return row

    def _measure(self, item: Item, row: Row, known: Row) -> None:
        limits = self.config.limits
        if item.size > limits.max_bytes:
            raise BadImage("too_large", f"{item.size} bytes, limits.max_bytes is {limits.max_bytes}")
        if self.judge is not None and (header := self._head(item)) and not self.judge(header):
            row |= header.facts() | {"bytes": max(0, item.size) or None}
            return
        data = self.reader.read(item)
        name = hashlib.sha256(data).hexdigest()
        if name in self.removed:
            raise BadImage("blocked", REMOVED)
        row |= {"id": name, "bytes": len(data)}
        header = read_header(data, limits)
        row |= header.facts()
        decoded = decode(data, header, limits)
        meta = {**json.loads(row["meta"] or "{}"), **header.notes(), **decoded.notes, **credits_of(data)}
        try:
            frame = Frame(decoded.rgb, header)
            self._run_meters(frame, row, known if known.get("id") == name else {})
            if self.recogniser is not None:
                row[contaminated.COLUMN], shown = self.recogniser(frame, row["thumb"])
                row["meters"] += f",{self.recogniser.name}"
                meta |= {contaminated.NOTE: shown} if shown else {}
        except Exception as error:
            error.add_note(f"while measuring {item.uri} of source {item.source}")
            raise
        row["meta"] = json.dumps(meta, ensure_ascii=False, sort_keys=True)

    def _head(self, item: Item) -> Header | None:
        """The header from the first 64 kB; None where they don't hold it all and the whole file must be read."""
        head = self.reader.read(item, HEAD_BYTES)
        try:
            return read_header(head, self.config.limits)
        except BadImage:
            if len(head) < HEAD_BYTES:
                raise
            return None

    def _run_meters(self, frame: Frame, row: Row, known: Row) -> None:
        ran = set((known.get("meters") or "").split(","))
        if HASH_METER in ran:
            row |= {"phash": known["phash"], "thumb": known["thumb"]}
        else:
            row["phash"] = int(hash_frame(frame, self.config.dedup.hash, self.config.dedup.mode))
            row["thumb"] = thumb(frame)
        for name, meter in self.meters.items():
            if name in ran:
                row |= {column: known[column] for column in meter.columns}
                continue
            for column, value in zip(meter.columns, meter(frame), strict=True):
                # As the ledger holds it: float32, so that a resumed run sees the same number.
                row[column] = None if value is None else float(np.float32(value))
        row["meters"] = ",".join([HASH_METER, *self.meters])


def fact_row(item: Item) -> Row:
    """What is known of an input before it is read."""
    return {
        "key": item.key,
        "uri": item.uri,
        "source": item.source,
        "status": "ok",
        "bytes": item.size if item.size >= 0 else None,
        "meta": item.meta or None,
        "meters": "",
    }


def crashed_row(item: Item) -> Row:
    """The row of an image on which workers died."""
    return fact_row(item) | {"status": "crashed", "error": "the worker process died on it, twice"}
