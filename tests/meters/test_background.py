"""Background: products, pages and graphics above the cut, photos below."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame
from million_ird.meters.background import Background

MAX = 0.7  # of the photos preset


def score(rgb):
    return Background()(Frame(np.ascontiguousarray(rgb)))[0]


def page():
    sheet = Image.new("RGB", (700, 900), "white")
    draw = ImageDraw.Draw(sheet)
    for top in range(60, 840, 26):
        draw.text((60, top), "lorem ipsum dolor sit amet consectetur adipiscing elit", fill="black", font_size=18)
    return np.array(sheet)


def graphic():
    sheet = Image.new("RGB", (1600, 1200), (40, 90, 200))
    draw = ImageDraw.Draw(sheet)
    draw.ellipse((-200, 100, 900, 1300), fill=(250, 200, 40))
    draw.rectangle((700, -50, 1700, 500), fill=(200, 30, 60))
    return np.array(sheet.resize((800, 600)))


def product(photo):
    shot = np.full((400, 400, 3), 255, np.uint8)
    shot[60:340, 90:310] = photo[:280, :220]
    return shot


@pytest.mark.parametrize("quality", [None, 75, 90])
@pytest.mark.parametrize("kind", ["page", "graphic", "product"])
def test_drawn_and_staged_pictures_are_above_the_cut(photo, kind, quality):
    rgb = {"page": page, "graphic": graphic, "product": lambda: product(photo)}[kind]()
    if quality:
        rgb = decode(encode_jpeg(rgb, quality)).rgb
    assert score(rgb) > MAX


def test_photos_are_below_the_cut(photo):
    from skimage import data

    for rgb in (photo, data.coffee(), data.chelsea(), data.rocket()):
        assert score(rgb) < MAX


def test_a_dark_ground_is_a_night_not_a_product(photo):
    night = np.random.default_rng(0).integers(8, 14, (400, 400, 3)).astype(np.uint8)
    night[100:300, 100:300] = photo[:200, :200]
    assert score(night) < 0.1


def test_repeated_pixels_of_an_upscaled_photo_are_no_graphic(photo):
    assert score(cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)) < MAX


def test_groceries_on_white_are_told_from_clothes_at_home(real):
    def scores(name):
        files = sorted(real(name).glob("*.jpg"))[::3]
        return np.array([score(decode(file.read_bytes()).rgb) for file in files])

    assert (scores("product/iconic") > MAX).mean() >= 0.95
    assert (scores("product/clothing") > MAX).mean() <= 0.03
