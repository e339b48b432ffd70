"""What came over the network, kept: one or more tars per shard (WebDataset: KEY.jpg, KEY.json), and an index.

store/part-00003.tar        the bytes, as they came, with what is known of their origin
store/part-00003.1.tar      what a later run fetched (`--retry-failed`, new thresholds)
store/part-00003.parquet    one row per input of the shard; written last: that it is there is the mark of the shard
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import BadImage, OutputError
from million_ird.images.header import sniff
from million_ird.records import Item
from million_ird.sources.web.answer import Answer, status_of
from million_ird.sources.web.guard import host_of
from million_ird.tables import add_member, native, output_error, part_path, sync_folder, whole, write_table

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("host", pa.string()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("url", pa.string()),
        ("tar", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("facts", pa.string()),
        ("size", pa.int64()),
        ("received", pa.int64()),
        ("requests", pa.int32()),
        ("seconds", pa.float32()),
        ("at", pa.string()),
        ("headers", pa.string()),
        ("signals", pa.string()),
        ("obeyed", pa.bool_()),
    ]
)
"""`error` "" with `offset` >= 0: the bytes lie in `tar`; with `facts`: the head was enough, no bytes are kept."""

_SUFFIX = {"jpeg": "jpg", "tiff": "tif", "heif": "heic"}
REMOVED = "removed"
"""Class of what was taken out for good."""
Row = dict[str, Any]


def stored(folder: Path, shard: int) -> bool:
    """Whether a shard has been fetched."""
    return part_path(folder, shard).exists()


def index_rows(folder: Path, shard: int, columns: Sequence[str] | None = None) -> list[Row]:
    """The index of a shard, in its order.

    Raises:
        OutputError: it is missing or damaged.
    """
    path = part_path(folder, shard)
    try:
        with native(path) as file:
            return pq.read_table(file, columns=list(columns) if columns else None).to_pylist()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise OutputError(f"{path}: {error}; delete it and run the same command again") from None


class StoreWriter:
    """One shard being fetched.

    Args:
        folder: the store.
        shard: number of the shard.
        items: its inputs, in order.
        kept: rows of the index that stay as they are, by place in the shard.
    """

    def __init__(self, folder: Path, shard: int, items: Sequence[Item], kept: Mapping[int, Row]) -> None:
        self._folder, self._shard, self._items = folder, shard, items
        self._rows: dict[int, Row] = dict(kept)
        self._tar: tarfile.TarFile | None = None
        self._file: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        named = {row["tar"] for row in index_rows(folder, shard, ["tar"])} if stored(folder, shard) else set()
        self._name = _tar_name(shard, _generation(shard, named))
        self._temporary = folder / f".{self._name}.{os.getpid()}.tmp"

    def add(self, place: int, answer: Answer) -> None:
        """Keep what came of the input at a place of the shard.

        Raises:
            OutputError: the disk is full or cannot be written.
        """
        item = self._items[place]
        row = index_row(item, answer)
        if answer.data is not None and not answer.error:
            try:
                row |= self._written(item, answer, answer.data)
            except OSError as error:
                raise output_error(error, self._folder / self._name) from error
        self._rows[place] = row

    def _written(self, item: Item, answer: Answer, data: bytes) -> Row:
        if self._tar is None:
            self._file = self._temporary.open("wb")
            self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115 (closed by finish)
        kind = sniff(data) or "bin"
        offset = self._tar.offset + tarfile.BLOCKSIZE
        add_member(self._tar, f"{item.key}.{_SUFFIX.get(kind, kind)}", data)
        about = {"url": item.uri, **json.loads(item.meta or "{}"), **origin_notes(index_row(item, answer))}
        add_member(self._tar, f"{item.key}.json", json.dumps(about, ensure_ascii=False, sort_keys=True).encode())
        return {"tar": self._name, "offset": offset, "length": len(data)}

    @property
    def missing(self) -> list[int]:
        """Places of which nothing is known yet."""
        return [place for place in range(len(self._items)) if place not in self._rows]

    def finish(self) -> None:
        """Put tar and index in their places.

        Raises:
            OutputError: the disk is full or cannot be written.
        """
        if self._tar is not None and self._file is not None:
            try:
                self._tar.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                self._temporary.replace(self._folder / self._name)
                sync_folder(self._folder)
            except OSError as error:
                raise output_error(error, self._folder / self._name) from error
        rows = [self._rows[place] for place in range(len(self._items))]
        write_table(part_path(self._folder, self._shard), pa.Table.from_pylist(rows, schema=SCHEMA))

    def abandon(self) -> None:
        """Throw away what was not finished."""
        if self._file is not None:
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def index_row(item: Item, answer: Answer) -> Row:
    """The row of the index, but for where the bytes lie."""
    facts = "" if answer.header is None else json.dumps(answer.header.facts())
    return {
        "key": item.key,
        "host": host_of(item.uri),
        "error": answer.error,
        "detail": answer.detail[:200],
        "url": answer.url if answer.url != item.uri else "",
        "tar": "",
        "offset": -1,
        "length": -1,
        "facts": facts,
        "size": answer.size,
        "received": answer.received,
        "requests": answer.requests,
        "seconds": answer.seconds,
        "at": answer.at,
        "headers": json.dumps(dict(answer.headers), ensure_ascii=False) if answer.headers else "",
        "signals": json.dumps(list(answer.signals), ensure_ascii=False) if answer.signals else "",
        "obeyed": answer.obeyed,
    }


def origin_notes(row: Row) -> Row:
    """What of an index row belongs into an image's metadata."""
    notes: Row = {"fetched_at": row["at"]}
    if row["url"]:
        notes["fetched_url"] = row["url"]
    if row["headers"]:
        notes["http_headers"] = json.loads(row["headers"])
    if row["signals"]:
        notes["signals"] = json.loads(row["signals"])
    if row["detail"]:
        notes["fetch_detail"] = row["detail"]
    return notes


def located(folder: Path, shard: int, items: Sequence[Item]) -> list[Item]:
    """Items of a web source with where their bytes lie, or what became of them.

    Raises:
        OutputError: the shard has not been fetched, or the index is another list's.
    """
    rows = index_rows(folder, shard)
    if [row["key"] for row in rows] != [item.key for item in items]:
        raise OutputError(f"{part_path(folder, shard)}: belongs to another plan; start over with --fresh")
    return [item if item.status else _located(item, row) for item, row in zip(items, rows, strict=True)]


def _located(item: Item, row: Row) -> Item:
    meta = json.dumps({**json.loads(item.meta or "{}"), **origin_notes(row)}, ensure_ascii=False, sort_keys=True)
    if row["error"]:
        return replace(item, status=status_of(row["error"]), detail=row["error"], meta=meta)
    if not row["facts"] and row["offset"] < 0:  # of a source that is not on the web
        return item
    if row["facts"]:
        return replace(item, size=row["size"], facts=row["facts"], meta=meta)
    return replace(item, path=row["tar"].encode(), offset=row["offset"], size=row["length"], meta=meta)


def without(folder: Path, shard: int, keys: frozenset[str]) -> None:
    """Take inputs out of the store of a shard for good: their bytes and all but their key from the index.

    The tars are written anew under other names before the index names them, and the old ones deleted last: a kill in
    between leaves one or the other whole, and the next call goes on.

    Raises:
        OutputError: the disk is full or cannot be written.
    """
    rows = index_rows(folder, shard)
    if any(row["key"] in keys and row["error"] != REMOVED for row in rows):
        for name in {row["tar"] for row in rows if row["key"] in keys and row["tar"]}:
            fresh = _tar_name(shard, _generation(shard, {row["tar"] for row in rows}))
            with whole(folder / fresh) as file, tarfile.open(fileobj=file, mode="w") as tar:
                for row in rows:
                    if row["tar"] == name:
                        row |= {"tar": "", "offset": -1} if row["key"] in keys else _copied(folder, row, tar, fresh)
        rows = [_tombstone(row) if row["key"] in keys else row for row in rows]
        write_table(part_path(folder, shard), pa.Table.from_pylist(rows, schema=SCHEMA))
    named = {row["tar"] for row in rows}
    for path in folder.glob(f"part-{shard:05d}*.tar"):
        if path.name not in named:
            path.unlink()


def _copied(folder: Path, row: Row, tar: tarfile.TarFile, name: str) -> Row:
    """A sample into another tar; both its members lie one after the other."""
    with (folder / row["tar"]).open("rb") as file:
        file.seek(row["offset"] - tarfile.BLOCKSIZE)
        with tarfile.open(fileobj=file, mode="r|") as old:
            offset = -1
            for member, _ in zip(old, range(2), strict=False):
                data = old.extractfile(member)
                assert data is not None
                offset = tar.offset + tarfile.BLOCKSIZE if offset < 0 else offset
                add_member(tar, member.name, data.read())
    return {"tar": name, "offset": offset}


def _tombstone(row: Row) -> Row:
    empty = dict.fromkeys(("host", "detail", "url", "tar", "facts", "at", "headers", "signals"), "")
    return row | empty | {"error": REMOVED, "offset": -1, "length": -1, "size": -1}


class StoreSource:
    """Reads items of web sources from the store.

    Args:
        label: of the source.
        folder: the store.
    """

    def __init__(self, label: str, folder: Path) -> None:
        self.label = label
        self._folder = folder
        self._name = b""
        self._file: IO[bytes] | None = None

    def items(self, skipped: Any) -> Iterator[Item]:
        """Nothing: items are listed by the source that the bytes came from."""
        return iter(())

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`."""
        try:
            if self._file is None or self._name != item.path:
                self.close()
                self._file, self._name = (self._folder / item.path.decode()).open("rb"), item.path
            self._file.seek(item.offset)
            data = self._file.read(item.size if count < 0 else min(count, item.size))
        except OSError as error:
            raise BadImage("unreadable", f"store/{item.path.decode()}: {error.strerror or error}") from error
        if len(data) < (item.size if count < 0 else min(count, item.size)):
            raise BadImage("truncated", f"store/{item.path.decode()} ends too early")
        return data

    def close(self) -> None:
        """Close the tar that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _tar_name(shard: int, generation: int) -> str:
    return f"part-{shard:05d}{f'.{generation}' if generation else ''}.tar"


def _generation(shard: int, named: Collection[str]) -> int:
    """The next free number: tars of a killed run that no index names are written over."""
    number = 0
    while _tar_name(shard, number) in named:
        number += 1
    return number
