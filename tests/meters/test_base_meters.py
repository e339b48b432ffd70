"""What every meter of the base pass promises, over all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from million_ird.meters import Frame, create

METERS = ("blur", "flat", "noise", "compression", "exposure", "border", "background", "upscale")
SIDES = ((1, 1), (1, 2), (2, 1), (3, 3), (4, 5), (8, 8), (17, 18), (24, 23), (1, 5000), (5000, 1), (9, 300), (65, 241))


def pictures(shape):
    height, width = shape
    for value in (0, 1, 128, 254, 255):
        yield np.full((height, width, 3), value, np.uint8)
    yield np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    ramp = (np.arange(width) % 256).astype(np.uint8)
    yield np.ascontiguousarray(np.broadcast_to(ramp[:, None], (height, width, 3)))
    stripes = (np.arange(height) % 2 * 255).astype(np.uint8)
    yield np.ascontiguousarray(np.broadcast_to(stripes[:, None, None], (height, width, 3)))


@pytest.mark.parametrize("name", METERS)
@pytest.mark.parametrize("shape", SIDES, ids=str)
def test_any_size_and_content_gives_finite_numbers_or_none(name, shape):
    meter = create(name)
    for rgb in pictures(shape):
        found = meter(Frame(rgb))
        assert len(found) == len(meter.columns)
        assert all(value is None or (type(value) is float and math.isfinite(value)) for value in found)


@pytest.mark.parametrize("name", METERS)
def test_a_meter_changes_nothing_and_repeats_itself(name, photo):
    meter, before = create(name), photo.copy()
    frame = Frame(photo)
    first = meter(frame)
    np.testing.assert_array_equal(photo, before)
    assert meter(frame) == first == create(name)(Frame(before))


def test_every_column_says_its_range_and_direction():
    for name in METERS:
        for column, text in create(name).columns.items():
            assert "higher" in text or "lower" in text, column
            assert any(digit.isdigit() for digit in text), column


def test_points_are_pixels_of_the_picture_and_few(photo):
    points = Frame(photo).points
    assert max(points.shape[:2]) == 128
    assert set(map(tuple, points.reshape(-1, 3))) <= set(map(tuple, photo.reshape(-1, 3)))
    assert Frame(photo[:100, :90]).points.shape == (100, 90, 3)
