"""Clean pictures as training wants them: called by name, a part of them, the last ones kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.pictures import Pictures, pixels


class Named(Pictures):
    """Image files, called by names of their own."""

    def __init__(self, names: Sequence[str], paths: Sequence[Path]) -> None:
        self._names, self._paths = names, paths

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        return self._names[index], pixels(self._paths[index], str(self._paths[index]))

    def files(self) -> Iterator[tuple[str, int]]:
        return ((name, path.stat().st_size) for name, path in zip(self._names, self._paths, strict=True))


class First(Pictures):
    """The first pictures of a source."""

    def __init__(self, source: Pictures, count: int) -> None:
        self._source, self._count = source, min(count, len(source))
        ends = np.minimum(np.cumsum(counts_of(source)), self._count)
        self.counts: Sequence[int] = [int(rows) for rows in np.diff(ends, prepend=0) if rows]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        return self._source[index]

    def files(self) -> Iterator[tuple[str, int]]:
        return self._source.files()


class Cached(Pictures):
    """Pictures, the last ones asked for kept in memory, up to `size` bytes in each process."""

    def __init__(self, source: Pictures, size: int) -> None:
        self._source, self._size = source, size
        self.counts = counts_of(source)
        self._forget()

    def _forget(self) -> None:
        self._kept: OrderedDict[int, tuple[str, NDArray[Any]]] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_size": self._size, "counts": self.counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._source, self._size, self.counts = state["_source"], state["_size"], state["counts"]
        self._forget()

    def __len__(self) -> int:
        return len(self._source)

    def files(self) -> Iterator[tuple[str, int]]:
        return self._source.files()

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        found = self._kept[index] = self._source[index]
        self._bytes += found[1].nbytes
        while self._bytes > self._size and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1][1].nbytes
        return found


def counts_of(source: Pictures) -> Sequence[int]:
    """Pictures in each group of neighbours on disk; all in one where there are no groups."""
    return getattr(source, "counts", [len(source)])
