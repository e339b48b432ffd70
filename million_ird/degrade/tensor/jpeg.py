"""JPEG on a device: what libjpeg's encoder and decoder do to the pixels, without the bytes in between.

Colour conversion, chroma averages, quantisation and upsampling round where libjpeg rounds (ITU-T T.81; libjpeg's
jccolor, jcsample, jdsample); only the cosine transforms are in floating point instead of its whole-number form, so that
a coefficient on the border of two quantisation steps may fall to the other side. Not differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch

from million_ird.degrade.op import Params
from million_ird.degrade.tensor.noise import Result
from million_ird.degrade.tensor.words import Tensor

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU-T T.81, table K.1."""
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Table K.2."""
_STEPS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2), "4:4:0": (2, 1), "4:1:1": (1, 4)}
"""Luma samples per chroma sample, down and across."""


def jpeg(x: Tensor, params: Sequence[Params]) -> Result:
    """JPEG."""
    out = torch.empty_like(x)
    kinds = {(p["sampling"], *p["shift"]) for p in params}
    for sampling, dx, dy in sorted(kinds):
        which = [i for i, p in enumerate(params) if (p["sampling"], *p["shift"]) == (sampling, dx, dy)]
        levels = (x[which] * 255 + 0.5).clamp(0, 255.5).floor()
        shifted = _grown(_grown(levels, 2, dy), 3, dx)
        coded = _coded(shifted, _STEPS[sampling], [params[i]["quality"] for i in which])
        out[which] = coded[..., dy:, dx:] / 255
    return out, None


def _coded(rgb: Tensor, step: tuple[int, int], qualities: Sequence[int]) -> Tensor:
    """(N, 3, H, W) whole grey levels to what is decoded."""
    height, width = rgb.shape[2:]
    y, cb, cr = _to_ycc(rgb)
    small = (-(-height // step[0]), -(-width // step[1]))
    tables = _tables(tuple(qualities), rgb.device)
    mcu = (8 * step[0], 8 * step[1])
    planes = [_requantised(_filled(y, mcu), tables[0])[..., :height, :width]]
    for plane in (cb, cr):
        lesser = _requantised(_averaged(_filled(plane, mcu), step), tables[1])
        planes.append(_enlarged(lesser[..., : small[0], : small[1]], step)[..., :height, :width])
    return _to_rgb(*planes)


def _to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each (N, H, W), whole numbers."""
    r, g, b = rgb.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = -0.168735892 * r - 0.331264108 * g + 0.5 * b + 128
    cr = 0.5 * r - 0.418687589 * g - 0.081312411 * b + 128
    # libjpeg rounds ties of the colour differences down, those of brightness up.
    return (y + 0.5).floor(), (cb - 0.5).ceil(), (cr - 0.5).ceil()


def _to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    cb, cr = cb - 128, cr - 128
    r = y + (1.402 * cr + 0.5).floor()
    g = y + (-0.344136286 * cb - 0.714136286 * cr + 0.5).floor()
    b = y + (1.772 * cb + 0.5).floor()
    return torch.stack([r, g, b], dim=1).clamp(0, 255)


def _averaged(plane: Tensor, step: tuple[int, int]) -> Tensor:
    """Means of `step` samples; ties go up and down in turns where libjpeg does so."""
    if step == (1, 1):
        return plane
    n, height, width = plane.shape
    rows, columns = height // step[0], width // step[1]
    total = plane.view(n, rows, step[0], columns, step[1]).sum(dim=(2, 4))
    odd = torch.arange(columns, device=plane.device) % 2
    bias = {(1, 2): odd, (2, 2): 1 + odd}.get(step, torch.full_like(odd, step[0] * step[1] // 2))
    return ((total + bias) / (step[0] * step[1])).floor()


def _requantised(plane: Tensor, table: Tensor) -> Tensor:
    """Through cosine transform and quantisation and back: (N, H, W), both sides whole blocks, tables (N, 8, 8)."""
    n, height, width = plane.shape
    basis = _basis(plane.device)
    blocks = (plane - 128).view(n, height // 8, 8, width // 8, 8).transpose(2, 3)
    table = table[:, None, None]
    with _full_precision():
        scaled = basis @ blocks @ basis.T / table
        # To the nearest, halves away from 0.
        quantised = scaled.sign() * (scaled.abs() + 0.5).floor()
        back = basis.T @ (quantised * table) @ basis
    return (back + 128.5).floor().clamp(0, 255).transpose(2, 3).reshape(n, height, width)


def _enlarged(plane: Tensor, step: tuple[int, int]) -> Tensor:
    """libjpeg's "fancy" upsampling, 3/4 of the nearer sample and 1/4 of the farther; repetition for 4:1:1."""
    if step == (1, 1):
        return plane
    if step == (1, 4):
        return plane.repeat_interleave(4, dim=2)
    if step == (1, 2):
        if plane.shape[2] < 3:  # libjpeg's filter needs three columns
            return plane.repeat_interleave(2, dim=2)
        return _interleaved(plane, 2, (1, 2), 4)
    if step == (2, 1):
        return _interleaved(plane, 1, (1, 2), 4)
    if plane.shape[2] < 3:
        return plane.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    return _interleaved(_interleaved(plane, 1, (0, 0), 1), 2, (8, 7), 16)


def _interleaved(plane: Tensor, dim: int, bias: tuple[int, int], scale: int) -> Tensor:
    """Two samples for one along a side: floor((3 near + far + bias) / scale), the ends beyond repeated."""
    last = plane.shape[dim] - 1
    before = torch.cat([plane.narrow(dim, 0, 1), plane.narrow(dim, 0, last)], dim)
    after = torch.cat([plane.narrow(dim, 1, last), plane.narrow(dim, last, 1)], dim)
    pair = [((3 * plane + far + add) / scale).floor() for far, add in zip((before, after), bias, strict=True)]
    return torch.stack(pair, dim + 1).flatten(dim, dim + 1)


def _filled(plane: Tensor, unit: tuple[int, int]) -> Tensor:
    """The last row and column repeated up to whole units."""
    height, width = plane.shape[1:]
    rows = torch.arange(-(-height // unit[0]) * unit[0], device=plane.device).clamp(max=height - 1)
    columns = torch.arange(-(-width // unit[1]) * unit[1], device=plane.device).clamp(max=width - 1)
    return plane[:, rows[:, None], columns]


def _grown(x: Tensor, dim: int, by: int) -> Tensor:
    """Mirrored at its beginning, the edge repeated."""
    if not by:
        return x
    size = x.shape[dim]
    at = torch.arange(-by, size, device=x.device)
    at = torch.where(at < 0, -1 - at, at) % (2 * size)
    return x.index_select(dim, torch.where(at < size, at, 2 * size - 1 - at))


def _tables(qualities: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(N, 8, 8) quantisation steps of luma and chroma: the standard's tables scaled as the IJG does."""
    scale = torch.tensor([5000 // q if q < 50 else 200 - 2 * q for q in qualities], device=device).view(-1, 1, 1)
    found = [torch.tensor(base, device=device)[None] * scale for base in (_LUMA, _CHROMA)]
    luma, chroma = (((table + 50) // 100).clamp(1, 255).float() for table in found)
    return luma, chroma


@lru_cache(maxsize=8)
def _basis(device: torch.device) -> Tensor:
    """(8, 8) orthonormal cosine transform."""
    rows = [[math.cos((2 * x + 1) * u * math.pi / 16) / 2 for x in range(8)] for u in range(8)]
    rows[0] = [math.sqrt(1 / 8)] * 8
    return torch.tensor(rows, dtype=torch.float32, device=device)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Without the short cuts (TF32) that the user may have allowed for matrix products of networks."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
