"""Gaussian blur, motion blur, defocus and ringing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from million_ird import degrade as D
from million_ird.degrade.blur import KINDS, draw_odd
from million_ird.degrade.kernels import spread
from million_ird.degrade.light import to_linear, to_srgb
from million_ird.degrade.op import Op, to_float, to_uint8
from million_ird.errors import ConfigError
from million_ird.rng import rng_for

PUBLISHED = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
"""Shares of the kinds in Real-ESRGAN."""

OPS: dict[str, Op] = {
    "gaussian": D.GaussianBlur(sigma=2),
    "published": D.GaussianBlur(
        kind=D.Choice(choice=KINDS, p=PUBLISHED),
        size=(7, 21),
    ),
    "line": D.MotionBlur(length=15),
    "trajectory": D.MotionBlur(kind="trajectory", length=31),
    "disk": D.DefocusBlur(radius=4.5),
    "polygon": D.DefocusBlur(radius=6, blades=7),
    "linear": D.DefocusBlur(radius=4.5, space="linear"),
    "highlights": D.MotionBlur(length=9, space="linear", highlights=3),
    "ringing": D.Ringing(),
}

IN_LIGHT = ("linear", "highlights")
every = pytest.mark.parametrize("name", OPS)


@pytest.fixture(scope="module")
def picture(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(photo[0:160, 150:350])


def drawn(name: str, seed: int = 0) -> dict:
    return OPS[name].draw(rng_for(seed, name), (160, 200))


@pytest.mark.parametrize("name", [name for name in OPS if name not in IN_LIGHT])
def test_the_picture_is_that_of_the_kernel_by_the_direct_sum(name, picture):
    params = drawn(name)
    out, support = OPS[name].render(to_float(picture), params)
    kernel = OPS[name].psf(params).astype(float)
    for channel in range(3):
        wanted = ndimage.convolve(picture[..., channel] / 255, kernel, mode="mirror")
        np.testing.assert_allclose(out[..., channel], wanted, atol=1e-5)
    assert support is None


@every
@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
def test_a_constant_picture_stays_as_it_is(name, value):
    image = np.full((50, 60, 3), value, np.uint8)
    if name == "highlights" and value == 254:  # Brighter than it looks: it goes to white.
        value = 255
    assert np.array_equal(OPS[name](image, seed=1).lq, np.full_like(image, value))


@every
def test_bytes_are_rounded_floats_and_replay(name, picture):
    for seed in range(4):
        out = OPS[name](picture, seed=seed)
        floats = OPS[name](to_float(picture), seed=seed)
        assert np.array_equal(out.lq, to_uint8(floats.lq))
        assert np.array_equal(D.replay(picture, out.trace), out.lq)
        assert (out.lq != picture).any() and (out.mask == 1).all()


@every
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 3), (7, 5)])
def test_kernels_larger_than_the_picture_are_no_trouble(name, shape, picture):
    out = OPS[name](picture[: shape[0], : shape[1]].copy(), seed=3)
    assert out.lq.shape == (*shape, 3)
    if shape == (1, 1) and name != "highlights":
        assert np.array_equal(out.lq, out.hq)


@every
def test_a_dot_is_spread_but_not_moved(name):
    dot = np.zeros((81, 81, 3), np.float32)
    dot[40, 40] = 0.8
    y, x = np.indices((81, 81)) - 40
    for seed in range(5):
        out, _ = OPS[name].render(dot, drawn(name, seed))
        light = to_linear(out) if name in IN_LIGHT else out
        grey = light[..., 0].astype(float)
        assert abs((y * grey).sum()) / grey.sum() < 2e-3 and abs((x * grey).sum()) / grey.sum() < 2e-3


@pytest.mark.parametrize("name", [name for name in OPS if name != "trajectory"])
def test_a_photo_matches_its_blurred_self_best_where_it_lies(name, picture):
    # A trajectory is left out: it is centred by its mass, and its peak is elsewhere.
    clean = picture.astype(float).mean(axis=2)
    taper = np.outer(np.hanning(clean.shape[0]), np.hanning(clean.shape[1]))
    for seed in range(3):
        blurred = OPS[name](picture, seed=seed).lq.astype(float).mean(axis=2)
        a, b = (np.fft.rfft2((x - clean.mean()) * taper) for x in (clean, blurred))
        match = np.fft.irfft2(a * b.conj(), clean.shape)
        assert np.unravel_index(match.argmax(), match.shape) == (0, 0)


@every
def test_light_is_kept(name, picture):
    image = np.pad(to_float(picture)[60:100, 60:100] * np.float32(0.8), ((40, 40), (40, 40), (0, 0)))
    out, _ = OPS[name].render(image, drawn(name))
    if name in IN_LIGHT:
        image, out = to_linear(image), to_linear(out)
    assert out.sum() == pytest.approx(float(image.sum()), rel=1e-4)


@pytest.mark.parametrize(
    "ops",
    [
        [D.GaussianBlur(sigma=s) for s in (0.4, 0.8, 1.5, 3, 6)],
        [D.GaussianBlur(kind="anisotropic", sigma=s) for s in (0.4, 0.8, 1.5, 3, 6)],
        [D.MotionBlur(length=s, angle=30) for s in (2, 5, 11, 21, 41)],
        [D.MotionBlur(kind="trajectory", length=s, shake=0.5) for s in (3, 6, 12, 24, 41)],
        [D.DefocusBlur(radius=s) for s in (0.8, 1.5, 3, 6, 10)],
        [D.DefocusBlur(radius=s, blades=6, space="linear") for s in (0.8, 1.5, 3, 6, 10)],
        [D.Ringing(cutoff=s, size=21) for s in (3, 2.5, 2, 1.5, 1)],
    ],
    ids=lambda ops: type(ops[0]).__name__,
)
def test_more_is_stronger(ops, picture):
    errors = [np.mean((op(picture, seed=5).lq.astype(float) - picture) ** 2) for op in ops]
    assert errors[0] > 0 and np.all(np.diff(errors) > 0)


def test_a_delta_changes_no_bit_but_is_labelled(picture):
    for op in (D.GaussianBlur(sigma=0), D.MotionBlur(length=1), D.DefocusBlur(radius=0.4, space="linear")):
        for image in (picture, to_float(picture)):
            out = op(image, seed=0)
            assert np.array_equal(out.lq, image) and out.labels == ("blur",)


def test_linear_light_is_convolved_as_light(picture):
    params = {"radius": 5.0, "space": "linear", "highlights": 1}
    kernel = D.DefocusBlur.psf(params).astype(float)
    light = to_linear(to_float(picture)).astype(float)
    wanted = np.stack([ndimage.convolve(light[..., c], kernel, mode="mirror") for c in range(3)], axis=2)
    out, _ = D.DefocusBlur.render(to_float(picture), params)
    np.testing.assert_allclose(out, to_srgb(wanted.astype(np.float32)), atol=2e-5)
    stored, _ = D.DefocusBlur.render(to_float(picture), params | {"space": "srgb"})
    # Mixed as light, bright parts win: by Jensen's inequality no pixel is darker.
    assert (out > stored - 1e-5).all() and (out - stored).max() > 0.05


def test_boosted_highlights_draw_trails_and_the_rest_is_untouched():
    night = np.full((41, 81, 3), 0.1, np.float32)
    night[20, 40] = 1
    night[5, 40] = (1, 0.2, 0.2)
    plain, _ = D.MotionBlur.render(night, params := {"kind": "line", "length": 9, "angle": 0, "space": "linear"})
    boosted, _ = D.MotionBlur.render(night, params | {"highlights": 4})
    trail = slice(36, 45)
    ratio = (to_linear(boosted[20, trail]) - to_linear(night[0, 0])) / (
        to_linear(plain[20, trail]) - to_linear(night[0, 0])
    )
    assert ratio == pytest.approx(4, rel=0.05)
    assert boosted.max() <= 1
    np.testing.assert_allclose(boosted[:10], plain[:10], atol=1e-6)


def test_highlights_in_srgb_are_refused():
    for op, fields in (
        (D.MotionBlur, {"highlights": 2}),
        (D.DefocusBlur, {"highlights": [1, 3], "space": {"choice": ["srgb", "linear"]}}),
    ):
        with pytest.raises(ConfigError, match="highlights above 1 need space: linear"):
            op.of(fields)


def test_ringing_goes_beyond_both_sides_of_an_edge_until_the_end():
    edge = np.zeros((40, 60, 3), np.float32)
    edge[:, 30:] = 1
    out, _ = D.Ringing.render(edge, {"cutoff": 1.5, "size": 21})
    assert out.min() < -0.04 and out.max() > 1.04
    # Beside the edge the sign changes again and again.
    row = out[20, 30:40, 0] - 1
    assert np.count_nonzero(np.diff(np.sign(row))) >= 3
    assert D.Ringing(cutoff=1.5, size=21)(edge, seed=0).lq.min() == 0


def test_kinds_come_with_the_published_shares_and_ranges():
    params = [OPS["published"].draw(rng_for(seed, "kind"), (64, 64)) for seed in range(3000)]
    shares = [sum(p["kind"] == kind for p in params) / 3000 for kind in KINDS]
    assert shares == pytest.approx(PUBLISHED, abs=0.03)
    assert {p["size"] for p in params} == {7, 9, 11, 13, 15, 17, 19, 21}
    for p in params:
        assert ("angle" in p) == ("sigma_y" in p) == p["kind"].endswith("anisotropic")
        lo, hi = {"g": (0.5, 4), "p": (1, 2)}.get(p["kind"][0], (1, 1))
        assert lo <= p.get("beta", 1) <= hi and 0.2 <= p["sigma"] <= 3
        assert D.GaussianBlur.psf(p).shape <= (p["size"], p["size"])


def test_odd_sizes_are_alike_likely():
    rng = rng_for(0, "odd")
    for ends, wanted in (((7, 21), range(7, 22, 2)), ((6, 12), (7, 9, 11)), ((8, 8), (9,))):
        found = [draw_odd(ends, rng) for _ in range(2000)]
        assert set(found) == set(wanted)
        assert min(map(found.count, wanted)) > 0.7 * 2000 / len(wanted)
    assert draw_odd(0, rng) == 0 and draw_odd(10, rng) == 11


def test_a_line_blurs_along_its_angle_only():
    image = np.zeros((61, 61, 3), np.float32)
    image[:, 30] = 1
    level, _ = D.MotionBlur.render(image, {"kind": "line", "length": 11, "angle": 0, "space": "srgb"})
    upright, _ = D.MotionBlur.render(image, {"kind": "line", "length": 11, "angle": 90, "space": "srgb"})
    np.testing.assert_allclose(level[30, 25:36], 1 / 11, atol=1e-6)
    np.testing.assert_allclose(upright, image, atol=1e-6)


def test_parameters_are_within_their_ranges_and_traces_small():
    for seed in range(60):
        motion = D.MotionBlur().draw(rng_for(seed, "m"), (64, 64))
        assert 3 <= motion["length"] <= 41 and 0 <= motion["angle"] <= 180 and motion["space"] == "srgb"
        assert 0 < spread(D.DefocusBlur.psf(D.DefocusBlur(blades=(5, 9)).draw(rng_for(seed, "d"), (64, 64)))) < 6
        ringing = D.Ringing().draw(rng_for(seed, "r"), (64, 64))
        assert math.pi / 3 <= ringing["cutoff"] <= math.pi and ringing["size"] % 2
