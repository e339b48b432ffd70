"""sRGB values to linear light and back: the piecewise curve of IEC 61966-2-1, for any float32.

Below 0 the curve is odd, f(-x) = -f(x), and above 1 its power law goes on: between ops of a chain values leave [0, 1],
and what comes back must be what went in. Black and white are kept exactly.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from million_ird.degrade.op import Bytes, Floats

_BLOCK = 1 << 15
"""Values worked on at a time: every pass over them after the first finds them in the processor's cache."""
_GAMMA, _OFFSET, _SLOPE = 2.4, 0.055, 12.92
_KNOT_SRGB, _KNOT_LINEAR = np.float32(0.04045), np.float32(0.04045 / _SLOPE)


def to_linear(x: Floats) -> Floats:
    """sRGB values to linear light.

    Args:
        x: any shape, float32, 1 = white.

    Returns:
        A new array of this shape: x / 12.92 up to 0.04045, ((x + 0.055) / 1.055)^2.4 above; right to 3e-7.
    """
    return _over_blocks(x, _linear)


def to_srgb(x: Floats) -> Floats:
    """Linear light to sRGB values: the inverse of `to_linear`, right to 3e-7."""
    return _over_blocks(x, _srgb)


def linear8(image: Bytes) -> Floats:
    """`to_linear` of an 8-bit picture: the same values as by way of float32, by table."""
    return _table().take(image)


@cache
def _table() -> Floats:
    return to_linear(np.divide(np.arange(256), np.float32(255), dtype=np.float32))


def _over_blocks(x: Floats, curve: Any) -> Floats:
    out = np.empty(x.shape, np.float32)
    source, target = np.ascontiguousarray(x, np.float32).reshape(-1), out.reshape(-1)
    for start in range(0, source.size, _BLOCK):
        values, into = source[start : start + _BLOCK], target[start : start + _BLOCK]
        if values.min() < 0:
            curve(np.abs(values), into)
            np.copysign(into, values, out=into)
        else:
            curve(values, into)
    return out


def _linear(x: Floats, out: Floats) -> None:
    """For x >= 0."""
    np.add(x, np.float32(_OFFSET), out=out)
    out /= np.float32(1 + _OFFSET)
    np.power(out, np.float32(_GAMMA), out=out)
    _choose(x > _KNOT_SRGB, out, x * np.float32(1 / _SLOPE))


def _srgb(x: Floats, out: Floats) -> None:
    """For x >= 0."""
    np.power(x, np.float32(1 / _GAMMA), out=out)
    # 1.055 p - 0.055, in the form that gives 1 for 1.
    out += (out - np.float32(1)) * np.float32(_OFFSET)
    _choose(x > _KNOT_LINEAR, out, x * np.float32(_SLOPE))


def _choose(where: NDArray[np.bool_], out: Floats, other: Floats) -> None:
    """Keep `out` where true, else take `other`: by bits, because a branch per value costs more than the power."""
    keep = -where.astype(np.int32)
    bits = out.view(np.int32)
    bits &= keep
    bits |= other.view(np.int32) & ~keep
