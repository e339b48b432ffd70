"""Rows of files that are made of lines: text, CSV and JSON lines; and what a batch of rows is, whatever the file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa

from million_ird.errors import InputError
from million_ird.sources.columns import fixed_names, meta_of, metas


class BadList(InputError):
    """A list whose content is none."""


BROKEN = "row that cannot be read"
_BLOCK = 1 << 20
_LINE = 1 << 24
"""Bytes of a line at most; a longer one is broken."""


@dataclass(frozen=True)
class TableBatch:
    """Some rows of a list, as columns of pyarrow.

    Attributes:
        data: the rows.
        first: number of the first one in its list.
        damage: why the list cannot be read on; "" = it can. Such a batch has no rows.
    """

    data: pa.Table
    first: int
    damage: str = ""

    @property
    def rows(self) -> int:
        """How many."""
        return self.data.num_rows

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return self.data.column_names

    def column(self, name: str) -> pa.Array | pa.ChunkedArray:
        """One column, all rows."""
        return self.data.column(name)

    def table(self, wanted: Sequence[str]) -> pa.Table:
        """All columns; those that are not wanted may be empty."""
        return self.data

    def metas(self, rows: np.ndarray, leave_out: str) -> list[str]:
        """Some rows as JSON (`columns.metas`), but for one column."""
        kept = self.data.drop_columns([leave_out])
        if not kept.num_columns:
            return [""] * len(rows)
        kept = kept if len(rows) == kept.num_rows else kept.take(pa.array(rows))
        return metas(dict(zip(kept.column_names, kept.columns, strict=True)), len(rows))


@dataclass(frozen=True)
class ObjectBatch:
    """Some rows of a list, as JSON objects, which need not have the same keys, nor one type for a key; otherwise as
    `TableBatch`."""

    objects: list[dict[str, Any]]
    first: int
    names: list[str]
    damage: str = ""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.objects)

    def column(self, name: str) -> pa.Array | pa.ChunkedArray:
        """As `TableBatch.column`; of all types that it can be, the one that holds every row."""
        return _typed([row.get(name) for row in self.objects])

    def table(self, wanted: Sequence[str]) -> pa.Table:
        """As `TableBatch.table`."""
        lower = {name.lower() for name in wanted}
        named = fixed_names(self.names)
        asked = {name for name in self.names if name.lower() in lower or named.get(name) in lower}
        columns = [self.column(name) if name in asked else pa.nulls(self.rows) for name in self.names]
        return pa.Table.from_arrays(columns, names=self.names)

    def metas(self, rows: np.ndarray, leave_out: str) -> list[str]:
        """As `TableBatch.metas`."""
        return [meta_of(self.objects[row], (leave_out,)) for row in rows]


Batch = TableBatch | ObjectBatch


def _typed(values: list[Any]) -> pa.Array:
    """Values of any types as truth values or numbers, where all are, else as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        return pa.array([None if value is None else _float(value) for value in values], pa.float64())
    return pa.array([_as_text(value) for value in values], pa.string())


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return None if value is None or isinstance(value, (list, dict)) else str(value)


def _lines(file: IO[bytes], name: str, skipped: Counter[str]) -> Iterator[str]:
    """Lines with their ends; CR, LF and CRLF end one."""
    rest, dropping, start = b"", False, True
    while block := file.read(_BLOCK):
        if start and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadList(f"{name}: is UTF-16; save it as UTF-8")
        block, start = block.removeprefix(b"\xef\xbb\xbf") if start else block, False
        lines = (rest + block).splitlines(keepends=True)
        rest = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        if dropping and lines:
            lines, dropping = lines[1:], False
        elif dropping and rest.endswith(b"\r"):
            rest, dropping = b"", False
        for line in lines:
            yield line.decode("utf-8", "replace")
        if dropping or len(rest) > _LINE:
            skipped[BROKEN] += not dropping
            rest, dropping = b"", True
    if rest:
        yield rest.decode("utf-8", "replace")


def text_rows(file: IO[bytes], name: str, skipped: Counter[str], rows: int) -> Iterator[Batch]:
    lines = (line.strip() for line in _lines(file, name, skipped))
    numbered = ((number, line) for number, line in enumerate(lines) if line and not line.startswith("#"))
    while some := list(islice(numbered, rows)):
        yield TableBatch(pa.table({"url": [line for _, line in some]}), some[0][0])


def csv_rows(delimiter: str, file: IO[bytes], name: str, skipped: Counter[str], rows: int) -> Iterator[Batch]:
    records = _records(_lines(file, name, skipped), delimiter, skipped)
    header = next(records, None)
    if header is None:
        raise BadList(f"{name}: is empty; its first line must name the columns")
    names = _told_apart([cell.strip() for cell in header])
    first = 0
    while some := list(islice(records, rows)):
        cells = zip(*some, strict=True)
        columns = [pa.array([cell or None for cell in column], pa.string()) for column in cells]
        yield TableBatch(pa.Table.from_arrays(columns, names=names), first)
        first += len(some)


def _records(lines: Iterable[str], delimiter: str, skipped: Counter[str]) -> Iterator[list[str]]:
    """Rows as long as the first one. Where a quote is never closed, or closed in the middle of a cell, each line that
    it swallowed is read on its own."""
    taken: list[str] = []

    def watched() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(watched(), delimiter=delimiter, strict=True)
    width = 0
    while True:
        taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            row = None
        if row is not None and (len(row) == width or not width):
            if row:
                width = len(row)
                yield row
            continue
        for line in taken if row is None or len(taken) > 1 else ():
            alone = _alone(line, delimiter)
            if len(alone) == width or not width:
                width = len(alone)
                yield alone
            elif alone:
                skipped[BROKEN] += 1
        if row and len(taken) == 1:
            skipped[BROKEN] += 1


def _alone(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def _told_apart(names: Sequence[str]) -> list[str]:
    counts: Counter[str] = Counter()
    out = []
    for name in names:
        counts[name] += 1
        out.append(f"{name}_{counts[name]}" if name and counts[name] > 1 else name)
    return out


def json_rows(file: IO[bytes], name: str, skipped: Counter[str], rows: int) -> Iterator[Batch]:
    objects = _objects(_lines(file, name, skipped), skipped)
    names: dict[str, None] = {}
    first = 0
    while some := list(islice(objects, rows)):
        for row in some:
            names.update(dict.fromkeys(row))
        yield ObjectBatch(some, first, list(names))
        first += len(some)


def _objects(lines: Iterable[str], skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            meta_of(value) if line.count("[") + line.count("{") > 100 else None  # nested beyond what can be written
        except (ValueError, RecursionError, AttributeError):
            value = None
        if isinstance(value, dict):
            yield value
        else:
            skipped[BROKEN] += 1
