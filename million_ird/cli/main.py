"""All commands of `mird`, one file each."""

from __future__ import annotations

from typing import Annotated

import typer

from million_ird import __version__
from million_ird.cli import (
    build,
    card,
    config,
    data,
    decide,
    degrade,
    doctor,
    eval,
    explain,
    export,
    hashes,
    publish,
    remove,
    report,
    restore,
    review,
    train,
    verify,
)
from million_ird.cli.group import Commands

app = typer.Typer(
    name="mird",
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make image-restoration data: build, de-duplicate and filter image datasets with a decision for every input, "
    "degrade clean images into pairs with a label for every pixel, and restore images with the networks of the field.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"mird {__version__}")
        raise typer.Exit


@app.callback()
def mird(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of `mird` itself."""


app.command("build", epilog=build.EXAMPLE)(build.command)
app.command("decide", epilog=decide.EXAMPLE)(decide.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("explain", epilog=explain.EXAMPLE)(explain.command)
app.command("review", epilog=review.EXAMPLE)(review.command)
app.command("remove", epilog=remove.EXAMPLE)(remove.command)
app.add_typer(hashes.app, name="hashes")
app.command("degrade", epilog=degrade.EXAMPLE)(degrade.command)
app.command("verify", epilog=verify.EXAMPLE)(verify.command)
app.add_typer(train.app, name="train")
app.command("eval", epilog=eval.EXAMPLE)(eval.command)
app.add_typer(data.app, name="data")
app.command("restore", epilog=restore.EXAMPLE)(restore.command)
app.command("export", epilog=export.EXAMPLE)(export.command)
app.add_typer(publish.app, name="publish")
app.command("card", epilog=card.EXAMPLE)(card.command)
app.command("config", epilog=config.EXAMPLE)(config.command)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.command)
