"""Exposure: clipped shares, contrast, colour."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.meters import Frame
from million_ird.meters.exposure import Exposure, colourfulness


def test_clipped_shares_are_shares_of_the_picture(photo):
    rgb = np.clip(photo, 5, 250)
    rgb[:128] = 0
    rgb[128:384, :256] = 255
    low, high, _, _ = Exposure()(Frame(rgb))
    assert low == pytest.approx(0.25, abs=0.01)
    assert high == pytest.approx(0.25, abs=0.01)


def test_what_counts_as_clipped_is_a_setting():
    grey = np.full((50, 50, 3), 3, np.uint8)
    assert Exposure()(Frame(grey))[0] == 0
    assert Exposure(clip=3)(Frame(grey))[0] == 1
    assert Exposure(clip=3)(Frame(255 - grey))[1] == 1


def test_contrast_is_the_standard_deviation_of_a_normal_distribution():
    drawn = np.random.default_rng(0).normal(128, 20, (300, 300))
    grey = np.dstack([np.clip(np.rint(drawn), 0, 255).astype(np.uint8)] * 3)
    assert Exposure()(Frame(grey))[2] == pytest.approx(20, rel=0.06)


def test_contrast_is_not_made_by_a_few_bright_pixels():
    night = np.full((300, 300, 3), 10, np.uint8)
    night[:12] = 250
    assert Exposure()(Frame(night))[2] == 0


def test_colourfulness_is_the_published_formula(photo):
    red, green, blue = np.moveaxis(photo.astype(float), -1, 0)
    one, two = red - green, (red + green) / 2 - blue
    expected = np.hypot(one.std(), two.std()) + 0.3 * np.hypot(one.mean(), two.mean())
    assert colourfulness(photo) == pytest.approx(expected, abs=1e-9)
    assert Exposure()(Frame(photo))[3] == pytest.approx(expected, rel=0.03)


def test_grey_has_no_colour(photo):
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert Exposure()(Frame(grey))[3] == 0
    assert Exposure()(Frame(photo))[3] > 15
