"""`mird train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import ConfigFile, Json, Output, Quiet, Sets, Verbose, table

if TYPE_CHECKING:
    from million_ird.train.cost import Estimate
    from million_ird.train.run import Outcome
    from million_ird.train.settings import TrainConfig

EXAMPLE = "Example: mird train dynet --stage pretrain --data DIR --out RUN --set model=dynet-tiny --steps 1000"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Pre-train and adapt networks.", epilog=EXAMPLE)

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[TASK=]PATH",
        help="Clean images or pairs; TASK=LAYOUT:PATH for a benchmark's folder; ,recipe=NAME may follow.",
        show_default=False,
    ),
]
Out = Annotated[str | None, typer.Option("--out", metavar="RUN", help="Folder of the run.", show_default=False)]
Init = Annotated[
    str | None, typer.Option(metavar="M", help="Weights to begin with: a run, a model, a Hub name.", show_default=False)
]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Which network.", show_default=False)]
Steps = Annotated[int | None, typer.Option(min=1, metavar="N", help="Changes of the weights.", show_default=False)]
Validation = Annotated[
    list[str] | None, typer.Option("--validate", metavar="NAME=PATH", help="Sets to look at.", show_default=False)
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of all chance.", show_default=False)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what a former run left in RUN first.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Check everything, measure a step; write nothing.")]


class DyNetStages(StrEnum):
    """Stages of DyNet."""

    pretrain = "pretrain"
    finetune = "finetune"


class Detectors(StrEnum):
    """What `mird train detectors` trains."""

    watermark = "watermark"
    artefacts = "artefacts"


class AbairPhases(StrEnum):
    """Phases of ABAIR."""

    pretrain = "pretrain"
    adapt = "adapt"
    estimate = "estimate"


@app.command("dynet", epilog=EXAMPLE)
def dynet(
    data: Tasks = None,
    out: Out = None,
    stage: Annotated[
        DyNetStages | None, typer.Option(help="Which stage; default: pretrain.", show_default=False)
    ] = None,
    model: Model = None,
    init: Init = None,
    steps: Steps = None,
    validate: Validation = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    resume: Resume = False,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train DyNet: all variants at once, one drawn for each step; or Restormer and PromptIR, for comparison."""
    given = {"model": model, "init": init, "steps": steps, "seed": seed}
    given |= {"validation.sets": validate, "data.tasks": data}
    _train(Output(quiet, verbose, json), "dynet", stage, config, sets, given, (out, resume, fresh, dry_run))


@app.command(
    "abair", epilog="Example: mird train abair --phase adapt --task derain --init BASE --data derain=DIR --out RUN"
)
def abair(
    data: Tasks = None,
    out: Out = None,
    phase: Annotated[
        AbairPhases | None, typer.Option(help="Which phase; default: pretrain.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="adapt: the adapter's name.", show_default=False)
    ] = None,
    adapters: Annotated[
        list[str] | None,
        typer.Option("--adapters", metavar="RUN", help="estimate: runs that hold adapters.", show_default=False),
    ] = None,
    model: Model = None,
    init: Init = None,
    steps: Steps = None,
    validate: Validation = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    resume: Resume = False,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train ABAIR: pretrain with the segmentation head, adapt one task after the other, estimate which are needed."""
    given = {"model": model, "init": init, "steps": steps, "seed": seed, "task": task, "adapters": adapters}
    given |= {"validation.sets": validate, "data.tasks": data}
    _train(Output(quiet, verbose, json), "abair", phase, config, sets, given, (out, resume, fresh, dry_run))


@app.command("detectors", epilog="Example: mird train detectors --data DIR --data packages --out RUN")
def detectors(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Clean photos, every fifth held out; a file; `packages` (default) = those that packages bring.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    only: Annotated[Detectors, typer.Option("--only", help="Which one.")] = Detectors.watermark,
    steps: Steps = None,
    seed: Seed = None,
    config: ConfigFile = None,
    sets: Sets = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train the small networks that look at pictures, on labels that are drawn over clean photos; one core is enough.

    watermark: are there marks? artefacts: noise, JPEG, blur, upscaling, weather: what has been done to it?
    """
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird.cli.restore import need_torch
        from million_ird.config import merge, parse_sets, read_yaml, validate
        from million_ird.errors import ConfigError

        need_torch()
        from million_ird.train.detectors import DetectorConfig, train_watermark
        from million_ird.train.detectors.artefacts import ArtefactConfig, train_artefacts

        kind, train = DetectorConfig, train_watermark
        if only is Detectors.artefacts:
            kind, train = ArtefactConfig, train_artefacts
        told = {key: value for key, value in {"steps": steps, "seed": seed}.items() if value is not None}
        given = merge(read_yaml(config) if config else {}, parse_sets(sets or []))
        settings: Any = validate(kind, merge(given, told))
        if out is None:
            raise ConfigError("--out: name the folder of the run")
        with output.progress() as watch:

            def tell(step: int, figures: Mapping[str, float]) -> None:
                if "made" in figures:
                    watch("degrade", int(figures["made"]), settings.pool)
                else:
                    watch("train", step, settings.steps, note=f"loss {figures['loss']:.4f}", each=settings.batch)

            done = train(data or ["packages"], out, settings, tell)
        if done.unused:
            output.warn(f"{len(done.unused)} of the files can't be used as pictures, first: {done.unused[0]}")
        rows = [(name, f"{value:.4g}") for name, value in done.figures.items()]
        words = f"{done.steps:,} steps on {done.pictures:,} pictures in {done.seconds / 60:.0f} min: {done.model}"
        output.result(vars(done), "\n".join([words, table(rows, right=(1,))] if rows else [words]))


def _train(
    output: Output,
    family: str,
    stage: StrEnum | None,
    file: str | None,
    sets: list[str] | None,
    given: Mapping[str, Any],
    how: tuple[str | None, bool, bool, bool],
) -> None:
    out, resume, fresh, dry = how
    if os.environ.get("RANK", "0") != "0":  # of the processes of torchrun one speaks
        output = Output(quiet=True, verbose=output.verbose)
    with output.guarded():
        from million_ird.cli.restore import need_torch
        from million_ird.errors import ConfigError

        need_torch()
        from million_ird.restore import tune_malloc
        from million_ird.train.settings import load_config

        own = Path(out or "") / "train.yaml"
        if resume and file is None and not given["data.tasks"] and own.is_file():
            file = str(own)
        told = {key: value for key, value in given.items() if value not in (None, [])}
        settings = load_config(family, stage.value if stage else None, file, sets or [], **told)
        if settings.run.malloc_tuning:
            tune_malloc()
        if dry:
            from million_ird.train.run import dry_run

            found = dry_run(settings)
            output.result(vars(found), estimated(found, settings))
            return
        if out is None:
            raise ConfigError("--out: name the folder of the run")
        from million_ird.train.run import train

        with _shown(output, settings) as tell:
            outcome = train(settings, out, resume, tell, fresh=fresh)
        output.result(vars(outcome), text(outcome))


@contextmanager
def _shown(output: Output, config: TrainConfig) -> Iterator[Callable[[Any, Mapping[str, Any]], None]]:
    """Progress: a bar with loss, speed and memory."""
    import torch

    with output.progress() as watch:

        def tell(position: Any, figures: Mapping[str, Any]) -> None:
            note = f"loss {figures['loss']:.4f}"
            if torch.cuda.is_available():
                note += f" {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
            watch("train", position.step, config.steps, note=note, each=config.batch)

        yield tell


def estimated(found: Estimate, config: TrainConfig) -> str:
    """An estimate, for people."""
    rows = [
        ("parameters", f"{found.parameters:,}, {found.learning:,} of them learn"),
        ("samples", f"{found.samples:,}; an epoch is {found.epoch_steps:,} steps of {config.batch}"),
        *((f"GFLOPs{' ' + name if name else ''}", f"{value:.2f} forward") for name, value in found.gflops.items()),
        ("speed", f"{found.images_per_s:,.1f} images/s; {found.step_seconds:.2f} s a step"),
        ("time", f"{found.hours:,.1f} h for {config.steps:,} steps"),
        ("memory", f"{found.memory_bytes / 2**30:.1f} GiB"),
    ]
    return table(rows)


def text(outcome: Outcome) -> str:
    """What became of a run, for people."""
    figures = outcome.figures
    lines = [f"{outcome.status} after {outcome.step:,} steps"]
    if outcome.status == "stopped":
        lines[0] += " (--resume goes on)"
    if "images_per_s" in figures:
        lines[0] += f", {figures['images_per_s']:.1f} images/s, {figures['waited']:.1%} of the time waiting for samples"
    if figures.get("skipped"):
        lines.append(f"{figures['skipped']:,} steps were skipped: not finite (metrics.jsonl)")
    if scores := figures.get("validation"):
        rows = [
            (name.removesuffix("/psnr"), f"{value:.2f} dB") for name, value in scores.items() if name.endswith("psnr")
        ]
        lines.append(table(rows, right=(1,)))
    if confusion := figures.get("confusion"):
        head = ("chosen for", *confusion["columns"])
        counts = [(name, *map(str, row)) for name, row in confusion["rows"].items()]
        lines.append(table([head, *counts], right=range(1, len(head))))
    if figures.get("best") is not None:
        lines.append(f"best mean PSNR {figures['best']:.2f} dB at step {figures['best_step']:,}: {outcome.out}/best")
    if cost := figures.get("cost"):
        words = f"together {cost['gflops_joint']:.1f} GFLOPs a sample, one by one {cost['gflops_apart']:.1f}"
        words += f": {cost['saved']:.0%} saved"
        words += f" ({cost['saved_seconds']:.0%} of the seconds measured)" if "saved_seconds" in cost else ""
        lines.append(words)
    return "\n".join([*lines, f"model: {outcome.model}"])
