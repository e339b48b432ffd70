"""The sRGB curve both ways, in [0, 1] and beyond."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.degrade.light import linear8, to_linear, to_srgb


def standard(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The decoding curve as IEC 61966-2-1 prints it."""
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0) + 0.055) / 1.055) ** 2.4)


def test_it_is_the_curve_of_the_standard() -> None:
    x = np.linspace(0, 1, 100_001)
    assert np.abs(to_linear(x.astype(np.float32)) - standard(x)).max() < 3e-7
    y = standard(x)
    assert np.abs(to_srgb(y.astype(np.float32)) - x).max() < 3e-7


def test_black_and_white_stay_what_they_are() -> None:
    ends = np.array([0, 1], np.float32)
    assert np.array_equal(to_linear(ends), ends)
    assert np.array_equal(to_srgb(ends), ends)


def test_every_level_comes_back_through_linear_light() -> None:
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    assert np.abs(to_srgb(to_linear(levels)) - levels).max() < 1e-6


def test_values_beyond_white_go_on_by_the_power_law_and_come_back() -> None:
    x = np.linspace(1, 4, 1001)
    assert np.allclose(to_linear(x.astype(np.float32)), standard(x), rtol=1e-6)
    assert np.allclose(to_srgb(to_linear(x.astype(np.float32))), x, rtol=1e-6)


def test_negative_values_mirror_positive_ones() -> None:
    x = np.linspace(0, 2, 5001, dtype=np.float32)
    assert np.array_equal(to_linear(-x), -to_linear(x))
    assert np.array_equal(to_srgb(-x), -to_srgb(x))


def test_both_ways_never_fall() -> None:
    x = np.linspace(-0.1, 1.5, 200_001, dtype=np.float32)
    for curve in (to_linear, to_srgb):
        assert (np.diff(curve(x)) >= 0).all()


def test_the_table_for_8_bits_is_the_curve(photo: NDArray[np.uint8]) -> None:
    assert np.array_equal(linear8(photo), to_linear(photo.astype(np.float32) / np.float32(255)))


@pytest.mark.parametrize("shape", [(0,), (1, 1, 3), (3, 500, 3), (70_001,)])
def test_any_shape_is_kept_and_the_input_too(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random(shape, np.float32) * 3 - 1
    before = x.copy()
    for curve in (to_linear, to_srgb):
        y = curve(x)
        assert y.shape == shape and y.dtype == np.float32 and not np.shares_memory(x, y)
        assert np.array_equal(x, before)


def test_a_view_is_read_in_its_own_order() -> None:
    x = np.random.default_rng(1).random((64, 48, 3), np.float32)
    assert np.array_equal(to_linear(x[::2, ::-1]), to_linear(x)[::2, ::-1])
