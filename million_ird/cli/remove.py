"""`mird remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

EXAMPLE = "Example: mird remove DIR --urls takedowns.txt"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output folder of `mird build`.")],
    ids: Annotated[str | None, typer.Option("--ids", metavar="FILE", help="Ids (sha256) or keys, one a line.")] = None,
    urls: Annotated[str | None, typer.Option("--urls", metavar="FILE", help="URLs or URIs, one a line.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take inputs and their copies out of a build for good: rows, bytes, dataset and report."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import asdict

        from million_ird.curate.remove import read_names, remove
        from million_ird.errors import ConfigError

        files = [file for file in (ids, urls) if file]
        if not files:
            raise ConfigError("nothing to remove: give --ids FILE or --urls FILE")
        names = [name for file in files for name in read_names(file)]
        with output.progress() as watch:
            found = remove(folder, names, watch)
        if found.unknown:
            output.warn(f"{len(found.unknown)} match no input, first: {found.unknown[0]}; no later build takes them in")
        text = (
            f"{found.removed:,} inputs removed, {found.copies:,} of them copies of what was named; {found.kept:,} kept"
        )
        output.result(asdict(found), text)
