"""Which rows the page shows as pictures, chosen by the seed alone, and the pictures themselves, each once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.curate.report.embed import data_url
from million_ird.curate.report.rows import code_of, fails, limit_of
from million_ird.curate.survey import Line, Survey
from million_ird.images import encode_png

Rows = NDArray[np.int64]

BUDGET = 10_000_000
"""Bytes of page that all pictures together may take; past it, rows are shown by their thumb."""


def embed_pictures(survey: Survey, judged_by: Rows, samples: int, rng: np.random.Generator) -> dict[str, Any]:
    """The pictures of the page: a table of the rows shown, and sets of places in that table.

    Args:
        survey: all rows of the run.
        judged_by: (N,) int64, of `keepers`.
        samples: most pictures of one set; for near duplicates and each side of a line half as many.
        rng: chooses.

    Returns:
        `table`: for each row `src`, `name`, `code`, `values` (one per column, None = null) and `thumb` (True where
        only the 16x16 thumb was to be had); `kept`; `reasons`, a set for each reason, where near duplicates are
        followed each by the row that was kept for it; `lines`, for each line those just `failing` and just
        `passing`, nearest first.
    """
    near = code_of(survey, "near_duplicate")
    kept = _some(np.flatnonzero(survey.codes == 0), samples, rng)
    reasons = []
    for code in range(1, len(survey.reasons) + 1):
        rows = _some(np.flatnonzero(survey.codes == code), samples // 2 if code == near else samples, rng)
        reasons.append(np.column_stack([rows, judged_by[rows]]).ravel() if code == near else rows)
    lines = [_around(survey, line, samples // 2, rng) for line in survey.lines]

    place = {row: i for i, row in enumerate(dict.fromkeys(_in_turn([kept, *reasons, *chain.from_iterable(lines)])))}
    table, spent = [], 0
    for row in place:
        table.append(_entry(survey, row, survey.picture(row) if spent < BUDGET else None))
        spent += len(table[-1]["src"])
    return {
        "table": table,
        "kept": [place[row] for row in kept.tolist()],
        "reasons": [[place[row] for row in rows.tolist()] for rows in reasons],
        "lines": [
            {"failing": [place[row] for row in failing.tolist()], "passing": [place[row] for row in passing.tolist()]}
            for failing, passing in lines
        ],
    }


def _in_turn(sets: Iterable[Rows]) -> Iterable[int]:
    """The first of each set, then the second of each: a budget that runs out is felt by all sets alike."""
    return (row for turn in zip_longest(*(rows.tolist() for rows in sets)) for row in turn if row is not None)


def _some(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    return np.sort(rng.choice(rows, count, replace=False)) if rows.size > count else rows


def _around(survey: Survey, line: Line, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows nearest to the line on either side, of those whose fate it decides."""
    values, limit = survey.columns[line.column], limit_of(line)
    free, failed = (survey.fixed == 0) & ~np.isnan(values), fails(survey, line)
    dropped = survey.codes == code_of(survey, line.reason)
    failing = np.flatnonzero(free & failed & (dropped | (survey.codes == 0)))
    passing = np.flatnonzero(free & ~failed & (survey.codes == 0))
    return _nearest(failing, values, limit, count, rng), _nearest(passing, values, limit, count, rng)


def _nearest(rows: Rows, values: NDArray[np.float32], limit: np.float32, count: int, rng: np.random.Generator) -> Rows:
    """The `count` rows nearest to the limit, nearest first; chance chooses among those equally near."""
    if not count or not np.isfinite(limit):
        return rows[:0]
    distance = np.abs(values[rows].astype(np.float64) - limit)
    if rows.size > count:
        last = np.partition(distance, count - 1)[count - 1]
        sure, tied = np.flatnonzero(distance < last), np.flatnonzero(distance == last)
        chosen = np.concatenate([sure, rng.choice(tied, count - sure.size, replace=False)])
        rows, distance = rows[chosen], distance[chosen]
    return rows[np.argsort(distance, kind="stable")]


def _entry(survey: Survey, row: int, jpeg: bytes | None) -> dict[str, Any]:
    if jpeg is None:
        luma = survey.thumbs[row].reshape(16, 16)
        src = data_url(encode_png(np.repeat(luma[:, :, None], 3, axis=2)), "image/png")
    else:
        src = data_url(jpeg, "image/jpeg")
    values = [float(column[row]) for column in survey.columns.values()]
    return {
        "src": src,
        "thumb": jpeg is None,
        "name": survey.names(row),
        "code": int(survey.codes[row]),
        "values": [float(f"{value:.9g}") if np.isfinite(value) else None for value in values],
    }
