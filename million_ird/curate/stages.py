"""`mird build`, `mird decide` and `mird report` as functions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from million_ird import __version__
from million_ird.config import merge
from million_ird.curate import contaminated
from million_ird.curate.ledger import make_meters, measurement_columns
from million_ird.curate.merge import Merge, merged, open_ledgers, stored_by
from million_ird.curate.passes.ledger import check_passes
from million_ird.curate.passes.run import check_models
from million_ird.curate.pipeline import Pipeline, Watch
from million_ird.curate.plan import PLAN, Plan, check_inputs, grow_plan, load_plan, make_plan
from million_ird.curate.remote import mounted_again, mounted_build, push_plan
from million_ird.curate.rules import check, lines
from million_ird.curate.settings import BuildConfig, as_config, load_config
from million_ird.curate.similar import check_similar
from million_ird.curate.summary import BuildSummary
from million_ird.curate.workspace import Workspace, check_build, opened, stored_config
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.meters.clip import with_hashes
from million_ird.meters.files import OURS, Modelled, pinned
from million_ird.meters.onnx import with_hash
from million_ird.mirror import Mounted, is_address, refuse_within
from million_ird.sources import Listing, SourceSpec, resolve
from million_ird.sources.web import need_web


def build(
    sources: Sequence[str | Path],
    out: str | Path,
    config: BuildConfig | Mapping[str, Any] | None = None,
    *,
    ledgers: Sequence[str | Path] = (),
    fresh: bool = False,
    retry_failed: bool = False,
    watch: Watch = lambda *progress: None,
    mount: Mounted | None = None,
) -> BuildSummary:
    """Turn folders, images, archives, lists of URLs, sites and datasets into a de-duplicated, filtered dataset with a
    ledger and a report.

    Run it again after a kill and it goes on where it was; the result is the same, byte for byte. Run it again with
    another policy and it decides again from the ledger.

    Args:
        sources: what to read; where empty, `config.sources.paths`.
        out: the folder to work in, or an address (s3://…) that it is kept at.
        config: None = the `photos` preset, or the configuration of the first of `ledgers`; a mapping is laid on top of
            it.
        ledgers: folders of finished builds, whose measurements are taken over: their inputs come first, and none of
            them is read to be measured.
        fresh: delete what a former build left in `out` first.
        retry_failed: fetch again what could not be fetched before and may have healed since.
        watch: told of progress.
        mount: the address that `out` is a copy of, where it is open already.

    Raises:
        MirdError: wrong configuration, a source or folder that cannot be used.
    """
    if is_address(out):
        refuse_within(sources, str(out))
        with mounted_build(str(out), config, fresh, watch) as mount:
            options: dict[str, Any] = {"ledgers": ledgers, "fresh": fresh, "retry_failed": retry_failed, "watch": watch}
            return build(sources, mount.folder, config, **options, mount=mount)
    began = time.monotonic()
    _refuse_source(sources, Path(out))
    taken = merged(open_ledgers(ledgers, out), out) if ledgers else None
    config = with_models(configured(config, sources, taken))
    if taken is not None:
        taken.check(config, None if fresh else Path(out))
    # What a source means is asked once, before anything is written: the Hub's answer may be another tomorrow.
    planned = load_plan(Path(out)) if (Path(out) / PLAN).is_file() and not fresh else None
    specs = _asked(config, planned or (taken.plan if taken else None))
    if any(spec.web or spec.kind == "brought" for spec in specs):
        need_web()
    with opened(Path(out), mount) as space:
        if fresh:
            if taken is None:
                check_inputs(space.out, config, specs)
            space.clear()
        plan = load_plan(space.out)
        known = plan or (taken.plan if taken else None)
        config = with_triage(config, known.sources if known else specs)
        space.adopt(config, grows=True)
        space.event("start", version=__version__, fresh=fresh)
        if plan is None and taken is not None:
            watch("list", 0, 0)
            plan = planned = taken.write(space.out)
            space.event("plan merged", inputs=plan.inputs, shards=plan.shards, ledgers=len(taken.ledgers))
        if plan is None or (specs and plan == planned):
            watch("list", 0, 0)
            plan = _listed(space, plan, config, specs)
        push_plan(mount)
        summary = Pipeline(space, plan, config, watch).run(retry_failed)
        seconds = round(time.monotonic() - began, 3)
        space.event("end", inputs=summary.inputs, kept=summary.kept, reasons=summary.reasons, seconds=seconds)
    return BuildSummary(**{**asdict(summary), "seconds": seconds})


def _listed(space: Workspace, plan: Plan | None, config: BuildConfig, specs: Sequence[SourceSpec]) -> Plan:
    """A new plan of these sources, or one that has grown by them."""
    name = "plan" if plan is None else "plan grown"
    plan = make_plan(space.out, config, specs) if plan is None else grow_plan(space.out, plan, config, specs)
    space.event(name, inputs=plan.inputs, shards=plan.shards, skipped=plan.skipped)
    return plan


def decide(
    out: str | Path,
    changes: Callable[[BuildConfig], BuildConfig] = lambda config: config,
    *,
    preview: bool = False,
    watch: Watch = lambda *progress: None,
    mount: Mounted | None = None,
) -> BuildSummary:
    """Decide again from the ledger of a build, without reading an image.

    Args:
        out: the build's folder or address.
        changes: from its stored configuration to the one to decide by.
        preview: only count; write nothing.
        watch: told of progress.
        mount: the address that `out` is a copy of, where it is open already.

    Raises:
        MirdError: no finished ledger there, or a configuration that would have measured otherwise.
    """
    if is_address(out):
        with mounted_again(str(out), watch) as mount:
            return decide(mount.folder, changes, preview=preview, watch=watch, mount=mount)
    began = time.monotonic()
    with opened(_existing(out), mount) as space:
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
        stale = () if preview or state.get("dataset") == work.marks()["dataset"] else (_stale(work),)
        summary = work.summary(verdicts, {}, stale)
    return BuildSummary(**{**asdict(summary), "seconds": round(time.monotonic() - began, 3)})


def _stale(work: Pipeline) -> str:
    return f"dataset/ and report.html still hold the former decisions; write them again: {work.again()}"


def report(out: str | Path, mount: Mounted | None = None) -> Path:
    """Write report.html of a build again, from its ledger and decisions; where it lies on this machine.

    Args:
        out: the build's folder or address.
        mount: the address that `out` is a copy of, where it is open already.

    Raises:
        MirdError: no finished ledger there.
    """
    if is_address(out):
        with mounted_again(str(out)) as mount:
            return report(mount.folder, mount)
    with opened(_existing(out), mount) as space:
        config = stored_config(space.out)
        plan = load_plan(space.out)
        if plan is None:
            raise OutputError(f"{space.out}: nothing measured here yet; run `mird build` first")
        work = Pipeline(space, plan, config, lambda *progress: None)
        work.write_report(work.judged())
        return space.out / "report.html"


def _refuse_source(sources: Sequence[str | Path], out: Path) -> None:
    """Raise `ConfigError` where a source is nothing, or where the build would write among what it reads."""
    for source in map(str, sources):
        if not source.strip():
            raise ConfigError("an empty SOURCE: is a variable of the shell unset? Name a folder, a file or an address")
        if "://" not in source and Path(source).expanduser().absolute() == out.absolute():
            raise ConfigError(f"--out {out}: is a SOURCE too; choose another folder, it would be full of what it wrote")


def _existing(out: str | Path) -> Path:
    path = Path(out)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; `mird build SOURCE --out {path}` makes it")
    check_build(path)  # before a lock is left in a folder of somebody's own
    return path


def configured(
    config: BuildConfig | Mapping[str, Any] | None, sources: Sequence[str | Path], taken: Merge | None
) -> BuildConfig:
    """The whole configuration of a call: with what it reads, and the meters that its policy rests on.

    Raises:
        ConfigError: it is wrong.
    """
    paths = [str(source) for source in sources]
    if taken is None:
        return completed(_with_sources(as_config(config), paths))
    if not isinstance(config, BuildConfig):
        config = load_config(merge(stored_by(taken.ledgers[0].folder), config or {}))
    if config.measure.triage is None and taken.triage():
        config = config.model_copy(update={"measure": config.measure.model_copy(update={"triage": True})})
    return completed(_with_sources(config, [*(taken.plan.paths or ()), *paths]))


def completed(config: BuildConfig) -> BuildConfig:
    """The configuration with the meters that its policy rests on, where `measure.meters` left them out.

    Raises:
        ConfigError: a rule rests on what no meter measures.
    """
    policy = contaminated.absolute(config.policy)
    if policy.pins.file is not None:
        pins = policy.pins.model_copy(update={"file": _absolute(policy.pins.file)})
        policy = policy.model_copy(update={"pins": pins})
    config = config.model_copy(update={"policy": policy})
    columns = measurement_columns(config)
    check(config.policy, columns)
    check_passes(config)
    check_similar(config)
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
    options = dict(config.measure.options)
    for name, meter in make_meters(config).items():
        if isinstance(meter, Modelled) and meter.model != OURS:
            path, sha256 = pinned(meter.model, meter.sha256, f"measure.options.{name}", "model")
            options[name] = {**options[name], "model": path, "sha256": sha256}
    measure = config.measure.model_copy(update={"onnx": found, "options": options})
    passes = config.passes.model_copy(update={"clip": with_hashes(config.passes.clip)})
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


def _absolute(path: str) -> str:
    """Without `..`, where that means the same: behind a link it may not."""
    whole = Path(path).expanduser().absolute()
    plain = Path(os.path.normpath(whole))
    try:
        return str(plain if plain.samefile(whole) else whole)
    except OSError:
        return str(whole)


def _with_sources(config: BuildConfig, sources: Sequence[str]) -> BuildConfig:
    """The configuration with its sources as absolute addresses, so that it means the same from anywhere."""
    paths = [source if "://" in source else _absolute(source) for source in sources]
    paths = paths or list(config.sources.paths)
    return config.model_copy(update={"sources": config.sources.model_copy(update={"paths": tuple(paths)})})
