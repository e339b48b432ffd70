"""Which rows of a run show the same picture or the same thing, and which of them is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.curate.passes.ledger import Passed
from million_ird.curate.rules import values
from million_ird.curate.similar import PASS, SimilarFinder
from million_ird.dedup import Edges

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Same:
    """Which rows show the same picture.

    Attributes:
        exact: copies of an earlier row, byte for byte.
        leader: (N,) the row that stands for this one; itself where nothing does.
        edges: the near duplicates found, None = not looked for.
    """

    exact: Bools
    leader: NDArray[np.int64]
    edges: Edges | None

    @property
    def follows(self) -> Bools:
        """Rows that another stands for."""
        return self.leader != np.arange(len(self.leader))

    def groups(self) -> NDArray[np.int64]:
        """(N,) the leader of the duplicates a row belongs to, -1 = none."""
        leads = np.zeros(len(self.leader), bool)
        leads[self.leader[self.follows]] = True
        return np.where(self.follows | leads, self.leader, -1)

    def behind(self, alike: Alike) -> Same:
        """With semantic duplicates, and those that one of them stood for, behind what is kept for them."""
        leader = np.arange(len(self.leader))
        leader[alike.rows] = alike.leader
        return replace(self, leader=self.leader[leader[self.leader]])


@dataclass(frozen=True)
class Alike:
    """Semantic duplicates.

    Attributes:
        rows: (n,) those that follow a better picture of the same thing.
        leader: (n,) the row that each follows.
        cosine: (n,) of the two embeddings.
    """

    rows: NDArray[np.int64]
    leader: NDArray[np.int64]
    cosine: NDArray[np.float64]


def find_alike(
    code: NDArray[np.int16],
    keep: Bools,
    order: NDArray[np.int64],
    passed: Sequence[Passed],
    similar: SimilarFinder | None,
) -> Alike:
    """Find semantic duplicates among the rows that are kept so far and have embeddings."""
    seen = [one.ran for one in passed if one.name == PASS]
    rows = np.flatnonzero((code == 0) & seen[0]) if similar and seen else np.zeros(0, np.int64)
    if similar is None or not len(rows):
        return Alike(rows[:0], rows[:0], np.zeros(0))
    rows = rows[np.argsort(order[rows])]
    leader, cosine = similar(rows)
    follows = (leader != rows) & ~keep[rows]
    return Alike(rows[follows], leader[follows], cosine[follows])


def preference(table: pa.Table, keep: Bools) -> NDArray[np.int64]:
    """(N,) rank of every row by what no threshold changes, 0 = best: pinned, effective resolution, quality, bytes.

    Effective resolution is sqrt(pixels) x `upscale`, the latter in steps of 1/8: its scatter between copies of the same
    picture must not outweigh their quality.
    """
    upscale = np.nan_to_num(values(table, "upscale"), nan=1.0)
    effective = np.sqrt(np.nan_to_num(values(table, "pixels"))) * np.round(upscale * 8)
    quality = np.nan_to_num(values(table, "jpeg_quality"), nan=100.0)
    size = np.nan_to_num(values(table, "bytes"))
    return ranks(np.arange(table.num_rows), -size, -quality, -effective, ~keep)


def ranks(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) rank of every row, by the last key first."""
    rank = np.empty(len(keys[0]), np.int64)
    rank[np.lexsort(keys)] = np.arange(len(rank))
    return rank
