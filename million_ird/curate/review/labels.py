"""The answers given by hand, in `labels.parquet`: written whole after each one, so that only the last can be lost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.errors import OutputError
from million_ird.tables import rows_to_table, write_table

LABELS = "labels.parquet"
"""In a build's folder; `mird decide` takes it as policy.pins.file. It outlives `--fresh`: hands made it."""
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("id", pa.string()),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        ("meter", pa.string()),
        ("value", pa.float64()),
        ("at", pa.timestamp("ms", "UTC")),
    ]
)


class Labels:
    """One answer for an input, in the order in which they were given.

    Args:
        out: folder of the build.

    Raises:
        OutputError: there is a `labels.parquet` that `mird review` did not write.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / LABELS
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in _read(self.path)}

    def add(self, key: str, name: str | None, uri: str, keep: bool, meter: str, value: float | None) -> None:
        """Write an answer; one that was given before for the same input gives way.

        Args:
            key: of the input.
            name: its id.
            uri: its uri.
            keep: the answer.
            meter: the ledger column whose threshold was asked about.
            value: what that column holds.

        Raises:
            OutputError: it could not be written; then it is not remembered either.
        """
        facts = {"key": key, "id": name, "uri": uri, "keep": keep, "meter": meter, "value": value}
        others = {other: row for other, row in self.rows.items() if other != key}
        self._write({**others, key: facts | {"at": datetime.now(UTC)}})

    def remove(self, key: str) -> None:
        """Take an answer back.

        Raises:
            OutputError: the file could not be written; then the answer stands.
        """
        self._write({other: row for other, row in self.rows.items() if other != key})

    def _write(self, rows: dict[str, dict[str, Any]]) -> None:
        write_table(self.path, rows_to_table(list(rows.values()), SCHEMA))
        self.rows = rows


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except FileNotFoundError:
        return []
    except (OSError, pa.ArrowInvalid) as error:
        raise OutputError(f"{path}: cannot be read ({error}); move it away to begin anew") from None
    if missing := [name for name in SCHEMA.names if name not in table.column_names]:
        raise OutputError(f"{path}: not from `mird review` (no column `{missing[0]}`); move it away to begin anew")
    return table.select(SCHEMA.names).to_pylist()
