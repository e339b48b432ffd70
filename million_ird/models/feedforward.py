"""The gated feed-forward part of a block.

Legend: B images, H rows, W columns, C channels; tensors are contiguous (B, H, W, C).
Formulas: Restormer (arXiv 2111.09881), section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from million_ird.models.layers import Conv, Pointwise, convolve, gate, pointwise, stripes

ALIGN = 8
"""Channels in memory come in multiples of this: 32 bytes of float32 on a CPU, 16 of bfloat16 for tensor cores."""


class GDFN(nn.Module):
    """Gated feed-forward: gelu(a) * b of two halves, each 1x1 then depthwise 3x3, back to C by 1x1.

    int(expansion * dim) is an odd number of channels in the published networks (127, 255, 1021). The weights are filled
    up with zeros to a number that memory likes; the added channels are zero throughout.
    """

    def __init__(self, dim: int, expansion: float, bias: bool = False) -> None:
        super().__init__()
        self.hidden = int(dim * expansion)
        self.width = -(-self.hidden // ALIGN) * ALIGN
        if self.width % 256 == 0:  # rows a power of two apart would share one corner of the cache
            self.width += ALIGN
        self.project_in = Pointwise(dim, 2 * self.hidden, bias)
        self.dwconv = Conv(2 * self.hidden, 2 * self.hidden, bias, groups=2 * self.hidden)
        self.project_out = Pointwise(self.hidden, dim, bias)

    def expand(self, x: Tensor) -> Tensor:
        """(B, H, W, C), normalised, -> (B, H, W, 2 * width); beyond the border are zeros."""
        return _expand(x, *self._inner())

    def contract(self, hidden: Tensor) -> Tensor:
        """(B, H, W, 2 * width) -> (B, H, W, C)."""
        return pointwise(gate(hidden), self._outer(), self.project_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C), normalised, -> (B, H, W, C)."""
        rows = stripes(x, 4 * self.width)
        if len(rows) == 1:
            return self.contract(self.expand(x))
        inner, outer, bias = self._inner(), self._outer(), self.project_out.bias
        if not torch.is_grad_enabled():
            out = [pointwise(gate(_expand(x[:, read], *inner)[:, keep]), outer) for read, keep in rows]
            whole = torch.cat(out, 1)
        elif inner[0].ndim == outer.ndim == 2 and inner[2].ndim == 4:
            whole = _Striped.apply(x, rows, outer, *inner)
        else:
            whole = pointwise(gate(_expand(x, *inner)), outer)
        return whole if bias is None else whole + bias

    def _inner(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Weight and bias of the two layers of `expand`."""
        point, depth = self.project_in, self.dwconv
        return (
            self._fill(point.weight, -2),
            self._fill(point.bias, -1),
            self._fill(depth.weight, -4),
            self._fill(depth.bias, -1),
        )

    def _outer(self) -> Tensor:
        weight = self.project_out.weight
        return weight if self.width == self.hidden else self._zeros_behind(weight, -1)

    def _fill(self, tensor: Tensor | None, dim: int) -> Any:
        """Zeros behind each of the two halves of dimension `dim`."""
        if tensor is None or self.width == self.hidden:
            return tensor
        return self._zeros_behind(tensor.unflatten(dim, (2, -1)), dim).flatten(dim - 1, dim)

    def _zeros_behind(self, tensor: Tensor, dim: int) -> Tensor:
        shape = list(tensor.shape)
        shape[dim] = self.width - self.hidden
        return torch.cat([tensor, tensor.new_zeros(shape)], dim)


def _expand(x: Tensor, point: Tensor, shift: Tensor | None, depth: Tensor, bias: Tensor | None) -> Tensor:
    return convolve(pointwise(x, point, shift), depth, bias, groups=depth.shape[-4])


class _Striped(torch.autograd.Function):
    """The whole part in stripes of rows, forward and backward: on a CPU and on large maps a fifth of a step.

    Legend: R rows of a stripe with its neighbours, r without, D = 2 * width.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: list[tuple[slice, slice]], outer: Tensor, *inner: Tensor | None) -> Tensor:
        point, shift, depth, bias = inner
        assert point is not None and depth is not None
        out, kept = [], []
        for read, keep in rows:
            before = pointwise(x[:, read], point, shift)  # (B, R, W, D)
            after = convolve(before, depth, bias, groups=len(depth))[:, keep]  # (B, r, W, D)
            out.append(pointwise(gate(after), outer))
            kept += [before, after]
        ctx.save_for_backward(x, outer, point, depth, *kept)
        ctx.rows, ctx.biases = rows, [shift is not None, bias is not None]
        return torch.cat(out, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, *weights = ctx.saved_tensors[:4]
        kept = iter(ctx.saved_tensors[4:])
        outer, point, depth = (weight.to(grads[0].dtype) for weight in weights)
        dx, (douter, dpoint, ddepth) = torch.zeros_like(x), map(torch.zeros_like, weights)
        dshift, dbias = (weight.new_zeros(len(weight)) for weight in weights[1:])
        first = 0
        for (read, keep), before, after in zip(ctx.rows, kept, kept, strict=True):
            last = first + keep.stop - keep.start
            dout, first = grads[0][:, first:last], last
            dafter = torch.zeros_like(before)
            gated = _gate_backward(after, dout @ outer, dafter[:, keep])
            douter += dout.flatten(0, 2).mT @ gated.flatten(0, 2)
            dbefore, found, dsum = torch.ops.aten.convolution_backward(
                *(t.permute(0, 3, 1, 2) for t in (dafter, before)), depth, [len(depth)], [1, 1], [1, 1], [1, 1],
                False, [0, 0], len(depth), [True, True, ctx.biases[1]],
            )  # fmt: skip
            ddepth += found
            dbias += dsum if ctx.biases[1] else 0
            dbefore = dbefore.permute(0, 2, 3, 1)
            dpoint += dbefore.flatten(0, 2).mT @ x[:, read].flatten(0, 2).to(dbefore.dtype)
            dshift += dbefore.sum((0, 1, 2)) if ctx.biases[0] else 0
            dx[:, read] += dbefore @ point
        return dx, None, douter, dpoint, dshift if ctx.biases[0] else None, ddepth, dbias if ctx.biases[1] else None


def _gate_backward(x: Tensor, dout: Tensor, dx: Tensor) -> Tensor:
    """Writes the derivative of `gate` at x into dx; returns the gate's output."""
    a, b = x.unflatten(-1, (2, -1)).unbind(-2)
    da, db = dx.unflatten(-1, (2, -1)).unbind(-2)
    out = F.gelu(a)
    torch.mul(dout, out, out=db)
    torch.mul(dout, b, out=da)
    torch.ops.aten.gelu_backward.grad_input(da, a, grad_input=da)
    return out.mul_(b)
