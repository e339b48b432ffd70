"""Blur and low light on a device: the kernels of `kernels`, the curves of `light`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import next_fast_len

from million_ird.degrade.blur import BLOWN
from million_ird.degrade.lowlight import illumination
from million_ird.degrade.op import Params
from million_ird.degrade.tensor.noise import Result, column, normal
from million_ird.degrade.tensor.words import Tensor


def blur(x: Tensor, params: Sequence[Params], op: type) -> Result:
    """Any op that is a convolution (`blur.Convolving`), each sample with a kernel of its own."""
    kernels = [op.psf(p) for p in params]  # type: ignore[attr-defined]
    out = x.clone()
    for linear in (False, True):
        which = [i for i, p in enumerate(params) if (p.get("space") == "linear") == linear and kernels[i].size > 1]
        if which:
            some, chosen = x[which], [params[i] for i in which]
            light = _lit(some, chosen) if linear else some
            blurred = convolve(light, [kernels[i] for i in which])
            out[which] = to_srgb(_cut(blurred, chosen)) if linear else blurred
    return out, None


def lowlight(x: Tensor, params: Sequence[Params]) -> Result:
    """LowLight, all kinds."""
    out = torch.empty_like(x)
    for kind, model in (("gain", _gain), ("gamma", _gamma), ("retinex", _retinex), ("physical", _physical)):
        which = [i for i, p in enumerate(params) if p["kind"] == kind]
        if which:
            out[which] = model(x[which], [params[i] for i in which])
    return out, None


def convolve(x: Tensor, kernels: Sequence[np.ndarray]) -> Tensor:
    """Convolve every sample with its own kernel, by Fourier transforms; borders mirrored, the edge not repeated."""
    high, wide = (max(kernel.shape[side] for kernel in kernels) for side in (0, 1))
    height, width = x.shape[2:]
    padded = x[:, :, _mirrored(height, high // 2, x.device)[:, None], _mirrored(width, wide // 2, x.device)]
    size = [next_fast_len(side, real=True) for side in padded.shape[2:]]
    stack = np.zeros((len(kernels), 1, high, wide), np.float32)
    for into, kernel in zip(stack, kernels, strict=True):
        top, left = high // 2 - kernel.shape[0] // 2, wide // 2 - kernel.shape[1] // 2
        into[0, top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    spectrum = torch.fft.rfft2(torch.from_numpy(stack).to(x.device), s=size)
    full = torch.fft.irfft2(torch.fft.rfft2(padded, s=size) * spectrum, s=size)
    # Of the full convolution, what lies `high - 1` rows in has seen all of its neighbours.
    return full[:, :, high - 1 : high - 1 + height, wide - 1 : wide - 1 + width]


def to_linear(x: Tensor) -> Tensor:
    """`light.to_linear`."""
    size = x.abs()
    curved = torch.where(size > 0.04045, ((size + 0.055) / 1.055) ** 2.4, size * (1 / 12.92))
    return torch.copysign(curved, x)


def to_srgb(x: Tensor) -> Tensor:
    """`light.to_srgb`."""
    size = x.abs()
    power = size ** (1 / 2.4)
    curved = torch.where(size > 0.04045 / 12.92, power + (power - 1) * 0.055, size * 12.92)
    return torch.copysign(curved, x)


def _lit(x: Tensor, params: Sequence[Params]) -> Tensor:
    """Linear light, with what was blown out as bright as it really was."""
    boost = torch.tensor([p.get("highlights", 1) for p in params], dtype=torch.float32, device=x.device)
    blown = ((x.amin(dim=1, keepdim=True) - BLOWN) * (1 / (1 - BLOWN))).clamp(0, 1)
    return to_linear(x) * (1 + (boost.view(-1, 1, 1, 1) - 1) * blown)


def _cut(light: Tensor, params: Sequence[Params]) -> Tensor:
    """What is too bright for the sensor, where highlights were boosted."""
    limit = [1.0 if p.get("highlights", 1) > 1 else float("inf") for p in params]
    return torch.minimum(light, torch.tensor(limit, device=light.device).view(-1, 1, 1, 1))


def _gain(x: Tensor, params: Sequence[Params]) -> Tensor:
    return x * column(params, "gain", x)


def _gamma(x: Tensor, params: Sequence[Params]) -> Tensor:
    alpha, gamma, beta = (column(params, name, x) for name in ("alpha", "gamma", "beta"))
    return (x.clamp(min=0) * alpha) ** gamma * beta


def _retinex(x: Tensor, params: Sequence[Params]) -> Tensor:
    maps = [illumination(np.ascontiguousarray(one)) for one in x.permute(0, 2, 3, 1).cpu().numpy()]
    light = torch.from_numpy(np.stack(maps)[:, None]).to(x.device)
    return x * light ** (column(params, "gamma", x) - 1) + normal(x, params) * column(params, "noise", x)


def _physical(x: Tensor, params: Sequence[Params]) -> Tensor:
    light = to_linear(x) * column([{"r": 1 / p["ratio"]} for p in params], "r", x)
    deviation = (light.clamp(min=0) * column(params, "shot", x) + column(params, "read", x)).sqrt()
    steps = column([{"steps": 2 ** p["bits"] - 1} for p in params], "steps", x)
    counts = ((light + deviation * normal(x, params)) * steps + 0.5).floor().clamp(min=0)
    return to_srgb(torch.minimum(counts, steps) / steps)


def _mirrored(size: int, by: int, device: torch.device) -> Tensor:
    """Indices of a side with `by` px of mirror image at both ends, however short the side is."""
    period = max(2 * (size - 1), 1)
    at = torch.arange(-by, size + by, device=device).remainder(period)
    return torch.minimum(at, period - at) if size > 1 else torch.zeros_like(at)
