"""The layers that the blocks are made of: convolutions of NHWC tensors, norms, the gate.

Legend: B images, H rows, W columns, C and D channels. Tensors are contiguous (B, H, W, C), torch's channels_last seen
from the other side: a 1x1 convolution is one matrix product, the norm over channels reads memory in order, and the
depthwise convolution runs over channels. Weights may have a leading batch dimension: one weight per image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NORM_EPS = 1e-5
"""What the published LayerNorm adds to the variance."""


STRIPE_BYTES = 8 << 20
"""What a block's inner tensors may take at a time on a CPU: about what the cache holds."""

STRIPE_ROWS = 8
"""Rows of the lowest stripe: its two neighbour rows are computed twice."""


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1x1 convolution: (B, H, W, C) by (D, C), or by one (D, C) per image as (B, D, C), to (B, H, W, D)."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    out = torch.matmul(x.flatten(1, 2), weight.mT)
    return (out if bias is None else out + bias).unflatten(1, x.shape[1:3])


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """3x3 convolution, zeros beyond the border: (B, H, W, C) by (D, C / groups, 3, 3) to (B, H, W, D).

    A weight of (B, D, C / groups, 3, 3) is one per image.
    """
    if weight.ndim == 4:
        return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=groups).permute(0, 2, 3, 1).contiguous()
    batch, height, width, _ = x.shape
    images = x.permute(1, 2, 0, 3).reshape(1, height, width, -1)  # every image a group of channels
    out = convolve(images, weight.flatten(0, 1), None, batch * groups)
    out = out.view(height, width, batch, -1).permute(2, 0, 1, 3)
    return (out if bias is None else out + bias).contiguous()


def stripes(x: Tensor, width: int) -> list[tuple[slice, slice]]:
    """Rows of x (B, H, W, C) to run one after the other through what makes `width` numbers of each pixel.

    Each is (rows to read, of these the ones to keep): a row more on either side for a 3x3 convolution. All rows at
    once, except on a CPU with large maps: there tensors that stay in the cache are up to twice as fast.
    """
    _, height, columns, _ = x.shape
    if not x.is_cpu or torch.compiler.is_exporting() or (torch.compiler.is_compiling() and torch.is_grad_enabled()):
        return [(slice(0, height), slice(0, height))]
    row = len(x) * columns * width * x.element_size()
    if height * row <= 3 * STRIPE_BYTES:
        return [(slice(0, height), slice(0, height))]
    step = max(STRIPE_ROWS, STRIPE_BYTES // row)
    out = []
    for first in range(0, height, step):
        last, above = min(first + step, height), min(first, 1)
        out.append((slice(first - above, min(last + 1, height)), slice(above, above + last - first)))
    return out


class Conv(nn.Conv2d):
    """3x3 convolution of NHWC tensors."""

    def __init__(self, dim: int, out: int, bias: bool = False, groups: int = 1) -> None:
        super().__init__(dim, out, 3, padding=1, bias=bias, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, H, W, out)."""
        return convolve(input, self.weight, self.bias, self.groups)


class Pointwise(nn.Linear):
    """1x1 convolution of NHWC tensors."""

    def __init__(self, dim: int, out: int, bias: bool = False) -> None:
        super().__init__(dim, out, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, H, W, out)."""
        return pointwise(input, self.weight, self.bias)


class LayerNorm(nn.Module):
    """Norm over the channels of each pixel.

    With bias: (x - mean) / sqrt(var + eps) * weight + bias. Without: x / sqrt(var + eps) * weight; the published
    bias-free norm divides by the deviation about the mean, but does not take the mean off.
    """

    def __init__(self, dim: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.bias is not None:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, NORM_EPS)
        if torch.compiler.is_compiling() or x.dtype != self.weight.dtype or x.dtype.itemsize < 4:
            wide = x if x.dtype == torch.float64 else x.float()
            var = wide.var(-1, correction=0, keepdim=True)
            return (wide * torch.rsqrt(var + NORM_EPS) * self.weight).to(x.dtype)
        return _BiasFreeNorm.apply(x, self.weight)  # type: ignore[no-any-return]


class _BiasFreeNorm(torch.autograd.Function):
    """y = x r w with r = 1 / sqrt(var + eps), from torch's fused layer norm: w (x - m) r + m r w.

    Torch's derivative of its layer norm takes no account of the mean and r that it also returns, so what is built on
    these needs its own: with s = mean(w dy), dx = (dx of the layer norm) + r s + r s m r (m - x) r.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, None, NORM_EPS)
        ctx.save_for_backward(x, weight, mean, rstd)
        return y.addcmul_(mean * rstd, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, mean, rstd = ctx.saved_tensors
        dy = grads[0].contiguous()
        dx, dweight, _ = torch.ops.aten.native_layer_norm_backward(
            dy, x, weight.shape, mean, rstd, weight, None, [True, True, False]
        )
        shift = mean * rstd
        pull = (dy @ weight).unsqueeze(-1) * rstd / weight.numel()  # r s
        dx.add_(pull * (1 + shift * shift)).addcmul_(pull * shift * rstd, x, value=-1)
        dweight = dweight + shift.flatten() @ dy.flatten(0, -2)
        return dx, dweight


def gate(x: Tensor) -> Tensor:
    """gelu(a) * b, a and b the halves of the last dimension; the exact gelu."""
    if torch.compiler.is_compiling():
        a, b = x.unflatten(-1, (2, -1)).unbind(-2)
        return F.gelu(a) * b
    return _Gate.apply(x)  # type: ignore[no-any-return]


class _Gate(torch.autograd.Function):
    """`gate`, keeping nothing but its input, its derivative written straight into one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        a, b = x.unflatten(-1, (2, -1)).unbind(-2)
        return F.gelu(a).mul_(b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        a, b = x.unflatten(-1, (2, -1)).unbind(-2)
        da, db = dx.unflatten(-1, (2, -1)).unbind(-2)
        torch.ops.aten.gelu.out(a, out=db)
        db.mul_(grads[0])
        torch.mul(grads[0], b, out=da)
        torch.ops.aten.gelu_backward.grad_input(da, a, grad_input=da)
        return dx
