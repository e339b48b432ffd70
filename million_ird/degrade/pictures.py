"""Clean pictures by number, from whatever a user has: arrays, files, a folder, a `mird build` output, a dataset.

Every picture has a name that stays the same whatever the order, because the name decides how it is degraded.
"""

from __future__ import annotations

import bisect
import mmap
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image as Pillow

from million_ird.degrade.op import Image, check_image
from million_ird.errors import BadImage, InputError
from million_ird.images import decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")

_TRAIN = re.compile(r"train(?:ing)?\b", re.IGNORECASE)


class Pictures(ABC):
    """Pictures that can be had in any order, from any process."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[str, Image]:
        """The name of picture `index` and its pixels, (H, W, 3) RGB uint8 or float32 in [0, 1].

        Raises:
            InputError: naming the picture and what is wrong with it.
        """

    def files(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of each file that it reads, where it knows: tells one source from another without reading."""
        return iter(())


def pictures(source: Any) -> Pictures:
    """What a source means.

    Args:
        source: a folder (searched through), an image file, a `mird build` output or a Parquet file with an `image`
            column; or anything with a length and an index (a list, a `datasets.Dataset`) that gives arrays (H, W, 3),
            Pillow images, encoded bytes, paths, or mappings with one of these as "image"; or `Pictures`, given back.

    Raises:
        InputError: missing, empty, or of another kind.
    """
    if isinstance(source, Pictures):
        found = source
    elif isinstance(source, (str, Path)):
        found = _at(Path(source))
    elif hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, (bytes, Mapping)):
        found = Listed(source)
    else:
        raise InputError(
            f"source: expected a folder, a file, a list of pictures or paths, or a dataset, got {type(source).__name__}"
        )
    if not len(found):
        raise InputError(f"source{f' {source}' if isinstance(source, (str, Path)) else ''}: there is no picture in it")
    return found


def _at(path: Path) -> Pictures:
    if parts := parquet_in(path):
        return Rows(parts)
    if path.is_file():
        return Files(path.parent, [path.name])
    if not path.is_dir():
        raise InputError(f"source {path}: no such file or folder")
    if any(tar for folder in _folders(path) for tar in folder.glob("*.tar")):
        raise InputError(f"source {path}: tars are read in order only; build with --set export.format=parquet")
    found = [name for name in path.rglob("*") if name.suffix.lower() in SUFFIXES and name.is_file()]
    return Files(path, sorted(name.relative_to(path).as_posix() for name in found))


def parquet_in(path: Path) -> list[Path]:
    """The Parquet files of a folder, of its data/, of the dataset/ of a `mird build` output; or the file itself.

    Where there are files of several splits, those of the training split.
    """
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    for folder in _folders(path):
        if parts := sorted(folder.glob("*.parquet")):
            return [part for part in parts if _TRAIN.match(part.name)] or parts
    return []


def _folders(path: Path) -> tuple[Path, ...]:
    return path / "dataset" / "data", path / "data", path


class Listed(Pictures):
    """Things by index. A picture is called by the "id" beside it, by its path, or by its number."""

    def __init__(self, things: Any) -> None:
        self._things = things

    def __len__(self) -> int:
        return len(self._things)

    def __getitem__(self, index: int) -> tuple[str, Image]:
        thing = self._things[index]
        name = str(thing) if isinstance(thing, (str, Path)) else str(index)
        if isinstance(thing, Mapping):
            if "image" not in thing:
                raise InputError(f"source[{index}]: has no 'image'; its keys are {', '.join(map(str, thing))}")
            name = str(thing.get("id", index))
            thing = thing["image"]
        return name, pixels(thing, f"source[{index}]")


class Files(Pictures):
    """Image files below a folder, called by their paths from there."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self._root, self._names = root, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[str, Image]:
        name = self._names[index]
        return name, pixels(self._root / name, name)

    def files(self) -> Iterator[tuple[str, int]]:
        return ((name, (self._root / name).stat().st_size) for name in self._names)


class Rows(Pictures):
    """Rows of Parquet files, called by their `id` column (and the place of a patch), else by file and row.

    A reader of Parquet takes a whole row group for one row. As `mird build` stores pixels uncompressed, the bytes of a
    picture stand in the file as they are; so each group is read once, to learn where, and afterwards only the picture.

    Attributes:
        counts: rows of each row group.
    """

    def __init__(self, paths: list[Path], column: str = "image") -> None:
        self._paths, self._column = paths, column
        groups: list[tuple[int, int]] = []
        counts: list[int] = []
        for number, path in enumerate(paths):
            file = pq.ParquetFile(path)
            if column not in file.schema_arrow.names:
                raise InputError(f"{path}: has no column '{column}', only {', '.join(file.schema_arrow.names)}")
            for group in range(file.num_row_groups):
                groups.append((number, group))
                counts.append(file.metadata.row_group(group).num_rows)
        self._groups = groups
        self.counts = counts
        self._ends = list(accumulate(counts))
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._maps: dict[int, mmap.mmap] = {}
        self._known: dict[int, tuple[Any, NDArray[np.int64]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("_paths", "_column", "_groups", "_ends", "counts")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def files(self) -> Iterator[tuple[str, int]]:
        return ((path.name, path.stat().st_size) for path in self._paths)

    def __getitem__(self, index: int) -> tuple[str, Image]:
        number = bisect.bisect_right(self._ends, index)
        row = index - (self._ends[number - 1] if number else 0)
        if number not in self._known:
            self._known[number] = self._learn(number)
        names, places = self._known[number]
        name = str(names[row])
        start, length = (int(value) for value in places[row])
        file, group = self._groups[number]
        data = self._map(file)[start : start + length] if start >= 0 else self._slowly(file, group, row)
        return name, pixels(data, name)

    def _map(self, file: int) -> mmap.mmap:
        if file not in self._maps:
            with self._paths[file].open("rb") as handle:
                self._maps[file] = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[file]

    def _learn(self, number: int) -> tuple[Any, NDArray[np.int64]]:
        """Names of a group's rows; (rows, 2) where their bytes begin and how many, -1 = not there as they are."""
        file, group = self._groups[number]
        parquet = pq.ParquetFile(self._paths[file], memory_map=True)
        columns = [name for name in (self._column, "id", "patch_x", "patch_y") if name in parquet.schema_arrow.names]
        table = parquet.read_row_group(group, columns=columns, use_threads=False)
        cells = table.column(self._column).to_pylist()
        meta = parquet.metadata.row_group(group)
        chunks = [meta.column(i) for i in range(meta.num_columns)]
        at = min(chunk.data_page_offset for chunk in chunks if chunk.path_in_schema.split(".")[0] == self._column)
        raw = self._map(file)
        places = np.full((len(cells), 2), -1, np.int64)
        for row, cell in enumerate(cells):
            data = cell["bytes"] if isinstance(cell, dict) else cell
            found = raw.find(data[:64], at) if data else -1
            if found >= 0 and raw[found : found + len(data)] == data:
                places[row] = found, len(data)
                at = found + len(data)
        return self._names(table, number), places

    def _names(self, table: Any, number: int) -> Any:
        file, group = self._groups[number]
        if "id" not in table.column_names:
            return [f"{self._paths[file].stem}/{group}/{row}" for row in range(table.num_rows)]
        ids = table.column("id").to_pylist()
        if "patch_x" not in table.column_names:
            return ids
        corners = zip(table.column("patch_x").to_pylist(), table.column("patch_y").to_pylist(), strict=True)
        return [f"{name}@{x},{y}" for name, (x, y) in zip(ids, corners, strict=True)]

    def _slowly(self, file: int, group: int, row: int) -> bytes:
        parquet = pq.ParquetFile(self._paths[file], memory_map=True)
        table = parquet.read_row_group(group, [self._column], use_threads=False)
        cell = table.column(self._column)[row].as_py()
        return (cell["bytes"] if isinstance(cell, dict) else cell) or b""


def pixels(thing: Any, name: str) -> Image:
    """Pixels of an array, a Pillow image, a file or its bytes; `name` is what errors call it."""
    if isinstance(thing, Mapping) and "bytes" in thing:  # `datasets.Image(decode=False)`
        thing = thing["bytes"] if thing["bytes"] is not None else thing.get("path")
    if isinstance(thing, np.ndarray):
        check_image(thing, name)
        return thing
    if isinstance(thing, Pillow.Image):
        return np.array(thing if thing.mode == "RGB" else thing.convert("RGB"))
    try:
        if isinstance(thing, (str, Path)):
            thing = Path(thing).read_bytes()
        if isinstance(thing, bytes):
            return decode(thing).rgb
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from None
    except BadImage as bad:
        raise InputError(f"{name}: {bad}; leave it out, or clean the set with `mird build` first") from None
    raise InputError(f"{name}: expected an array (H, W, 3), a Pillow image or a file, got {type(thing).__name__}")
