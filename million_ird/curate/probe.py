"""What the stages behind the measuring take, by a few rows of a folder: model passes, and the export."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from million_ird.curate.decide import judge
from million_ird.curate.export import ExportFile, ExportTask
from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.ledger import enabled
from million_ird.curate.passes.run import run_passes
from million_ird.curate.plan import Plan
from million_ird.curate.settings import BuildConfig
from million_ird.dedup import Edges
from million_ird.meters.clip import device_of

_ROW_BYTES = 600.0
"""Of a row while it is decided, where no rows were measured: thumb, hash, identifiers, some twenty numbers."""


@dataclass(frozen=True)
class PassCost:
    """Of one picture in a model pass: wall time, time of one core, time of one GPU; seconds."""

    seconds: float
    core_seconds: float
    gpu_seconds: float


@dataclass(frozen=True)
class Probe:
    """Of one picture that is kept.

    Attributes:
        share: of the inputs that are kept, 0..1.
        export_seconds: reading, checking and writing it, by one worker.
        dataset_bytes: that it takes in the dataset.
        row_bytes: that its row takes in the process that decides.
        passes: what each model pass takes.
    """

    share: float = 0.0
    export_seconds: float = 0.0
    dataset_bytes: float = 0.0
    row_bytes: float = 0.0
    passes: Mapping[str, PassCost] = field(default_factory=dict)


def kept_rows(table: pa.Table, config: BuildConfig) -> list[int]:
    """The rows of a ledger that pass their own rules; copies, and what passes say, are left out of account."""
    rule = config.policy.near_duplicate.model_copy(update={"enabled": False})
    alone = config.model_copy(update={"policy": config.policy.model_copy(update={"near_duplicate": rule})})
    verdicts = judge(table, alone, measurement_columns(config), _no_edges)
    return np.flatnonzero(verdicts.code == 0).tolist()


def _no_edges(nodes: np.ndarray) -> Edges:
    raise AssertionError("the rule is off")


def probe(out: Path, plan: Plan, rows: Sequence[int], config: BuildConfig, folder: Path, *, passes: bool) -> Probe:
    """Run what comes after the measuring over a few rows.

    Args:
        out: folder of a build; with `passes` its passes' ledgers are written.
        plan: its plan.
        rows: those kept, of all rows of the plan.
        config: by which it is done.
        folder: absolute, for the files of the dataset.
        passes: run the passes, too.
    """
    if not rows:
        return Probe()
    costs = {name: _pass(out, plan, rows, config, name) for name in enabled(config)} if passes else {}
    task = ExportTask(str(out), plan.sources, config, (ExportFile(0, tuple(rows)),), plan, str(folder))
    began = time.perf_counter()
    try:
        task(0, lambda count: None)
    finally:
        task.close()
    seconds = (time.perf_counter() - began) / len(rows)
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / len(rows)
    return Probe(len(rows) / plan.inputs, seconds, written, _ROW_BYTES, costs)


def _pass(out: Path, plan: Plan, rows: Sequence[int], config: BuildConfig, name: str) -> PassCost:
    """Of one picture, from when the model is loaded."""
    began: list[tuple[float, float]] = []

    def watch(stage: str, done: int, total: int) -> None:
        if not began:
            began.append((time.perf_counter(), time.process_time()))

    for _ in run_passes(out, plan, config, {name: rows}, watch):
        pass
    wall, core = time.perf_counter() - began[0][0], time.process_time() - began[0][1]
    on_gpu = device_of(enabled(config)[name].device, f"passes.{name}.device").startswith("cuda")
    return PassCost(wall / len(rows), core / len(rows), wall / len(rows) if on_gpu else 0.0)
