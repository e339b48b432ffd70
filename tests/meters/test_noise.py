"""Noise: sigma in grey levels, of noise and not of texture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from million_ird.meters import Frame
from million_ird.meters.noise import Noise


def noisy(rgb, sigma, channels=3):
    drawn = np.random.default_rng(1).normal(0, sigma, (*rgb.shape[:2], channels))
    return np.clip(np.rint(rgb + drawn), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [2, 5, 10, 25, 40])
def test_white_noise_reads_as_its_sigma(sigma):
    assert Noise()(Frame(noisy(np.full((400, 600, 3), 128), sigma)))[0] == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_on_a_photo_reads_as_its_sigma_grey_or_coloured(photo, channels):
    assert Noise()(Frame(noisy(photo, 25, channels)))[0] == pytest.approx(25, rel=0.12)


def test_texture_is_not_noise():
    from skimage import data

    for name in ("grass", "gravel", "brick"):
        texture = np.dstack([getattr(data, name)()] * 3)
        assert Noise()(Frame(texture))[0] < 10, name


def test_a_clean_photo_reads_low_and_ramps_read_zero(photo):
    assert Noise()(Frame(photo))[0] < 3
    ramp = np.add.outer(np.arange(100), np.arange(150)).astype(np.uint8)
    assert Noise()(Frame(np.dstack([ramp] * 3)))[0] == 0


@pytest.mark.parametrize("level", [0, 255])
def test_noise_is_found_where_all_is_clipped(level):
    assert Noise()(Frame(noisy(np.full((300, 300, 3), level), 25)))[0] > 12


def test_text_on_white_is_not_noise():
    page = Image.new("RGB", (800, 1000), "white")
    draw = ImageDraw.Draw(page)
    for top in range(60, 900, 24):
        draw.text((60, top), "the quick brown fox jumps over the lazy dog " * 2, fill="black", font_size=16)
    assert Noise()(Frame(np.array(page)))[0] < 1


def test_below_three_pixels_there_is_nothing_to_say():
    assert Noise()(Frame(np.zeros((2, 90, 3), np.uint8))) == (None,)


def test_real_photos_are_cleaner_than_noisy_ones(real):
    for file in sorted(real("kodak24").glob("*.png"))[::3]:
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        assert Noise()(Frame(rgb))[0] < 8, file.name
        assert 21 < Noise()(Frame(noisy(rgb, 25)))[0] < 28, file.name
