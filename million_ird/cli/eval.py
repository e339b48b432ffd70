"""`mird eval`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from million_ird.cli.output import Json, Output, Quiet, Verbose, table
from million_ird.cli.restore import (
    Device,
    DType,
    MallocTuning,
    Mode,
    Model,
    Overlap,
    Tile,
    Variant,
    load,
    need_torch,
)

if TYPE_CHECKING:
    from million_ird.evaluate.sets import Spec, TestSet

BLENDS = ("oh", "sw", "sum", "average")
EXAMPLE = "Example: mird eval --model tiny --on mine=photos/,sigma=25 --out table.json"


class ProtocolName(StrEnum):
    """How outputs are judged."""

    published = "published"
    strict = "strict"


def command(
    model: Model = ...,  # type: ignore[assignment]
    on: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=[LAYOUT:]PATH[,sigma=25]",
            help="A test set; may be repeated. NAME: a layout of `mird data check`, or any label. After commas: "
            "sigma=, recipe=, variant=, adapter=, limit=, split=, seed=.",
        ),
    ] = ...,  # type: ignore[assignment]
    out: Annotated[
        str, typer.Option(metavar="FILE.json", help="Table to write; .csv, .md, .tex and crops go beside it.")
    ] = ...,  # type: ignore[assignment]
    protocol: Annotated[
        ProtocolName,
        typer.Option(
            help="strict: whole pictures, 8-bit output, Gaussian SSIM, noise by name; published: cut to 16, unrounded, "
            "uniform SSIM, noise floored, as in the PromptIR and DyNet code."
        ),
    ] = ProtocolName.strict,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="More metrics: niqe, or pyiqa:NAME where pyiqa is installed.", show_default=False
        ),
    ] = None,
    ledger: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Output of `mird build` trained on: warn of test pictures it has seen."),
    ] = None,
    crops: Annotated[bool, typer.Option(help="Write crops of each set's worst and median picture.")] = True,
    mode: Annotated[Mode, typer.Option(help="How pictures are run, as in mird restore.")] = Mode.auto,
    tile: Tile = 512,
    overlap: Overlap = 32,
    device: Device = "auto",
    dtype: Annotated[DType, typer.Option(help="Precision of the network.")] = DType.fp32,
    variant: Variant = None,
    adapter: Annotated[
        str,
        typer.Option(
            metavar="auto|oh|sw|none|NAME|A:0.5,B:0.5",
            help="ABAIR: which adapters. oh, sw, sum, average: as the estimator sees it, blended so; none: the base.",
        ),
    ] = "auto",
    malloc_tuning: MallocTuning = True,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a network on test sets by a named protocol: each picture, and the input's own score beside it."""
    output = Output(quiet, verbose, json)
    with output.guarded():
        need_torch()
        from million_ird.evaluate import protocols
        from million_ird.evaluate.suite import suite
        from million_ird.models.devices import find_device

        path = _checked(out)
        sets = _open(on)
        judge = protocols.find(protocol.value)
        place = find_device(device, "--device")
        names = (*judge.metrics, *_more(metrics, judge.metrics))
        if malloc_tuning:
            from million_ird.restore import tune_malloc

            tune_malloc()
        nets = _Nets(model, variant, adapter, (mode.value, tile, overlap, place, dtype.value))
        for test in sets:
            nets.net(test.spec)  # a wrong variant or adapter is reported before the first picture
        output.say(judge.about)
        with output.progress() as watch:
            done, files = suite(
                *(_short(model), sets, nets.restore, judge, names, path),
                ledgers=_ledgers(model, ledger),
                crops=crops,
                facts={"device": place, "dtype": dtype.value, "mode": mode.value},
                watch=watch,
                warn=output.warn,
            )
        shown = [str(file) for file in files]
        value = {**done.as_dict(), "files": shown}
        for one in value["sets"]:
            del one["per_image"]
        right = range(1, len(done.metrics) + 2)
        lines = [table(done.rows(), right), "each cell: restored (degraded input)", f"written: {', '.join(shown)}"]
        output.result(value, "\n".join(lines))


def _checked(out: str) -> Path:
    from million_ird.errors import ConfigError

    if not out.endswith(".json"):
        raise ConfigError(f"--out {out}: name a file that ends in .json")
    return Path(out)


def _open(on: Sequence[str]) -> list[TestSet]:
    from million_ird.errors import ConfigError
    from million_ird.evaluate.sets import open_set, parse

    specs = [parse(text) for text in on]
    labels = [spec.label for spec in specs]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ConfigError(f"--on {twice[0]}: given twice; give one of them another name")
    return [open_set(spec) for spec in specs]


def _more(metrics: str | None, known: Sequence[str]) -> list[str]:
    from million_ird.evaluate.metrics import metric

    names = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    for name in names:
        metric(name)  # a wrong name is reported before the first picture
    return [name for name in dict.fromkeys(names) if name not in known]


def _ledgers(model: str, given: Sequence[str] | None) -> list[Any]:
    from million_ird.evaluate.contamination import ledger_of, near_by

    return [ledger_of(folder) for folder in given or near_by(model)]


class _Nets:
    """The network, as each set asks for it."""

    def __init__(self, model: str, variant: str | None, adapter: str, way: tuple[Any, ...]) -> None:
        self.model, self.variant, self.adapter, self.way = model, variant, adapter, way
        self._nets: dict[tuple[str | None, str], Any] = {}

    def net(self, spec: Spec) -> Any:
        """With the variant and the adapter of a set, or else of the command."""
        key = spec.variant or self.variant, spec.adapter or self.adapter
        if key not in self._nets:
            self._nets[key] = _load(self.model, *key)
        return self._nets[key]

    def restore(self, spec: Spec) -> _Restored:
        """What restores the pictures of a set."""
        return _Restored(self.net(spec), self.way)


def _load(model: str, variant: str | None, adapter: str) -> Any:
    """As `mird restore`, and the ways of ABAIR's table: oh, sw, sum, average (of what the estimator sees), none."""
    from million_ird.errors import ConfigError

    if adapter not in (*BLENDS, "none"):
        return load(model, variant, adapter.replace("+", ","))
    net = load(model, variant, "auto")
    if not getattr(net, "adapter_names", None):
        raise ConfigError(f"adapter {adapter}: this {net.family} has no adapters")
    if adapter == "none":
        net.adapters = None
    elif getattr(net, "estimator", None) is None:
        raise ConfigError(f"adapter {adapter}: this {net.family} has no estimator; name adapters instead")
    else:
        net.blend = adapter
    return net


class _Restored:
    """(H, W, 3) float32 in [0, 1] to the same, by `million_ird.restore`; counts what did not fit in one piece."""

    def __init__(self, net: Any, way: tuple[Any, ...]) -> None:
        self.net, self.way, self.tiled = net, way, 0

    def __call__(self, image: Any) -> Any:
        from million_ird.restore.picture import run

        mode, tile, overlap, device, dtype = self.way
        picture, way = run(self.net, image, mode, tile, overlap, device, dtype, 384, None, lambda done, total: None)
        self.tiled += way.mode == "tile"
        return picture

    @property
    def warnings(self) -> list[str]:
        """What makes the scores doubtful."""
        return [f"{self.tiled} pictures were restored in tiles, which changes the scores"] if self.tiled else []


def _short(model: str) -> str:
    """Of a path its last two parts, which say which model but not whose machine."""
    path = Path(model)
    return "/".join(path.resolve().parts[-2:]) if path.is_dir() else model
