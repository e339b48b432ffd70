"""Clean images in the rows of tables: which column holds them, and what else of a row is kept."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from million_ird.errors import InputError
from million_ird.sources import Source, SourceSpec, Web
from million_ird.sources.columns import image_columns
from million_ird.sources.rowfiles import RowSource
from million_ird.sources.rowtable import one_of

_CLEAN = ("image", "hq")
"""Columns that hold clean images, in this order; `hq` is that of a paired set."""
_FACTS = ("id", "uri", "patch_x", "patch_y")
"""Columns that say which image a row holds, where they are there."""


@dataclass(frozen=True)
class TableSpec(SourceSpec):
    """A source of the kind "rows", with one clean image in each row.

    Attributes:
        name: what rows are called after, counted through all tables; "" = each table's path.
    """

    name: str = ""

    def open(self, leave_out: str = "", web: Web | None = None) -> Source:
        return RowSource(self.label, self._files(leave_out), self.paths, _CLEAN, _FACTS, self.name)


def image_column(schema: pa.Schema, name: str) -> str:
    """The column that holds the clean images: `image`, the `hq` of a paired set, or the first that holds images.

    Raises:
        InputError: there is none.
    """
    found = one_of(image_columns(schema), _CLEAN)
    if not found:
        raise InputError(f"{name}: no column holds images; columns: {', '.join(schema.names) or 'none'}")
    return found[0]
