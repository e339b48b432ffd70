"""The watermark meter: any size, the same twice; finds plain marks, leaves photos alone; refuses other files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from million_ird.degrade.watermark import HELD_OUT, stamp
from million_ird.errors import ConfigError
from million_ird.images import decode
from million_ird.meters import Frame, create
from million_ird.meters.watermark import _SHIPPED, Watermark, reduced
from million_ird.rng import rng_for

SIDES = ((1, 1), (1, 2), (3, 3), (17, 18), (1, 5000), (5000, 1), (9, 300), (700, 900))


@pytest.mark.parametrize("shape", SIDES, ids=str)
def test_any_size_gives_a_number_from_0_to_1(shape):
    meter = create("watermark")
    random = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for rgb in (np.zeros_like(random), np.full_like(random, 255), random):
        (value,) = meter(Frame(rgb))
        assert type(value) is float and math.isfinite(value) and 0 <= value <= 1


def test_it_changes_nothing_and_repeats_itself(photo):
    meter, before = Watermark(), photo.copy()
    assert meter(Frame(photo)) == meter(Frame(photo)) == Watermark()(Frame(before))
    np.testing.assert_array_equal(photo, before)


def test_the_map_says_where(photo):
    marked = stamp(photo, rng_for(5, "map"), HELD_OUT, layout_name="stack", height=28, opacity=0.9)
    cells = Watermark().map(Frame(marked.image))
    assert cells.shape == (32, 32)
    there = marked.cover.reshape(32, 16, 32, 16).mean((1, 3)) > 40
    assert cells[there].mean() > 4 * cells[~there].mean()


def test_the_same_mark_on_a_larger_picture_reads_about_the_same(photo):
    large = np.ascontiguousarray(photo.repeat(4, 0).repeat(4, 1))
    assert reduced(Frame(large), 2**18).shape == (512, 512)
    marked = stamp(photo, rng_for(5, "map"), HELD_OUT, layout_name="stack", height=28, opacity=0.9).image
    (small,), (big,) = Watermark()(Frame(marked)), Watermark()(Frame(marked.repeat(4, 0).repeat(4, 1)))
    assert abs(small - big) < 0.01


def test_it_finds_most_marks_and_leaves_photos_alone(real: object):
    pictures = [decode(path.read_bytes()).rgb for path in sorted(real("kodak24").iterdir())[:12]]  # type: ignore[operator]
    meter = Watermark()
    clean = [meter(Frame(picture))[0] for picture in pictures]
    marked = [
        meter(Frame(stamp(p, rng_for(7, n), HELD_OUT, height=26, opacity=0.6).image))[0] for n, p in enumerate(pictures)
    ]
    assert np.median(clean) < 0.1 and np.mean(np.array(clean) > 0.5) <= 0.1
    assert np.mean(np.array(marked) > 0.5) >= 0.75


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"watermark.model: .*none.onnx does not exist"):
        create("watermark", {"model": str(tmp_path / "none.onnx")})
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"bad.onnx is no ONNX network"):
        create("watermark", {"model": str(tmp_path / "bad.onnx")})


def test_the_shipped_network_is_small_and_has_its_card_and_log():
    assert _SHIPPED.stat().st_size < 1_500_000
    card = _SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert "sha256" in card and Path(_SHIPPED.with_suffix(".jsonl")).read_text(encoding="utf-8").startswith('{"step"')
