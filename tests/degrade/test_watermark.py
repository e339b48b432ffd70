"""Watermarks: drawn alike from the same seed, only where they say, visible, and in styles that don't mix."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from million_ird.degrade.watermark import HELD_OUT, LEAST, TRAINING, Style, stamp
from million_ird.degrade.watermark.emblems import LOGOS
from million_ird.degrade.watermark.layouts import LAYOUTS
from million_ird.errors import InputError
from million_ird.rng import rng_for


@pytest.fixture(scope="module")
def small(photo):
    return np.ascontiguousarray(photo[:256, 100:400])


def test_training_and_held_out_styles_share_nothing_and_use_all_there_is():
    for part in ("fonts", "logos", "layouts"):
        assert not set(getattr(TRAINING, part)) & set(getattr(HELD_OUT, part))
    assert {*TRAINING.layouts, *HELD_OUT.layouts} == set(LAYOUTS)
    assert {*TRAINING.logos, *HELD_OUT.logos} == set(LOGOS)
    families = [{name.split("-")[0].removesuffix("Bol") for name in style.fonts} for style in (TRAINING, HELD_OUT)]
    assert not families[0] & families[1]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_mark_repeats_is_seen_and_stays_where_its_cover_says(small, name):
    before = small.copy()
    seen = 0
    for number in range(4):
        first, again = (stamp(small, rng_for(1, name, number), TRAINING, layout_name=name) for _ in range(2))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.cover, again.cover)
        assert first.image.shape == small.shape and first.image.dtype == np.uint8 and first.layout == name
        seen += first.contrast >= LEAST
        near = cv2.dilate(first.cover, np.ones((41, 41), np.uint8)) > 0  # shadows and rims fall beside the letters
        changed = (first.image != small).any(axis=2)
        assert changed.any() and not (changed & ~near).any()
    assert seen >= 3  # on white in white there is no way
    np.testing.assert_array_equal(small, before)


def test_another_seed_gives_another_mark(small):
    found = {stamp(small, rng_for(seed, "x"), HELD_OUT).image.tobytes() for seed in range(6)}
    assert len(found) == 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (9, 17), (40, 700)])
def test_any_size(shape):
    picture = np.full((*shape, 3), 90, np.uint8)
    for name in LAYOUTS:
        found = stamp(picture, rng_for(0, name, *shape), layout_name=name)
        assert found.image.shape == picture.shape and found.cover.shape == shape


def test_a_higher_opacity_is_seen_more(small):
    grey = np.full_like(small, 128)
    faint, strong = (
        stamp(grey, rng_for(3, "o"), TRAINING, layout_name="centre", height=30, opacity=o) for o in (0.2, 0.9)
    )
    assert strong.contrast > 2 * faint.contrast > 0


def test_what_cannot_be_done_is_said_in_a_line(small):
    with pytest.raises(InputError, match="dtype"):
        stamp(small.astype(np.float64), rng_for(0))
    with pytest.raises(InputError, match="font Nonesuch is not here"):
        stamp(small, rng_for(0), Style(("Nonesuch",), TRAINING.logos, ("side",)))
