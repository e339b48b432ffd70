"""Point spread functions: light is neither made nor lost nor moved."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.degrade import kernels as K

Random = np.random.Generator

FAMILIES: dict[str, Callable[[Random], K.Kernel]] = {
    "gaussian": lambda r: K.gaussian(r.uniform(0.01, 6)),
    "anisotropic": lambda r: K.gaussian(r.uniform(0.01, 6), r.uniform(0.01, 6), r.uniform(-360, 360)),
    "sized": lambda r: K.gaussian(
        r.uniform(0.2, 3), r.uniform(0.2, 3), r.uniform(0, 180), 2 * int(r.integers(1, 11)) + 1
    ),
    "generalised": lambda r: K.generalised(r.uniform(0.1, 8), r.uniform(0.1, 4), r.uniform(0.1, 4), r.uniform(0, 180)),
    "plateau": lambda r: K.plateau(r.uniform(0.1, 8), r.uniform(0.1, 4), r.uniform(0.1, 4), r.uniform(0, 180)),
    "disk": lambda r: K.disk(r.uniform(0, 15)),
    "polygon": lambda r: K.polygon(r.uniform(0, 15), int(r.integers(3, 10)), r.uniform(-360, 360)),
    "line": lambda r: K.line(r.uniform(0, 60), r.uniform(-360, 360)),
    "trajectory": lambda r: K.trajectory(
        r.uniform(0, 60), r.uniform(0, 3), int(r.integers(1 << 53)), r.uniform(0.001, 1)
    ),
    "sinc": lambda r: K.sinc(r.uniform(0.3, math.pi), 2 * int(r.integers(1, 14)) + 1),
}


def centre(kernel: K.Kernel) -> tuple[float, float]:
    """Centre of mass from the middle element: y, x."""
    y, x = np.indices(kernel.shape)
    taps = kernel.astype(float)
    return float(((y - kernel.shape[0] // 2) * taps).sum()), float(((x - kernel.shape[1] // 2) * taps).sum())


def moments(kernel: K.Kernel) -> NDArray[np.float64]:
    """(2, 2) second moments of x and y, px^2."""
    y, x = np.indices(kernel.shape)
    y, x, taps = y - kernel.shape[0] // 2, x - kernel.shape[1] // 2, kernel.astype(float)
    return np.array([[(taps * x * x).sum(), (taps * x * y).sum()], [(taps * x * y).sum(), (taps * y * y).sum()]])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_sums_to_1_and_is_centred(family: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        kernel = FAMILIES[family](rng)
        assert kernel.dtype == np.float32 and kernel.shape[0] % 2 and kernel.shape[1] % 2
        assert abs(kernel.astype(float).sum() - 1) < 1e-6
        assert max(map(abs, centre(kernel))) < 1e-3
        assert family == "sinc" or kernel.min() >= 0


@pytest.mark.parametrize("family", FAMILIES)
def test_no_kernel_carries_a_frame_of_zeros(family: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        kernel = FAMILIES[family](rng)
        assert kernel[[0, -1]].any() and kernel[:, [0, -1]].any()


@pytest.mark.parametrize(
    "kernel",
    [
        K.gaussian(0),
        K.gaussian(0.05),
        K.generalised(2, 0.0),
        K.plateau(1, 0.0),
        K.disk(0),
        K.disk(0.5),
        K.polygon(0, 5),
        K.line(0, 0),
        K.line(1, 30),
        K.trajectory(0, 1, 5),
    ],
)
def test_what_stays_within_a_pixel_is_one_element(kernel: K.Kernel) -> None:
    assert kernel.tolist() == [[1]]


def test_a_gaussian_has_the_variance_and_axes_asked_for() -> None:
    np.testing.assert_allclose(moments(K.gaussian(2)), [[4, 0], [0, 4]], atol=0.05)
    np.testing.assert_allclose(moments(K.gaussian(3, 1, 90)), [[1, 0], [0, 9]], atol=0.15)
    slanted = moments(K.gaussian(3, 1, 30))
    assert math.degrees(0.5 * math.atan2(2 * slanted[0, 1], slanted[0, 0] - slanted[1, 1])) == pytest.approx(
        30, abs=0.5
    )


def test_generalised_with_beta_1_is_gaussian_and_sizes_are_kept() -> None:
    np.testing.assert_allclose(K.generalised(1, 2, 1, 20), K.gaussian(2, 1, 20), atol=1e-7)
    assert K.gaussian(3, size=7).shape == K.plateau(1, 3, size=7).shape == (7, 7)
    y = x = np.arange(-10, 11.0)
    wanted = 1 / (1 + ((x**2 + y[:, None] ** 2) / 4) ** 1.5)
    np.testing.assert_allclose(K.plateau(1.5, 2, size=21), wanted / wanted.sum(), atol=1e-7)


@pytest.mark.parametrize("radius", [2.5, 6.0, 9.3])
def test_a_disk_is_even_inside_and_covers_its_rim(radius: float) -> None:
    kernel = K.disk(radius)
    y, x = np.indices(kernel.shape) - kernel.shape[0] // 2
    inside = np.hypot(np.abs(x) + 0.5, np.abs(y) + 0.5) < radius
    np.testing.assert_allclose(kernel[inside], 1 / (math.pi * radius**2), rtol=2e-3)
    # Variance of a disk along an axis is r^2 / 4; the area of pixels adds 1/12.
    np.testing.assert_allclose(np.diag(moments(kernel)), radius**2 / 4 + 1 / 12, rtol=0.03)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-4)


def test_a_growing_radius_never_jumps() -> None:
    spreads = [K.spread(K.disk(radius)) for radius in np.linspace(1, 10, 91)]
    assert np.all(np.diff(spreads) > 0) and np.diff(spreads).max() < 0.12


@pytest.mark.parametrize("blades", [3, 5, 6, 7, 9])
def test_a_polygon_has_the_area_of_its_disk_and_its_own_symmetry(blades: int) -> None:
    kernel = K.polygon(8, blades)
    assert kernel.max() == pytest.approx(1 / (math.pi * 64), rel=0.01)
    turned = K.polygon(8, blades, 360 / blades)
    assert kernel.shape == turned.shape and np.abs(kernel - turned).max() < 1e-5
    assert np.abs(K.polygon(8, blades, 180 / blades)[: kernel.shape[0], : kernel.shape[1]].sum() - 1) < 0.1


def test_a_level_line_of_odd_length_is_a_row_of_equal_elements() -> None:
    np.testing.assert_allclose(K.line(15, 0), np.full((1, 15), 1 / 15), atol=1e-7)
    np.testing.assert_allclose(K.line(9, 90), np.full((9, 1), 1 / 9), atol=1e-7)
    np.testing.assert_allclose(K.line(9, 180), K.line(9, 0), atol=1e-6)


@pytest.mark.parametrize("angle", [0, 17, 45, 60, 90, 135, 171])
def test_a_line_has_its_length_and_direction(angle: float) -> None:
    found = moments(K.line(25, angle))
    values, vectors = np.linalg.eigh(found)
    # Variance of a stroke: length^2 / 12 along it; about a pixel across.
    assert values[1] == pytest.approx(25**2 / 12, rel=0.02) and values[0] < 0.2
    assert (
        abs(math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) - angle) % 180 == pytest.approx(0, abs=0.5)
        or angle == 0
    )


def test_a_path_without_shake_is_a_line_of_its_length() -> None:
    values = np.linalg.eigvalsh(moments(K.trajectory(30, 0, seed=4)))
    assert values[1] == pytest.approx(30**2 / 12, rel=0.02) and values[0] < 0.3


def test_a_path_is_its_seed_and_grows_with_its_length_keeping_its_shape() -> None:
    assert np.array_equal(K.trajectory(30, 1, 7), K.trajectory(30, 1, 7))
    assert not np.array_equal(K.trajectory(30, 1, 7), K.trajectory(30, 1, 8))
    for seed in range(10):
        small, large = K.spread(K.trajectory(20, 1, seed)), K.spread(K.trajectory(40, 1, seed))
        assert large == pytest.approx(2 * small, rel=0.1)


def test_more_shake_holds_a_path_together() -> None:
    spreads = [
        np.mean([K.spread(K.trajectory(40, shake, seed)) for seed in range(40)]) for shake in (0.0, 0.3, 0.6, 1.0)
    ]
    assert np.all(np.diff(spreads) < 0)


def test_a_short_exposure_sees_the_start_of_the_path() -> None:
    assert K.spread(K.trajectory(40, 0, 3, exposure=0.5)) == pytest.approx(K.spread(K.trajectory(20, 0, 3)), rel=0.02)


@pytest.mark.parametrize("cutoff", [math.pi / 3, math.pi / 2, 2.5])
def test_a_sinc_passes_below_its_cutoff_and_stops_above(cutoff: float) -> None:
    gain = np.abs(np.fft.fft2(K.sinc(cutoff, 21), (128, 128)))[0, :65]
    frequency = np.arange(65) * 2 * np.pi / 128
    assert abs(gain[frequency < 0.6 * cutoff] - 1).max() < 0.2
    assert gain[frequency > cutoff + 0.5].max(initial=0) < 0.2
    assert K.sinc(cutoff, 21).min() < 0
