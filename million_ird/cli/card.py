"""`mird card`."""

from __future__ import annotations

from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

EXAMPLE = "Example: mird card DIR"


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Output of `mird build`, or RUN of `mird train`.")],
    repo: Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="Where it will be loaded from.")] = "",
    evals: Annotated[
        list[str] | None, typer.Option("--eval", metavar="FILE", help="Of a model: JSON of `mird eval`; repeatable.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", metavar="NAME", help="Of a model's weights, as the Hub calls it.")
    ] = "",
    contact: Annotated[str, typer.Option("--contact", metavar="TEXT", help="An address for questions.")] = "",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write the card of a dataset or of a model, without publishing it."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from pathlib import Path

        from million_ird.errors import ConfigError

        if (Path(folder) / "build.yaml").is_file():
            from million_ird.publish.builds import card

            if evals or licence:
                raise ConfigError(
                    "--eval and --licence are for a model; DIR is a build, whose rows name their licences"
                )
            path = card(folder, repo, contact)
        else:
            from million_ird.publish.networks import write_card

            path = write_card(folder, evals=evals or [], licence=licence, repo=repo, contact=contact)
        output.result({"card": str(path), "bytes": path.stat().st_size}, f"card: {path}")
