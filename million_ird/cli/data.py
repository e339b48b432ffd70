"""`mird data`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

if TYPE_CHECKING:
    from million_ird.sources.layouts import Found

EXAMPLE = "Example: mird data check rain100l DIR"
MOST = 20
"""Names that are listed of each kind; --json has them all."""

app = typer.Typer(no_args_is_help=True, help="Benchmarks on disk, as they were downloaded.", epilog=EXAMPLE)


class Split(StrEnum):
    """A part of a set."""

    test = "test"
    train = "train"


@app.callback()
def data() -> None:
    """Benchmarks on disk, as they were downloaded."""


@app.command("check", epilog=EXAMPLE)
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="rain100l, rain100h, sots, ots, gopro, hide, lolv1, lolv2, bsd68, cbsd68, urban100, wed, snow100k, "
            "cdd11; pairs (lq/ and hq/), clean (any images).",
            show_default=False,
        ),
    ],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Its folder.", show_default=False)],
    split: Annotated[Split, typer.Option(help="Which part.")] = Split.test,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Count the pairs of a benchmark; list what is missing, surplus or of another size; exit 1 unless all are whole."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        from million_ird.sources import layouts

        found = layouts.find(name, path, split.value)
        with output.progress() as watch:
            wrong = layouts.mismatched(found.pairs, lambda done, total: watch("reading headers", done, total))
        short = max(found.published - len(found.pairs), 0)
        value = {
            "layout": found.layout,
            "split": split.value,
            "root": str(found.root),
            "pairs": len(found.pairs),
            "published": found.published,
            "missing": found.missing,
            "surplus": found.surplus,
            "mismatched": wrong,
            "notes": found.notes,
            "complete": not (short or found.missing or wrong),
        }
        output.result(value, text(found, split.value, wrong))
        if not value["complete"]:
            raise typer.Exit(1)


def text(found: Found, split: str, wrong: Sequence[str]) -> str:
    """What was found, for people."""
    what = "pairs" if any(pair.degraded for pair in found.pairs) or found.missing else "clean pictures"
    count = f"{len(found.pairs):,} {what}"
    if found.published:
        count += f", as published {found.published:,}"
    lines = [f"{found.layout} ({split}): {count}, in {found.root}"]
    if found.published > len(found.pairs):
        lines += [f"missing: {found.published - len(found.pairs):,} of {found.published:,}"]
    lines += _listed("without a clean picture", found.missing)
    lines += _listed("without a degraded picture", found.surplus)
    lines += _listed("do not fit", wrong)
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def _listed(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = [f"  and {len(names) - MOST:,} more (--json lists all)"] if len(names) > MOST else []
    return [f"{title}: {len(names):,}", *(f"  {name}" for name in names[:MOST]), *more]
