"""`mird report`."""

from __future__ import annotations

from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

EXAMPLE = "Example: mird report DIR"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write report.html again."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird.curate.stages import report

        path = report(folder)
        place = f"{folder.rstrip('/')}/{path.name}" if "://" in folder else str(path)
        output.result({"report": place, "bytes": path.stat().st_size}, f"report: {place}")
