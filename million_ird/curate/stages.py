"""`mird build`, `mird decide` and `mird report` as functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from million_ird import __version__
from million_ird.curate import contaminated
from million_ird.curate.ledger import measurement_columns
from million_ird.curate.passes.ledger import check_passes
from million_ird.curate.passes.run import check_models
from million_ird.curate.pipeline import Pipeline, Watch
from million_ird.curate.plan import PLAN, Plan, grow_plan, load_plan, make_plan
from million_ird.curate.rules import check, lines
from million_ird.curate.settings import BuildConfig, as_config
from million_ird.curate.summary import BuildSummary
from million_ird.curate.workspace import opened, stored_config
from million_ird.errors import OutputError
from million_ird.meters.clip import with_head_hashes
from million_ird.meters.onnx import with_hash
from million_ird.sources import Listing, SourceSpec, resolve
from million_ird.sources.web import need_web

_STALE = "dataset/ and report.html still hold the former decisions: run the same `mird build` to write them again"


def build(
    sources: Sequence[str | Path],
    out: str | Path,
    config: BuildConfig | Mapping[str, Any] | None = None,
    *,
    fresh: bool = False,
    retry_failed: bool = False,
    watch: Watch = lambda *progress: None,
) -> BuildSummary:
    """Turn folders, images, archives, lists of URLs, sites and datasets into a de-duplicated, filtered dataset with a
    ledger and a report.

    Run it again after a kill and it goes on where it was; the result is the same, byte for byte. Run it again with
    another policy and it decides again from the ledger.

    Args:
        sources: what to read; where empty, `config.sources.paths`.
        out: the folder to work in.
        config: None = the `photos` preset; a mapping is laid on top of it.
        fresh: delete what a former build left in `out` first.
        retry_failed: fetch again what could not be fetched before and may have healed since.
        watch: told of progress.

    Raises:
        MirdError: wrong configuration, a source or folder that cannot be used.
    """
    began = time.monotonic()
    config = with_models(completed(_with_sources(as_config(config), [str(source) for source in sources])))
    # What a source means is asked once, before anything is written: the Hub's answer may be another tomorrow.
    planned = load_plan(Path(out)) if (Path(out) / PLAN).is_file() and not fresh else None
    specs = _asked(config, planned)
    if any(spec.web or spec.kind == "brought" for spec in specs):
        need_web()
    with opened(Path(out)) as space:
        if fresh:
            space.clear()
        plan = load_plan(space.out)
        config = with_triage(config, plan.sources if plan else specs)
        space.adopt(config, grows=True)
        space.event("start", version=__version__, fresh=fresh)
        if plan is None:
            watch("list", 0, 0)
            plan = make_plan(space.out, config, specs)
            space.event("plan", inputs=plan.inputs, shards=plan.shards, skipped=plan.skipped)
        elif specs and plan == planned:
            watch("list", 0, 0)
            plan = grow_plan(space.out, plan, config, specs)
            space.event("plan grown", inputs=plan.inputs, shards=plan.shards, skipped=plan.skipped)
        summary = Pipeline(space, plan, config, watch).run(retry_failed)
        seconds = round(time.monotonic() - began, 3)
        space.event("end", inputs=summary.inputs, kept=summary.kept, reasons=summary.reasons, seconds=seconds)
    return BuildSummary(**{**asdict(summary), "seconds": seconds})


def decide(
    out: str | Path,
    changes: Callable[[BuildConfig], BuildConfig] = lambda config: config,
    *,
    preview: bool = False,
    watch: Watch = lambda *progress: None,
) -> BuildSummary:
    """Decide again from the ledger of a build, without reading an image.

    Args:
        out: the build's folder.
        changes: from its stored configuration to the one to decide by.
        preview: only count; write nothing.
        watch: told of progress.

    Raises:
        MirdError: no finished ledger there, or a configuration that would have measured otherwise.
    """
    began = time.monotonic()
    with opened(_existing(out)) as space:
        config = completed(changes(stored_config(space.out)))
        plan = load_plan(space.out)
        if plan is None:
            raise OutputError(f"{space.out}: nothing measured here yet; run `mird build` first")
        if not preview:
            space.adopt(config)
        work = Pipeline(space, plan, config, watch)
        if not preview:
            work.fit()
        verdicts = work.judged()
        if not preview:
            work.write_decisions(verdicts)
            space.event("decide", kept=verdicts.kept, reasons=verdicts.counts())
        state = space.state()
        stale = () if preview or state.get("dataset") == work.marks()["dataset"] else (_STALE,)
        summary = work.summary(verdicts, {}, stale)
    return BuildSummary(**{**asdict(summary), "seconds": round(time.monotonic() - began, 3)})


def report(out: str | Path) -> Path:
    """Write report.html of a build again, from its ledger and decisions.

    Raises:
        MirdError: no finished ledger there.
    """
    with opened(_existing(out)) as space:
        config = stored_config(space.out)
        plan = load_plan(space.out)
        if plan is None:
            raise OutputError(f"{space.out}: nothing measured here yet; run `mird build` first")
        work = Pipeline(space, plan, config, lambda *progress: None)
        work.write_report(work.judged())
        return space.out / "report.html"


def _existing(out: str | Path) -> Path:
    path = Path(out)
    if not path.is_dir():
        raise OutputError(f"{path}: no such folder; `mird build SOURCE --out {path}` makes it")
    return path


def completed(config: BuildConfig) -> BuildConfig:
    """The configuration with the meters that its policy rests on, where `measure.meters` left them out.

    Raises:
        ConfigError: a rule rests on what no meter measures.
    """
    config = config.model_copy(update={"policy": contaminated.absolute(config.policy)})
    columns = measurement_columns(config)
    check(config.policy, columns)
    check_passes(config)
    named = columns.keys() - {contaminated.COLUMN}  # that one no name in measure.meters stands for
    asked = [columns[x.column].meter for x in lines(config.policy) if x.enabled and x.column in named]
    meters = tuple(name for name in dict.fromkeys([*config.measure.meters, *asked]) if name not in config.measure.onnx)
    return config.model_copy(update={"measure": config.measure.model_copy(update={"meters": meters})})


def with_models(config: BuildConfig) -> BuildConfig:
    """The configuration with what is to be known of the files that it measures by, each checked to run.

    Raises:
        ConfigError: one cannot be used.
    """
    found = {name: with_hash(name, file) for name, file in config.measure.onnx.items()}
    measure = config.measure.model_copy(update={"onnx": found})
    passes = config.passes.model_copy(update={"clip": with_head_hashes(config.passes.clip)})
    config = config.model_copy(update={"measure": measure, "passes": passes})
    check_models(config)
    return config


def with_triage(config: BuildConfig, specs: Sequence[SourceSpec]) -> BuildConfig:
    """The configuration with `measure.triage` set, where it was left open: on where there are sources on the web."""
    if config.measure.triage is not None or not any(spec.web for spec in specs):
        return config
    return config.model_copy(update={"measure": config.measure.model_copy(update={"triage": True})})


def listing_of(config: BuildConfig) -> Listing:
    """How lists of URLs are read."""
    return Listing(config.sources.url_column, config.sources.where)


def _asked(config: BuildConfig, plan: Plan | None) -> list[SourceSpec]:
    """The sources that are still to be listed: all, or those that were named behind the ones of the plan."""
    if plan is None:
        return resolve(config.sources.paths, listing_of(config))
    known = plan.paths
    if known is None or config.sources.paths[: len(known)] != known or len(known) == len(config.sources.paths):
        return []
    return resolve(config.sources.paths[len(known) :], listing_of(config), plan.sources)


def _with_sources(config: BuildConfig, sources: Sequence[str]) -> BuildConfig:
    """The configuration with its sources as absolute addresses, so that it means the same from anywhere."""
    paths = [source if "://" in source else str(Path(source).expanduser().absolute()) for source in sources]
    paths = paths or list(config.sources.paths)
    return config.model_copy(update={"sources": config.sources.model_copy(update={"paths": tuple(paths)})})
