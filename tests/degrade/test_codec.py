"""Codecs are the real ones."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from million_ird import degrade as D
from million_ird.errors import InputError
from tests.degrade.test_ops import psnr


@pytest.fixture(scope="module")
def picture(photo):
    return np.ascontiguousarray(photo[:200, 101:330])


@pytest.mark.parametrize(("sampling", "factors"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_jpeg_is_what_libjpeg_makes_of_the_rgb_picture(picture, quality, sampling, factors):
    """Another binding of libjpeg-turbo (Pillow's) is the judge; red and blue in their places."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=factors)
    judge = np.asarray(Image.open(buffer).convert("RGB"))
    ours = D.JPEG(quality=quality, sampling=sampling)(picture, seed=1).lq
    assert np.array_equal(ours, judge)
    swapped = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert psnr(ours, picture) > psnr(swapped, picture) - 0.5


def test_quality_and_sampling_are_what_is_in_the_file(picture):
    better = [psnr(D.JPEG(quality=q, sampling="4:2:0")(picture, seed=0).lq, picture) for q in (5, 20, 50, 80, 95)]
    assert better == sorted(better)
    chroma = [
        psnr(D.JPEG(quality=95, sampling=s)(picture, seed=0).lq, picture) for s in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
    ]
    assert chroma[0] > chroma[1] > chroma[2]
    assert chroma[0] > chroma[3]


@pytest.mark.parametrize("shift", [1, 4, 7, 12])
def test_a_shifted_grid_has_its_block_edges_there(picture, shift):
    params = {"quality": 8, "sampling": "4:4:4", "shift": [shift, 0]}
    out, _ = D.JPEG.apply(picture, params)
    grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY).astype(float)
    second = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    strength = [second[at::8].mean() for at in range(8)]
    assert int(np.argmax(strength)) == (7 - shift) % 8


def test_a_second_jpeg_on_the_same_grid_changes_little_and_on_another_much(picture):
    once = D.JPEG(quality=40, sampling="4:4:4")(picture, seed=0).lq
    aligned, _ = D.JPEG.apply(once, {"quality": 40, "sampling": "4:4:4", "shift": [0, 0]})
    misaligned, _ = D.JPEG.apply(once, {"quality": 40, "sampling": "4:4:4", "shift": [4, 4]})
    assert psnr(aligned, once) > psnr(misaligned, once) + 5


@pytest.mark.parametrize("method", [0, 4])
def test_webp_is_what_libwebp_makes_of_it(picture, method):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=50, method=method)
    judge = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert psnr(D.WebP(quality=50, method=method)(picture, seed=0).lq, judge) > 45


def test_a_chain_rounds_before_a_codec_and_only_there(picture):
    """Noise then JPEG is the JPEG of the rounded noisy picture; noise then bit depth sees the unrounded one."""
    noisy = D.GaussianNoise(sigma=20)
    chain = D.Compose([noisy, D.JPEG(quality=60, sampling="4:2:0")])(picture, seed=4)
    steps = chain.trace["steps"]
    by_hand, _ = D.JPEG.apply(D.GaussianNoise.apply(picture, steps[0]["params"])[0], steps[1]["params"])
    assert np.array_equal(chain.lq, by_hand)
    assert chain.labels == ("noise", "jpeg")


def test_a_picture_that_a_codec_cannot_hold_is_named():
    with pytest.raises(InputError, match="WebP takes 16383 px a side at most, this one is 16384x1"):
        D.WebP()(np.zeros((1, 16384, 3), np.uint8), seed=0)
