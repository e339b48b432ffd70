"""Images in the rows of tables: Parquet, and the Arrow files of `datasets.save_to_disk`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from million_ird.errors import BadImage, InputError
from million_ird.records import Item
from million_ird.sources.archive import IMAGE_SUFFIXES
from million_ird.sources.batches import damage
from million_ird.sources.files import Files, LocalFiles, failures, first_line, printable, reading
from million_ird.sources.rowtable import Rows, Table

SUFFIXES = (".parquet", ".arrow")


class RowSource:
    """The rows of tables.

    Args:
        label: of the source.
        files: the folder the tables lie in.
        paths: the tables, os.fsdecode'd and relative to it.
        wanted: () = each column of images is an input of its own; else just one column is read: the first of these
            that holds images, else the first that does.
        facts: columns that are metadata; None = all but those that hold images.
        name: what rows are called after, counted through all tables; "" = each table's path.
    """

    def __init__(
        self,
        label: str,
        files: Files,
        paths: Sequence[str],
        wanted: Sequence[str] = (),
        facts: Collection[str] | None = None,
        name: str = "",
    ) -> None:
        self.label = label
        self._files = files
        self._paths = paths
        self._wanted = wanted
        self._facts = facts
        self._name = name
        self._rows: Rows | None = None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The rows in the order of the tables, "TABLE::ROW"; "TABLE::ROW/COLUMN" where several columns are read.

        Images are not read: whether a row has one is seen when it is. A table that is damaged ends in one item that
        says so.

        Raises:
            InputError: a table has no column of images, or is gone.
        """
        before = 0
        for name in self._paths:
            path = os.fsencode(name)
            shown, rows = printable(path), 0
            with reading(self._files, name):
                try:
                    with self._table(path) as table:
                        endings = _endings(table, shown)
                        for row, meta in enumerate(table.notes()):
                            for ending in endings:
                                uri = f"{self._name or shown}::{before + row}{ending}"
                                yield Item(self.label, uri, path, row, meta=meta)
                            rows = row + 1
                except (pa.ArrowException, OSError, ValueError) as error:
                    uri = f"{shown}::?" if rows else shown
                    yield Item(self.label, uri, path, status="unreadable", detail=damage(error))
            before += rows if self._name else 0

    def _table(self, path: bytes) -> Table:
        return Table(self._files, path, self._wanted, self._facts)

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`; quick where rows are read in order."""
        # Where one column is read, a row may go by any name.
        tail = "" if self._wanted else item.uri.removeprefix(f"{printable(item.path)}::{item.member}")
        column = tail.removeprefix("/")
        try:
            if self._rows is None or self._rows.path != item.path:
                self.close()
                self._rows = Rows(self._table(item.path), item.path)
            return _image_bytes(self._rows.cell(item.member, column), self._files, count)
        except (pa.ArrowException, ValueError, LookupError, *failures(self._files)) as error:
            self.close()  # what stopped in the middle does not go on
            raise BadImage("unreadable", f"row cannot be read: {first_line(error)}") from error

    def close(self) -> None:
        """Close the table that is open."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None


def _endings(table: Table, shown: str) -> list[str]:
    """What the URIs of a row end in, one for each image."""
    if not table.images:
        columns = ", ".join(table.schema.names) or "none"
        raise InputError(f"{shown}: no column holds images; columns: {columns}")
    return [f"/{name}" for name in table.images] if len(table.images) > 1 else [""]


def _image_bytes(cell: Any, files: Files, count: int) -> bytes:
    struct = isinstance(cell, pa.StructScalar)
    data = cell["bytes"] if struct and cell.is_valid else cell
    buffer = data.as_buffer() if isinstance(data, pa.BinaryScalar) else None
    if buffer is not None and buffer.size:
        return memoryview(buffer)[: buffer.size if count < 0 else count].tobytes()
    named = str(cell["path"].as_py() or "") if struct and cell.is_valid else ""
    if not named:
        raise BadImage("unreadable", "the row holds no image")
    return _named_bytes(named, files, count)


def _named_bytes(name: str, files: Files, count: int) -> bytes:
    """An image file that a row names instead of holding it: read where it lies below the folder of the tables, on this
    machine."""
    if not isinstance(files, LocalFiles):
        raise BadImage("unreadable", "the row names an image file and does not hold it")
    root = Path(files.root).resolve()
    try:
        inside = (root / name).resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # a loop of links, or no name of a file at all
        inside = False
    if not inside:
        raise BadImage("blocked", "the row names a file outside of its folder")
    return files.read(os.fsencode(name), count)


def dataset_files(folder: Path) -> list[str] | None:
    """The tables of images in a folder that `datasets` could load, sorted, relative to it ("/"-separated).

    That is a folder without image files (but in hidden ones) that holds Parquet files with a column of images, or what
    `datasets.save_to_disk` wrote; of a `mird build` output, its dataset.

    Args:
        folder: of this machine.

    Returns:
        None where it is another kind of folder.

    Raises:
        InputError: it is a build that is not finished.
    """
    tables: list[str] = []
    for parent, folders, names in os.walk(of_build(folder) or folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in names if not name.startswith(".")]
        if any(name.rpartition(".")[2].lower() in IMAGE_SUFFIXES for name in names):
            return None
        chosen = _saved(Path(parent)) if "state.json" in names else []
        chosen += [name for name in names if name.lower().endswith(".parquet")]
        tables += [Path(parent, name).relative_to(folder).as_posix() for name in chosen]
    return image_tables(folder, sorted(tables)) or None


def of_build(folder: Path) -> Path | None:
    """The dataset of a `mird build` output; None of any other folder.

    Raises:
        InputError: the build is not finished.
    """
    if not (folder / "build.yaml").is_file() or not (folder / "plan.json").is_file():
        return None
    if not (folder / "dataset" / "README.md").is_file():
        raise InputError(f"{folder}: this build is not finished; run `mird build` again until dataset/ is there")
    return folder / "dataset"


def image_tables(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of some tables of a folder that have a column of images, in the same order; [] where none has.

    A damaged one among good ones is a part of the dataset all the same: its item says so.

    Args:
        folder: of this machine.
        names: relative to it.
    """
    files = LocalFiles(str(folder.absolute()))
    found = {name: _has_images(files, name) for name in names}
    return [name for name, images in found.items() if images is not False] if any(found.values()) else []


def _saved(folder: Path) -> list[str]:
    """The files of a saved dataset: those that its state names, not what a cache left beside them."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        named = [PurePosixPath(entry["filename"]).name for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in named if name.endswith(".arrow")]


def _has_images(files: Files, name: str) -> bool | None:
    """Whether a table has a column of images; None where a damaged one does not tell."""
    try:
        with Table(files, os.fsencode(name)) as table:
            return bool(table.images)
    except (pa.ArrowException, OSError, ValueError):
        return True if name.endswith(".arrow") else None  # what a saved dataset names is a part of it
