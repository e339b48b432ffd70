"""The watermark meter: any size, the same twice; finds plain marks, leaves photos alone; refuses other files."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from million_ird.curate.settings import load_config
from million_ird.degrade.watermark import HELD_OUT, stamp
from million_ird.errors import ConfigError
from million_ird.images import decode
from million_ird.meters import Frame
from million_ird.meters.watermark import _SHIPPED, Watermark, seen
from million_ird.rng import rng_for
from million_ird.train.detectors.export import scales_of, to_onnx
from million_ird.train.detectors.net import Detector
from million_ird.train.detectors.training import auc

SIDES = ((1, 1), (1, 2), (3, 3), (17, 18), (1, 5000), (5000, 1), (9, 300), (700, 900))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A network that has learnt nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    net = Detector().eval()
    path.write_bytes(to_onnx(net, {}, scales_of(net, [np.arange(64 * 64).astype(np.uint8).reshape(64, 64)])))
    return str(path)


@pytest.mark.parametrize("shape", SIDES, ids=str)
def test_any_size_gives_a_number_from_0_to_1(shape, model):
    meter = Watermark(model=model)
    random = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for rgb in (np.zeros_like(random), np.full_like(random, 255), random):
        (value,) = meter(Frame(rgb))
        assert type(value) is float and math.isfinite(value) and 0 <= value <= 1


def test_it_changes_nothing_and_repeats_itself(photo, model):
    meter, before = Watermark(model=model), photo.copy()
    assert meter(Frame(photo)) == meter(Frame(photo)) == Watermark(model=model)(Frame(before))
    np.testing.assert_array_equal(photo, before)


def test_the_map_says_where(photo):
    marked = stamp(photo, rng_for(5, "map"), HELD_OUT, layout_name="stack", height=28, opacity=0.9)
    cells = Watermark().map(Frame(marked.image))
    assert cells.shape == (32, 32)  # 512 x 512 px, in cells of 16
    there = cv2.resize(marked.cover, (32, 32), interpolation=cv2.INTER_AREA) > 40
    assert cells[there].mean() > 4 * cells[~there].mean()


def test_a_larger_picture_is_looked_at_at_the_same_size_as_a_smaller_one(photo, model):
    large = np.ascontiguousarray(photo.repeat(4, 0).repeat(4, 1))
    np.testing.assert_array_equal(seen(Frame(large), 2**18), Frame(photo).luma)
    assert Watermark(model=model)(Frame(large)) == Watermark(model=model)(Frame(photo))
    for shape in ((30, 400), (180, 180), (230, 230), (300, 300), (700, 900), (1000, 1000), (2000, 1500)):
        plane = seen(Frame(np.zeros((*shape, 3), np.uint8)), 2**16)
        assert min(1.5**2 * shape[0] * shape[1], 2**16) * 0.6 <= plane.size <= 2**16
        assert abs(plane.shape[0] / plane.shape[1] * shape[1] / shape[0] - 1) < 0.03


def test_a_small_picture_is_made_larger_but_not_beyond_measure(photo):
    small = np.ascontiguousarray(photo[:200, :300])
    assert seen(Frame(small), 10**6).shape == (300, 450)
    assert seen(Frame(small), 90_000).shape == (244, 367)
    assert seen(Frame(small), 80_000).shape == (200, 300)  # nearly as many
    assert seen(Frame(small[:1, :1]), 10**6).shape == (1, 1)


def test_it_finds_many_marks_and_leaves_photos_alone(real: object):
    """What ships is far from finding all of them: docs/detectors.md."""
    kodak, cbsd = ([decode(p.read_bytes()).rgb for p in sorted(real(n).iterdir())] for n in ("kodak24", "cbsd68"))  # type: ignore[operator]
    meter = Watermark()
    clean = [meter(Frame(picture))[0] for picture in kodak + cbsd]
    marked = [
        meter(Frame(stamp(p, rng_for(7, n), HELD_OUT, height=26, opacity=0.6).image))[0] for n, p in enumerate(kodak)
    ]
    limit = load_config("photos").policy.watermark.max
    assert np.median(clean) < 0.1 and max(clean) < limit and np.mean(np.array(clean) > 0.75) <= 0.02
    assert auc(clean, marked) > 0.85 and np.mean(np.array(marked) > 0.75) > 0.4


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"watermark.model: .*none.onnx does not exist"):
        Watermark(model=str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"bad.onnx is no ONNX network"):
        Watermark(model=str(tmp_path / "bad.onnx"))


def test_the_shipped_network_is_small_and_has_its_card_and_log():
    assert _SHIPPED.stat().st_size < 1_500_000
    card = _SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert hashlib.sha256(_SHIPPED.read_bytes()).hexdigest() in card and "PP-OCRv4" in card
    assert Path(_SHIPPED.with_suffix(".jsonl")).read_text(encoding="utf-8").startswith('{"step"')
