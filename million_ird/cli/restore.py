"""`mird restore`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose

if TYPE_CHECKING:
    from million_ird.restore.folder import Done, Summary

EXAMPLE = "Example: mird restore photos/ --model tiny --out DIR"

Model = Annotated[
    str, typer.Option("--model", metavar="M", help="Folder of save_pretrained, Hub name, or tiny (in the package).")
]
Variant = Annotated[
    str | None, typer.Option(metavar="s|l", help="DyNet: which depth; or four numbers, 2,3,3,4.", show_default=False)
]
Adapter = Annotated[
    str, typer.Option(metavar="auto|NAME|A:0.5,B:0.5", help="ABAIR: which adapters; auto: as the estimator sees it.")
]


Tile = Annotated[int, typer.Option(metavar="PX", help="Side of a tile.")]
Overlap = Annotated[int, typer.Option(metavar="PX", help="Overlap of neighbouring tiles.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto: the best there is.")]
MallocTuning = Annotated[bool, typer.Option(help="On a CPU let glibc keep freed memory: up to twice as fast.")]


class Mode(StrEnum):
    """How a large picture is run."""

    auto = "auto"
    exact = "exact"
    tile = "tile"
    tlc = "tlc"


class DType(StrEnum):
    """Precision."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Format(StrEnum):
    """What is written."""

    png = "png"
    same = "same"


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Images, folders, globs, .tar, .zip.", show_default=False),
    ],
    model: Model = ...,  # type: ignore[assignment]
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to write to.")] = ...,  # type: ignore[assignment]
    mode: Annotated[
        Mode,
        typer.Option(help="exact: as in one piece; tile: overlapping tiles; tlc: local attention; auto: by memory."),
    ] = Mode.auto,
    tile: Tile = 512,
    overlap: Overlap = 32,
    window: Annotated[int, typer.Option(metavar="PX", help="Side of a window of --mode tlc.")] = 384,
    device: Device = "auto",
    dtype: Annotated[DType, typer.Option(help="auto: bf16 on CUDA cards that have it, else fp32.")] = DType.auto,
    variant: Variant = None,
    adapter: Adapter = "auto",
    format: Annotated[Format, typer.Option(help="Write PNG, or the format of each input.")] = Format.png,
    fresh: Annotated[bool, typer.Option("--fresh", help="Write over what DIR holds (never over an input).")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 where an input could not be used.")] = False,
    malloc_tuning: MallocTuning = True,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Restore pictures of any size with a network; names, folders, alpha, 16 bits and colour profiles stay."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        need_torch()
        if malloc_tuning:
            from million_ird.restore import tune_malloc

            tune_malloc()
        from million_ird.models.devices import find_device
        from million_ird.restore.folder import Settings, restore_files

        place = find_device(device, "--device")
        net = load(model, variant, adapter)
        settings = Settings(mode.value, tile, overlap, place, dtype.value, window, format=format.value)
        with output.progress() as watch:
            summary = restore_files(
                net, inputs, out, settings, fresh=fresh, watch=watch, tell=lambda done: _tell(output, done)
            )
        output.result(summary.as_dict(), text(summary))
        if summary.failed:
            if strict:
                output.warn(f"--strict: {summary.failed} inputs could not be used")
                raise typer.Exit(3)
            if summary.failed == len(summary.pictures):
                raise typer.Exit(1)


def need_torch() -> None:
    """Raise `MirdError` where torch is not installed."""
    import importlib.util

    from million_ird.errors import MirdError

    if importlib.util.find_spec("torch") is None:
        raise MirdError('torch is not installed: pip install "million-ird[train]"')


def load(model: str, variant: str | None, adapter: str) -> Any:
    """The network as the command line asks for it, in float32 however it was saved.

    Raises:
        InputError: there is no such model.
        ConfigError: it has no variants or adapters, or not these.
    """
    from million_ird import models
    from million_ird.errors import ConfigError

    net = models.load(model).float()
    if variant is not None:
        if not hasattr(net, "variant"):
            raise ConfigError(f"--variant {variant}: {net.family} has no variants")
        numbers = variant.split(",")
        net.variant = [int(n) for n in numbers] if all(n.strip().isdigit() for n in numbers) else variant
    names = getattr(net, "adapter_names", [])
    if adapter != "auto":
        if not hasattr(net, "adapters"):
            raise ConfigError(f"--adapter {adapter}: this {net.family} has no adapters")
        net.adapters = adapter
    elif names and getattr(net, "estimator", None) is not None:
        net.adapters = "auto"
    return net


def _tell(output: Output, done: Done) -> None:
    if done.status not in ("ok", "there"):
        output.warn(f"{done.uri}: {done.status}: {done.detail}")
    elif done.seen:
        output.say(f"{done.uri}: seen: " + ", ".join(f"{name} {share:.2f}" for name, share in _ranked(done.seen)))
    if output.verbose and done.status == "ok":
        tiles = f" of {done.tile} px" if done.mode == "tile" else ""
        output.say(f"{done.uri}: {done.mode}{tiles}, {done.seconds:.1f} s")


def _ranked(seen: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(seen.items(), key=lambda pair: -pair[1])


def text(summary: Summary) -> str:
    """What became of the pictures, for people."""
    restored, there = summary.count("ok"), summary.count("there")
    parts = [f"restored {restored:,} of {len(summary.pictures):,} pictures in {summary.seconds:.1f} s"]
    parts += [f"{there:,} were there already (--fresh restores them again)"] if there else []
    parts += [f"{summary.failed:,} could not be used"] if summary.failed else []
    parts += [f"passed over: {count:,} {kind}" for kind, count in summary.skipped.items()]
    return "; ".join(parts) + f"\npictures: {summary.out}"
