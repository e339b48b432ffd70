"""`mird decide`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from million_ird.cli import build
from million_ird.cli.output import ConfigFile, Json, Output, Quiet, Sets, Verbose

EXAMPLE = "Example: mird decide DIR --set policy.blur.min=80 --preview"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")],
    config: ConfigFile = None,
    sets: Sets = None,
    preview: Annotated[bool, typer.Option("--preview", help="Print the counts only; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decide again from the ledger, without reading an image."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import replace

        from million_ird.curate.settings import load_config
        from million_ird.curate.stages import decide

        with output.progress() as watch:
            summary = decide(
                folder,
                lambda stored: load_config(stored.model_dump(mode="json"), config, sets or []),
                preview=preview,
                watch=watch,
            )
        if summary.remedy and preview:
            given = [f"--config {shlex.quote(config)}"] if config else []
            given += [f"--set {shlex.quote(text)}" for text in sets or []]
            summary = replace(
                summary, remedy=" ".join([f"mird decide {shlex.quote(folder)}", *given, "&&", summary.remedy])
            )
        for warning in summary.warnings:
            output.warn(warning)
        output.result(summary.as_dict(), build.text(summary))
