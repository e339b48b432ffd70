"""Blur: found whatever its kind, its angle and the contrast; an unsharp background is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.meters import Frame
from million_ird.meters.blur import Blur

MIN, MIN_RATIO = 40, 0.2  # of the photos preset


def shaken(rgb, angle, length=15):
    side = length + 4
    kernel = np.zeros((side * 8, side * 8), np.float32)
    reach = length * 4 * np.array((np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))))
    ends = np.round(side * 4 + np.outer((-1, 1), reach)).astype(int)
    kernel = cv2.resize(cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 8), (side, side), interpolation=3)
    return cv2.filter2D(rgb, -1, kernel / kernel.sum())


def test_a_sharp_photo_passes_and_a_blurred_one_does_not(photo):
    sharp, blurred = Frame(photo), Frame(cv2.GaussianBlur(photo, (0, 0), 2.5))
    assert Blur()(sharp)[0] > 10 * MIN
    assert Blur()(sharp)[1] > 2 * MIN_RATIO
    assert Blur()(blurred)[0] < MIN


@pytest.mark.parametrize("angle", [0, 10, 22.5, 45, 60, 90, 112.5, 135, 170])
def test_motion_blur_is_found_at_any_angle(photo, angle):
    assert Blur()(Frame(shaken(photo, angle)))[1] < MIN_RATIO


def test_the_ratio_does_not_depend_on_contrast_but_the_variance_does(photo):
    faint = np.round(96 + photo / 4).astype(np.uint8)
    (blur, ratio), (faint_blur, faint_ratio) = Blur()(Frame(photo)), Blur()(Frame(faint))
    assert faint_ratio == pytest.approx(ratio, rel=0.1)
    assert faint_blur == pytest.approx(blur / 16, rel=0.1)


def test_a_photo_with_an_unsharp_background_is_sharp(photo):
    focused = cv2.GaussianBlur(photo, (0, 0), 5)
    focused[32:256, 128:352] = photo[32:256, 128:352]
    blur, ratio = Blur()(Frame(focused))
    assert blur > MIN
    assert ratio > MIN_RATIO


def test_the_variance_is_that_of_the_laplacian():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    expected = cv2.Laplacian(noise, cv2.CV_64F).var()
    assert Blur(percentile=50)(Frame(np.dstack([noise] * 3)))[0] == pytest.approx(expected, rel=0.02)


def test_no_detail_means_no_ratio(photo):
    assert Blur()(Frame(np.full((200, 200, 3), 90, np.uint8))) == (0.0, None)
    assert Blur()(Frame(photo[:63, :200]))[1] is None


def test_real_photos_pass_and_shaken_ones_do_not(real):
    files = sorted(real("kodak24").glob("*.png"))[::3]
    for number, file in enumerate(files):
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        blur, ratio = Blur()(Frame(rgb))
        assert blur > MIN and ratio is not None and ratio > MIN_RATIO, file.name
        assert Blur()(Frame(shaken(rgb, 25 * number)))[1] < MIN_RATIO, file.name
