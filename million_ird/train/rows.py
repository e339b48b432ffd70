"""Rows of what the `datasets` library loads: folders of `save_to_disk`, and names on the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from million_ird.degrade.pictures import Pictures, pixels
from million_ird.errors import InputError
from million_ird.pairs.rows import image_column

HUB = "hf://datasets/"

BUFFER = 256
"""Rows of a stream that are shuffled together."""

_FACTS = ("id", "patch_x", "patch_y")


def loads(path: str) -> bool:
    """Whether a path is one for `datasets`: `hf://datasets/ORG/NAME[@REVISION]`, or a folder that it saved."""
    folder = Path(path)
    saved = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return path.startswith(HUB) or saved or (folder / "dataset_dict.json").is_file()


def opened(path: str, split: str, streaming: bool = False) -> Any:
    """The rows of a split: a `datasets.Dataset`; as they come over the network, a `datasets.IterableDataset`.

    Raises:
        InputError: `datasets` is not installed, or cannot load it; or there is no such split.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(f'{path}: a dataset needs: pip install "million-ird[train]"') from None
    try:
        if path.startswith(HUB):
            name, _, revision = path.removeprefix(HUB).partition("@")
            return datasets.load_dataset(name, split=split, revision=revision or None, streaming=streaming)
        found = datasets.load_from_disk(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: `datasets` cannot load it: {' '.join(str(error).split())}") from None
    if not isinstance(found, datasets.DatasetDict):
        return found
    if split not in found:
        raise InputError(
            f"{path}: has no split '{split}', only {', '.join(map(str, found))}; name one ({path},split=NAME)"
        )
    return found[split]


class Column(Pictures):
    """The pictures in a column, called by `id` (and the place of a patch), else by number."""

    def __init__(self, rows: Any, path: str, column: str | None = None) -> None:
        self._rows, self._column = _plain(rows, path, column)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        return _picture(self._rows[index], self._column, index)


class Streamed(Pictures):
    """The pictures of a stream as they come: which index is asked for does not matter.

    Nothing is stored, and nothing can be asked for again: what a step is given depends on the number of workers, and a
    run that is resumed begins the stream anew. So resuming is approximate here, and here alone.

    Args:
        rows: a `datasets.IterableDataset`.
        count: rows that it is taken to have.
        seed: of the order of its files and the shuffling in the buffer.
    """

    def __init__(self, rows: Any, path: str, count: int, seed: int) -> None:
        from datasets.distributed import split_dataset_by_node

        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        rows = split_dataset_by_node(rows.shuffle(seed=seed % 2**32, buffer_size=BUFFER), rank, size)
        self._rows, self._column = _plain(rows, path, None)
        self._path, self._count = path, count
        self._coming: Iterator[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_coming": None}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[str, NDArray[Any]]:
        for _ in range(2):  # at its end, the stream begins anew
            if self._coming is None:
                self._coming = iter(self._rows)
            if (row := next(self._coming, None)) is not None:
                return _picture(row, self._column, index)
            self._coming = None
        most = self._rows.num_shards
        raise InputError(
            f"{self._path}: this worker's part of the stream holds nothing; its {most} files feed {most} workers at "
            f"most (--set run.workers={most})"
        )


def _plain(rows: Any, path: str, column: str | None) -> tuple[Any, str]:
    """The columns that are needed, pictures as bytes: decoding is ours. And the pictures' column."""
    import datasets

    if rows.features is None:
        raise InputError(f"{path}: says nothing of its columns; load it without stream=")
    column = column or image_column(rows.features.arrow_schema, path)
    facts = [name for name in _FACTS if name in rows.features and name != column]
    return rows.select_columns([column, *facts]).cast_column(column, datasets.Image(decode=False)), column


def _picture(row: dict[str, Any], column: str, index: int) -> tuple[str, NDArray[Any]]:
    name = str(row.get("id", index))
    if "patch_x" in row:
        name += f"@{row['patch_x']},{row['patch_y']}"
    return name, pixels(row[column], name)
