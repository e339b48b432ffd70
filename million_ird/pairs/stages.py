"""`mird degrade` as a function: list, render, put in place."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from million_ird import __version__
from million_ird.errors import ConfigError
from million_ird.execute import Executor, WorkerEvent, make
from million_ird.mirror import Mounted, is_address, refuse_within
from million_ird.pairs.folder import Folder, opened
from million_ird.pairs.plan import LISTED, Plan, load_plan, make_plan
from million_ird.pairs.remote import PARTIAL, mounted_run
from million_ird.pairs.settings import DegradeConfig, as_config, completed
from million_ird.pairs.summary import DegradeSummary
from million_ird.pairs.task import DegradeShard, mark_name, read_mark
from million_ird.tables import without_folders

Watch = Callable[[str, int, int], None]
"""Called with (stage, done, total) as the work goes on; stages: "list", "degrade", "gather"."""


def degrade_dataset(
    source: str | Path | None,
    out: str | Path,
    config: DegradeConfig | Mapping[str, Any] | None = None,
    *,
    fresh: bool = False,
    watch: Watch = lambda stage, done, total: None,
    mount: Mounted | None = None,
) -> DegradeSummary:
    """Turn clean images into degraded pairs with a mask and a trace each.

    Run it again after a kill and it goes on where it was; the result is the same, byte for byte. An image that cannot
    be used is skipped, counted and named; it is never passed through clean.

    Args:
        source: the clean images; None = `config.input`.
        out: the folder to work in, or an address (s3://…) that it is kept at.
        config: with at least a recipe; a mapping is laid on the defaults.
        fresh: delete what a former run left in `out` first.
        watch: told of progress.
        mount: the address that `out` is a copy of, where it is open already.

    Raises:
        MirdError: wrong configuration, an input or folder that cannot be used.
    """
    began = time.monotonic()
    config = completed(as_config(config), source)
    if is_address(out):
        refuse_within([config.input], str(out))
        with mounted_run(str(out), config.run, fresh, watch) as mount:
            return degrade_dataset(None, mount.folder, config, fresh=fresh, watch=watch, mount=mount)
    if "://" not in config.input and Path(config.input).resolve() == Path(out).resolve():
        raise ConfigError(f"--out {out}: this is INPUT; choose another folder")
    with opened(Path(out), mount) as folder:
        if fresh:
            folder.clear()
        plan = load_plan(folder.out)
        folder.adopt(config)
        if (done := folder.done()) is not None:
            folder.tidy()
            return _restored(done, folder.name, time.monotonic() - began)
        folder.event("start", version=__version__, fresh=fresh)
        if plan is None:
            watch("list", 0, 0)
            plan = make_plan(folder.out, config)
            folder.push(LISTED)
            folder.push("plan.json")
            folder.event("plan", inputs=plan.inputs, shards=plan.shards, passed_over=plan.passed_over)
        summary = _run(folder, plan, config, watch)
        seconds = round(time.monotonic() - began, 3)
        folder.event("end", images=summary.images, samples=summary.samples, skipped=summary.skipped, seconds=seconds)
    return DegradeSummary(**{**asdict(summary), "seconds": seconds})


def _run(folder: Folder, plan: Plan, config: DegradeConfig, watch: Watch) -> DegradeSummary:
    out = folder.out
    shutil.rmtree(out / PARTIAL / "journal", ignore_errors=True)
    missing = [shard for shard in range(plan.shards) if read_mark(out, shard) is None]
    total = sum(min(plan.shard_size, plan.inputs - shard * plan.shard_size) for shard in missing)
    done = rendered = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if count:
            watch("degrade", done, total)

    watch("degrade", 0, total)
    mirror = folder.mount.mirror if folder.mount else None
    task = DegradeShard(str(out), plan.sources, config, plan.shards, mirror, folder.run)
    for shard, mark in _executor(folder, plan, config, len(missing)).run(task, missing, progress):
        rendered += mark["samples"]
        if mirror:
            mirror.bring([mark_name(shard)])
        folder.event("shard", shard=shard, samples=mark["samples"], skipped=len(mark["skipped"]))
    watch("gather", 0, 1)
    marks = [read_mark(out, shard) or {} for shard in range(plan.shards)]
    results = folder.finish(config, plan.shards, [row for mark in marks for row in mark["skipped"]])
    summary = _summary(folder, plan, config, marks)
    folder.close(summary, config, results)
    watch("gather", 1, 1)
    return DegradeSummary(**{**asdict(summary), "rendered": rendered})


def _executor(folder: Folder, plan: Plan, config: DegradeConfig, shards: int) -> Executor:
    def on_death(event: WorkerEvent) -> None:
        folder.event("worker died", "warning", shard=event.shard, why=event.why, said=without_folders(event.said))

    run, seconds = config.run, config.limits.seconds_per_image
    workers = run.workers
    if run.executor == "local":
        workers = min(os.cpu_count() or 1 if workers is None else workers, shards)
    unseen = folder.mount is not None and not folder.mount.mirror.shared
    if unseen or any(spec.protocol == "memory" for spec in plan.sources):
        workers = 0  # what lies in the memory of this process is seen by no other
    return make(run.executor, workers, run.ray_address, seconds, folder.out / "logs", on_death)


def _summary(folder: Folder, plan: Plan, config: DegradeConfig, marks: list[dict[str, Any]]) -> DegradeSummary:
    labels: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for mark in marks:
        labels.update(mark["labels"])
        skipped.update(row["status"] for row in mark["skipped"])
    recipe, images = config.pipeline, sum(mark["images"] for mark in marks)
    warnings = list(folder.warnings)
    if not images:
        warnings.append(f"none of {plan.inputs} images could be used; skipped.jsonl says why")
    if crashed := skipped.get("crashed"):
        warnings.append(f"{crashed} images crashed their worker; see run.jsonl")
    return DegradeSummary(
        out=folder.name,
        recipe=recipe.name,
        inputs=plan.inputs,
        images=images,
        samples=sum(mark["samples"] for mark in marks),
        labels={name: labels[name] for name in recipe.classes},
        skipped=dict(sorted(skipped.items())),
        passed_over=plan.passed_over,
        bytes=sum(mark["bytes"] for mark in marks),
        warnings=tuple(warnings),
    )


def _restored(done: dict[str, Any], out: str, seconds: float) -> DegradeSummary:
    fields = {**done, "warnings": tuple(done["warnings"])}
    return DegradeSummary(**{**fields, "out": out, "up_to_date": True, "seconds": round(seconds, 3)})
