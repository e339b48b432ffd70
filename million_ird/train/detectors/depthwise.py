"""Depthwise convolution whose gradients are quick on a CPU, in bfloat16 above all.

In torch 2.15 the gradients of bfloat16 depthwise convolutions are slow where the stride is 2 (of the input) and where
the kernel is 5 x 5 (of the weights): half of a training step of the detector (`benchmarks/depthwise.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Depthwise(nn.Conv2d):
    """`Conv2d` of one filter a channel, of odd size, padded to keep the size or to halve it, upwards."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels)

    def forward(self, input: Tensor) -> Tensor:
        x, weight, bias = input, self.weight, self.bias
        assert bias is not None
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(kind), weight.to(kind), bias.to(kind)
        return _Convolved.apply(x, weight, bias, self.stride[0])  # type: ignore[return-value]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        bias = grad.sum((0, 2, 3))
        layer = (
            _by_shifts(x, grad, weight, ctx.stride) if weight.shape[-1] > 3 else _by_torch(x, grad, weight, ctx.stride)
        )
        if ctx.stride > 1:  # as if of full size, nothing in between
            apart = torch.zeros_like(x, memory_format=torch.channels_last)
            apart[:, :, :: ctx.stride, :: ctx.stride] = grad
            grad = apart
        return F.conv2d(grad, weight.flip(2, 3), None, 1, weight.shape[-1] // 2, 1, len(weight)), layer, bias, None


def _by_torch(x: Tensor, grad: Tensor, weight: Tensor, stride: int) -> Tensor:
    room = [weight.shape[-1] // 2] * 2
    wanted = [False, True, False]
    backward = torch.ops.aten.convolution_backward
    return backward(grad, x, weight, None, [stride] * 2, room, [1, 1], False, [0, 0], len(weight), wanted)[1]


def _by_shifts(x: Tensor, grad: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Each weight's: the input, moved by as much as it looks aside, times the gradient."""
    side = weight.shape[-1]
    room = side // 2
    moved, grad = F.pad(x.permute(0, 2, 3, 1), (0, 0, room, room, room, room)), grad.permute(0, 2, 3, 1)
    height, width = (stride * (size - 1) + 1 for size in grad.shape[1:3])
    sums = [
        (moved[:, top : top + height : stride, left : left + width : stride] * grad).sum((0, 1, 2))
        for top in range(side)
        for left in range(side)
    ]
    return torch.stack(sums, 1).view_as(weight)
