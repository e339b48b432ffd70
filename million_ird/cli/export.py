"""`mird export`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose
from million_ird.cli.restore import Adapter, Model, Variant, load, need_torch

EXAMPLE = "Example: mird export --model tiny --format onnx --out tiny.onnx"


class Format(StrEnum):
    """What is written."""

    onnx = "onnx"
    torch = "torch"


def command(
    model: Model = ...,  # type: ignore[assignment]
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="File to write.")] = ...,  # type: ignore[assignment]
    format: Annotated[Format, typer.Option(help="ONNX, or a program for torch.export.load.")] = Format.onnx,
    variant: Variant = None,
    adapter: Adapter = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a network as one file for other programs: any height and width that are multiples of 8."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        need_torch()
        from dataclasses import asdict

        from million_ird.restore.export import export

        net = load(model, variant, adapter)
        with output.progress() as watch:
            watch("export", 0, 1)
            done = export(net, out, format.value)
            watch("export", 1, 1)
        text = (
            f"{done.path}: {done.bytes / 1e6:,.1f} MB, differs from the network by {max(done.differences):.1g} at most"
        )
        output.result(asdict(done), text)
