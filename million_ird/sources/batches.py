"""Rows of lists in small batches, whatever the file: text, CSV, JSON lines, Parquet. No file is ever held whole."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import InputError
from million_ird.sources.columns import holds_values, image_columns, plain, url_column
from million_ird.sources.files import Files, printable, reading
from million_ird.sources.linefiles import BadList, Batch, TableBatch, csv_rows, json_rows, text_rows

SUFFIXES = frozenset([".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
"""Of files that can be lists."""
_URL = re.compile(r"\s*[a-z]+://\S+\s*", re.IGNORECASE)
_ROWS = 8192


class Columns(NamedTuple):
    """What a table has.

    Attributes:
        names: of the columns.
        images: those that hold image files.
    """

    names: list[str]
    images: list[str]


def columns_of(files: Files, path: str) -> Columns:
    """The columns of a table by its first rows; of a text file "url", where its first line is one; none where the
    file is damaged or empty.

    Args:
        files: the folder it lies in.
        path: os.fsdecode'd, relative to it.

    Raises:
        InputError: it is gone, cannot be reached, or is of no kind that holds rows.
    """
    if _suffix(path) == ".parquet":
        with _opened(files, path) as file, reading(files, path):
            try:
                schema = pq.ParquetFile(file, pre_buffer=False).schema_arrow
            except (pa.ArrowException, OSError) as error:
                damage(error)
                return Columns([], [])
        return Columns(schema.names, image_columns(schema))
    try:
        batch = next(batches(files, path, Counter(), 64), None)
    except BadList:
        batch = None
    if batch is None or (_suffix(path) == ".txt" and "://" not in str(batch.column("url")[0])):
        return Columns([], [])
    return Columns(list(batch.names), [])


def is_image_table(files: Files, path: str) -> bool:
    """Whether a table holds images, rather than where they are; arguments and errors as `columns_of`."""
    return _suffix(path) == ".arrow" or (_suffix(path) == ".parquet" and bool(columns_of(files, path).images))


def tables_of(files: Files, paths: Sequence[str], alone: bool) -> tuple[list[str], list[str], list[str]]:
    """Paths that a pattern matches as (tables that hold images, lists of URLs, all others), each in the same order.

    Args:
        files: the folder they lie in.
        paths: os.fsdecode'd, relative to it.
        alone: whether nothing else is meant by the pattern. Then each table without images is taken for a list; beside
            images, only one whose first row has a URL: there may be notes and labels too.

    Raises:
        InputError: a table is gone, or cannot be reached.
    """
    tables = [path for path in paths if _suffix(path) in (*SUFFIXES, ".arrow")]
    alone = alone and len(tables) == len(paths)
    rows = [path for path in tables if is_image_table(files, path)]
    left = set(tables) - set(rows)
    lists = [path for path in tables if path in left and (alone or _has_url(files, path))]
    known = {*rows, *lists}
    return rows, lists, [path for path in paths if path not in known]


def _has_url(files: Files, path: str) -> bool:
    try:
        batch = next(batches(files, path, Counter(), 64), None)
    except BadList:
        return False
    column = url_column(batch.names) if batch is not None and not batch.damage else ""
    if batch is None or not column:
        return False
    values = (value for value in plain(batch.column(column)).to_pylist() if value)
    return bool(_URL.fullmatch(str(next(values, ""))))


def is_list(columns: Columns) -> bool:
    """Whether a table says where images are."""
    return not columns.images and bool(url_column(columns.names))


def batches(files: Files, path: str, skipped: Counter[str], rows: int = _ROWS) -> Iterator[Batch]:
    """The rows of a list in order; those that cannot be read are counted in `skipped`.

    Args:
        files: the folder it lies in.
        path: os.fsdecode'd, relative to it.
        skipped: counts by kind.
        rows: of one batch, at most.

    Raises:
        InputError: the list is gone, empty, of another kind, or the file system fails.
    """
    with _opened(files, path) as file, reading(files, path):
        yield from _READERS[_suffix(path)](file, _shown(path), skipped, rows)


def _opened(files: Files, path: str) -> IO[bytes]:
    if _suffix(path) not in SUFFIXES:
        raise InputError(f"{_shown(path)}: no list of URLs; lists end in {', '.join(sorted(SUFFIXES))}")
    with reading(files, path):
        file = files.open(os.fsencode(path))
    return file


def _suffix(path: str) -> str:
    return PurePosixPath(path.lower()).suffix


def _shown(path: str) -> str:
    return printable(os.fsencode(path))


def damage(error: Exception) -> str:
    """What is wrong with a table, from what pyarrow raised.

    Raises:
        OSError: it is not the table: the file system failed.
    """
    # pyarrow calls what it cannot decode an OSError too, but one without a number.
    if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
        raise error
    return f"table is damaged: {(str(error) or type(error).__name__).splitlines()[0]}"[:200]


def _parquet(file: IO[bytes], name: str, skipped: Counter[str], rows: int) -> Iterator[Batch]:
    first = 0
    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        wanted = [field.name for field in table.schema_arrow if holds_values(field)]
        if not table.metadata.num_rows:
            return
        for batch in table.iter_batches(rows, columns=wanted, use_threads=False):
            yield TableBatch(pa.Table.from_batches([batch]), first)
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        yield TableBatch(pa.table({}), first, damage(error))


_READERS: dict[str, Callable[[IO[bytes], str, Counter[str], int], Iterator[Batch]]] = {
    ".txt": text_rows,
    ".csv": partial(csv_rows, ","),
    ".tsv": partial(csv_rows, "\t"),
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".parquet": _parquet,
}
