"""One picture through a network: any size, any kind of pixel, as much of it at a time as fits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from million_ird.errors import ConfigError, InputError
from million_ird.restore import memory
from million_ird.restore.patches import CPU_VALUES, DEVICE_VALUES, blocks_run_by, exact_block
from million_ird.restore.pixels import Form, padded, take_apart
from million_ird.restore.tiles import bands
from million_ird.restore.tlc import local_block

Mode = Literal["auto", "exact", "tile", "tlc"]
MODES = ("auto", "exact", "tile", "tlc")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALLEST_TILE = 128
"""Side below which `auto` makes tiles no smaller, px: a network has to see something."""


@dataclass(frozen=True)
class Way:
    """How a picture is restored: what `auto` came to.

    Attributes:
        mode: "exact", "tile" or "tlc".
        tile: side of a tile, px (mode "tile").
    """

    mode: str
    tile: int


def restore(
    net: nn.Module,
    image: NDArray[Any],
    mode: Mode = "auto",
    tile: int = 512,
    overlap: int = 32,
    device: str = "auto",
    dtype: str = "auto",
    *,
    window: int = 384,
    budget: int | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[Any]:
    """The picture as the network gives it back: same shape, same type.

    Args:
        net: a network of `million_ird.models`: (B, 3, H, W) float to the same, H and W multiples of `net.multiple`.
        image: (H, W, 3) RGB, (H, W, 4) RGBA, (H, W) or (H, W, 1) grey, (H, W, 2) grey and alpha; uint8, uint16 or float
            in [0, 1]; any size from 1 x 1. Grey is run as RGB and averaged back, alpha is carried over.
        mode: "exact": the whole picture, as in one piece to 1e-5, patch by patch; "tile": overlapping tiles, each a
            picture of its own to the network; "tlc": as exact, but with attention from windows (see `tlc`); "auto":
            exact where it fits in `budget`, else tiles, of half the side or a quarter where even one does not fit.
        tile: side of a tile, px.
        overlap: of neighbouring tiles, px; at most half a tile.
        device: "cpu", "cuda", "cuda:1", "mps"; "auto": where the network is.
        dtype: "fp32", "bf16", "fp16" (under autocast: sums over pixels and what is added to the picture stay float32);
            "auto": bf16 on CUDA cards that have it, else fp32.
        window: side of a window of "tlc", px.
        budget: bytes that the picture may take on the device; None: most of what is free.
        watch: told (tiles done, tiles in all); in the other modes (1, 1) at the end.

    Raises:
        ConfigError: an argument is not one of those above, or the network's weights are not float32.
        InputError: mode "exact" or "tlc" needs more memory than there is.
        MirdError: the network gave values that are no finite numbers.
        ValueError: the image is of another shape, type or range.
    """
    return run(net, image, mode, tile, overlap, device, dtype, window, budget, watch)[0]


def run(
    net: nn.Module,
    image: NDArray[Any],
    mode: str,
    tile: int,
    overlap: int,
    device: str,
    dtype: str,
    window: int,
    budget: int | None,
    watch: Callable[[int, int], None],
) -> tuple[NDArray[Any], Way]:
    """As `restore`, and how it was done."""
    light, form = take_apart(image)
    check(mode, tile, overlap, window)
    check_weights(net)
    place = next(net.parameters()).device if device == "auto" else torch.device(device)
    training = net.training
    net.to(place).eval()
    try:
        with torch.no_grad(), precision(place, dtype):
            way = choose(net, light.shape[0], light.shape[1], mode, tile, overlap, budget)
            if place.type == "cpu":
                memory.suit_malloc(memory.estimate(net, *([way.tile] * 2 if way.mode == "tile" else light.shape[:2])))
            done = None
            if way.mode != "tile":
                try:
                    done = form.pixels(_whole(net, light, way.mode, window))
                    watch(1, 1)
                except torch.OutOfMemoryError:  # others use the card too
                    if mode != "auto":
                        raise
                    way = Way("tile", way.tile)
            if done is None:
                done = _in_tiles(net, light, form, way.tile, overlap, watch)
    finally:
        net.train(training)
    return form.finish(done), way


def check(mode: str, tile: int, overlap: int, window: int) -> None:
    """Raise `ConfigError` where an argument of `restore` cannot be."""
    if mode not in MODES:
        raise ConfigError(f"mode {mode}: unknown; known: {', '.join(MODES)}")
    if tile < 16:
        raise ConfigError(f"tile {tile}: must be 16 px or more")
    if not 0 <= overlap <= tile // 2:
        raise ConfigError(f"overlap {overlap}: must be from 0 to half a tile, {tile // 2} px")
    if window < 16:
        raise ConfigError(f"window {window}: must be 16 px or more")


def check_weights(net: nn.Module) -> None:
    """Raise `ConfigError` where a network is not float32: what it is run in is chosen otherwise (`dtype`)."""
    for parameter in net.parameters():
        if parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise ConfigError(f"the network's weights are {kind}; call net.float() first")


def choose(
    net: nn.Module, height: int, width: int, mode: str, tile: int, overlap: int = 32, budget: int | None = None
) -> Way:
    """How a picture of this size is restored; call it where the network is to run, in the precision it is to run in.

    Raises:
        InputError: the mode was asked for and does not fit in `budget` or, without one, in the memory that is free.
    """
    multiple = multiple_of(net)
    tile = max(tile // multiple, 1) * multiple
    free = memory.available(next(net.parameters()).device) if budget is None else budget
    if mode == "tile":
        return Way(mode, tile)
    needed = memory.estimate(net, height + -height % multiple, width + -width % multiple)
    if mode != "auto":
        if needed > free:
            raise InputError(
                f"mode {mode}: {width}x{height} px need about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
                "are free; use mode tile or auto"
            )
        return Way(mode, tile)
    most = free * memory.SHARE if budget is None else free
    if needed <= most:
        return Way("exact", tile)
    while memory.estimate(net, tile, tile) > most and tile // 2 >= max(SMALLEST_TILE, 2 * overlap):
        tile = tile // 2 // multiple * multiple
    return Way("tile", tile)


def multiple_of(net: nn.Module) -> int:
    """What H and W of a network's input have to be multiples of."""
    return int(getattr(net, "multiple", 8))


def precision(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    """The autocast that `dtype` means on a device.

    Raises:
        ConfigError: there is no such type.
    """
    if dtype == "auto":
        dtype = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype}: unknown; known: auto, {', '.join(DTYPES)}")
    return nullcontext() if dtype == "fp32" else torch.autocast(device.type, DTYPES[dtype])


def _whole(net: nn.Module, light: NDArray[Any], mode: str = "exact", window: int = 0) -> NDArray[np.float32]:
    """(h, w, 3) pixels to (h, w, 3) float32 by the network, block after block in patches."""
    height, width = light.shape[:2]
    device = next(net.parameters()).device
    values = CPU_VALUES if device.type == "cpu" else DEVICE_VALUES
    image = torch.from_numpy(padded(light, multiple_of(net))).to(device).permute(2, 0, 1).unsqueeze(0)
    run = local_block(image.shape[-2], window, values) if mode == "tlc" else exact_block(values)
    with blocks_run_by(net, run):
        out = net(image)
    return out[0, :, :height, :width].permute(1, 2, 0).float().cpu().numpy()


def _in_tiles(
    net: nn.Module, light: NDArray[Any], form: Form, tile: int, overlap: int, watch: Callable[[int, int], None]
) -> NDArray[Any]:
    done = np.empty((*light.shape[:2], 1 if form.grey else 3), form.dtype)
    with _settled(net, light):
        for first, band in bands(light, lambda crop: _whole(net, crop), tile, overlap, watch):
            done[first : first + len(band)] = form.pixels(band)
    return done


def _settled(net: Any, light: NDArray[Any]) -> AbstractContextManager[Any]:
    """A network that looks at the picture to choose its adapters does so once, not in each tile."""
    if getattr(net, "adapters", None) != "auto":
        return nullcontext()
    image = torch.from_numpy(padded(light, multiple_of(net))).permute(2, 0, 1).unsqueeze(0)
    return net.settled(image.to(next(net.parameters()).device))
