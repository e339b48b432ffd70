"""Noise is what its formula says, level by level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from million_ird import degrade as D
from million_ird.degrade.counter import normal_table, words16
from million_ird.degrade.op import Key, to_float

LEVELS = (0, 20, 64, 128, 200, 240)


def flat(level: int, side: int = 256) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def noise(op, level: int, seed: int = 3) -> np.ndarray:
    """What an op adds to a flat picture, unclipped, in grey levels."""
    params = op.plan(Key(seed, "", 0), (256, 256))[0]["params"]
    out, _ = type(op).render(to_float(flat(level)), params)
    return (out - to_float(flat(level))) * 255


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("op", "variance"),
    [
        (D.GaussianNoise(sigma=25), lambda x: 25**2),
        (D.GaussianNoise(sigma=2), lambda x: 2**2),
        (D.GaussianNoise(sigma=40, kind="grey"), lambda x: 40**2),
        (D.UniformNoise(amplitude=30), lambda x: 30**2 / 3),
        (D.SpeckleNoise(sigma=0.2), lambda x: (0.2 * x * 255) ** 2),
        (D.PoissonNoise(peak=1000), lambda x: x / 1000 * 255**2),
        (D.PoissonNoise(peak=60), lambda x: x / 60 * 255**2),
        (D.PoissonNoise(peak=3), lambda x: x / 3 * 255**2),
        (D.PoissonGaussianNoise(shot=0.01, read=2e-4), lambda x: (0.01 * x + 2e-4) * 255**2),
    ],
    ids=lambda value: "variance" if callable(value) and not hasattr(value, "plan") else str(value),
)
def test_mean_and_variance_are_those_of_the_formula(op, variance, level):
    found, expected = noise(op, level), variance(level / 255)
    count = found.size if "grey" not in str(op) else found.size / 3
    assert abs(found.mean()) < 4.5 * np.sqrt(max(expected, 0.01) / count) + 0.02
    assert abs(found.var() - expected) < 0.02 * expected + 0.01


@pytest.mark.parametrize(
    ("op", "variance"),
    [
        (D.GaussianNoise(sigma=15), lambda x: np.full(256, 15.0**2)),
        (D.SpeckleNoise(sigma=0.3), lambda x: (0.3 * x * 255) ** 2),
        (D.PoissonNoise(peak=100), lambda x: x / 100 * 255**2),
        (D.PoissonNoise(peak=5), lambda x: x / 5 * 255**2),
        (D.PoissonGaussianNoise(shot=0.005, read=1e-4), lambda x: (0.005 * x + 1e-4) * 255**2),
    ],
    ids=lambda value: "variance" if callable(value) and not hasattr(value, "plan") else str(value),
)
def test_every_grey_level_has_its_mean_and_variance(op, variance):
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 2048, axis=1), 3, axis=2)
    params = op.plan(Key(3, "", 0), ramp.shape[:2])[0]["params"]
    found = ((type(op).render(to_float(ramp), params)[0] - to_float(ramp)) * 255).reshape(256, -1)
    expected = variance(np.arange(256) / 255)
    count = found.shape[1]
    assert np.all(np.abs(found.mean(axis=1)) < 5 * np.sqrt(np.maximum(expected, 0.01) / count) + 0.05)
    # A Poisson count of small mean has a variance that scatters more: kurtosis 1 / mean.
    slack = (
        5 * np.sqrt((2 + 255**2 / np.maximum(expected, 1)) / count) if "Poisson" in str(op) else 5 * np.sqrt(2 / count)
    )
    assert np.all(np.abs(found.var(axis=1) - expected) < slack * expected + 0.01)


def test_gaussian_noise_is_gaussian():
    values = noise(D.GaussianNoise(sigma=25), 128).ravel() / 25
    assert stats.kstest(values[::7], "norm").pvalue > 0.01
    assert abs(stats.kurtosis(values)) < 0.05
    assert abs(stats.skew(values)) < 0.02


def test_poisson_counts_are_whole_photons():
    out = D.PoissonNoise(peak=10)(flat(128), seed=1)
    counts = to_float(out.lq)[out.lq < 255] * 10
    assert np.all(np.abs(counts - np.rint(counts)) < 0.03)
    share = np.mean(np.rint(counts) == 5)
    unclipped = stats.poisson.cdf(9, 10 * 128 / 255)
    assert abs(share - stats.poisson.pmf(5, 10 * 128 / 255) / unclipped) < 0.01


def test_poisson_does_not_depend_on_the_rest_of_the_picture():
    image = flat(60)
    image[128:] = np.random.default_rng(0).integers(0, 256, (128, 256, 3))
    op = D.PoissonNoise(peak=200)
    assert np.array_equal(op(image, seed=5).lq[:128], op(flat(60), seed=5).lq[:128])


def test_photons_counted_in_linear_light_have_the_variance_of_light():
    from million_ird.degrade.light import to_linear

    op = D.PoissonNoise(peak=2000, space="linear")
    params = op.plan(Key(1, "", 0), (256, 256))[0]["params"]
    out, _ = op.render(to_float(flat(128)), params)
    light, clean = to_linear(out), float(to_linear(np.float32([128 / 255]))[0])
    assert abs(light.var() - clean / 2000) < 0.05 * clean / 2000
    assert abs(light.mean() - clean) < 1e-3


def test_channels_are_independent_alike_or_correlated_as_asked():
    def correlations(kind, seed=3):
        values = noise(D.GaussianNoise(sigma=20, kind=kind), 128, seed).reshape(-1, 3)
        return np.corrcoef(values.T)[np.triu_indices(3, 1)]

    assert np.abs(correlations("colour")).max() < 0.02
    assert correlations("grey").min() > 0.999
    assert max(np.abs(correlations("correlated", seed)).max() for seed in range(4)) > 0.2


def test_neighbouring_pixels_channels_and_seeds_are_independent():
    first, second = noise(D.GaussianNoise(sigma=20), 128, 3)[..., 0], noise(D.GaussianNoise(sigma=20), 128, 4)[..., 0]
    for a, b in ((first[:, 1:], first[:, :-1]), (first[1:], first[:-1]), (first, second), (first[::2], first[1::2])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert not np.array_equal(words16(8, 100), words16(9, 100))
    assert not np.array_equal(words16(8, 100, "a"), words16(8, 100, "b"))


def test_the_table_of_quantiles_is_a_standard_normal():
    table = normal_table().astype(np.float64) / 4096
    assert abs(table.mean()) < 1e-6
    assert abs(table.var() - 1) < 1e-4
    assert np.all(np.diff(table) >= 0)
    assert abs(table[-1] - 4.33) < 0.01


def test_no_bias_of_rounding_is_left():
    """Truncation instead of rounding would darken by half a level."""
    assert abs((D.GaussianNoise(sigma=10)(flat(128), seed=1).lq.astype(float) - 128).mean()) < 0.1


@pytest.mark.parametrize("per", ["channel", "pixel"])
def test_impulses_hit_the_share_asked_for_and_the_support_is_exactly_they(per):
    out = D.ImpulseNoise(amount=0.1, salt=0.25, per=per)(flat(128), seed=2)
    hit = out.lq != 128
    assert abs(hit.mean() - 0.1) < 0.005
    assert abs(np.mean(out.lq[hit] == 255) - 0.25) < 0.02
    assert np.array_equal(hit.any(axis=2), out.mask == 1)
    assert set(np.unique(out.lq)) == {0, 128, 255}
    if per == "pixel":
        assert np.array_equal(hit[..., 0], hit[..., 1])


def test_camera_noise_is_coarser_than_a_pixel_and_louder_in_some_channels():
    values = noise(D.ISPNoise(shot=0.01), 128)
    red = values[..., 0] - values[..., 0].mean()
    neighbours = np.corrcoef(red[:, 1:].ravel(), red[:, :-1].ravel())[0, 1]
    assert neighbours > 0.2
    assert values[..., 0].std() > 1.1 * values[..., 1].std()
    quiet = noise(D.ISPNoise(shot=1e-7), 128)
    assert np.abs(quiet).max() < 1
    assert noise(D.ISPNoise(shot=0.01), 200).std() > 0
