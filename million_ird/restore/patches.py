"""One block of a network over a large map, patch by patch, with the result of the whole.

Legend: B images, H rows, W columns, C channels; tensors are contiguous (B, H, W, C).

Channel attention needs the pixels twice: once for sums over all of them, once to be mixed by the matrix that follows
from the sums; everything else of a block looks one pixel far. So no more than the map that comes in, the map that goes
out and one patch's work are ever in memory, and the work stays in the processor's cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from million_ird.models.blocks import TransformerBlock
from million_ird.models.spatial import SpatialBlock

CPU_VALUES = 8192 * 96
"""Values (pixels x channels) of a patch on a CPU: what fits the second-level cache is fastest."""
SPATIAL = 4
"""How much larger a patch is where it needs a halo of a whole window."""
DEVICE_VALUES = 131072 * 96
"""Values of a patch elsewhere, where each operation has a cost of its own."""

Block = TransformerBlock | SpatialBlock
Run = Callable[[Any, Tensor], Tensor]
"""Of a block and its input, (B, H, W, C), the output."""


class Span(NamedTuple):
    """A range of rows or columns: `own`; with what it looks at on either side, `outer`; and where it lies in that."""

    outer: slice
    inner: slice
    own: slice


def spans(edges: Sequence[int], halo: int = 1) -> list[Span]:
    """The ranges between neighbouring edges; the last edge is the length of the axis."""
    found = []
    for first, last in pairwise(edges):
        begin, end = max(first - halo, 0), min(last + halo, edges[-1])
        found.append(Span(slice(begin, end), slice(first - begin, last - begin), slice(first, last)))
    return found


def even(length: int, most: int) -> list[int]:
    """Edges that cut `length` into the fewest equal ranges of at most `most`."""
    count = -(-length // most)
    return [index * length // count for index in range(count + 1)]


def patches(shape: Sequence[int], values: int) -> tuple[list[Span], list[Span]]:
    """Rows and columns of patches of a map (B, H, W, C): full rows while they are short, else squares."""
    _, height, width, dim = shape
    pixels = max(values // dim, 64)
    rows = min(height, max(pixels // width, math.isqrt(pixels)))
    return spans(even(height, rows)), spans(even(width, max(pixels // rows, 1)))


def exact_block(values: int) -> Run:
    """A function that runs a block patch by patch; as the block itself but for the order of sums."""

    def run(block: Block, x: Tensor) -> Tensor:
        if x.numel() <= values:
            return block_itself(block, x)
        if isinstance(block, SpatialBlock):
            return spatial(block, x, values)
        rows, columns = patches(x.shape, values)
        matrix = block.attn.mixing(*sums_over(block, x, rows, columns))
        out = torch.empty_like(x)
        for row in rows:
            for column in columns:
                v = project(block, x, row, column, slice(2, 3))
                own = (slice(None), row.own, column.own)
                out[own] = x[own] + block.attn.mix(v, matrix)
        feed_forward(block, out, rows, columns)
        return out

    return run


def spatial(block: SpatialBlock, x: Tensor, values: int) -> Tensor:
    """A block whose windows of pixels look at a margin about them: patches of whole windows, with a window's halo."""
    window = block.attn.window
    side = max(math.isqrt(SPATIAL * values // x.shape[-1]) // window, 1) * window
    out = torch.empty_like(x)
    rows, columns = (spans([*range(0, length, side), length], window) for length in x.shape[1:3])
    for row in rows:
        for column in columns:
            own = (slice(None), row.own, column.own)
            seen = block.norm1(x[:, row.outer, column.outer].contiguous())
            out[own] = x[own] + block.attn(seen)[:, row.inner, column.inner]
    feed_forward(block, out, *patches(x.shape, values))
    return out


def block_itself(block: Block, x: Tensor) -> Tensor:
    """The block as its class has it."""
    forward: Any = type(block).forward
    return forward(block, x)


def project(block: TransformerBlock, x: Tensor, row: Span, column: Span, parts: slice) -> Tensor:
    """q, k, v or some of them of one patch of x (B, H, W, C): (B, h, w, C * number of parts)."""
    normed = block.norm1(x[:, row.outer, column.outer].contiguous())
    return block.attn.project(normed, parts)[:, row.inner, column.inner]


def sums_over(block: TransformerBlock, x: Tensor, rows: list[Span], columns: list[Span]) -> list[Tensor]:
    """`MDTA.statistics` of all of x, summed in double precision where the device has it."""
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    totals: list[Tensor] = []
    parts: Sequence[Tensor] = ()
    for row in rows:
        for column in columns:
            parts = block.attn.statistics(project(block, x, row, column, slice(0, 2)))
            if not totals:
                totals = [torch.zeros_like(part, dtype=wide) for part in parts]
            for total, part in zip(totals, parts, strict=True):
                total += part
    return [total.to(part.dtype) for total, part in zip(totals, parts, strict=True)]


def feed_forward(block: Block, x: Tensor, rows: list[Span], columns: list[Span]) -> None:
    """x + GDFN(norm x), written over x (B, H, W, C)."""
    above: Tensor | None = None
    for row in rows:
        band = x[:, row.outer].clone()  # the row above is written over already
        if above is not None:
            band[:, :1] = above
        above = band[:, row.inner][:, -1:].clone()
        for column in columns:
            hidden = block.ffn.expand(block.norm2(band[:, :, column.outer].contiguous()))
            x[:, row.own, column.own] += block.ffn.contract(hidden[:, row.inner, column.inner])


@contextmanager
def blocks_run_by(net: nn.Module, run: Run) -> Iterator[None]:
    """Within, every block of `net` is run by `run`; a block with a forward pass of its own class is left alone."""
    kinds = TransformerBlock.forward, SpatialBlock.forward
    blocks: list[Any] = [module for module in net.modules() if type(module).forward in kinds]
    try:
        for block in blocks:
            block.forward = functools.partial(run, block)
        yield
    finally:
        for block in blocks:
            del block.forward
