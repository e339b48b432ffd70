"""One open table of images, Parquet or Arrow: what it has, its metadata without its images, its images without more of
them in memory than need be."""

from __future__ import annotations

import itertools
import json
import mmap
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.sources.columns import holds_values, image_columns, metas, plain
from million_ird.sources.files import Files

_HELD = 64 << 20
"""Bytes of images that are held at once, at most, where one image is not more than that."""
_ROWS = 8192


def one_of(columns: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The columns of images that are taken: all of them where nothing is wanted, else just one: the first wanted one
    that there is, else the first of all."""
    return [next((name for name in wanted if name in columns), columns[0])] if wanted and columns else list(columns)


class Table:
    """One open table.

    Args:
        files: the folder it lies in.
        path: relative to it.
        wanted: which columns of images are taken (`one_of`).
        facts: the columns that are metadata; None = all but those that hold images.

    Attributes:
        schema: of pyarrow.
        images: the columns of images that are taken; [] where none holds images.
    """

    def __init__(
        self, files: Files, path: bytes, wanted: Sequence[str] = (), facts: Collection[str] | None = None
    ) -> None:
        self._facts = facts
        self._file = files.open(path)
        self._parquet: pq.ParquetFile | None = None
        try:
            if path.lower().endswith(b".parquet"):
                self._parquet = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=1 << 20)
                self.schema = self._parquet.schema_arrow
            else:
                self._mapped = _mapped(self._file)
                self.schema, _ = _arrow(self._mapped)
        except BaseException:
            self._file.close()
            raise
        self._all_images = image_columns(self.schema)
        self.images = one_of(self._all_images, wanted)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def notes(self) -> Iterator[str]:
        """The metadata of each row as JSON; "" for a row without any."""
        names = [f.name for f in self.schema if f.name not in self._all_images and holds_values(f)]
        names = [name for name in names if self._facts is None or name in self._facts]
        if self._parquet is not None and not names:
            yield from itertools.repeat("", self._parquet.metadata.num_rows)
            return
        for batch in self._batches(names):
            texts = metas({name: plain(batch.column(name)) for name in names}, batch.num_rows)
            yield from map(_with_meta, texts) if "meta" in names else texts

    def _batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        if self._parquet is not None:
            yield from self._parquet.iter_batches(_ROWS, columns=names, use_threads=False)
            return
        for batch in _arrow(self._mapped)[1]:
            yield batch.select(names)

    def images_from(self, row: int, column: str) -> Iterator[tuple[int, pa.Array]]:
        """(number of the first row, images) of one column from the group on that holds `row`."""
        if self._parquet is None:
            first = 0
            for batch in _arrow(self._mapped)[1]:
                yield first, batch.column(column)
                first += batch.num_rows
            return
        first = 0
        for group in range(self._parquet.num_row_groups):
            rows = self._parquet.metadata.row_group(group).num_rows
            if first + rows > row and rows:
                start = first
                portion = self._portion(group, column)
                for batch in self._parquet.iter_batches(portion, [group], [column], use_threads=False):
                    yield start, batch.column(0)
                    start += batch.num_rows
            first += rows

    def _portion(self, group: int, column: str) -> int:
        """Rows of a group that may be decoded at once: all of them, where it is as small as it should be."""
        assert self._parquet is not None
        about = self._parquet.metadata.row_group(group)
        leaves = [about.column(number) for number in range(about.num_columns)]
        size = sum(leaf.total_uncompressed_size for leaf in leaves if leaf.path_in_schema.split(".")[0] == column)
        return max(1, min(about.num_rows, _HELD * about.num_rows // max(size, 1)))


class Rows:
    """Images of one table, the last portion kept: quick where they are asked for in order."""

    def __init__(self, table: Table, path: bytes) -> None:
        self.path = path
        self._table = table
        self._portions: dict[str, tuple[int, pa.Array, Iterator[tuple[int, pa.Array]]]] = {}

    def cell(self, row: int, column: str) -> Any:
        """What a row holds in a column of images, "" = the first one of them.

        Raises:
            LookupError: there is no such row or column.
        """
        column = column or self._table.images[0]
        first, images, rest = self._portions.pop(column, (0, (), None))
        if rest is None or row < first:
            rest = self._table.images_from(row, column)
            first, images = next(rest, (0, ()))
        while row >= first + len(images):
            images = ()  # let go of it before the next one is read
            following = next(rest, None)
            if following is None:
                raise IndexError(f"row {row} is gone")
            first, images = following
        self._portions[column] = (first, images, rest)
        return images[row - first]

    def close(self) -> None:
        """Close the table."""
        self._portions.clear()
        self._table.close()


def _with_meta(text: str) -> str:
    """Metadata whose `meta` is itself the metadata of a former build: what is in it is metadata like any other."""
    row = json.loads(text) if text else {}
    try:
        inner = json.loads(row.get("meta", ""))
    except (ValueError, TypeError, RecursionError):
        return text
    if not isinstance(inner, dict):
        return text
    row.pop("meta")
    return json.dumps({**inner, **row}, ensure_ascii=False, sort_keys=True)


def _mapped(file: IO[bytes]) -> Any:
    """A file for pyarrow that is not read before it is needed, where the system can do that."""
    try:
        return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, AttributeError):
        return file


def _arrow(mapped: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and batches of an Arrow file, be it a stream (as `datasets` writes it) or one with a footer."""
    source = pa.BufferReader(mapped) if isinstance(mapped, pa.Buffer) else mapped
    source.seek(0)
    magic = source.read(6)
    source.seek(0)
    if magic == b"ARROW1":
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)
