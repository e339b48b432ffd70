"""A shard's journal: rows as they are finished, and which image a worker was on when it died.

Every worker process of every run appends to a file of its own. A row is a line; so is the start of an image. An image
that was started twice in one run and never finished has killed two workers: it is what crashes.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ATTEMPTS = 2
"""So many workers may die on an image before it is written down as `crashed`."""


class Spool:
    """The journal of one shard, open for appending; a context manager.

    Args:
        folder: where journals lie.
        shard: number of the shard.
        run: name of this run of the command; starts of other runs are no evidence against an image.
    """

    def __init__(self, folder: Path, shard: int, run: str) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        starts: Counter[int] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        self._prefix = f"shard-{shard:05d}."
        for path in self._paths(folder):
            ours = path.name.split(".")[1] == run
            for line in _whole_lines(path):
                index = line["index"]
                if "row" in line:
                    self.rows[index] = _unpacked(line["row"])
                elif ours:
                    starts[index] += 1
        self.crashed = {i for i, count in starts.items() if count >= ATTEMPTS and i not in self.rows}
        self._folder = folder
        self._file: IO[str] = (folder / f"{self._prefix}{run}.{os.getpid()}.jsonl").open("a", encoding="utf-8")

    def _paths(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if path.name.startswith(self._prefix))

    def start(self, index: int) -> None:
        """Note that an image is about to be read."""
        self._write({"index": index})

    def finish(self, index: int, row: dict[str, Any]) -> None:
        """Note a finished row."""
        self.rows[index] = row
        self._write({"index": index, "row": _packed(row)})

    def remove(self) -> None:
        """Delete the shard's journals: its part is written."""
        self._file.close()
        for path in self._paths(self._folder):
            path.unlink(missing_ok=True)

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """All lines but a last one that a kill cut off."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def _packed(row: dict[str, Any]) -> dict[str, Any]:
    thumb = row.get("thumb")
    return row if thumb is None else {**row, "thumb": base64.b64encode(thumb).decode()}


def _unpacked(row: dict[str, Any]) -> dict[str, Any]:
    thumb = row.get("thumb")
    return row if thumb is None else {**row, "thumb": base64.b64decode(thumb)}
