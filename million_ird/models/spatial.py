"""Attention between pixels: each window of pixels looks at itself and a margin around it.

Legend: B images, H rows, W columns, C channels, h heads, c = C / h; w window, o = w + 2m the window with its margins m.
Overlapping windows: HAT (arXiv 2205.04437), section 3.2; in a restoration network: X-Restormer (arXiv 2310.11881).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from million_ird.models.blocks import GDFN, LayerNorm, Pointwise
from million_ird.models.layers import pointwise

LOGITS_BYTES = 32 << 20
"""What the logits may take at a time where no gradient is asked for."""


class WindowAttention(nn.Module):
    """softmax(q k^T / sqrt(c) + a learnt number per head and offset) v; q of a window, k and v of it and its margins.

    Pixels beyond the picture are not looked at, so any H and W will do.

    Args:
        window: rows and columns w of the windows.
        overlap: both margins together, as a share of the window.
    """

    def __init__(self, dim: int, heads: int, window: int = 8, overlap: float = 0.5, bias: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels do not divide into {heads} heads")
        self.heads, self.window, self.margin = heads, window, int(window * overlap / 2)
        self.qkv = Pointwise(dim, 3 * dim, bias)
        self.project_out = Pointwise(dim, dim, bias)
        reach = 2 * (window + self.margin) - 1  # offsets from a query to a key, of rows and of columns
        self.offsets = nn.Parameter(torch.zeros(heads, reach, reach))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C), normalised, -> (B, H, W, C)."""
        qkv = pointwise(x, self.qkv.weight, self.qkv.bias)  # (B, H, W, 3C)
        out = [self._band(qkv, first, last) for first, last in self._bands(x)]
        return pointwise(torch.cat(out, 1), self.project_out.weight, self.project_out.bias)

    def _bands(self, x: Tensor) -> list[tuple[int, int]]:
        """Rows to work on at a time, whole windows; all at once where a gradient is asked for."""
        batch, height, width, _ = x.shape
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return [(0, height)]
        row = 4 * batch * self.heads * width * self._side(2) ** 2 * self.window  # bytes of the logits of w rows
        step = max(1, LOGITS_BYTES // row) * self.window
        return [(first, min(first + step, height)) for first in range(0, height, step)]

    def _side(self, margins: int) -> int:
        return self.window + margins * self.margin

    def _band(self, qkv: Tensor, first: int, last: int) -> Tensor:
        """Rows `first` to `last` of the heads' outputs: (B, H, W, 3C) -> (B, last - first, W, C)."""
        _, height, width, dim = qkv.shape
        dim = dim // 3
        rows, columns = _windows(last - first, self.window), _windows(width, self.window)
        above, below = min(self.margin, first), min(self.margin, height - last)
        q = qkv[:, first:last, :, :dim]
        q = F.pad(q, (0, 0, 0, columns * self.window - width, 0, rows * self.window - (last - first)))
        q = self._split(_cut(_cut(q, 1, self.window), 3, self.window))  # (B, rows, columns, h, w w, c)
        kv = qkv[:, first - above : last + below, :, dim:]
        kv = self._margins(self._margins(kv, 1, rows, self.margin - above), 3, columns, self.margin)
        k, v = self._split(kv[..., :dim]), self._split(kv[..., dim:])  # (B, rows, columns, h, o o, c)
        logits = q * q.shape[-1] ** -0.5 @ k.mT + self._offsets()
        logits = logits.masked_fill(~self._inside(first, height, rows, width, columns, qkv.device), -torch.inf)
        out = torch.softmax(logits, -1).to(v.dtype) @ v
        out = out.transpose(3, 4).flatten(4).unflatten(3, (self.window, self.window))  # (B, rows, columns, w, w, C)
        out = out.transpose(2, 3).flatten(1, 2).flatten(2, 3)
        return out[:, : last - first, :width]

    def _split(self, x: Tensor) -> Tensor:
        """(B, rows, s, columns, s, C) -> (B, rows, columns, h, s s, c)."""
        return x.transpose(2, 3).flatten(3, 4).unflatten(-1, (self.heads, -1)).transpose(3, 4)

    def _margins(self, x: Tensor, axis: int, count: int, before: int) -> Tensor:
        """`count` windows along an axis, each with its margins: (..., length, ...) -> (..., count, o, ...)."""
        after = (count + 1) * self.window - before - x.shape[axis]
        x = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [before, after])
        first = _cut(x.narrow(axis, 0, count * self.window), axis, self.window)
        second = _cut(x.narrow(axis, self.window, count * self.window), axis, self.window)
        return torch.cat([first, second.narrow(axis + 1, 0, 2 * self.margin)], axis + 1)

    def _offsets(self) -> Tensor:
        """What is added to the logits, (h, w w, o o)."""
        query = torch.arange(self.window, device=self.offsets.device)
        key = torch.arange(self._side(2), device=self.offsets.device)
        away = key - query.unsqueeze(1) + self.window - 1  # (w, o), from 0
        table = self.offsets[:, away][..., away]  # (h, w, o, w, o)
        return table.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _inside(self, first: int, height: int, rows: int, width: int, columns: int, device: torch.device) -> Tensor:
        """Which keys lie in the picture: (rows, columns, 1, 1, o o)."""
        key = torch.arange(self._side(2), device=device) - self.margin
        row = first + torch.arange(rows, device=device).unsqueeze(1) * self.window + key
        column = torch.arange(columns, device=device).unsqueeze(1) * self.window + key
        row, column = (row >= 0) & (row < height), (column >= 0) & (column < width)
        return (row[:, None, :, None] & column[:, None, :]).flatten(2)[:, :, None, None]


def _windows(length: int, window: int) -> int:
    """How many windows cover a length. In an exported network more than that: it must hold for one window and many."""
    return -(-length // window) if isinstance(length, int) else length // window + 2


def _cut(x: Tensor, axis: int, window: int) -> Tensor:
    return x.unflatten(axis, (-1, window))


class SpatialBlock(nn.Module):
    """x + WindowAttention(norm x), then x + GDFN(norm x): a transformer block that mixes pixels, not channels."""

    def __init__(
        self,
        dim: int,
        heads: int,
        expansion: float,
        norm_bias: bool = True,
        bias: bool = False,
        window: int = 8,
        overlap: float = 0.5,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, norm_bias)
        self.attn = WindowAttention(dim, heads, window, overlap, bias)
        self.norm2 = LayerNorm(dim, norm_bias)
        self.ffn = GDFN(dim, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))
