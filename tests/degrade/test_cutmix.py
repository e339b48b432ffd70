"""CutMix: regions of one picture, each degraded whole before it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from million_ird import degrade as D
from million_ird.degrade.op import to_uint8
from million_ird.degrade.regions import SHAPES, region_map
from million_ird.degrade.run import op_of

BRANCHES = [
    D.GaussianNoise(sigma=40),
    D.JPEG(quality=10, sampling="4:2:0"),
    D.BitDepth(bits=2),
    D.LowLight(kind="gain", gain=0.3),
]


@pytest.fixture(scope="module")
def picture(photo):
    return np.ascontiguousarray(photo[:160, 100:300])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("shares", [(0.3, 0.2, 0.1), (0.5,), (0.1, 0.1, 0.1, 0.1, 0.1)])
def test_regions_have_the_share_of_the_area_asked_for(kind, shares):
    allowed = 0.08 if kind == "voronoi" else 0.02
    for seed in range(8):
        regions = region_map((200, 260), kind, shares, seed, 16)
        found = np.bincount(regions.ravel(), minlength=len(shares) + 1)
        assert np.abs(found[1:] / (200 * 260) - shares).max() < allowed
        assert np.array_equal(region_map((200, 260), kind, shares, seed, 16), regions)


@pytest.mark.parametrize("kind", SHAPES)
def test_no_pixel_is_left_over_when_the_shares_are_the_whole(kind):
    for seed in range(5):
        assert region_map((90, 120), kind, (0.5, 0.3, 0.2), seed, 16).min() == 1


def test_nothing_is_left_clean_where_nothing_should_be(picture):
    """However the drawn shares are rounded, and however small the cells."""
    for seed in range(40):
        out = D.CutMix(BRANCHES, regions=(2, 8), shapes="grid", cell=1)(picture, seed=seed)
        assert abs(sum(out.trace["steps"][0]["params"]["shares"]) - 1) < 1e-9
        assert np.all(out.mask != 0)


@pytest.mark.parametrize("kind", ["rectangle", "polygon", "spline"])
def test_a_shape_is_one_piece(kind):
    for seed in range(10):
        region = region_map((128, 128), kind, (0.2,), seed, 16) == 1
        assert ndimage.label(region)[1] == 1


def test_a_rectangle_is_a_rectangle():
    for seed in range(10):
        region = region_map((128, 128), "rectangle", (0.2,), seed, 16) == 1
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        assert region.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_tiny_pictures_have_regions_too():
    for kind in SHAPES:
        for shape in ((1, 1), (2, 5), (17, 3)):
            assert region_map(shape, kind, (0.4, 0.3), 1, 16).shape == shape


@pytest.mark.parametrize("kind", SHAPES)
def test_every_region_is_a_cut_of_its_whole_degraded_picture(picture, kind):
    out = D.CutMix(BRANCHES, regions=4, untouched=0.2, shapes=kind)(picture, seed=11)
    step = out.trace["steps"][0]
    owner = region_map(
        picture.shape[:2], kind, step["params"]["shares"], step["params"]["seed"], step["params"]["cell"]
    )
    assert np.array_equal(out.lq[owner == 0], picture[owner == 0])
    assert not out.mask[owner == 0].any()
    for region, branch in enumerate(step["branches"], 1):
        whole, _ = op_of(branch[0]).apply(picture, branch[0]["params"])
        assert np.array_equal(out.lq[owner == region], whole[owner == region])
        bit = 1 << out.classes.index(branch[0]["class"])
        assert np.all(out.mask[owner == region] == bit)


def test_untouched_share_count_and_distinct_branches_are_as_asked(picture):
    for seed in range(10):
        out = D.CutMix(BRANCHES, regions=(2, 4), untouched=0.4)(picture, seed=seed)
        names = [branch[0]["op"] for branch in out.trace["steps"][0]["branches"]]
        assert 2 <= len(names) <= 4
        assert len(set(names)) == len(names)
        assert abs(np.mean(out.mask == 0) - 0.4) < 0.1
    many = D.CutMix(BRANCHES[:2], regions=5)(picture, seed=0).trace["steps"][0]["branches"]
    assert sorted(branch[0]["op"] for branch in many)[2] in ("GaussianNoise", "JPEG")
    weighted = D.CutMix(BRANCHES, regions=4, p=[1, 0, 0, 0], distinct=False)(picture, seed=0)
    assert weighted.labels == ("noise",)


def test_bytes_and_floats_agree(picture):
    pipe = D.CutMix(BRANCHES, regions=3, untouched=(0, 0.3))
    for seed in range(4):
        from8 = pipe(picture, seed=seed)
        floats = pipe(picture.astype(np.float32) / np.float32(255), seed=seed)
        assert np.array_equal(to_uint8(floats.lq), from8.lq)
        assert np.array_equal(floats.mask, from8.mask)


def test_what_follows_cutmix_sees_unrounded_regions(picture):
    """Bit depth cuts off what is just under a level: it must see the value before it is rounded up to that level."""
    mixed = D.CutMix([D.LowLight(kind="gain", gain=0.7)], regions=1)
    chain = D.Compose([mixed, D.BitDepth(bits=7)])(picture, seed=1)
    floats = D.Compose([mixed, D.BitDepth(bits=7)])(picture.astype(np.float32) / np.float32(255), seed=1)
    assert np.array_equal(to_uint8(floats.lq), chain.lq)
    twice, _ = D.BitDepth.apply(mixed(picture, seed=1).lq, chain.trace["steps"][1]["params"])
    assert not np.array_equal(twice, chain.lq)


def test_a_feather_blends_and_reports_its_band(picture):
    hard = D.CutMix(BRANCHES[3:], regions=1, untouched=0.6, shapes="rectangle")(picture, seed=2)
    soft = D.CutMix(BRANCHES[3:], regions=1, untouched=0.6, shapes="rectangle", feather=3)(picture, seed=2)
    assert hard.ignore is None
    assert soft.ignore is not None
    assert 0 < soft.ignore.mean() < 0.3
    assert np.array_equal(soft.lq[soft.mask == 0], picture[soft.mask == 0])
    assert np.array_equal(soft.lq[~soft.ignore], hard.lq[~soft.ignore])
    edge = np.abs(np.diff(soft.lq.astype(int), axis=1)).max()
    assert edge <= np.abs(np.diff(hard.lq.astype(int), axis=1)).max()


def test_regions_nest(picture):
    inner = D.CutMix(BRANCHES[:2], shapes="grid", cell=8, regions=2)
    out = D.CutMix([inner, D.Mask(ratio=1.0)], shapes="grid", cell=8, shares=[0.5, 0.25])(picture, seed=1)
    assert set(out.labels) == {"noise", "jpeg", "mask"}
    assert abs(np.mean(out.mask == 0) - 0.25) < 0.01
    assert np.array_equal(out.lq[out.mask == 0], picture[out.mask == 0])
    assert np.array_equal(D.replay(picture, out.trace), out.lq)
