"""Down and up again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from skimage import transform

from million_ird import degrade as D
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import to_float, to_uint8
from million_ird.degrade.resize import DOWN, UP, resample, small_size
from million_ird.errors import ConfigError

SMOOTH = [name for name in DOWN if name != "nearest"]
PILLOW = {
    "bilinear_aa": Image.Resampling.BILINEAR,
    "bicubic_aa": Image.Resampling.BICUBIC,
    "lanczos_aa": Image.Resampling.LANCZOS,
}


@pytest.fixture(scope="module")
def picture(photo):
    return np.ascontiguousarray(photo[0:150, 150:350])


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize("shape", [(38, 50), (75, 100), (300, 400)])
def test_antialiased_kernels_are_pillows(kernel, shape, picture):
    # Pillow rounds and clips to 8 bits between its two passes: there is nothing to clip here.
    picture = picture // 2 + np.uint8(64)
    wanted = np.asarray(Image.fromarray(picture).resize(shape[::-1], PILLOW[kernel])).astype(int)
    found = to_uint8(resample(to_float(picture), shape, kernel)).astype(int)
    assert np.abs(found - wanted).max() <= 1 and (found != wanted).mean() < 0.4


def test_area_is_the_mean_of_what_a_pixel_covers(picture):
    wanted = transform.downscale_local_mean(to_float(picture), (5, 5, 1))
    np.testing.assert_allclose(resample(to_float(picture), (30, 40), "area"), wanted, atol=1e-5)


@pytest.mark.parametrize("down", SMOOTH)
@pytest.mark.parametrize("up", [name for name in UP if name != "nearest"])
@pytest.mark.parametrize("scale", [0.2, 0.37, 0.5, 0.9])
def test_a_ramp_stays_a_ramp_where_the_border_is_far(down, up, scale):
    ramp = np.empty((120, 160, 3), np.float32)
    ramp[:] = (np.linspace(0.1, 0.9, 160) * 0.7 + np.linspace(0, 0.3, 120)[:, None])[..., None]
    out, _ = D.Resize.render(ramp, {"scale": scale, "down": down, "up": up, "space": "srgb"})
    inside = (slice(30, 90), slice(30, 130))
    # A shift by a quarter of a pixel would change every value by more than this.
    step = ramp[0, 1, 0] - ramp[0, 0, 0]
    assert abs(float((out[inside] - ramp[inside]).mean())) < 0.02 * step
    assert (
        np.abs(out[inside] - ramp[inside]).max()
        < (0.7 if down.startswith("lanczos") or down.endswith("cv") else 0.5) * step
    )


@pytest.mark.parametrize("down", SMOOTH)
@pytest.mark.parametrize("up", [name for name in UP if name != "nearest"])
def test_mirrored_pictures_give_mirrored_results(down, up, picture):
    # Not so "nearest": of two pixels that are equally near it takes the one on a certain side.
    params = {"scale": 0.3, "down": down, "up": up, "space": "srgb"}
    once, _ = D.Resize.render(to_float(picture), params)
    twice, _ = D.Resize.render(np.ascontiguousarray(to_float(picture)[::-1, ::-1]), params)
    np.testing.assert_allclose(twice[::-1, ::-1], once, atol=2e-5)


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("up", UP)
@pytest.mark.parametrize("space", ["srgb", "linear"])
def test_bytes_are_rounded_floats_and_constants_stay(down, up, space, picture):
    op = D.Resize(scale=0.3, down=down, up=up, space=space)
    out, floats = op(picture, seed=0), op(to_float(picture), seed=0)
    assert np.array_equal(out.lq, to_uint8(floats.lq))
    assert np.array_equal(D.replay(picture, out.trace), out.lq)
    assert out.labels == ("resize",) and (out.mask == 1).all() and (out.lq != picture).any()
    for value in (0, 99, 255):
        flat = np.full((40, 50, 3), value, np.uint8)
        assert np.array_equal(op(flat, seed=0).lq, flat)


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (2, 3), (9, 7)])
def test_any_size_will_do(down, shape, picture):
    out = D.Resize(scale=0.15, down=down, up="lanczos_aa")(picture[: shape[0], : shape[1]].copy(), seed=0)
    assert out.lq.shape == (*shape, 3)


def test_smaller_is_worse(picture):
    errors = [
        np.mean((D.Resize(scale=s)(picture, seed=0).lq.astype(float) - picture) ** 2)
        for s in (0.9, 0.6, 0.4, 0.25, 0.15)
    ]
    assert np.all(np.diff(errors) > 0)


def test_full_size_changes_no_bit(picture):
    for image in (picture, to_float(picture)):
        assert np.array_equal(D.Resize(scale=1, space="linear")(image, seed=0).lq, image)


def test_the_small_size_is_rounded_up_and_never_0():
    assert small_size((100, 101), 0.5) == (50, 51)
    assert small_size((100, 100), 0.07) == (7, 7)
    assert small_size((3, 1), 0.01) == (1, 1)
    assert all(
        small_size((n, n), s)[0] == math.ceil(round(n * s, 9)) for n in range(1, 300) for s in (0.15, 0.3, 0.35, 0.9)
    )


def test_linear_light_keeps_the_brightness_of_fine_patterns():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1
    linear, _ = D.Resize.render(stripes, {"scale": 0.25, "down": "area", "up": "bilinear_cv", "space": "linear"})
    stored, _ = D.Resize.render(stripes, {"scale": 0.25, "down": "area", "up": "bilinear_cv", "space": "srgb"})
    assert to_linear(linear).mean() == pytest.approx(0.5, abs=1e-4)
    assert linear.mean() == pytest.approx(float(to_srgb(np.float32([0.5]))[0]), abs=1e-3)
    assert stored.mean() == pytest.approx(0.5, abs=1e-4)


def test_without_antialias_stripes_turn_into_false_ones():
    x = np.arange(240)
    stripes = np.repeat((0.5 + 0.5 * np.cos(2 * np.pi * 0.23 * x))[None, :, None], 60, axis=0)
    stripes = np.repeat(stripes, 3, axis=2).astype(np.float32)
    aliased, clean = resample(stripes, (15, 60), "bicubic_cv"), resample(stripes, (15, 60), "bicubic_aa")
    assert aliased[:, 5:-5].std() > 5 * clean[:, 5:-5].std()


def test_kernels_are_checked_by_name():
    with pytest.raises(ConfigError, match="bicubic_aa"):
        D.Resize.of({"down": "bicubic"})
    with pytest.raises(ConfigError, match="lanczos_aa"):
        D.Resize.of({"up": "area"})
