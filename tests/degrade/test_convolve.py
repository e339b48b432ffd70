"""Convolution: the plain sum, by whatever way, without a shift, on any size of picture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from million_ird.degrade import convolve as planner
from million_ird.degrade.convolve import convolve, cut, split
from million_ird.degrade.op import to_float, to_uint8
from million_ird.errors import InputError

Float = NDArray[np.float32]

SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (5, 3), (24, 31), (70, 65)]
SIZES = [(1, 1), (1, 15), (15, 1), (3, 3), (11, 11), (13, 13), (9, 21), (33, 33)]


def same(x):
    return x


def plain(image: Float, kernel: Float) -> NDArray[np.float64]:
    """The direct sum in double precision, by another package."""
    planes = [
        ndimage.convolve(plane, kernel.astype(float), mode="mirror") for plane in np.moveaxis(image, 2, 0).astype(float)
    ]
    return np.stack(planes, axis=2)


def kernels(size: tuple[int, int], seed: int) -> dict[str, Float]:
    """One of every kind that the planner treats in its own way; magnitudes sum to 1."""
    rng = np.random.default_rng(seed)
    dense = rng.random(size) - 0.2
    sparse = dense * (rng.random(size) < 0.1)
    slanted = np.zeros(size)
    slanted[np.arange(min(size)), np.arange(min(size))] = rng.random(min(size)) + 0.1
    found = {"dense": dense, "sparse": sparse, "slanted": slanted, "separable": np.outer(dense[:, 0], dense[0])}
    return {name: (k / max(np.abs(k).sum(), 1e-9)).astype(np.float32) for name, k in found.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_plain_convolution_with_reflected_borders(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random((*shape, 3), dtype=np.float32)
    for name, kernel in kernels(size, seed=2).items():
        out = convolve(image, kernel)
        assert out.shape == image.shape and out.dtype == np.float32
        np.testing.assert_allclose(out, plain(image, kernel), atol=1e-5, err_msg=name)


def test_each_way_gives_the_same_picture() -> None:
    image = np.random.default_rng(3).random((90, 130, 3), dtype=np.float32)
    kernel = kernels((17, 17), seed=4)["dense"]
    wanted = plain(image, kernel)
    pieces = cut(np.ascontiguousarray(kernel[::-1, ::-1]))
    np.testing.assert_allclose(planner._direct(image, [pieces], kernel.shape, same, same), wanted, atol=1e-5)
    np.testing.assert_allclose(planner._fourier(image, kernel, same, same), wanted, atol=1e-5)


def test_tiles_and_strips_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(5).random((150, 170, 3), dtype=np.float32)
    kernel = kernels((15, 21), seed=6)["dense"]
    monkeypatch.setattr(planner, "_LENGTHS", (64,))
    monkeypatch.setattr(planner, "_STRIP", 1 << 12)
    np.testing.assert_allclose(planner._fourier(image, kernel, same, same), plain(image, kernel), atol=1e-5)
    pieces = cut(np.ascontiguousarray(kernel[::-1, ::-1]))
    np.testing.assert_allclose(
        planner._direct(image, [pieces], kernel.shape, same, same), plain(image, kernel), atol=1e-5
    )


def test_a_dot_becomes_the_kernel_itself() -> None:
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1
    for kernel in kernels((13, 9), seed=7).values():
        out = convolve(dot, kernel)
        np.testing.assert_allclose(out[14:27, 16:25, 1], kernel, atol=1e-6)
        np.testing.assert_allclose(out.sum(axis=(0, 1)), kernel.sum(), atol=1e-5)


def test_one_element_changes_no_bit_and_no_element_gives_black() -> None:
    image = np.random.default_rng(8).random((20, 30, 3), dtype=np.float32)
    assert np.array_equal(convolve(image, np.ones((1, 1), np.float32)), image)
    assert not convolve(image, np.zeros((3, 3), np.float32)).any()


def test_the_input_is_left_alone() -> None:
    image = np.random.default_rng(9).random((40, 40, 3), dtype=np.float32)
    before = image.copy()
    for size in ((3, 3), (13, 13), (31, 31)):
        convolve(image, kernels(size, seed=10)["dense"])
    assert np.array_equal(image, before)


def test_values_outside_0_to_1_are_kept() -> None:
    image = np.random.default_rng(11).uniform(-3, 5, (40, 40, 3)).astype(np.float32)
    kernel = kernels((25, 25), seed=12)["dense"]
    np.testing.assert_allclose(convolve(image, kernel), plain(image, kernel), atol=5e-5)


@pytest.mark.parametrize("size", [(1, 9), (5, 5), (13, 13), (27, 27)])
def test_bytes_by_strips_are_the_same_as_floats_at_once(size, monkeypatch):
    monkeypatch.setattr(planner, "_STRIP", 1 << 11)
    image = np.random.default_rng(15).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    for kernel in kernels(size, seed=16).values():
        found = convolve(image, kernel, to_float, to_uint8)
        assert found.dtype == np.uint8
        assert np.array_equal(found, to_uint8(convolve(to_float(image), kernel)))


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(17)
    jobs = [
        (rng.random((60 + 7 * i, 90 - 5 * i, 3), dtype=np.float32), kernels((13 + 2 * i, 15), seed=i)[kind])
        for i in range(8)
        for kind in ("dense", "slanted", "separable")
    ]
    alone = [convolve(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: convolve(*job), jobs * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))


def test_results_are_not_memory_that_is_used_again():
    image = np.random.default_rng(18).random((40, 40, 3), dtype=np.float32)
    for size in ((3, 3), (13, 13), (31, 31)):
        first = convolve(image, kernels(size, seed=19)["dense"])
        before = first.copy()
        convolve(1 - image, kernels(size, seed=20)["dense"])
        assert np.array_equal(first, before)


@pytest.mark.parametrize("size", SIZES)
def test_pieces_are_small_and_together_the_kernel(size: tuple[int, int]) -> None:
    for kernel in kernels(size, seed=13).values():
        again = np.zeros_like(kernel)
        for piece in cut(kernel):
            assert piece.taps.size <= planner.DIRECT_AREA
            h, w = piece.taps.shape
            again[piece.top : piece.top + h, piece.left : piece.left + w] += piece.taps
        assert np.array_equal(again, kernel)


def test_empty_parts_of_a_thin_kernel_are_left_out() -> None:
    pieces = cut(np.eye(61, dtype=np.float32))
    assert len(pieces) <= 8 and sum(piece.taps.size for piece in pieces) < 61 * 61 / 6


def test_only_a_column_times_a_row_is_split() -> None:
    rng = np.random.default_rng(14)
    column, row = rng.random((9, 1)).astype(np.float32), rng.random((1, 7)).astype(np.float32)
    factors = split(column * row)
    assert factors is not None
    np.testing.assert_allclose(factors[0] * factors[1], column * row, rtol=1e-6)
    assert split(np.eye(9, dtype=np.float32)) is None


@pytest.mark.parametrize("size", [(2, 3), (3, 4), (3,)])
def test_a_kernel_without_a_middle_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="odd"):
        convolve(np.zeros((5, 5, 3), np.float32), np.ones(size, np.float32))
