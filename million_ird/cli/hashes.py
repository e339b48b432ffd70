"""`mird hashes`."""

from __future__ import annotations

from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table

EXAMPLE = "Example: mird hashes make testset/ --name mytest --out mytest.parquet"
_LIST = "Example: mird hashes list"

app = typer.Typer(no_args_is_help=True, help="Hash lists of test sets, for `policy.contaminated`.", epilog=EXAMPLE)


@app.callback()
def hashes() -> None:
    """Hash lists of test sets, for `policy.contaminated`."""


@app.command("make", epilog=EXAMPLE)
def make(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...", help="Pictures of the set; whatever `mird build` reads.", show_default=False
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Of the set.", show_default=False)],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="What to write, .parquet.", show_default=False)],
    source: Annotated[str, typer.Option(help="Where the pictures are from, a note for readers.")] = "",
    licence: Annotated[str, typer.Option(help="Of the pictures, a note for readers.")] = "",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write down what the pictures of a test set are recognised by: near duplicates, crops, what they are crops of."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import asdict
        from pathlib import Path

        from million_ird.curate.contaminated import make_list

        with output.progress() as watch:
            about, unread = make_list(
                folders, name, out, source=source, licence=licence, progress=lambda done: watch("hashing", done, 0)
            )
        for uri in unread:
            output.warn(f"{uri}: no picture that can be read; left out")
        size = Path(out).stat().st_size
        result = {**asdict(about), "out": out, "bytes": size, "unread": unread}
        output.result(result, f"{about.count} pictures, {size / 1e3:,.0f} kB: {out}")


@app.command("list", epilog=_LIST)
def known(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """The hash lists that come with the package."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from dataclasses import asdict

        from million_ird.dedup.hashlists import built_in, read_list

        found = [asdict(read_list(path)[1]) for path in built_in().values()]
        rows = [["name", "pictures", "licence", "source"]]
        rows += [[one["name"], str(one["count"]), one["licence"], one["source"]] for one in found]
        output.result({"lists": found}, table(rows, right=(1,)))
