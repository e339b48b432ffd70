"""Local attention at test time: statistics over a window about each pixel instead of the whole picture.

A network trained on crops has seen the statistics of crops; those of a whole large picture are others (Chu et al.,
"Improving image restoration by revisiting global information aggregation", arXiv 2112.04491). The published code runs
attention in overlapping crops and averages. Here the map is cut into cells of a quarter window; sums are taken once
per cell; a node at each corner of the cells has the sums of the 4 x 4 cells about it (at the border: of the nearest
4 x 4); and what a pixel gets is the bilinear blend of the outputs that the matrices of its cell's corners give. So
windows are not centred on each pixel but on a grid a quarter window wide, between whose nodes the result changes
continuously.

Means over the picture (prompts) stay means over the whole picture; attention between pixels is local as it is. Cells
follow the size of the map, so windows do too: a window of 384 px is 48 px on a map of an eighth of the size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from million_ird.models.blocks import TransformerBlock
from million_ird.models.spatial import SpatialBlock
from million_ird.restore.patches import Block, Run, Span, exact_block, feed_forward, patches, project, spans

CELLS = 4
"""Cells along the side of a window."""


def local_block(height: int, window: int, values: int) -> Run:
    """A function that runs a block with local statistics.

    Args:
        height: rows of the network's input, px: says how much smaller a block's map is.
        window: side of the window on the network's input, px.
        values: of a patch of the feed-forward part.
    """

    exact = exact_block(values)

    def run(block: Block, x: Tensor) -> Tensor:
        if isinstance(block, SpatialBlock):
            return exact(block, x)
        side = max(1, round(window * x.shape[1] / height))
        rows, columns = (cells(length, side) for length in x.shape[1:3])
        if len(rows) == len(columns) == 1:
            return exact(block, x)
        out = attend(block, x, rows, columns)
        feed_forward(block, out, *patches(x.shape, values))
        return out

    return run


def cells(length: int, window: int) -> list[Span]:
    """Cells of about a quarter window along one axis; one cell where the window holds the axis."""
    count = round(length * CELLS / window)
    if count <= CELLS:
        return spans([0, length])
    return spans([index * length // count for index in range(count + 1)])


def attend(block: TransformerBlock, x: Tensor, rows: list[Span], columns: list[Span]) -> Tensor:
    """x + MDTA(norm x) for one image (1, H, W, C), with the sums of each pixel's neighbourhood."""
    sums = [window_sums(kind) for kind in cell_sums(block, x, rows, columns)]
    out = torch.empty_like(x)
    lower = matrices(block, sums, 0)
    for index, row in enumerate(rows):
        upper, lower = lower, matrices(block, sums, min(index + 1, len(sums[0]) - 1))
        for place, column in enumerate(columns):
            v = project(block, x, row, column, slice(2, 3))
            right = min(place + 1, len(upper) - 1)
            corners = torch.stack([upper[place], upper[right], lower[place], lower[right]])
            own = (slice(None), row.own, column.own)
            out[own] = x[own] + blend(block, v, corners)
    return out


def cell_sums(block: TransformerBlock, x: Tensor, rows: list[Span], columns: list[Span]) -> list[Tensor]:
    """`MDTA.statistics` of each cell: three tensors (rows, columns, heads, ...)."""
    found = []
    for row in rows:
        for column in columns:
            found.append(block.attn.statistics(project(block, x, row, column, slice(0, 2))))
    return [torch.cat(kind).unflatten(0, (len(rows), len(columns))) for kind in zip(*found, strict=True)]


def window_sums(found: Tensor) -> Tensor:
    """Sums (R, S, ...) of cells to those of the 4 x 4 about each of (R + 1, S + 1) nodes; one on an axis of one."""
    for axis in (0, 1):
        count = found.shape[axis]
        if count == 1:
            continue
        firsts = [min(max(node - CELLS // 2, 0), count - CELLS) for node in range(count + 1)]
        parts = [found.narrow(axis, first, CELLS).sum(axis, keepdim=True) for first in firsts]
        found = torch.cat(parts, axis)
    return found


def matrices(block: TransformerBlock, sums: list[Tensor], row: int) -> Tensor:
    """The mixing matrices (nodes, C, C) of one row of nodes."""
    gram, q_sq, k_sq = (kind[row] for kind in sums)
    return block.attn.mixing(gram, q_sq, k_sq)


def blend(block: TransformerBlock, v: Tensor, corners: Tensor) -> Tensor:
    """v (1, h, w, C) by four matrices (upper left, upper right, lower left, lower right), blended bilinearly."""
    _, height, width, _ = v.shape
    down = ((torch.arange(height, device=v.device) + 0.5) / height).view(1, -1, 1, 1)
    right = ((torch.arange(width, device=v.device) + 0.5) / width).view(1, 1, -1, 1)
    weights = (1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right
    total = torch.zeros_like(v)
    for weight, matrix in zip(weights, corners, strict=True):
        total += weight * block.attn.mix(v, matrix[None])
    return total
