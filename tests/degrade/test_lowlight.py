"""Low light: each model is its formula, and the physical one loses what a camera loses."""

from __future__ import annotations

import numpy as np
import pytest

from million_ird import degrade as D
from million_ird.degrade.light import to_linear
from million_ird.degrade.lowlight import illumination
from million_ird.degrade.op import to_float


@pytest.fixture(scope="module")
def picture(photo):
    return np.ascontiguousarray(photo[:192, 100:300])


def test_gain_and_gamma_are_their_formulas(picture):
    x = to_float(picture).astype(float)
    gain = D.LowLight(kind="gain", gain=0.25)(picture, seed=0).lq
    assert np.abs(gain - 255 * 0.25 * x).max() <= 0.51
    gamma = D.LowLight(kind="gamma", gamma=2.5, alpha=0.95, beta=0.7)(picture, seed=0).lq
    assert np.abs(gamma - 255 * 0.7 * (0.95 * x) ** 2.5).max() <= 0.51


def test_retinex_darkens_dark_places_most_and_all_channels_alike(picture):
    x = to_float(picture)
    out, _ = D.LowLight.render(x, {"kind": "retinex", "gamma": 3, "noise": 0.0, "seed": 1})
    ratio = out[x > 0.05] / x[x > 0.05]
    light = np.repeat(illumination(x)[..., None], 3, axis=2)[x > 0.05]
    assert np.allclose(ratio, light**2, rtol=1e-3)


@pytest.mark.parametrize("ratio", [4, 20, 100])
def test_the_physical_model_is_an_exposure_that_is_too_short(ratio):
    image = np.full((200, 200, 3), 180, np.uint8)
    shot, read = 0.002 / ratio, 1e-8  # faint enough that nothing is cut off at black
    params = {"kind": "physical", "ratio": ratio, "shot": shot, "read": read, "bits": 14, "seed": 5}
    light = to_linear(D.LowLight.render(to_float(image), params)[0]).astype(float)
    expected = float(to_linear(np.float32([180 / 255]))[0]) / ratio
    assert abs(light.mean() - expected) < 0.02 * expected
    assert abs(light.var() - (shot * expected + read)) < 0.05 * (shot * expected + read)


def test_few_bits_leave_few_levels():
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0), 3, axis=2)
    base = {"kind": "physical", "ratio": 30, "shot": 1e-6, "read": 1e-12, "seed": 1}
    few, _ = D.LowLight.apply(ramp, {**base, "bits": 8})
    many, _ = D.LowLight.apply(ramp, {**base, "bits": 14})
    assert len(np.unique(few)) <= 10 < 30 < len(np.unique(many))


def test_longer_ratios_are_darker_and_noisier_after_brightening(photo):
    image = np.ascontiguousarray(photo[:128, :128])
    op = D.LowLight(kind="physical", shot=0.005)
    means = [D.LowLight(kind="physical", shot=0.005, ratio=r)(image, seed=1).lq.mean() for r in (4, 16, 64)]
    assert means == sorted(means, reverse=True)
    assert op.draw(np.random.default_rng(0), (8, 8))["read"] > 0
