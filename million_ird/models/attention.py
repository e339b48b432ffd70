"""Attention between channels.

Legend: B images, H rows, W columns, C channels, h heads, c = C / h; tensors are contiguous (B, H, W, C).
Formulas: Restormer (arXiv 2111.09881), section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from million_ird.models.layers import Conv, Pointwise, convolve, pointwise, stripes

TINY = 1e-24
"""The square of 1e-12, which `F.normalize` takes as the length of any shorter vector."""

LARGE = 4096
"""Pixels of a map from which on `_qkv` takes q, k and v apart."""

Sums = tuple[Tensor, Tensor, Tensor]
"""Over pixels: q^T k (B, h, c, c), q^2 (B, h, c) and k^2 (B, h, c)."""


class MDTA(nn.Module):
    """Multi-head attention between channels: each head mixes its c channels by one matrix for all pixels.

    The matrix (c, c) is softmax(temperature * q^T k / (|q| |k|)), lengths over all pixels. So the pixels enter by sums
    only (`statistics`), from which one matrix per image follows (`mixing`, the output projection folded in) that is
    laid on v (`mix`). The steps are apart so that a large image can be run in stripes with the result of the whole.
    """

    def __init__(self, dim: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels do not divide into {heads} heads")
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(dim, 3 * dim, bias)
        self.qkv_dwconv = Conv(3 * dim, 3 * dim, bias, groups=3 * dim)
        self.project_out = Pointwise(dim, dim, bias)

    def project(self, x: Tensor, parts: slice = slice(0, 3)) -> Tensor:
        """q, k and v side by side: (B, H, W, C), normalised, -> (B, H, W, 3C); beyond the border are zeros.

        `parts` of (q, k, v) can be had alone: slice(0, 2) for the statistics, slice(2, 3) for v.
        """
        point, depth = self.qkv, self.qkv_dwconv
        hidden = pointwise(x, _third(point.weight, -2, parts), _third(point.bias, -1, parts))
        weight = _third(depth.weight, -4, parts)
        return convolve(hidden, weight, _third(depth.bias, -1, parts), groups=weight.shape[-4])

    def statistics(self, qk: Tensor) -> Sums:
        """Sums over the pixels of qk (B, H, W, 2C or 3C): of q^T k, q^2 and k^2.

        The sums of an image are the sums of its stripes' sums. float32 at least, whatever the type of qk; those of
        bfloat16 were rounded to it once.
        """
        dim = self.qkv.in_features
        return _statistics(qk[..., :dim], qk[..., dim : 2 * dim], self.heads)

    def mixing(self, gram: Tensor, q_sq: Tensor, k_sq: Tensor) -> Tensor:
        """The matrix (B, C, C) that takes the v of a pixel to the block's output, from the sums over all pixels."""
        return _mixing(gram, q_sq, k_sq, self.temperature, self.project_out.weight)

    def mix(self, v: Tensor, matrix: Tensor) -> Tensor:
        """Output of the block: v (B, H, W, C) by `matrix` (B, C, C), to (B, H, W, C)."""
        return self._shift(pointwise(v, matrix))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C), normalised, -> (B, H, W, C)."""
        training = torch.is_grad_enabled()
        if not training and len(rows := stripes(x, 6 * x.shape[-1])) > 1:
            return self._in_stripes(x, rows)
        if training and x.is_cpu and not torch.compiler.is_compiling():
            return self._shift(_Attend.apply(self.project(x), self.temperature, self.project_out.weight))
        q, k, v = self._qkv(x)
        return self.mix(v, self.mixing(*_statistics(q, k, self.heads)))

    def _in_stripes(self, x: Tensor, rows: list[tuple[slice, slice]]) -> Tensor:
        sums: Any = 0, 0, 0
        values = []
        for outer, inner in rows:
            q, k, v = (part[:, inner] for part in self._qkv(x[:, outer]))
            sums = [total + part for total, part in zip(sums, _statistics(q, k, self.heads), strict=True)]
            values.append(v.contiguous())
        matrix = self.mixing(*sums)
        return torch.cat([self.mix(v, matrix) for v in values], 1)

    def _qkv(self, x: Tensor) -> list[Tensor]:
        """q, k and v of `project`, each (B, H, W, C).

        In memory each alone where that pays: products of 16-bit numbers on a CPU copy what is not, head by head.
        """
        small = x.is_cpu and (x.dtype.itemsize < 4 or torch.is_autocast_enabled("cpu"))
        if not small or not torch.compiler.is_compiling() or x.shape[1] * x.shape[2] < LARGE:
            return list(self.project(x).chunk(3, -1))
        if not torch.is_grad_enabled():
            return [self.project(x, slice(part, part + 1)) for part in range(3)]
        return [part.contiguous() for part in self.project(x).chunk(3, -1)]

    def _shift(self, out: Tensor) -> Tensor:
        bias = self.project_out.bias
        return out if bias is None else out + bias


def _third(tensor: Tensor | None, dim: int, parts: slice) -> Any:
    if tensor is None or parts == slice(0, 3):
        return tensor
    third = tensor.shape[dim] // 3
    return tensor.narrow(dim, parts.start * third, (parts.stop - parts.start) * third)


def _statistics(q: Tensor, k: Tensor, heads: int) -> Sums:
    if q.dtype == torch.float16:  # there a sum over 65,504 is infinite, and autocast would go back to it
        with torch.autocast(q.device.type, enabled=False):
            return _statistics(q.float(), k.float(), heads)
    wide = torch.promote_types(q.dtype, torch.float32)
    q, k = q.flatten(1, 2), k.flatten(1, 2)  # (B, HW, C)
    split = (heads, q.shape[-1] // heads)
    if q.is_contiguous():  # one product for all pairs of channels, those of different heads left unused
        gram = (q.mT @ k).unflatten(1, split).unflatten(3, split).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    else:
        gram = q.unflatten(-1, split).permute(0, 2, 3, 1) @ k.unflatten(-1, split).transpose(1, 2)
    q_sq, k_sq = ((t * t).sum(1, dtype=wide).unflatten(-1, split) for t in (q, k))
    return gram.to(wide), q_sq, k_sq


def _mixing(gram: Tensor, q_sq: Tensor, k_sq: Tensor, temperature: Tensor, weight: Tensor) -> Tensor:
    """`weight` (C, C) or (B, C, C) is the output projection; lengths enter the logits, not q and k."""
    lengths = q_sq.clamp_min(TINY).sqrt().unsqueeze(-1) * k_sq.clamp_min(TINY).sqrt().unsqueeze(-2)
    attention = torch.softmax(gram * temperature / lengths, -1)
    out = weight.unflatten(-1, gram.shape[1:3]).transpose(-3, -2)  # (h, C, c)
    return (out @ attention.to(weight.dtype)).transpose(-3, -2).flatten(-2)


class _Attend(torch.autograd.Function):
    """statistics, mixing and mix, the derivative written straight into one tensor: on a CPU a tenth of a step."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, temperature: Tensor, weight: Tensor) -> Tensor:
        dim = weight.shape[-1]
        sums = _statistics(qkv[..., :dim], qkv[..., dim : 2 * dim], len(temperature))
        matrix = _mixing(*sums, temperature, weight)
        ctx.save_for_backward(qkv, matrix, *sums, temperature, weight)
        return pointwise(qkv[..., 2 * dim :], matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        qkv, matrix, *small = ctx.saved_tensors
        dim = matrix.shape[-1]
        dout, flat, dqkv = grads[0].flatten(1, 2), qkv.flatten(1, 2), torch.empty_like(qkv)
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in small]
            again = _mixing(*leaves)  # type: ignore[arg-type]
            dmatrix = torch.bmm(dout.mT, flat[..., 2 * dim :]).to(again.dtype)
            *dsums, dtemperature, dweight = torch.autograd.grad(again, leaves, dmatrix)
        dgram, dq_sq, dk_sq = (t.to(qkv.dtype) for t in dsums)
        heads, width = dgram.shape[1:3]
        for image, dimage in enumerate(dqkv.flatten(1, 2)):
            q, k, _ = flat[image].split(dim, -1)  # (HW, C)
            dq, dk, dv = dimage.split(dim, -1)
            torch.mm(dout[image], matrix[image], out=dv)
            torch.mul(q, 2 * dq_sq[image].flatten(), out=dq)
            torch.mul(k, 2 * dk_sq[image].flatten(), out=dk)
            for head in range(heads):
                own = slice(head * width, (head + 1) * width)
                dq[:, own].addmm_(k[:, own], dgram[image, head].mT)
                dk[:, own].addmm_(q[:, own], dgram[image, head])
        return dqkv, dtemperature, dweight
