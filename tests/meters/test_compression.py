"""Compression: what the header says, and what the pixels still show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.images import decode, encode_jpeg, read_header
from million_ird.meters import Frame
from million_ird.meters.compression import Compression

MAX = 1.5  # of the photos preset


def blockiness(rgb):
    return Compression()(Frame(np.ascontiguousarray(rgb)))[1]


@pytest.mark.parametrize("quality", [15, 70, 92])
def test_quality_comes_from_the_header(photo, quality):
    data = encode_jpeg(photo, quality)
    assert Compression()(Frame(decode(data).rgb, read_header(data)))[0] == quality
    assert Compression()(Frame(decode(data).rgb))[0] is None


def test_blocks_are_found_in_pixels_saved_again_and_grow_as_quality_falls(photo):
    found = [blockiness(photo)] + [blockiness(decode(encode_jpeg(photo, q)).rgb) for q in (90, 70, 30, 15)]
    assert found == sorted(found)
    assert found[2] < MAX < found[4]


@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (3, 5), (4, 4), (7, 2)], ids=str)
def test_blocks_are_found_in_crops_at_any_offset(photo, offset):
    blocky = decode(encode_jpeg(photo, 15)).rgb
    assert blockiness(blocky[offset[0] :, offset[1] :]) == pytest.approx(blockiness(blocky), rel=0.05)


def test_edges_of_the_scene_and_repeated_pixels_are_no_blocks(photo):
    drawn = photo.copy()
    drawn[:, 100:300:40] = 255
    small = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert blockiness(drawn) < MAX
    assert blockiness(cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)) < MAX


def test_too_small_for_a_grid_says_nothing(photo):
    assert Compression()(Frame(photo[:23, :100])) == (None, None)


def test_real_photos_are_told_from_blocky_ones(real):
    files = sorted(real("cid22").glob("*.png"))[::5]
    photos = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    assert max(blockiness(rgb) for rgb in photos) < 0.5
    assert np.mean([blockiness(decode(encode_jpeg(rgb, 15)).rgb) > MAX for rgb in photos]) >= 0.9
