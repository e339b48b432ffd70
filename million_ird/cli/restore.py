"""`mird restore`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table

if TYPE_CHECKING:
    from million_ird.restore.folder import Done, Summary
    from million_ird.restore.suggest import Seen

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
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help="Folder of save_pretrained, Hub name, or tiny (in the package).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder to write to.", show_default=False)
    ] = None,
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
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Only say what degradations are seen, and which adapters of M are for them."),
    ] = False,
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
        from million_ird.errors import ConfigError

        need_torch()
        if suggest:
            if out is not None:
                raise ConfigError(f"--suggest writes nothing; leave --out {out} out")
            _suggest(output, inputs, model, strict)
            return
        if model is None or out is None:
            raise ConfigError(f"{'--model' if model is None else '--out'}: missing; name the network and the folder")
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


def _suggest(output: Output, inputs: list[str], model: str | None, strict: bool) -> None:
    """Say what is seen in each input; restore nothing."""
    from million_ird.restore.suggest import NAMES, suggest

    adapters = [] if model is None else getattr(load(model, None, "auto"), "adapter_names", [])

    def tell(found: Seen) -> None:
        if found.status != "ok":
            output.warn(f"{found.uri}: {found.status}: {found.detail}")

    pictures = suggest(inputs, adapters, tell)
    rows = [("picture", "seen", "adapters" if adapters else "recipes")]
    for found in pictures:
        if found.status == "ok":
            words = ", ".join(f"{name} ({amount})" for name, amount in found.seen.items())
            remedy = found.adapters if adapters else ", ".join(NAMES[name][0] for name in found.seen)
            rows.append((found.uri, words or "nothing", remedy or "-"))
    output.result({"pictures": [found.as_dict() for found in pictures]}, table(rows))
    usable = len(rows) - 1
    if usable < len(pictures) and (strict or not usable):
        raise typer.Exit(3 if strict else 1)


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
        try:
            net.variant = [int(n) for n in numbers] if all(n.strip().isdigit() for n in numbers) else variant
        except ConfigError:
            raise ConfigError(f"--variant {variant}: s, l, or four numbers of 1 and more, like 2,3,3,4") from None
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
