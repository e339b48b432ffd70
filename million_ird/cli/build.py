"""`mird build`."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import ConfigFile, Executor, Json, Output, Quiet, RayAddress, Sets, Verbose, table

if TYPE_CHECKING:
    from million_ird.curate.estimate import Estimate
    from million_ird.curate.summary import BuildSummary

EXAMPLE = "Example: mird build photos/ more.tar --out DIR --preset photos --set policy.resolution.min_side=512"


class Preset(StrEnum):
    """Built-in sets of thresholds."""

    photos = "photos"
    lsdir = "lsdir"
    million_ird = "million-ird"
    million_ird_iqa = "million-ird-iqa"


def command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, images, .tar, .zip, lists of URLs, globs, fsspec addresses, https://, hf://datasets/ORG/NAME.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to work in, or s3://…, gs://…")] = ...,  # type: ignore[assignment]
    ledgers: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="LEDGER",
            help="Take over what a finished build (its folder) measured, without reading an image; more builds may "
            "follow, and then SOURCEs. Thresholds are the first one's, unless --preset is given.",
        ),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Built-in thresholds to start from.", show_default="photos")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; default: one per core.", show_default=False)
    ] = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Take the first N inputs only.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what a former build left in DIR first.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Fetch again what failed before and may have healed.")
    ] = False,
    allow_private_hosts: Annotated[
        bool, typer.Option("--allow-private-hosts", help="Also fetch from loopback, private and link-local addresses.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 where an input could not be used.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, count and estimate; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn photos into a de-duplicated, filtered dataset with a ledger, a card and a report."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird.curate.settings import load_config

        overrides = [*(sets or [])]
        if workers is not None:
            overrides.append(f"run.workers={workers}")
        if executor is not None:
            overrides.append(f"run.executor={executor.value}")
        if ray_address is not None:
            overrides.append(f"run.ray_address={ray_address}")
        if limit is not None:
            overrides.append(f"sources.limit={limit}")
        if allow_private_hosts:
            overrides.append("fetch.private_hosts=true")
        builds, paths = _parted(ledgers or [], sources or [])
        settings = load_config(_base(preset, builds), config, overrides)
        if dry_run:
            from dataclasses import asdict

            from million_ird.curate.estimate import estimate

            found = estimate(paths, settings, ledgers=builds, out=out)
            output.result(asdict(found), _estimate(found))
            return
        from million_ird.curate.stages import build

        with output.progress() as watch:
            summary = build(paths, out, settings, ledgers=builds, fresh=fresh, retry_failed=retry_failed, watch=watch)
        for warning in summary.warnings:
            output.warn(warning)
        output.result(summary.as_dict(), text(summary))
        if strict and summary.unusable:
            output.warn(f"--strict: {summary.unusable} inputs could not be used")
            raise typer.Exit(3)


def _parted(ledgers: list[str], sources: list[str]) -> tuple[list[str], list[str]]:
    """The ledgers and the sources of a call: behind --from, what is a build's folder is a ledger, too."""
    if not ledgers:
        return [], sources
    from million_ird.curate.merge import is_build

    more = [name for name in sources if is_build(name)]
    return [*ledgers, *more], [name for name in sources if name not in more]


def _base(preset: Preset | None, ledgers: list[str]) -> str | dict[str, Any]:
    """What the configuration is laid upon: the preset, or the first ledger's configuration."""
    if preset is not None or not ledgers:
        return (preset or Preset.photos).value
    from million_ird.curate.merge import stored_by

    return stored_by(ledgers[0])


def text(summary: BuildSummary) -> str:
    """The funnel and where the results lie, for people."""
    left = summary.inputs
    rows = [["inputs", "", f"{left:,}"]]
    for reason, count in summary.reasons.items():
        left -= count
        rows.append([f"  {reason}", f"-{count:,}", f"{left:,}"])
    rows.append(["kept", "", f"{summary.kept:,}"])
    lines = [table(rows, right=(1, 2))]
    if summary.skipped:
        lines.append("passed over: " + ", ".join(f"{count:,} {kind}" for kind, count in summary.skipped.items()))
    if summary.remedy:
        lines.append(f"unmeasured: run `{summary.remedy}` to measure only those")
    if summary.up_to_date:
        lines.append("nothing to do: this build is finished")
    elif summary.dataset:
        rate = f", {summary.measured / summary.seconds:,.1f} images/s" if summary.measured and summary.seconds else ""
        samples = summary.dataset["samples"]
        lines.append(f"{samples:,} rows, {summary.dataset['bytes'] / 1e6:,.1f} MB in {summary.seconds:.1f} s{rate}")
    lines.append(f"report: {shlex.quote(summary.out)}/report.html   dataset: {shlex.quote(summary.out)}/dataset")
    return "\n".join(lines)


def _estimate(found: Estimate) -> str:
    statuses = ", ".join(f"{count} {name}" for name, count in found.statuses.items())
    kept = "by the sample, copies not known" if found.sampled else "by the ledgers"
    rows = [
        ["inputs", f"{found.inputs:,}" + (f", {found.taken:,} of them measured already" if found.taken else "")],
        ["bytes", f"{found.input_bytes / 1e6:,.1f} MB"],
        ["sample", f"{found.sampled} measured: {statuses}" if found.sampled else "none to measure"],
        ["speed", f"{found.images_per_second:,.1f} images/s per worker"],
        ["time", f"{found.seconds:,.0f} s with {found.workers} workers"],
        *([f"pass {name}", f"{seconds:,.0f} s"] for name, seconds in found.pass_seconds.items()),
        ["kept", f"{found.kept:,}, {kept}"],
        ["export", f"{found.export_seconds:,.0f} s with {found.workers} workers"],
        ["memory", f"{found.memory_bytes / 1e6:,.0f} MB"],
        [
            "written",
            f"{found.dataset_bytes / 1e6:,.1f} MB dataset, {found.ledger_bytes / 1e6:,.1f} MB ledger, "
            f"{found.store_bytes / 1e6:,.1f} MB store",
        ],
        [
            "machines",
            f"{found.machine_hours:,.3f} core hours"
            + (f", {found.gpu_hours:,.3f} GPU hours" if found.gpu_hours else ""),
        ],
        ["money", f"{found.money:,.4f} by run.price_per_core_hour, _gpu_hour, _gb_fetched, _gb_month (one)"],
    ]
    if found.requests:
        rows[-3:-3] = [
            ["requests", f"{found.requests:,}, {found.fetch_bytes / 1e6:,.1f} MB over the network"],
            ["fetching", f"{found.fetch_seconds:,.0f} s at the least; all in all {found.days:,.2f} days"],
        ]
    return table(rows) + "\nnothing was written"
