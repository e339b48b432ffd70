"""Masks, rain and haze on a device: maps come from where the CPU has them, and are laid on in batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from million_ird.degrade.haze import Haze
from million_ird.degrade.masking import Mask, filling
from million_ird.degrade.op import Params
from million_ird.degrade.rain import Rain
from million_ird.degrade.tensor.filters import to_linear, to_srgb
from million_ird.degrade.tensor.noise import Result
from million_ird.degrade.tensor.words import Tensor
from million_ird.degrade.weather import colour8, local_light, looked_at, veil_of


def mask(x: Tensor, params: Sequence[Params]) -> Result:
    """Mask."""
    height, width = x.shape[2:]
    masked = uploaded([Mask.cells(p, (height, width)) for p in params], x)
    fill = torch.empty_like(x)
    for i, p in enumerate(params):
        if p["fill"] == "mean":
            levels = (x[i].double().mean(dim=(1, 2)) * 255 + 0.5).floor().clamp(0, 255)
            fill[i] = levels.float()[:, None, None]
        else:
            values = np.broadcast_to(filling(np.empty((height, width, 3), np.float32), p), (height, width, 3))
            fill[i] = torch.from_numpy(values.copy()).to(x.device).permute(2, 0, 1)
    return torch.where(masked[:, None], fill * (1 / 255), x), masked


def rain(x: Tensor, params: Sequence[Params]) -> Result:
    """Rain."""
    shape = (x.shape[2], x.shape[3])
    alpha = uploaded([Rain.layers(p, shape) for p in params], x)
    lights = [_light(one) for one in x]
    veiled = [p["veil"] > 0 for p in params]
    if any(veiled):
        t = uploaded([veil_of(shape, p["veil"]) for p in params], x)[:, None]
        airs = [light.reshape(-1, 3).mean(axis=0, dtype=np.float64).astype(np.float32) for light in lights]
        air = uploaded(airs, x)[:, :, None, None] / 255
        x = torch.where(_flags(veiled, x), x * t + air * (1 - t), x)
    colours = [colour8(light, shape, p["brightness"], p["tint"]) for light, p in zip(lights, params, strict=True)]
    layer = uploaded(colours, x).permute(0, 3, 1, 2).float() / 255
    for blend, mixed in (("alpha", layer - x), ("screen", layer * (1 - x))):
        layer = torch.where(_flags([p["blend"] == blend for p in params], x), mixed, layer)
    hit = alpha != 0
    out = torch.where(hit[:, None], layer * (alpha.float() * (1 / 255))[:, None] + x, x)
    return out, hit | _flags(veiled, x)[:, 0]


def haze(x: Tensor, params: Sequence[Params]) -> Result:
    """Haze. The transmission is computed on the CPU, because it is guessed from the whole picture."""
    pictures = x.permute(0, 2, 3, 1).cpu().numpy()
    maps = [Haze.transmission(np.ascontiguousarray(one), p) for one, p in zip(pictures, params, strict=True)]
    t = uploaded(maps, x)[:, None]
    air = torch.tensor([p["airlight"] for p in params], dtype=torch.float32, device=x.device)[:, :, None, None]
    linear = [p["space"] == "linear" for p in params]
    out = x * t + air * (1 - t)
    if any(linear):
        through = to_srgb(to_linear(x) * t + to_linear(air) * (1 - t))
        out = torch.where(_flags(linear, x), through, out)
    return torch.where(t < 1, out, x), (t < 1)[:, 0]


def uploaded(arrays: Sequence[np.ndarray], x: Tensor) -> Tensor:
    """Arrays of one shape, stacked on the device of `x`."""
    return torch.from_numpy(np.stack(arrays)).to(x.device)


def _flags(values: Sequence[bool], x: Tensor) -> Tensor:
    """(N, 1, 1, 1) bool."""
    return torch.tensor(values, device=x.device).view(-1, 1, 1, 1)


def _light(one: Tensor) -> np.ndarray:
    """`local_light` of a (3, H, W) picture, of which only the pixels that it looks at are fetched."""
    some = looked_at((one.shape[1], one.shape[2]))
    return local_light(np.ascontiguousarray(one[:, some, some].permute(1, 2, 0).cpu().numpy()))
