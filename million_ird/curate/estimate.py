"""What a build would cost: a sample of its inputs fetched, measured and exported on this machine; nothing stays."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from million_ird.curate.ledger import schema
from million_ird.curate.measure import Measurer
from million_ird.curate.merge import Merge, merged, open_ledgers
from million_ird.curate.network import fetch_sample
from million_ird.curate.plan import STORE, Plan, all_items, listing, nothing, write_plan
from million_ird.curate.probe import Probe, kept_rows, probe
from million_ird.curate.settings import BuildConfig
from million_ird.curate.stages import configured, listing_of, with_models, with_triage
from million_ird.errors import InputError
from million_ird.records import Item
from million_ird.sources import SourceSpec, Web, resolve
from million_ird.tables import part_path, rows_to_table, write_table

SAMPLE = 24
_WORKER_BYTES = 150_000_000
_BYTES_PER_PIXEL = 12
_JOIN_BYTES, _LANE_BYTES = 28, 10  # a hash of the search for near duplicates; and in each of its lanes
_LANES = 8


@dataclass(frozen=True)
class Estimate:
    """What is to be expected.

    Attributes:
        inputs: how many there are; without those of sites, which are not crawled for an estimate.
        input_bytes: of all inputs whose size is known; on the web by the sample.
        sampled: inputs measured for this estimate.
        images_per_second: one worker's, measuring; 0 where there is nothing to measure.
        seconds: wall time of the measuring pass with `workers` processes.
        workers: processes.
        memory_bytes: of all workers, and of the process that decides over all rows, about.
        money: by the prices of `run`: machine and GPU hours, bytes fetched, and bytes written kept for a month.
        statuses: of the sample.
        skipped: what sources pass over, by kind.
        requests: to the web, robots.txt not counted.
        fetch_bytes: that come over the network.
        fetch_seconds: wall time of fetching at the least, by the sample's answers and `fetch.connections`; hosts that
            hold many of the images take longer, by `fetch.host_rate`.
        taken: inputs of these whose measurements are taken over from ledgers.
        kept: inputs that pass, by the sample's share; how many copies there are is not known before. From ledgers,
            what they keep.
        export_seconds: wall time of writing the dataset with `workers` processes.
        pass_seconds: model pass -> wall time over what is kept, loading the model left out.
        machine_hours: hours of one core, for all of it.
        gpu_hours: hours of one GPU.
        ledger_bytes, store_bytes, dataset_bytes: that are written.
    """

    inputs: int
    input_bytes: int
    sampled: int
    images_per_second: float
    seconds: float
    workers: int
    memory_bytes: int
    money: float
    statuses: Mapping[str, int]
    skipped: Mapping[str, int]
    requests: int = 0
    fetch_bytes: int = 0
    fetch_seconds: float = 0.0
    taken: int = 0
    kept: int = 0
    export_seconds: float = 0.0
    pass_seconds: Mapping[str, float] = field(default_factory=dict)
    machine_hours: float = 0.0
    gpu_hours: float = 0.0
    ledger_bytes: int = 0
    store_bytes: int = 0
    dataset_bytes: int = 0

    @property
    def days(self) -> float:
        """Wall time in all, days: fetching and measuring go on at the same time, the passes and the export after."""
        after = self.export_seconds + sum(self.pass_seconds.values())
        return (max(self.seconds, self.fetch_seconds) + after) / 86400


@dataclass(frozen=True)
class _Listed:
    """What there is to measure: inputs, bytes known of, inputs on the web, and a sample of them."""

    inputs: int = 0
    bytes: int = 0
    on_web: int = 0
    sample: tuple[Item, ...] = ()


@dataclass(frozen=True)
class _Measured:
    """What came of the sample: rows, seconds an image, and of the web the means of requests, bytes and seconds."""

    rows: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    requests: float = 0.0
    received: float = 0.0
    waited: float = 0.0
    row_bytes: float = 0.0
    ledger_bytes: float = 0.0
    probe: Probe = field(default_factory=Probe)


def estimate(
    sources: Sequence[str | Path],
    config: BuildConfig | Mapping[str, Any] | None = None,
    *,
    ledgers: Sequence[str | Path] = (),
    out: str | Path | None = None,
) -> Estimate:
    """Check everything that `build` would check, list the inputs, fetch, measure and export a few of them, and leave
    nothing.

    Args:
        sources, config, ledgers: as `build`.
        out: the folder that it would work in, where that is known.

    Raises:
        MirdError: as `build`.
    """
    taken = merged(open_ledgers(ledgers, out or ""), out or "") if ledgers else None
    config = with_models(configured(config, sources, taken))
    if taken is not None:
        taken.check(config, Path(out) if out else None)
    paths = list(config.sources.paths[len(taken.plan.paths or ()) :]) if taken else list(config.sources.paths)
    beside = taken.plan.sources if taken else ()
    specs = resolve(paths, listing_of(config), beside) if paths or not taken else []
    config = with_triage(config, beside or specs)
    skipped: Counter[str] = Counter(taken.plan.skipped if taken else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listable = list(_listable(specs, skipped))
        items = all_items(listable, skipped, "", Web(config.fetch, config.crawl, name))
        found = _sampled(islice(items, config.sources.limit), listable, config.seed)
        if not found.inputs and taken is None:
            raise InputError(nothing(paths, skipped))
        of_sample = _measured(found, listable, config, folder / "sample") if found.inputs else _Measured()
        of_ledger = _of_ledgers(taken, config, folder / "merged") if taken else (0, Probe())
    return _sum(found, of_sample, taken.plan.inputs if taken else 0, *of_ledger, skipped, config)


def _sum(
    found: _Listed,
    sample: _Measured,
    taken: int,
    known: int,
    again: Probe,
    skipped: Mapping[str, int],
    config: BuildConfig,
) -> Estimate:
    """From a few to all: of inputs to measure, and of those that ledgers know, `known` of which they keep."""
    run = config.run
    workers = max(1, run.workers if run.workers is not None else os.cpu_count() or 1)
    new = sample.probe.share * found.inputs
    export = sample.probe.export_seconds * new + again.export_seconds * known
    passes = {name: one.seconds * new for name, one in sample.probe.passes.items()}
    cores = sum(one.core_seconds * new for one in sample.probe.passes.values())
    gpus = sum(one.gpu_seconds * new for one in sample.probe.passes.values()) / 3600
    hours = (sample.seconds * found.inputs + export + cores) / 3600
    ledger = round(sample.ledger_bytes * found.inputs)
    fetched = round(sample.received * found.on_web)
    dataset = round(sample.probe.dataset_bytes * new + again.dataset_bytes * known)
    most_pixels = max((row["width"] * row["height"] for row in sample.rows if row.get("width")), default=0)
    row_bytes = (sample.row_bytes or again.row_bytes) + _JOIN_BYTES + _LANE_BYTES * min(_LANES, os.cpu_count() or 1)
    money = (
        hours * run.price_per_core_hour
        + gpus * run.price_per_gpu_hour
        + fetched / 1e9 * run.price_per_gb_fetched
        + (ledger + fetched + dataset) / 1e9 * run.price_per_gb_month
    )
    return Estimate(
        inputs=taken + found.inputs,
        input_bytes=found.bytes + int(sample.received * found.on_web),
        sampled=len(sample.rows),
        images_per_second=1 / sample.seconds if sample.seconds else 0.0,
        seconds=sample.seconds * found.inputs / workers,
        workers=workers,
        memory_bytes=round(
            workers * (_WORKER_BYTES + _BYTES_PER_PIXEL * most_pixels) + row_bytes * (taken + found.inputs)
        ),
        money=money,
        statuses=dict(Counter(row["status"] for row in sample.rows)),
        skipped=dict(skipped),
        requests=round(sample.requests * found.on_web),
        fetch_bytes=fetched,
        fetch_seconds=sample.waited * found.on_web / config.fetch.connections,
        taken=taken,
        kept=round(new) + known,
        export_seconds=export / workers,
        pass_seconds=passes,
        machine_hours=hours,
        gpu_hours=gpus,
        ledger_bytes=ledger,
        store_bytes=fetched,
        dataset_bytes=dataset,
    )


def _measured(found: _Listed, specs: Sequence[SourceSpec], config: BuildConfig, folder: Path) -> _Measured:
    """Fetch, measure, judge and export the sample as a build of its own, by one worker."""
    sample, requests, received, waited = fetch_sample(list(found.sample), specs, config, folder / STORE)
    measurer = Measurer(tuple(specs), config, folder / STORE)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in a worker
    try:
        with measurer.reader:
            measurer(sample[0])  # models and codecs are loaded once, not once per image
            began = time.perf_counter()
            rows = [measurer(item) for item in sample]
            seconds = (time.perf_counter() - began) / len(sample)
    finally:
        cv2.setNumThreads(threads)
    columns = schema(config)
    known = [{name: value for name, value in row.items() if name in columns.names} for row in rows]
    table = rows_to_table(known, columns)
    part = part_path(folder / "ledger" / "base", 0)
    write_table(part, table.slice(0, 0))
    empty = part.stat().st_size
    write_table(part, table)
    plan = Plan(tuple(specs), len(rows), (0,), {})
    write_plan(folder, plan, iter([listing(found.sample)]))
    return _Measured(
        tuple(rows),
        seconds,
        requests,
        received,
        waited,
        table.drop_columns(["meta", "error"]).nbytes / len(rows),
        (part.stat().st_size - empty) / len(rows),
        probe(folder, plan, kept_rows(table, config), config, folder / "dataset", passes=True),
    )


def _of_ledgers(taken: Merge, config: BuildConfig, folder: Path) -> tuple[int, Probe]:
    """How many inputs the ledgers keep, and what exporting them takes by a sample of the one that keeps most."""
    kept = []
    for ledger in taken.ledgers:
        path = ledger.folder / "decisions.parquet"
        if not path.exists():
            raise InputError(f"--from {ledger.folder}: nothing is decided here yet; run `mird build` there first")
        with path.open("rb") as file:
            kept.append(np.flatnonzero(pq.read_table(file, columns=["keep"]).column("keep").to_numpy()))
    most = max(range(len(kept)), key=lambda number: len(kept[number]))
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.choice(kept[most], min(SAMPLE, len(kept[most])), replace=False)).tolist()
    ledger = taken.ledgers[most]
    return sum(map(len, kept)), probe(ledger.folder, ledger.plan, rows, config, folder, passes=False)


def _listable(specs: Sequence[SourceSpec], skipped: Counter[str]) -> Iterator[SourceSpec]:
    """The sources that can be listed without doing the work itself."""
    for spec in specs:
        if spec.kind in ("site", "brought"):
            skipped[f"{spec.label}: not read for an estimate"] += 1
        else:
            yield spec


def _sampled(items: Iterator[Item], specs: Sequence[SourceSpec], seed: int) -> _Listed:
    """What there is, and a sample in which each input has the same chance (reservoir)."""
    web = {spec.label for spec in specs if spec.web}
    rng = np.random.default_rng(seed)
    sample: list[Item] = []
    count = size = on_web = 0
    for item in items:
        count += 1
        size += max(0, item.size)
        on_web += item.source in web
        if len(sample) < SAMPLE:
            sample.append(item)
        elif (place := int(rng.integers(count))) < SAMPLE:
            sample[place] = item
    return _Listed(count, size, on_web, tuple(sample))
