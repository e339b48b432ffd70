"""Bit depth: the right number of levels, in the right places."""

from __future__ import annotations

import numpy as np
import pytest

from million_ird import degrade as D

RAMP = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("rounding", ["nearest", "floor"])
def test_there_are_two_to_the_bits_levels_from_black_to_white(bits, rounding):
    out = D.BitDepth(bits=bits, rounding=rounding)(RAMP, seed=0).lq
    levels = np.unique(out)
    assert len(levels) == 2**bits
    assert levels[0] == 0
    assert levels[-1] == 255
    assert np.all(np.diff(out[..., 0].ravel().astype(int)) >= 0)


@pytest.mark.parametrize("bits", range(1, 8))
def test_nearest_is_the_formula_and_keeps_the_mean(bits):
    top = 2**bits - 1
    expected = np.floor(np.floor(RAMP / 255 * top + 0.5) / top * 255 + 0.5)
    out = D.BitDepth(bits=bits)(RAMP, seed=0).lq
    assert np.array_equal(out, expected)
    assert abs(out.astype(float).mean() - RAMP.mean()) < 0.6


@pytest.mark.parametrize("bits", range(1, 8))
def test_floor_is_a_bit_shift_stretched_to_the_full_range(bits):
    out = D.BitDepth(bits=bits, rounding="floor")(RAMP, seed=0).lq
    assert np.array_equal(out, np.floor((RAMP >> (8 - bits)) / (2**bits - 1) * 255 + 0.5))


def test_ordered_dither_keeps_the_local_mean_where_rounding_does_not():
    flat = np.full((64, 64, 3), 100, np.uint8)
    plain = D.BitDepth(bits=2)(flat, seed=0).lq
    dithered = D.BitDepth(bits=2, dither="ordered")(flat, seed=0).lq
    assert abs(dithered.mean() - 100) < 2
    assert abs(plain.mean() - 100) > 10
    assert set(np.unique(dithered)) == {85, 170}
