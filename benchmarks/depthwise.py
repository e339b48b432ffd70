"""Depthwise convolutions of the watermark detector in bfloat16: torch's gradients against ours, and a step of training.

    OMP_NUM_THREADS=1 python benchmarks/depthwise.py

Milliseconds of one thread, best of ten turns: there and back for each shape, then a whole step of 16 samples of 224 px.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from million_ird.train.detectors.depthwise import Depthwise
from million_ird.train.detectors.net import Coach, Detector

SHAPES = ((16, 3, 1, 112), (32, 3, 2, 112), (48, 3, 1, 56), (48, 3, 2, 56), (96, 3, 2, 28), (192, 5, 1, 14))
"""Channels, kernel, stride, side."""


class Plain(nn.Conv2d):
    """The same with torch's gradients."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels)


def there_and_back(net: nn.Module, x: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x)
    sum(part.float().mean() for part in (out if isinstance(out, tuple) else (out,))).backward()  # type: ignore[union-attr]


def milliseconds(work: Callable[[], None], turns: int = 10) -> float:
    work()
    best = float("inf")
    for _ in range(turns):
        began = time.perf_counter()
        work()
        best = min(best, (time.perf_counter() - began) * 1000)
    return best


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print(f"{'channels, kernel, stride, side':32}{'torch':>8}{'ours':>8}{'ratio':>8}")
    for channels, kernel, stride, side in SHAPES:
        x = torch.randn(16, channels, side, side, requires_grad=True).to(memory_format=torch.channels_last)
        layers = (kind(channels, kernel, stride).to(memory_format=torch.channels_last) for kind in (Plain, Depthwise))
        row(f"{channels}, {kernel}, {stride}, {side}", [milliseconds(partial(there_and_back, n, x)) for n in layers])
    images = torch.randint(0, 256, (16, 1, 224, 224), dtype=torch.uint8)
    times = []
    for kind in (Plain, Depthwise):
        coach = Coach(Detector())
        for layer in coach.net.layers:
            if isinstance(conv := layer.conv, Depthwise):
                layer.conv = kind(conv.in_channels, conv.kernel_size[0], conv.stride[0])
        coach.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        times.append(milliseconds(partial(there_and_back, coach, images)))
    row("step of 16 samples of 224 px", times)


def row(what: str, times: list[float]) -> None:
    print(f"{what:32}{times[0]:8.1f}{times[1]:8.1f}{times[0] / times[1]:8.1f}")


if __name__ == "__main__":
    main()
