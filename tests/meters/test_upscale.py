"""Upscale: real over nominal resolution, whatever enlarged the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame
from million_ird.meters.upscale import Upscale

MIN = 0.33  # of the photos preset
KINDS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def resolution(rgb):
    return Upscale()(Frame(rgb))[0]


def enlarged(rgb, factor, kind):
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=KINDS[kind])


def test_a_sharp_photo_has_its_full_resolution(photo):
    assert resolution(photo) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [2, 4])
def test_the_factor_is_read_off(photo, kind, factor):
    assert resolution(enlarged(photo, factor, kind)) == pytest.approx(1 / factor, rel=0.2)


def test_saving_as_jpeg_hides_nothing(photo):
    assert resolution(decode(encode_jpeg(enlarged(photo, 4, "bicubic"), 90)).rgb) < MIN


def test_contrast_does_not_matter(photo):
    faint = np.round(96 + enlarged(photo, 4, "bicubic") / 4).astype(np.uint8)
    assert resolution(faint) < MIN


def test_a_photo_with_an_unsharp_background_has_its_full_resolution(photo):
    focused = cv2.GaussianBlur(photo, (0, 0), 5)
    focused[32:288, 128:384] = photo[32:288, 128:384]
    assert resolution(focused) == 1


def test_no_detail_means_no_answer(photo):
    assert resolution(np.full((200, 200, 3), 90, np.uint8)) is None
    assert resolution(np.ascontiguousarray(photo[:63])) is None


def test_real_photos_are_told_from_enlarged_ones(real):
    for file in sorted(real("kodak24").glob("*.png"))[::3]:
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        assert resolution(rgb) > 2 * MIN, file.name
        for kind in ("bilinear", "bicubic", "lanczos"):
            assert resolution(enlarged(rgb, 4, kind)) < MIN, (file.name, kind)
