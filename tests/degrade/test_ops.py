"""What every degradation promises, checked for each of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from million_ird import degrade as D
from million_ird.degrade.op import TIERS, to_uint8
from million_ird.degrade.registry import OPS, find
from million_ird.errors import ConfigError, InputError
from million_ird.rng import rng_for

GOLDEN = Path(__file__).parent / "golden"
"""One small picture per op, made by `python -m tests.degrade.golden`: what other machines must come to, by tier."""

PLAIN = [name for name in OPS if name != "Albumentations"]
"""Ops that work without being told what to do."""

parametrised = pytest.mark.parametrize("name", PLAIN)


def drawn(name: str, shape: tuple[int, int], seed: int = 0) -> dict:
    return find(name)().draw(rng_for(seed, name), shape)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9))


@pytest.fixture(scope="module")
def picture(photo) -> np.ndarray:
    """(96, 128, 3) of a face, a flag and a dark suit."""
    return np.ascontiguousarray(photo[40:232:2, 90:346:2])


@parametrised
def test_parameters_are_small_json_and_a_function_of_the_seed(name):
    params = drawn(name, (96, 128))
    assert json.loads(json.dumps(params)) == params
    assert len(json.dumps(params)) < 600
    assert drawn(name, (96, 128)) == params
    assert any(drawn(name, (96, 128), seed) != params for seed in range(1, 5))


@parametrised
def test_applying_is_pure(name, picture):
    op, params = find(name), drawn(name, picture.shape[:2])
    before = picture.copy()
    picture.flags.writeable = False
    first, support = op.apply(picture, params)
    second, again = op.apply(picture, json.loads(json.dumps(params)))
    picture.flags.writeable = True
    assert np.array_equal(first, second)
    assert np.array_equal(support, again)
    assert np.array_equal(picture, before)
    assert first.dtype == np.uint8
    assert first.shape == picture.shape
    assert support.dtype == np.uint8
    assert support.shape == picture.shape[:2]


@parametrised
def test_bytes_and_floats_give_the_same_picture(name, picture):
    op = find(name)
    for seed in range(4):
        params = drawn(name, picture.shape[:2], seed)
        from8, support8 = op.apply(picture, params)
        floats, support = op.apply(picture.astype(np.float32) / np.float32(255), params)
        assert floats.dtype == np.float32
        assert floats.min() >= 0
        assert floats.max() <= 1
        assert np.array_equal(to_uint8(floats), from8)
        assert np.array_equal(support, support8)


@parametrised
def test_a_pixel_outside_of_the_support_is_the_clean_one(name, picture):
    op = find(name)
    floats = picture.astype(np.float32) / np.float32(255)
    for seed in range(6):
        for image in (picture, floats):
            out, support = op.apply(image, drawn(name, picture.shape[:2], seed))
            assert np.array_equal(out[support == 0], image[support == 0])


@parametrised
def test_it_does_something(name, picture):
    op = find(name)
    assert any((op.apply(picture, drawn(name, picture.shape[:2], seed))[0] != picture).any() for seed in range(8))


@parametrised
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (37, 5), (130, 61)])
def test_any_size_will_do(name, shape, photo):
    image = np.ascontiguousarray(photo[: shape[0], 200 : 200 + shape[1]])
    for seed in range(3):
        out, support = find(name).apply(image, drawn(name, shape, seed))
        assert out.shape == image.shape
        assert np.array_equal(out[support == 0], image[support == 0])


@parametrised
def test_what_comes_out_is_the_callers_own(name, picture):
    """A new array that may be written to, whatever the op did, and even where it did nothing."""
    op = find(name)
    for image in (picture, picture.astype(np.float32) / np.float32(255)):
        for params in (drawn(name, picture.shape[:2]), *nothing_of(name)):
            out, support = op.apply(image, params)
            assert out.flags.writeable
            assert support.flags.writeable
            assert not np.shares_memory(out, image)


def nothing_of(name: str) -> list[dict]:
    """Parameters by which an op changes nothing."""
    return {
        "Resize": [{"scale": 1, "down": "area", "up": "nearest", "space": "srgb"}],
        "MotionBlur": [{"kind": "line", "length": 0, "angle": 0, "space": "srgb"}],
    }.get(name, [])


@parametrised
def test_it_can_be_any_branch_of_a_cutmix(name, picture):
    for branches in ([find(name)(), D.GaussianNoise()], [D.GaussianNoise(), find(name)()]):
        for image in (picture, picture.astype(np.float32) / np.float32(255)):
            pipe = D.CutMix(branches, shares=[0.4, 0.4], shapes="rectangle")
            out = pipe(image, seed=3)
            assert np.array_equal(out.lq[out.mask == 0], image[out.mask == 0])
            assert np.array_equal(D.replay(image, out.trace), out.lq)


@parametrised
def test_a_constant_picture_is_no_trouble(name):
    for value in (0, 128, 255):
        out, _ = find(name).apply(np.full((48, 48, 3), value, np.uint8), drawn(name, (48, 48)))
        assert out.shape == (48, 48, 3)


def shift_of(degraded: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """(dx, dy) px by which a picture has moved: least squares on the gradients of the clean one (Lucas and Kanade)."""

    def smooth(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image.astype(np.float64).mean(axis=2), (0, 0), 2)[8:-8, 8:-8]

    dy, dx = np.gradient(smooth(clean))
    moved = smooth(clean) - smooth(degraded)
    moved -= moved.mean()
    return np.linalg.lstsq(np.stack([dx.ravel(), dy.ravel()], axis=1), moved.ravel(), rcond=None)[0]


def test_the_measure_of_a_shift_measures_a_shift(photo):
    clean = photo[::2, ::2]
    moved = cv2.warpAffine(
        clean, np.float64([[1, 0, 0.4], [0, 1, -0.25]]), (256, 256), borderMode=cv2.BORDER_REFLECT_101
    )
    assert np.abs(shift_of(moved, clean) - (0.4, -0.25)).max() < 0.03


@parametrised
def test_the_picture_stays_in_its_place(name, photo):
    """Degraded and clean are registered to a tenth of a pixel, in the middle of several draws."""
    clean = np.ascontiguousarray(photo[::2, ::2])
    shifts = [shift_of(find(name).apply(clean, drawn(name, (256, 256), seed))[0], clean) for seed in range(25)]
    assert np.abs(np.median(shifts, axis=0)).max() < 0.1


@parametrised
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), "expected shape (H, W, 3), RGB, got (8, 8)"),
        (np.zeros((8, 8, 4), np.uint8), "got (8, 8, 4)"),
        (np.zeros((0, 8, 3), np.uint8), "got (0, 8, 3)"),
        (np.zeros((8, 8, 3)), "expected dtype uint8 or float32, got float64"),
        (np.full((8, 8, 3), 1.5, np.float32), "must lie in [0, 1], these are from 1.5 to 1.5"),
        (np.full((8, 8, 3), np.nan, np.float32), "must lie in [0, 1]"),
        ([[0]], "expected a numpy array"),
    ],
)
def test_a_wrong_image_is_named(name, image, message):
    with pytest.raises(InputError) as caught:
        find(name).apply(image, drawn(name, (8, 8)))
    assert message in str(caught.value)


@parametrised
def test_an_unknown_field_is_refused(name):
    with pytest.raises(ConfigError, match="strenght: unknown key"):
        find(name).of({"strenght": 1})


@parametrised
def test_it_labels_its_family_or_what_it_is_told(name, picture):
    op = find(name)
    assert op().classes == (op.family,)
    out = op(label="mine")(picture, seed=0)
    assert out.classes == ("mine",)
    assert out.trace["steps"][0]["class"] == "mine"


@parametrised
def test_every_field_has_a_word_on_it_and_every_op_a_docstring(name):
    op = find(name)
    assert len(op.__doc__ or "") > 30
    assert op.tier in TIERS
    assert [field for field, info in op.model_fields.items() if not info.description] == []


@parametrised
def test_it_repeats_on_another_machine_as_far_as_its_tier_says(name, photo):
    made = cv2.imread(str(GOLDEN / f"{name}.png"))[..., ::-1].astype(int)
    out, _ = find(name).apply(small(photo), drawn(name, (40, 56), seed=7))
    tier = find(name).tier
    if tier == "exact":
        assert np.array_equal(out, made)
    elif tier == "versions":
        assert np.mean(np.abs(out - made) > 1) < 0.002
    else:
        assert psnr(out, made) > 40


def small(photo: np.ndarray) -> np.ndarray:
    """What the golden pictures are made from: every pixel a pixel of the photo, so that no resampling is involved."""
    return np.ascontiguousarray(photo[40:200:4, 90:314:4])


def test_noise_masks_and_bits_are_exact_and_codecs_are_codecs():
    assert {name for name in PLAIN if find(name).tier == "exact"} >= {
        "GaussianNoise",
        "ImpulseNoise",
        "Mask",
        "BitDepth",
    }
    assert {name for name in PLAIN if find(name).tier == "codec"} == {"JPEG", "WebP"}


def test_a_trace_of_another_version_is_refused(picture):
    trace = D.GaussianNoise()(picture, seed=1).trace
    trace["steps"][0]["v"] = 99
    with pytest.raises(InputError, match="made by GaussianNoise version 99, this package has version 1"):
        D.replay(picture, trace)
    with pytest.raises(InputError, match="the image has 8x8 px"):
        D.replay(picture[:8, :8], D.GaussianNoise()(picture, seed=1).trace)
