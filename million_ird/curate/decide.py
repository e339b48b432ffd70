"""From ledger to decisions: one pure function, no image read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from million_ird.curate.duplicates import distances, first_copies
from million_ird.curate.ledger import HASH_METER, Column
from million_ird.curate.passes.ledger import Passed
from million_ird.curate.pins import pinned
from million_ird.curate.rules import HEADER_COLUMNS, check, comes_early, fails, lines, reasons, values
from million_ird.curate.settings import BuildConfig
from million_ird.dedup import Edges, cluster

Bools = NDArray[np.bool_]
EdgeFinder = Callable[[Bools], Edges]
"""Given which rows take part, the verified near-duplicate edges among them."""

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("id", pa.string()),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("group", pa.int64()),
        ("kept_as", pa.string()),
    ]
)


@dataclass(frozen=True)
class Verdicts:
    """What the cascade found, one entry per row.

    Attributes:
        reasons: names of the codes; code k is `reasons[k - 1]`.
        code: (N,) int16, 0 = kept.
        fixed: (N,) int16, as `Survey.fixed`.
        value, threshold: (N,) float64 of the rule that gave the reason, NaN where there is none.
        group: (N,) int64, the row that leads the duplicates this row belongs to, -1 = no duplicates.
        order: (N,) int64, 0 = the row that is preferred above all others among those that pass.
        unknown_pins: pins that match no row.
        waiting: pass -> (N,) bool, rows that all else keeps and that it has not seen.
    """

    reasons: list[str]
    code: NDArray[np.int16]
    fixed: NDArray[np.int16]
    value: NDArray[np.float64]
    threshold: NDArray[np.float64]
    group: NDArray[np.int64]
    order: NDArray[np.int64]
    unknown_pins: tuple[str, ...]
    waiting: Mapping[str, Bools]

    def counts(self) -> dict[str, int]:
        """Rows per reason, in cascade order, reasons without rows left out."""
        found = np.bincount(self.code, minlength=len(self.reasons) + 1)
        return {name: int(count) for name, count in zip(self.reasons, found[1:], strict=True) if count}

    @property
    def kept(self) -> int:
        """Rows kept."""
        return int((self.code == 0).sum())


def judge(
    table: pa.Table, config: BuildConfig, columns: Mapping[str, Column], find: EdgeFinder, passed: Sequence[Passed] = ()
) -> Verdicts:
    """Ask every rule of every row.

    The order is the cascade's: a status, resolution, exact and near duplicates, then each rule on a measurement. Of a
    cluster of near duplicates the best member that passes every rule of its own stays (the best of all where none
    passes). Another member that is as large and fails a rule of its own has that as its reason; the others are
    `near_duplicate`. A row is `unmeasured` where a value that was never measured comes before the first rule it fails.

    Args:
        table: the ledger in plan order; the columns that the policy's rules need, besides key, id, uri, status, width,
            height, bytes, meters, phash.
        config: policy, and `measure.triage`: with it, what fails by its header takes no part in the duplicates, just as
            where it was never decoded.
        columns: of the run's measurements.
        find: near-duplicate edges; called only where the rule is enabled.
        passed: what the passes have found. Their rules are asked last, of rows they have seen; what all else keeps and
            a pass with rules has not seen is `unmeasured`. A cluster's next member takes the place of one that fails.
    """
    policy = config.policy
    check(policy, columns)
    names = reasons(policy)
    code_of = {name: index + 1 for index, name in enumerate(names)}
    status = _status_codes(table, code_of)
    ok = status == 0
    keep, drop, unknown = pinned(table, policy.pins)
    keep &= ok

    own = _ask(table, config, columns, ok, code_of)
    late = _ask_passes(own, passed, ok, code_of)
    same = _copies(table, config, own, ok, keep, drop, find)
    code = _codes(table, own, same, status, code_of)
    code[drop & ok] = code_of["pinned"]
    code[keep] = 0
    waiting = {one.name: (code == 0) & ~keep & ~one.ran for one in passed}
    for one in passed:
        code[waiting[one.name] & bool(one.lines)] = code_of["unmeasured"]

    near = code == code_of["near_duplicate"]
    if same.edges is not None:
        own.value[near] = distances(same.edges, np.flatnonzero(near), same.leader[near])
        own.threshold[near] = policy.near_duplicate.distance
    stale = (code != own.code) & ~near
    own.value[stale] = own.threshold[stale] = np.nan
    fixed = status.copy()
    fixed[ok & same.exact] = code_of["exact_duplicate"]
    for name in ("unmeasured", "pinned"):
        fixed[code == code_of[name]] = code_of[name]
    # The report does not know the passes' lines: what fails one of them takes no part in moving the others.
    settled = late & (fixed == 0)
    fixed[settled] = code[settled]
    fixed[keep] = -1
    order = _preference(table, keep)
    return Verdicts(names, code, fixed, own.value, own.threshold, same.groups(), order, unknown, waiting)


def decisions(table: pa.Table, verdicts: Verdicts) -> pa.Table:
    """Verdicts as the table that `decisions.parquet` holds, in plan order."""
    names = pa.array([None, *verdicts.reasons], pa.string())
    grouped = verdicts.group >= 0
    follows = grouped & (verdicts.group != np.arange(table.num_rows)) & (verdicts.code != 0)
    keys = table.column("key").combine_chunks()
    leaders = pa.array(verdicts.group, mask=~follows)
    columns = [
        keys,
        table.column("id"),
        table.column("uri"),
        pa.array(verdicts.code == 0),
        names.take(pa.array(verdicts.code)),
        pa.array(verdicts.value, from_pandas=True),
        pa.array(verdicts.threshold, from_pandas=True),
        pa.array(verdicts.group, mask=~grouped),
        keys.take(leaders),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _status_codes(table: pa.Table, code_of: Mapping[str, int]) -> NDArray[np.int16]:
    encoded = table.column("status").combine_chunks().dictionary_encode()
    codes = np.array([code_of.get(name, 0) for name in encoded.dictionary.to_pylist()], np.int16)
    return codes[encoded.indices.to_numpy()] if len(codes) else np.zeros(0, np.int16)


@dataclass(frozen=True)
class _Own:
    """What each row's own measurements say, duplicates aside.

    Attributes:
        code, value, threshold: of the first line that fails; 0 and NaN where none does.
        missing: a value that comes before that line in the cascade was never measured: there is no verdict yet.
        by_header: the row fails by its header.
    """

    code: NDArray[np.int16]
    value: NDArray[np.float64]
    threshold: NDArray[np.float64]
    missing: Bools
    by_header: Bools

    def fail(self, rows: Bools, code: int, value: NDArray[np.float64], threshold: float | None) -> Bools:
        """Of rows that fail a line, those that no earlier one has: they now fail by it."""
        new = rows & (self.code == 0) & ~self.missing
        self.code[new], self.value[new], self.threshold[new] = code, value[new], threshold
        return new


def _ask(
    table: pa.Table, config: BuildConfig, columns: Mapping[str, Column], ok: Bools, code_of: Mapping[str, int]
) -> _Own:
    """Ask the lines on the ledger's columns; with triage those on the header first, as they were when it was decided
    what to decode."""
    count = table.num_rows
    nothing = np.full(count, np.nan)
    own = _Own(np.zeros(count, np.int16), nothing, nothing.copy(), np.zeros(count, bool), np.zeros(count, bool))
    asked = [line for line in lines(config.policy, config.measure.triage) if line.enabled]
    early = [line for line in asked if comes_early(line, config.measure.triage)]
    duplicates = [None] if config.policy.near_duplicate.enabled else []
    lacks = _Lacks(table)
    for line in [*early, *duplicates, *(x for x in asked if x not in early)]:
        if line is None or line.column not in HEADER_COLUMNS:
            own.missing[:] |= ok & (own.code == 0) & lacks(HASH_METER if line is None else columns[line.column].meter)
        if line is None:
            continue
        found = values(table, line.column)
        failing = fails(line, found) & ok
        if line.column in HEADER_COLUMNS:
            own.by_header[:] |= failing
        own.fail(failing, code_of[line.reason], found, line.value)
    return own


def _ask_passes(own: _Own, passed: Sequence[Passed], ok: Bools, code_of: Mapping[str, int]) -> Bools:
    """Ask the passes' lines, after all others; the rows that fail one of them."""
    late = np.zeros(len(ok), bool)
    for line, found in ((line, one.values[line.column]) for one in passed for line in one.lines):
        late |= own.fail(fails(line, found) & ok, code_of[line.reason], found, line.value)
    return late


@dataclass(frozen=True)
class _Same:
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


def _copies(
    table: pa.Table, config: BuildConfig, own: _Own, ok: Bools, keep: Bools, drop: Bools, find: EdgeFinder
) -> _Same:
    """Find exact copies, then near ones among the rest."""
    rows = np.arange(table.num_rows)
    first = first_copies(table, ok, keep, drop) if config.policy.exact_duplicate.enabled else rows
    exact = ok & (first >= 0) & (first != rows)
    leader, edges = rows, None
    if config.policy.near_duplicate.enabled:
        nodes = ok & ~exact & table.column("phash").is_valid().to_numpy()
        if config.measure.triage:
            nodes &= ~own.by_header
        if nodes.any():
            edges = find(nodes)
            ranks = _ranks(_preference(table, keep), own.missing, own.code > 0, drop, ~keep)
            found = cluster(edges, ranks)
            leader = np.where(found >= 0, found, leader)
    return _Same(exact, np.where(exact, leader[np.maximum(first, 0)], leader), edges)


def _codes(
    table: pa.Table, own: _Own, same: _Same, status: NDArray[np.int16], code_of: Mapping[str, int]
) -> NDArray[np.int16]:
    """(N,) the reason of each row, pins aside."""
    pixels = np.nan_to_num(values(table, "pixels"))
    lesser = same.follows & ~same.exact & ~((own.code > 0) & (pixels >= pixels[same.leader]))
    code = np.where(own.missing & (own.code == 0), code_of["unmeasured"], own.code).astype(np.int16)
    code[lesser & (code != code_of["unmeasured"])] = code_of["near_duplicate"]
    code[same.exact] = code_of["exact_duplicate"]
    too_small = own.code == code_of["resolution"]
    code[too_small] = code_of["resolution"]
    code[status > 0] = status[status > 0]
    return code


class _Lacks:
    """Which rows a meter never ran on."""

    def __init__(self, table: pa.Table) -> None:
        encoded = pc.fill_null(table.column("meters").combine_chunks(), "").dictionary_encode()
        self._ran = [set(text.split(",")) for text in encoded.dictionary.to_pylist()]
        self._codes = encoded.indices.to_numpy()

    def __call__(self, meter: str) -> Bools:
        return np.array([meter not in ran for ran in self._ran], bool)[self._codes]


def _preference(table: pa.Table, keep: Bools) -> NDArray[np.int64]:
    """(N,) rank of every row by what no threshold changes, 0 = best: pinned, effective resolution, quality, bytes.

    Effective resolution is sqrt(pixels) x `upscale`, the latter in steps of 1/8: its scatter between copies of the same
    picture must not outweigh their quality.
    """
    upscale = np.nan_to_num(values(table, "upscale"), nan=1.0)
    effective = np.sqrt(np.nan_to_num(values(table, "pixels"))) * np.round(upscale * 8)
    quality = np.nan_to_num(values(table, "jpeg_quality"), nan=100.0)
    size = np.nan_to_num(values(table, "bytes"))
    return _ranks(np.arange(table.num_rows), -size, -quality, -effective, ~keep)


def _ranks(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) rank of every row, by the last key first."""
    rank = np.empty(len(keys[0]), np.int64)
    rank[np.lexsort(keys)] = np.arange(len(rank))
    return rank
