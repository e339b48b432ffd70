"""Images in the rows of a table: Parquet as `datasets` and `mird build` write it, and what `save_to_disk` wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import BadImage, InputError
from million_ird.records import Item
from million_ird.sources import Source, SourceSpec, Web

_FACTS = ("id", "uri", "patch_x", "patch_y")
"""Columns that say which image a row holds, where they are there."""
_BATCH = 16
"""Rows read at once: what must be held in memory."""


@dataclass(frozen=True)
class TableSpec(SourceSpec):
    """A source whose images lie in rows.

    Attributes:
        layout: "parquet" = the files in `paths`; "saved" = the folder `root`, written by `datasets.save_to_disk`.
    """

    layout: Literal["parquet", "saved"] = "parquet"

    def open(self, leave_out: str = "", web: Web | None = None) -> Source:
        if self.layout == "saved":
            from million_ird.pairs.saved import SavedSource

            return SavedSource(self.label, self.root)
        return ParquetSource(self.label, self.root, self.paths)


class ParquetSource:
    """The rows of Parquet files.

    Args:
        label: of the source.
        root: absolute folder.
        paths: the files, relative to it.
    """

    def __init__(self, label: str, root: str, paths: Sequence[str]) -> None:
        self.label = label
        self._root = Path(root)
        self._paths = paths
        self._rows: _Rows | None = None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The rows, file by file."""
        for path in self._paths:
            with _opened(self._root / path) as file:
                image_column(file.schema_arrow, path)
                known = [name for name in _FACTS if name in file.schema_arrow.names]
                count = 0
                if not known:
                    for row in range(file.metadata.num_rows):
                        yield row_item(self.label, path, row, {})
                    continue
                for batch in file.iter_batches(batch_size=8192, columns=known, use_threads=False):
                    for facts in batch.to_pylist():
                        yield row_item(self.label, path, count, facts)
                        count += 1

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`; quick where rows are read in order."""
        name = item.path.decode()
        if self._rows is None or self._rows.name != name or self._rows.next > item.member:
            self.close()
            try:
                self._rows = _Rows(self._root, name, item.member)
            except InputError as error:
                raise BadImage("unreadable", str(error)) from None
        data = self._rows.take(item.member)
        return data if count < 0 else data[:count]

    def close(self) -> None:
        """Close the file that is open."""
        if self._rows is not None:
            self._rows.file.close()
            self._rows = None


class _Rows:
    """The images of one file from some row on, one after the other, with few of them in memory."""

    def __init__(self, root: Path, name: str, first: int) -> None:
        self.name = name
        self.file = _opened(root / name)
        self._root = root
        self._column = image_column(self.file.schema_arrow, name)
        self.next = 0
        groups = list(range(self.file.num_row_groups))
        while groups and self.next + (rows := self.file.metadata.row_group(groups[0]).num_rows) <= first:
            self.next += rows
            del groups[0]
        self._cells = self._all(groups)

    def _all(self, groups: list[int]) -> Iterator[Any]:
        options: dict[str, Any] = {"row_groups": groups, "columns": [self._column], "use_threads": False}
        for batch in self.file.iter_batches(batch_size=_BATCH, **options):
            for cell in batch.column(0):
                yield cell.as_py()

    def take(self, row: int) -> bytes:
        """The image of a row at or after the one taken last.

        Raises:
            BadImage: the row is gone, damaged or empty.
        """
        cell = None
        try:
            while self.next <= row:
                cell = next(self._cells)
                self.next += 1
        except StopIteration:
            raise BadImage("unreadable", f"row {row} of {self.name} is gone") from None
        except (pa.ArrowException, OSError) as error:
            raise BadImage("unreadable", f"{self.name}: {error}"[:200]) from None
        return cell_bytes(cell, self._root)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file that can be read: {error}") from None


def image_column(schema: pa.Schema, name: str) -> str:
    """The column that holds the clean images: `image`, the `hq` of a paired set, or the first that holds images.

    Raises:
        InputError: there is none.
    """
    found = [field.name for field in schema if _holds_images(field, schema)]
    for wanted in ("image", "hq"):
        if wanted in found:
            return wanted
    if not found:
        raise InputError(f"{name}: no column holds images; its columns are {', '.join(schema.names) or 'none'}")
    return found[0]


def _holds_images(field: pa.Field, schema: pa.Schema) -> bool:
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = noted.get("info", {}).get("features", {}) if isinstance(noted, Mapping) else {}
    if field.name in features:
        return features[field.name].get("_type") == "Image" if isinstance(features[field.name], Mapping) else False
    if pa.types.is_struct(field.type):
        return any(field.type.field(index).name == "bytes" for index in range(field.type.num_fields))
    return field.name == "image" and (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))


def cell_bytes(cell: Any, root: Path) -> bytes:
    """The image file in a cell: its bytes, or those of the file below `root` that it names.

    Raises:
        BadImage: it is empty, or names a file that is elsewhere or gone.
    """
    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if data:
        return bytes(data)
    path = cell.get("path") if isinstance(cell, Mapping) else None
    if not path:
        raise BadImage("unreadable", "the row holds no image")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise BadImage("blocked", "the row names a file outside of its folder")
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise BadImage("unreadable", f"cannot be read: {error.strerror or error}") from None


def row_item(label: str, path: str, row: int, facts: Mapping[str, Any]) -> Item:
    """A row as an input; what its columns say of it is its metadata."""
    noted = {name: value for name, value in facts.items() if value is not None}
    meta = json.dumps(noted, ensure_ascii=False) if noted else ""
    return Item(label, f"{path}::{row}", path.encode(), row, meta=meta)
