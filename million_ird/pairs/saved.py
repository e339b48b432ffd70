"""Folders that `datasets.save_to_disk` wrote; the one file of this room that needs the `datasets` library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from million_ird.errors import BadImage, InputError
from million_ird.pairs.rows import cell_bytes, image_column, row_item
from million_ird.records import Item


class SavedSource:
    """The rows of a saved `Dataset`, or of the training split of a saved `DatasetDict`.

    Args:
        label: of the source.
        root: absolute folder.
    """

    def __init__(self, label: str, root: str) -> None:
        self.label = label
        self._root = Path(root)
        self._rows: tuple[Any, str] | None = None

    def items(self, skipped: Counter[str]) -> Iterator[Item]:
        """The rows in order."""
        dataset, _ = self._opened(skipped)
        known = [name for name in ("id", "uri", "patch_x", "patch_y") if name in dataset.column_names]
        facts = dataset.select_columns(known) if known else None
        for row in range(len(dataset)):
            yield row_item(self.label, self._root.name, row, facts[row] if facts is not None else {})

    def read(self, item: Item, count: int = -1) -> bytes:
        """As `Source.read`."""
        dataset, column = self._opened(Counter())
        if item.member >= len(dataset):
            raise BadImage("unreadable", f"row {item.member} is gone")
        data = cell_bytes(dataset[item.member][column], self._root)
        return data if count < 0 else data[:count]

    def close(self) -> None:
        """Let go of the dataset."""
        self._rows = None

    def _opened(self, skipped: Counter[str]) -> tuple[Any, str]:
        if self._rows is None:
            self._rows = _load(self._root, skipped)
        return self._rows


def _load(root: Path, skipped: Counter[str]) -> tuple[Any, str]:
    try:
        import datasets
    except ImportError:
        raise InputError(f'{root}: a dataset on disk needs: pip install "million-ird[train]"') from None
    try:
        found = datasets.load_from_disk(str(root))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{root}: `datasets` cannot load it: {error}") from None
    if isinstance(found, datasets.DatasetDict):
        split = "train" if "train" in found else sorted(found)[0]
        skipped["row of another split"] += sum(len(rows) for name, rows in found.items() if name != split)
        found = found[split]
    column = image_column(found.features.arrow_schema, root.name)
    # The bytes as they are: decoding is ours.
    return found.select_columns([column, *_facts(found, column)]).cast_column(
        column, datasets.Image(decode=False)
    ), column


def _facts(found: Any, column: str) -> list[str]:
    return [name for name in ("id", "uri", "patch_x", "patch_y") if name in found.column_names and name != column]
