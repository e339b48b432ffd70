"""From ledger to decisions: one pure function, no image read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from million_ird.curate.duplicates import distances, first_copies
from million_ird.curate.ledger import HASH_METER, Column
from million_ird.curate.passes.ledger import Passed
from million_ird.curate.pins import pinned
from million_ird.curate.rules import HEADER_COLUMNS, SEMANTIC, check, comes_early, fails, lines, reasons, values
from million_ird.curate.same import Alike, Same, find_alike, preference, ranks
from million_ird.curate.settings import BuildConfig
from million_ird.curate.similar import PASS, SimilarFinder
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
    table: pa.Table,
    config: BuildConfig,
    columns: Mapping[str, Column],
    find: EdgeFinder,
    passed: Sequence[Passed] = (),
    similar: SimilarFinder | None = None,
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
        similar: semantic duplicates among rows; called only where the rule is enabled, with the rows that pass all
            rules and that the CLIP pass has seen. The best of those alike stays.
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
    _ask_passes(own, passed, ok, code_of)
    same = _copies(table, config, own, ok, keep, drop, find)
    code = _codes(table, own, same, status, code_of)
    code[drop & ok] = code_of["pinned"]
    code[keep] = 0
    order = preference(table, keep)
    alike = find_alike(code, keep, order, passed, similar if policy.semantic_duplicate.enabled else None)
    code[alike.rows] = code_of.get(SEMANTIC, 0)
    waiting = {one.name: (code == 0) & ~keep & ~one.ran for one in passed}
    for one in passed:
        asked = bool(one.lines) or (one.name == PASS and policy.semantic_duplicate.enabled)
        code[waiting[one.name] & asked] = code_of["unmeasured"]

    near = code == code_of["near_duplicate"]
    if same.edges is not None:
        own.value[near] = distances(same.edges, np.flatnonzero(near), same.leader[near])
        own.threshold[near] = policy.near_duplicate.distance
    stale = (code != own.code) & ~near
    own.value[stale] = own.threshold[stale] = np.nan
    own.value[alike.rows], own.threshold[alike.rows] = alike.cosine, policy.semantic_duplicate.similarity
    fixed = _fixed(code, status, same, alike, code_of)
    fixed[keep] = -1
    groups = same.behind(alike).groups()
    return Verdicts(names, code, fixed, own.value, own.threshold, groups, order, unknown, waiting)


def _fixed(
    code: NDArray[np.int16],
    status: NDArray[np.int16],
    same: Same,
    alike: Alike,
    code_of: Mapping[str, int],
) -> NDArray[np.int16]:
    """(N,) the reasons that no line of the report moves, pins to keep aside; 0 = none."""
    fixed = status.copy()
    fixed[(status == 0) & same.exact] = code_of["exact_duplicate"]
    fixed[alike.rows] = code[alike.rows]
    for name in ("unmeasured", "pinned"):
        fixed[code == code_of[name]] = code_of[name]
    return fixed


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

    def fail(self, rows: Bools, code: int, value: NDArray[np.float64], threshold: float | None) -> None:
        """Rows fail a line: those that fail no earlier one now fail by it."""
        new = rows & (self.code == 0) & ~self.missing
        self.code[new], self.value[new], self.threshold[new] = code, value[new], threshold


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


def _ask_passes(own: _Own, passed: Sequence[Passed], ok: Bools, code_of: Mapping[str, int]) -> None:
    """Ask the passes' lines, after all others."""
    for line, found in ((line, one.values[line.column]) for one in passed for line in one.lines):
        own.fail(fails(line, found) & ok, code_of[line.reason], found, line.value)


def _copies(
    table: pa.Table, config: BuildConfig, own: _Own, ok: Bools, keep: Bools, drop: Bools, find: EdgeFinder
) -> Same:
    """Find exact copies, then near ones among the rest."""
    rows = np.arange(table.num_rows)
    # With triage, what fails by its header was not read, and where it was, before, that must not show.
    read = ok & ~own.by_header if config.measure.triage else ok
    first = first_copies(table, read, keep, drop) if config.policy.exact_duplicate.enabled else rows
    exact = ok & (first >= 0) & (first != rows)
    leader, edges = rows, None
    if config.policy.near_duplicate.enabled:
        nodes = ok & ~exact & table.column("phash").is_valid().to_numpy()
        if config.measure.triage:
            nodes &= ~own.by_header
        if nodes.any():
            edges = find(nodes)
            best_first = ranks(preference(table, keep), own.missing, own.code > 0, drop, ~keep)
            found = cluster(edges, best_first)
            leader = np.where(found >= 0, found, leader)
    return Same(exact, np.where(exact, leader[np.maximum(first, 0)], leader), edges)


def _codes(
    table: pa.Table, own: _Own, same: Same, status: NDArray[np.int16], code_of: Mapping[str, int]
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
