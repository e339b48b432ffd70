"""`mird degrade`."""

from __future__ import annotations

import json as js
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import Executor, Json, Output, Quiet, RayAddress, Verbose, table

if TYPE_CHECKING:
    from million_ird.pairs.estimate import Estimate
    from million_ird.pairs.render import Sample
    from million_ird.pairs.settings import DegradeConfig
    from million_ird.pairs.summary import DegradeSummary

EXAMPLE = "Example: mird degrade photos/ --out DIR --recipe abair --size 256 --per-image 4"


class Format(StrEnum):
    """How pairs are written."""

    parquet = "parquet"
    folder = "folder"
    webdataset = "webdataset"


def command(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="Clean images: a folder, an archive, a `mird build` output, Parquet files, a saved dataset.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Folder to work in, or s3://…", show_default=False),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME|FILE", help="What is done to them.", show_default=False)
    ] = None,
    per_image: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Samples of each image; default: 1.", show_default=False)
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, metavar="S", help="Cut out S x S px first; default: whole.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of all chance; default: 0.", show_default=False)
    ] = None,
    kind: Annotated[
        Format | None, typer.Option("--format", help="How pairs are written; default: parquet.", show_default=False)
    ] = None,
    config: Annotated[str | None, typer.Option("--config", metavar="FILE", help="YAML laid over the defaults.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, for example row_group=50.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; default: one per core.", show_default=False)
    ] = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Take the first N images only.")] = None,
    virtual: Annotated[bool, typer.Option("--virtual", help="Write traces and no pixels.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what a former run left in DIR first.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 where an image could not be used.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Render the samples of one image again, by id, uri or name.", show_default=False
        ),
    ] = None,
    preview: Annotated[
        str | None,
        typer.Option(metavar="FILE.png", help="Write a contact sheet, and a page beside it.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print the degradations and the recipes.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipe files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, count and estimate; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn clean images into degraded pairs with a label for every pixel and a trace that makes them again."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        if listed:
            _list(output)
            return
        if schema:
            from million_ird.degrade.recipe import schema as recipe_schema

            print(js.dumps(recipe_schema(), indent=1, ensure_ascii=False))
            return
        from million_ird.pairs.settings import load_config

        given = {
            "recipe": recipe,
            "per_image": per_image,
            "size": size,
            "seed": seed,
            "format": kind.value if kind else None,
            "limit": limit,
            "virtual": virtual or None,
            "run.workers": workers,
            "run.executor": executor.value if executor else None,
            "run.ray_address": ray_address,
        }
        overrides = [f"{name}={js.dumps(value)}" for name, value in given.items() if value is not None]
        settings = load_config(config, [*(sets or []), *overrides])
        if only is not None:
            _only(output, only, source, out, settings, preview)
        elif preview is not None:
            _preview(output, source, settings, preview)
        elif dry_run:
            from dataclasses import asdict

            from million_ird.pairs.estimate import estimate

            found = estimate(source, settings)
            output.result(asdict(found), _estimate(found))
        else:
            _degrade(output, source, out, settings, fresh, strict)


def _degrade(
    output: Output, source: str | None, out: str | None, settings: DegradeConfig, fresh: bool, strict: bool
) -> None:
    from million_ird.errors import ConfigError
    from million_ird.pairs.stages import degrade_dataset

    if out is None:
        raise ConfigError("--out is missing: name the folder to write to (or --preview FILE.png for a look)")
    with output.progress() as watch:
        summary = degrade_dataset(source, out, settings, fresh=fresh, watch=watch)
    for warning in summary.warnings:
        output.warn(warning)
    output.result(summary.as_dict(), text(summary))
    if strict and summary.unusable:
        output.warn(f"--strict: {summary.unusable} images could not be used")
        raise typer.Exit(3)


def _preview(output: Output, source: str | None, settings: DegradeConfig, path: str) -> None:
    from million_ird.pairs.preview import preview
    from million_ird.pairs.settings import completed

    with output.progress() as watch:
        survey, png, html = preview(completed(settings, source), path, watch=watch)
    for uri, why in survey.skipped:
        output.warn(f"{uri}: {why}")
    facts = {"sheet": str(png), "page": str(html), "samples": len(survey.shots), "classes": list(survey.classes)}
    output.result(facts, f"sheet: {shlex.quote(str(png))}   page: {shlex.quote(str(html))}")


def _only(
    output: Output, wanted: str, source: str | None, out: str | None, settings: DegradeConfig, preview: str | None
) -> None:
    from million_ird.pairs.only import find, render, write
    from million_ird.pairs.settings import completed

    own = completed(settings, source) if source is not None or settings.input else None
    config, specs, entry, index = find(wanted, own, Path(out) if out else None)
    samples = render(config, specs, entry, index)
    places = []
    if preview is not None:
        from million_ird.pairs.preview import preview as make

        _, png, html = make(config, preview, only=(specs, entry, index))
        places += [str(png), str(html)]
    elif out is not None:
        write(samples, Path(out) / "only")
        places.append(str(Path(out) / "only"))
    facts = {"samples": [sample.facts() for sample in samples], "written": places}
    output.result(facts, "\n".join([*map(_told, samples), *(f"written: {shlex.quote(place)}" for place in places)]))


def _told(sample: Sample) -> str:
    steps = js.dumps(sample.trace["steps"], ensure_ascii=False)
    return f"{sample.name}  {sample.uri}  index {sample.index}  {', '.join(sample.labels) or 'clean'}\n  {steps}"


def _list(output: Output) -> None:
    from million_ird.pairs.catalogue import catalogue

    found = catalogue()
    lines = ["Degradations", ""]
    for op in found["degradations"]:
        lines += [f"{op['name']}  ({op['family']}, tier {op['tier']}): {op['about']}", *_parameters(op), ""]
    lines += ["Combinators", ""]
    for node in found["combinators"]:
        lines += [f"{node['name']}: {node['about']}", *_parameters(node), ""]
    lines += ["Recipes", ""]
    for recipe in found["recipes"]:
        lines.append(f"{recipe['name']}: {recipe['about']}")
        lines.append(f"  classes: {', '.join(recipe['classes'])}")
    output.result(found, "\n".join(lines))


def _parameters(op: dict[str, Any]) -> list[str]:
    rows = []
    for one in op["parameters"]:
        default = "" if one["default"] is None else js.dumps(one["default"], ensure_ascii=False)
        rows.append([f"  {one['name']}", default, one["range"]])
    return table(rows).splitlines() if rows else []


def text(summary: DegradeSummary) -> str:
    """What was made and where it lies, for people."""
    rows = [["images", f"{summary.inputs:,}"]]
    rows += [[f"  {status}", f"-{count:,}"] for status, count in summary.skipped.items()]
    rows.append(["samples", f"{summary.samples:,}"])
    rows += [[f"  {name}", f"{count:,}"] for name, count in summary.labels.items()]
    lines = [table(rows, right=(1,))]
    if summary.passed_over:
        lines.append("passed over: " + ", ".join(f"{count:,} {kind}" for kind, count in summary.passed_over.items()))
    if summary.skipped:
        lines.append(f"skipped: {shlex.quote(summary.out)}/skipped.jsonl names them")
    if summary.up_to_date:
        lines.append("nothing to do: this run is finished")
    else:
        rate = f", {summary.rendered / summary.seconds:,.1f} samples/s" if summary.rendered and summary.seconds else ""
        lines.append(f"{summary.bytes / 1e6:,.1f} MB in {summary.seconds:.1f} s{rate}")
    lines.append(f"pairs: {shlex.quote(summary.out)}")
    return "\n".join(lines)


def _estimate(found: Estimate) -> str:
    statuses = ", ".join(f"{count} {name}" for name, count in found.statuses.items())
    rows = [
        ["images", f"{found.inputs:,}"],
        ["samples", f"{found.samples:,}"],
        ["classes", ", ".join(found.classes)],
        ["sample", f"{found.sampled} images rendered: {statuses}"],
        ["speed", f"{1 / max(found.seconds_per_sample, 1e-9):,.1f} samples/s per worker"],
        ["time", f"{found.seconds:,.0f} s with {found.workers} workers"],
        ["disk", f"{found.bytes / 1e6:,.1f} MB"],
        ["memory", f"{found.memory_bytes / 1e6:,.0f} MB"],
        ["money", f"{found.money:,.4f} at run.price_per_core_hour"],
    ]
    return table(rows) + "\nnothing was written"
