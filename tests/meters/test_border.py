"""Border: bars and frames, and what only looks like them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame
from million_ird.meters.border import Border


def border(rgb):
    return Border()(Frame(np.ascontiguousarray(rgb)))[0]


def framed(rgb, top, side, colour):
    out = np.full_like(rgb, colour)
    height, width = rgb.shape[:2]
    out[top : height - top, side : width - side] = rgb[top : height - top, side : width - side]
    return out


@pytest.mark.parametrize("colour", [0, 5, 90, 255], ids=str)
@pytest.mark.parametrize(("top", "side"), [(60, 0), (0, 60), (25, 25)], ids=str)
def test_bars_and_frames_read_as_their_share(photo, top, side, colour):
    truth = 1 - (512 - 2 * top) * (512 - 2 * side) / 512**2
    assert border(framed(photo, top, side, colour)) == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("quality", [60, 90])
def test_near_black_bars_with_jpeg_noise_are_found(photo, quality):
    barred = decode(encode_jpeg(framed(photo, 64, 0, 4), quality)).rgb
    assert border(barred) == pytest.approx(0.25, abs=0.02)


def test_one_bar_alone_is_found(photo):
    barred = photo.copy()
    barred[-64:] = 12
    assert border(barred) == pytest.approx(0.125, abs=0.02)


def test_skies_are_no_bars(photo):
    rows, columns = np.mgrid[:512, :512]
    skyline = 200 + 40 * np.sin(columns / 37) + 25 * np.sin(columns / 11)
    for sky in (0, 255):
        picture = photo.copy()
        picture[rows < skyline] = sky
        assert border(picture) == 0
    dusk = photo.copy()
    dusk[:200] = np.linspace(20, 90, 200)[:, None, None]
    assert border(dusk) == 0


def test_a_box_on_white_ground_has_no_border():
    shot = np.full((400, 400, 3), 255, np.uint8)
    shot[20:380, 130:270] = np.random.default_rng(0).integers(0, 200, (360, 140, 3))
    assert border(shot) == 0


def test_a_picture_of_one_colour_is_all_border():
    assert border(np.full((80, 120, 3), 33, np.uint8)) == 1


def test_real_photos_have_no_border(real):
    for file in sorted(real("cid22").glob("*.png"))[::5]:
        assert border(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)) < 0.03, file.name
