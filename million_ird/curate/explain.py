"""Why one input was kept or dropped: every measurement, every rule's verdict, and what it lost to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.columns import pass_columns, pass_rows
from million_ird.curate.passes.ledger import all_pass_lines
from million_ird.curate.pins import matching
from million_ird.curate.plan import Plan, load_plan
from million_ird.curate.rules import HEADER_COLUMNS, fails_one, lines, values
from million_ird.curate.settings import BuildConfig
from million_ird.curate.workspace import stored_config
from million_ird.errors import OutputError
from million_ird.tables import read_parts


@dataclass(frozen=True)
class Asked:
    """One line of a rule and what it said: "pass", "fail", "off", "does not apply" or "not measured"."""

    reason: str
    column: str
    value: float | None
    bound: str
    threshold: float
    verdict: str


@dataclass(frozen=True)
class Explanation:
    """All that is known of one input.

    Attributes:
        facts: its row in the ledger but for measurements and thumb.
        measurements: column -> value, those of the passes last; None = does not apply or was not measured.
        decision: its row in decisions.parquet.
        asked: every line of every rule, in cascade order.
        lost_to: the input kept for it, as {"uri", "key", "width", "height", "keep"}; None where there is none.
        group: the other inputs of its cluster, as `lost_to`, at most 20.
    """

    facts: dict[str, Any]
    measurements: dict[str, float | None]
    decision: dict[str, Any]
    asked: list[Asked]
    lost_to: dict[str, Any] | None
    group: list[dict[str, Any]]


def explain(out: str | Path, name: str) -> list[Explanation]:
    """Everything about the inputs that a URI, id or key names (an id may name several copies).

    Raises:
        OutputError: no decided build there, or nothing of that name in it.
    """
    out = Path(out)
    config = stored_config(out)
    plan = load_plan(out)
    decided_path = out / "decisions.parquet"
    if plan is None or not decided_path.exists():
        raise OutputError(f"{out}: nothing is decided here yet; run `mird build` first")
    with decided_path.open("rb") as file:
        decided = pq.read_table(file)
    rows = np.flatnonzero(matching(decided, [name]))
    if not len(rows):
        raise OutputError(f"{out}: no input has the uri, id or key '{name}'")
    return [_explanation(out, int(row), plan, decided, config) for row in rows]


def _explanation(out: Path, row: int, plan: Plan, decided: pa.Table, config: BuildConfig) -> Explanation:
    shard, within = plan.place(row)
    part = read_parts(out / "ledger" / "base", shard + 1, first=shard).slice(within, 1)
    columns = measurement_columns(config)
    facts = part.to_pylist()[0]
    facts.pop("thumb")
    measurements = {name: facts.pop(name) for name in columns}
    ran = set((facts["meters"] or "").split(","))
    asked = []
    for line in lines(config.policy):
        found = float(values(part, line.column)[0])
        value = None if found != found else found
        verdict = "fail" if fails_one(line, value) else "pass"
        if value is None:
            measured = line.column in HEADER_COLUMNS or columns[line.column].meter in ran
            verdict = "does not apply" if measured else "not measured"
        asked.append(Asked(line.reason, line.column, value, line.bound, line.value, verdict if line.enabled else "off"))
    asked += _of_passes(out, shard, facts["key"], config, measurements)
    decision = decided.slice(row, 1).to_pylist()[0]
    group: list[dict[str, Any]] = []
    if decision["group"] is not None:
        same = pc.fill_null(decided.column("group"), -1).to_numpy() == decision["group"]
        members = decided.filter(pa.array(same)).select(["key", "uri", "keep", "reason"]).to_pylist()
        group = [member for member in members if member["key"] != decision["key"]][:20]
    lost_to = next((member for member in group if member["key"] == decision["kept_as"]), None)
    return Explanation(facts, measurements, decision, asked, lost_to, group)


def _of_passes(
    out: Path, shard: int, key: str, config: BuildConfig, measurements: dict[str, float | None]
) -> list[Asked]:
    """What the passes measured of a row is added to `measurements`; what their rules said of it."""
    seen = pass_rows(out / "ledger", shard, config).get(key, {})
    measurements |= {column: seen.get(column) for column in pass_columns(config)}
    asked = []
    for line in all_pass_lines(config.policy):
        value = measurements.get(line.column)
        verdict = "fail" if fails_one(line, value) else "pass"
        if value is None:
            verdict = "does not apply" if line.column in seen else "not measured"
        asked.append(Asked(line.reason, line.column, value, line.bound, line.value, verdict))
    return asked
