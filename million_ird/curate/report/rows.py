"""The rows that the page decides again: all of them, or a stratified sample and how many rows each stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.curate.report.embed import packed
from million_ird.curate.survey import Line, Survey

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


def code_of(survey: Survey, reason: str) -> int:
    """What stands for the reason in `codes`; 0 where this run has no such reason."""
    return list(survey.reasons).index(reason) + 1 if reason in survey.reasons else 0


def movable(survey: Survey) -> Mask:
    """(N,) bool: rows that some line could drop; not those of a status, nor those that are pinned."""
    overtaken = survey.fixed > (code_of(survey, "resolution") or len(survey.reasons))
    return (survey.fixed == 0) | (overtaken & (survey.fixed != code_of(survey, "pinned")))


def limit_of(line: Line) -> np.float32:
    """The threshold as it is compared; beyond float32 it is infinite."""
    with np.errstate(over="ignore"):
        return np.float32(line.value)


def fails(survey: Survey, line: Line) -> Mask:
    """(N,) bool, the comparison of `Line`, in float32 as on the page."""
    values, limit = survey.columns[line.column], limit_of(line)
    return values < limit if line.bound == "min" else values > limit


def embed_rows(survey: Survey, judged_by: Rows, budget: int, rng: np.random.Generator) -> dict[str, Any]:
    """What the page needs to decide up to about `budget` rows again.

    Rows that no line can change (of a status, or pinned) are left out. Where more than `budget` remain, each decision
    is a stratum: half of the budget is shared evenly, so that rare reasons come whole, the rest by size.

    Args:
        survey: all rows of the run.
        judged_by: (N,) int64, of `keepers`.
        budget: most rows; where there are many reasons a few more.
        rng: draws the sample.

    Returns:
        `strata`: [code, rows, rows embedded], the embedded rows lying in this order; `values`: one array per column
        (float32); `fixed` (uint16); `role` (uint8) in its cluster as decided: 0 = alone or the keeper, 1 = smaller than
        the keeper, 2 = at least as large; where all rows are here, `clusters`, of which the page chooses keepers again.
    """
    free = movable(survey)
    sizes = np.bincount(survey.codes[free], minlength=len(survey.reasons) + 1)
    strata, chosen = [], [np.empty(0, np.int64)]
    for code, take in enumerate(_shares(sizes, budget)):
        if take:
            rows = np.flatnonzero(free & (survey.codes == code))
            chosen.append(np.sort(rng.choice(rows, take, replace=False)) if take < rows.size else rows)
            strata.append([code, int(sizes[code]), int(take)])
    picked = np.concatenate(chosen)
    exact = picked.size == sizes.sum()
    role = np.where(survey.pixels[picked] >= survey.pixels[judged_by[picked]], 2, 1)
    role[judged_by[picked] == picked] = 0
    return {
        "exact": bool(exact),
        "strata": strata,
        "values": [packed(column[picked], "<f4") for column in survey.columns.values()],
        "fixed": packed(survey.fixed[picked], "<u2"),
        "role": packed(role, "u1"),
        "clusters": _clusters(survey, judged_by, picked) if exact else None,
    }


def keepers(survey: Survey) -> Rows:
    """(N,) int64: the member of its cluster that each row was judged against, as decided; a row of none is its own.

    That is the one pinned to be kept, else the one that was kept, else the best. Other fixed rows take no part.
    """
    members = np.flatnonzero((survey.group >= 0) & (survey.fixed <= 0))
    preference = survey.order[members], survey.codes[members] != 0, survey.fixed[members] == 0
    members = members[np.lexsort((*preference, survey.group[members]))]
    _, first, cluster = np.unique(survey.group[members], return_index=True, return_inverse=True)
    out = np.arange(survey.codes.size)
    out[members] = members[first][cluster]
    return out


def _shares(sizes: Rows, budget: int) -> Rows:
    """How many rows of each stratum to embed; never none of a stratum that has some."""
    if sizes.sum() <= budget:
        return sizes
    even = np.minimum(sizes, max(1, budget // 2 // np.count_nonzero(sizes)))
    rest = sizes - even
    return even + rest * max(0, budget - even.sum()) // max(1, rest.sum())


def _clusters(survey: Survey, judged_by: Rows, picked: Rows) -> dict[str, str]:
    """Members of the clusters that no pin leads, best first, as places among `picked`; each one's start; pixels."""
    free = (survey.group[picked] >= 0) & (survey.fixed[picked] == 0) & (survey.fixed[judged_by[picked]] == 0)
    members = np.flatnonzero(free)
    group = survey.group[picked[members]]
    order = np.lexsort((survey.order[picked[members]], group))
    _, starts = np.unique(group[order], return_index=True)
    return {
        "members": packed(members[order], "<u4"),
        "starts": packed(np.append(starts, members.size), "<u4"),
        "pixels": packed(survey.pixels[picked[members[order]]], "<f8"),
    }
