"""Flatness: LSDIR's rule as 4KLSDB codes it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.meters import Frame
from million_ird.meters.flatness import Flatness


def by_the_letter(luma, tile=240, threshold=800):
    """The rule in its plainest form: one float plane, one variance per tile."""
    magnitude = np.hypot(cv2.Sobel(luma, cv2.CV_64F, 1, 0), cv2.Sobel(luma, cv2.CV_64F, 0, 1))
    height, width = luma.shape
    tiles = [magnitude[y : y + tile, x : x + tile] for y in range(0, height, tile) for x in range(0, width, tile)]
    return np.mean([tile.var() < threshold for tile in tiles])


@pytest.mark.parametrize("shape", [(512, 512), (481, 321), (240, 240), (241, 482), (100, 30), (1, 7)], ids=str)
def test_exact_is_the_rule_to_the_letter(photo, shape):
    frame = Frame(np.ascontiguousarray(photo[: shape[0], : shape[1]]))
    assert Flatness(exact=True)(frame)[0] == by_the_letter(frame.luma)


@pytest.mark.parametrize(("tile", "variance"), [(240, 5000), (150, 800), (60, 2000), (16, 300)])
def test_tile_and_threshold_are_settings(photo, tile, variance):
    frame = Frame(photo)
    found = Flatness(tile=tile, variance=variance, exact=True)(frame)[0]
    assert found == by_the_letter(frame.luma, tile, variance)
    assert Flatness(tile=tile, variance=variance)(frame)[0] == pytest.approx(found, abs=0.05)


def test_flat_and_textured_are_told_apart(photo):
    textured = photo[:480, :480]
    flat = cv2.GaussianBlur(textured, (0, 0), 12)
    assert Flatness()(Frame(textured))[0] == 0
    assert Flatness()(Frame(flat))[0] == 1
    beside = np.hstack([flat, flat[:, -2:], textured[:, 2:]])  # the seam within the textured tiles
    assert Flatness()(Frame(beside))[0] == 0.5


def test_the_sample_agrees_with_the_letter_on_99_tiles_of_100(real):
    wrong = count = 0
    for name, pattern in (("kodak24", "*.png"), ("cid22", "*.png"), ("clic2025", "*.png")):
        for file in sorted(real(name).glob(pattern))[::3]:
            frame = Frame(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
            tiles = int(np.prod([-(-side // 240) for side in frame.luma.shape]))
            wrong += round(tiles * abs(Flatness()(frame)[0] - Flatness(exact=True)(frame)[0]))
            count += tiles
    assert wrong <= 0.01 * count
