"""From a run's folder to what the report is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from million_ird.curate.decide import Verdicts
from million_ird.curate.ledger import Column, measurement_columns, numbers, thumbs
from million_ird.curate.passes.columns import pass_columns
from million_ird.curate.passes.ledger import all_pass_lines, read_passes
from million_ird.curate.plan import Plan, shard_items
from million_ird.curate.rules import DERIVED, lines, values
from million_ird.curate.settings import BuildConfig
from million_ird.curate.survey import Survey, Table
from million_ird.curate.traffic import Host, Traffic
from million_ird.curate.workspace import public
from million_ird.errors import BadImage
from million_ird.images import preview, thumbnail
from million_ird.sources import Reader
from million_ird.tables import read_parts

_SHOWN_DERIVED = ("short_side", "aspect")
_UNSEEN = "known of what all cheaper rules keep; what was not looked at passes here"


def survey(
    out: Path,
    plan: Plan,
    table: pa.Table,
    verdicts: Verdicts,
    config: BuildConfig,
    reader: Reader,
    web: Traffic | None = None,
) -> Survey:
    """Everything the page shows, as arrays over all rows of the run.

    Args:
        out: the run's folder; its name is the title.
        plan: for the way back from a row to its picture.
        table: the ledger in plan order, with uri, status, width, height, bytes and the measurements.
        verdicts: what was decided.
        config: of the run.
        reader: of the plan's sources, open for as long as the survey is used.
        web: what was fetched; None where no source is on the web.
    """
    columns = measurement_columns(config)
    asked = lines(config.policy, config.measure.triage)
    wanted = [*(n for n in DERIVED if n in _SHOWN_DERIVED or any(x.column == n for x in asked)), *columns]
    arrays = {name: values(table, name).astype(np.float32) for name in wanted}
    asked += all_pass_lines(config.policy)
    columns |= {name: Column(pass_, f"{text}; {_UNSEEN}") for name, (pass_, text) in pass_columns(config).items()}
    arrays |= _of_passes(out, plan, config)
    shown = {
        name: array for name, array in arrays.items() if not np.isnan(array).all() or name in {x.column for x in asked}
    }
    uris = table.column("uri")
    bytes_in = np.nansum(numbers(table, "bytes"))
    return Survey(
        title=config.export.name or out.resolve().name,
        reasons=verdicts.reasons,
        codes=verdicts.code,
        fixed=verdicts.fixed,
        columns=shown,
        help={name: (DERIVED.get(name) or columns[name]).help for name in shown},
        lines=asked,
        group=np.where(config.policy.near_duplicate.enabled, verdicts.group, -1).astype(np.int32),
        order=verdicts.order.astype(np.int32),
        pixels=np.nan_to_num(values(table, "pixels")).astype(np.int64),
        thumbs=_Thumbs(out, plan),
        names=lambda row: str(uris[row]),
        picture=_pictures(out, plan, table, config, reader),
        config=public(config),
        facts={
            "Sources": ", ".join(dict.fromkeys(spec.public for spec in plan.sources)),
            "Input bytes": f"{bytes_in / 1e9:.2f} GB" if bytes_in >= 1e9 else f"{bytes_in / 1e6:.1f} MB",
            **(_web_facts(web) if web else {}),
            **{f"Passed over: {kind}": f"{count:,}" for kind, count in plan.skipped.items()},
        },
        tables=_web_tables(web) if web else (),
    )


def _of_passes(out: Path, plan: Plan, config: BuildConfig) -> dict[str, NDArray[np.float32]]:
    """(N,) of each column of the passes, NaN = no value, or not seen: what a cheaper rule drops is not looked at."""
    if not pass_columns(config):
        return {}
    keys = read_parts(out / "ledger" / "base", plan.shards, ["key"]).column("key")
    passed = read_passes(out, plan.shards, config, keys)
    return {name: found.astype(np.float32) for one in passed for name, found in one.values.items()}


def _web_facts(web: Traffic) -> dict[str, str]:
    return {
        "Fetched": f"{web.fetched:,} of {web.inputs:,} from {web.hosts:,} hosts with {web.requests:,} requests",
        "Over the network": f"{web.received / 1e6:,.1f} MB; {web.saved / 1e6:,.1f} MB saved by judging "
        f"{web.judged:,} files by their head",
    }


def _web_tables(web: Traffic) -> tuple[Table, ...]:
    def hosts(title: str, found: Sequence[Host]) -> Table:
        rows = [(one.name, f"{one.inputs:,}", f"{one.fetched:,}", f"{one.seconds:.2f}") for one in found]
        return Table(title, ("host", "inputs", "fetched", "seconds each"), rows)

    tables = [
        Table("Not fetched", ("class", "inputs"), [(name, f"{count:,}") for name, count in web.errors.items()]),
        Table("What owners say", ("signal", "inputs"), [(name, f"{n:,}") for name, n in web.signals.items()]),
        hosts("Hosts with the most inputs", web.largest),
        hosts("Slowest hosts", web.slowest),
    ]
    return tuple(one for one in tables if one.rows)


class _Thumbs:
    """The ledger's thumbs, a part at a time: a page shows a few hundred of them."""

    def __init__(self, out: Path, plan: Plan) -> None:
        self._ledger, self._plan = out / "ledger" / "base", plan
        self._part = lru_cache(maxsize=8)(self._read)

    def _read(self, shard: int) -> NDArray[np.uint8]:
        return thumbs(read_parts(self._ledger, shard + 1, ["thumb"], first=shard))

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        shard, within = self._plan.place(row)
        return self._part(shard)[within]


def _pictures(
    out: Path, plan: Plan, table: pa.Table, config: BuildConfig, reader: Reader
) -> Callable[[int], bytes | None]:
    items = lru_cache(maxsize=8)(lambda shard: shard_items(out, shard))
    side = config.report.thumb_px
    statuses = table.column("status")

    def picture(row: int) -> bytes | None:
        shard, within = plan.place(row)
        item = items(shard)[within]
        if str(statuses[row]) != "ok":
            return None
        try:
            return thumbnail(preview(reader.read(item), side, config.limits), side)
        except BadImage:
            return None

    return picture
