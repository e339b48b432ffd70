"""Running a pass: the rows it has not seen, read by threads, in batches through the model, a part for each shard."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from million_ird.curate.passes.ledger import FACTS, enabled, holds, part_facts, pass_lines, scored
from million_ird.curate.plan import STORE, Plan, shard_items
from million_ird.curate.settings import BuildConfig
from million_ird.errors import BadImage, ConfigError
from million_ird.images import decode, preview, read_header
from million_ird.meters.clip import Clip, ClipModel
from million_ird.meters.iqa import LICENCE, Pyiqa, PyiqaModel
from million_ird.records import Item
from million_ird.sources import Reader
from million_ird.tables import part_path, rows_to_table, write_table

AHEAD = 2
"""Batches that are read while one is measured."""
_READERS = 8
T = TypeVar("T")
Row = dict[str, Any]


def check_models(config: BuildConfig) -> None:
    """Load every pass's model once, so that what is missing is said before the work begins, and let go of it.

    Raises:
        ConfigError: a package, a model or its weights cannot be had, or a rule asks for the wrong side of a metric.
    """
    for one in enabled(config).values():
        model = _model(one)
        if isinstance(model, PyiqaModel):
            _check_sides(model, config)


def notes(config: BuildConfig) -> list[str]:
    """What the user should know of the passes that run."""
    return [f"passes.pyiqa: {LICENCE}"] if config.passes.pyiqa.enabled else []


def run_passes(
    out: Path,
    plan: Plan,
    config: BuildConfig,
    rows: Mapping[str, Sequence[int]],
    watch: Callable[[str, int, int], None],
) -> Iterator[tuple[str, int, int]]:
    """Measure rows by the passes that have not seen them.

    A part is written whole when its shard is done; what was measured before stays in it. Where only prompts or heads
    are new, scores are computed from the embeddings and nothing is read.

    Args:
        out: the run's folder.
        plan: its plan.
        config: its configuration.
        rows: pass -> row numbers in plan order.
        watch: told of (pass, done, total).

    Yields:
        Pass, shard and rows measured, as each part is written.

    Raises:
        ConfigError: a model cannot be had.
    """
    for name, one in enabled(config).items():
        wanted = rows.get(name, ())
        if not len(wanted):
            continue
        model, done = _model(one), 0
        watch(name, 0, len(wanted))
        with _Pictures(out, plan, config, model) as pictures:
            for shard, group in groupby(sorted(wanted), plan.shard_of):
                asked = [plan.place(row)[1] for row in group]
                measured = _run_shard(out / "ledger" / name, shard, asked, model, pictures)
                done += len(asked)
                watch(name, done, len(wanted))
                yield name, shard, measured


def _model(one: Clip | Pyiqa) -> ClipModel | PyiqaModel:
    return ClipModel(one) if isinstance(one, Clip) else PyiqaModel(one)


def _check_sides(model: PyiqaModel, config: BuildConfig) -> None:
    """A lone bound on a metric's good side would keep the bad pictures."""
    asked = pass_lines(config.policy, "pyiqa")
    for line in asked:
        right = "max" if model.lower_better[line.column] else "min"
        if line.bound != right and not any(x.column == line.column and x.bound == right for x in asked):
            better = "lower" if right == "max" else "higher"
            raise ConfigError(f"{line.key}: {better} is better here; set {line.key.rsplit('.', 1)[0]}.{right}")


def _run_shard(
    folder: Path, shard: int, asked: Sequence[int], model: ClipModel | PyiqaModel, pictures: _Pictures
) -> int:
    """Write a shard's part anew; how many pictures were read for it."""
    facts = {"mark": model.config.mark(), "scores": model.config.marks(), **model.facts()}
    old = part_facts(folder, shard)
    rows: dict[str, Row] = {}
    usable = isinstance(model, ClipModel) or scored(old, model.config)
    if usable and holds(old, model.config) and (old or {}).get("sha256") == facts.get("sha256"):
        with part_path(folder, shard).open("rb") as file:
            rows = {row["key"]: row for row in pq.read_table(file).to_pylist()}
    items = [item for item in pictures.items(shard, asked) if item.key not in rows]
    for item, row in pictures.measured(items):
        rows[item.key] = {"key": item.key, **row}
    found = list(rows.values())
    if isinstance(model, ClipModel):
        found = _with_scores(found, model)
    fields = [pa.field("key", pa.string(), nullable=False), pa.field("error", pa.string())]
    if isinstance(model, ClipModel):
        fields.append(pa.field("embedding", pa.list_(pa.float16(), model.width)))
    fields += [pa.field(column, pa.float32()) for column in model.config.columns()]
    schema = pa.schema(fields, metadata={FACTS: json.dumps(facts, sort_keys=True)})
    write_table(part_path(folder, shard), rows_to_table(found, schema))
    return len(items)


def _with_scores(rows: list[Row], model: ClipModel) -> list[Row]:
    """Rows with the scores of their embeddings, as the model's prompts and heads are now."""
    known = [row for row in rows if row["embedding"] is not None]
    plain = [{name: row[name] for name in ("key", "error", "embedding")} for row in rows]
    if not known:
        return plain
    scores = model.scores(np.array([row["embedding"] for row in known], np.float16))
    of_key = {row["key"]: place for place, row in enumerate(known)}
    for row in plain:
        place = of_key.get(row["key"])
        if place is not None:
            row.update((column, float(values[place])) for column, values in scores.items())
    return plain


class _Pictures:
    """Pictures of a run on their way into a model: read and prepared by threads, measured in batches, in order."""

    def __init__(self, out: Path, plan: Plan, config: BuildConfig, model: ClipModel | PyiqaModel) -> None:
        self._out, self._plan, self._limits, self._model = out, plan, config.limits, model
        self._reader, self._reading = Reader(plan.sources, out / STORE), Lock()
        self._threads = ThreadPoolExecutor(min(_READERS, config.run.workers or os.cpu_count() or 1))

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._reader.close()

    def items(self, shard: int, places: Sequence[int]) -> list[Item]:
        """Inputs by their places in a shard."""
        listed = shard_items(self._out, shard)
        return [listed[place] for place in places]

    def measured(self, items: Sequence[Item]) -> Iterator[tuple[Item, Row]]:
        """Each item's row without its key: `error` where it can no longer be read, else what the model found."""
        size = self._model.config.batch
        for batch in _ahead(self._threads, self._prepared, items, size, AHEAD * size):
            good = [picture for picture in batch if not isinstance(picture[1], str)]
            rows = iter(self._batch([picture for _, picture in good]) if good else ())
            for item, picture in batch:
                yield item, {"error": picture, "embedding": None} if isinstance(picture, str) else next(rows)

    def _batch(self, pictures: Sequence[Any]) -> list[Row]:
        if isinstance(self._model, ClipModel):
            return [{"error": None, "embedding": list(one)} for one in self._model.embed(pictures)]
        return [{"error": None, **row} for row in self._model.measure(pictures)]

    def _prepared(self, item: Item) -> tuple[Item, Any]:
        """What the model takes, or words where there is none."""
        try:
            with self._reading:  # a source reads from one place at a time
                data = self._reader.read(item)
            if isinstance(self._model, ClipModel):
                rgb = preview(data, 2 * self._model.side, self._limits)
            else:
                rgb = decode(data, read_header(data, self._limits), self._limits).rgb
        except BadImage as bad:
            return item, str(bad)
        return item, self._model.prepare(rgb)


def _ahead(
    threads: ThreadPoolExecutor, call: Callable[[Item], T], items: Sequence[Item], size: int, ahead: int
) -> Iterator[list[T]]:
    """Results in batches of `size`, in order, so many calls ahead at most."""
    waiting: deque[Future[T]] = deque()
    rest = iter(items)
    batch: list[T] = []
    while True:
        while len(waiting) < ahead + size and (item := next(rest, None)) is not None:
            waiting.append(threads.submit(call, item))
        if not waiting:
            break
        batch.append(waiting.popleft().result())
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
