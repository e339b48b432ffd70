"""Protocols: what each does to a picture is what it prints."""

from __future__ import annotations

import numpy as np
import pytest

from million_ird.errors import ConfigError
from million_ird.evaluate.protocols import PROTOCOLS, PUBLISHED, STRICT, find


def test_published_cuts_the_centre_to_multiples_of_16():
    image = np.arange(321 * 481).reshape(321, 481, 1)
    cut = PUBLISHED.cut(image)
    assert cut.shape == (320, 480, 1)
    assert cut[0, 0, 0] == 0  # one row, one column over: floor(1 / 2) = 0 stay away at the top
    assert PUBLISHED.cut(np.zeros((37, 55, 3))).shape == (32, 48, 3)
    marked = np.zeros((37, 55, 3))
    marked[2, 3] = 1
    assert PUBLISHED.cut(marked)[0, 0, 0] == 1
    assert STRICT.cut(image).shape == image.shape
    with pytest.raises(ValueError, match="smaller than 16 px"):
        PUBLISHED.cut(np.zeros((15, 40, 3)))


def test_only_strict_rounds_the_output():
    output = np.full((1, 1, 3), 100.4 / 255)
    assert PUBLISHED.finish(output)[0, 0, 0] == pytest.approx(100.4 / 255)
    assert STRICT.finish(output)[0, 0, 0] == pytest.approx(100 / 255)
    for protocol in PROTOCOLS.values():
        assert protocol.finish(np.array([-1.0, 2.0])).tolist() == [0, 1]


def test_published_noise_is_the_published_stream():
    clean = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    noise = PUBLISHED.noise()
    found = [noise(picture, 25, name) for picture, name in zip(clean, "ab", strict=True)]
    np.random.seed(0)  # noqa: NPY002
    for picture, noisy in zip(clean, found, strict=True):
        draw = np.random.randn(*picture.shape)  # noqa: NPY002
        assert np.array_equal(noisy, np.clip(picture + draw * 25, 0, 255).astype(np.uint8))
    again = PUBLISHED.noise()
    assert np.array_equal(again(clean[0], 25, "z"), found[0])  # begun anew for each set, whatever the name


def test_strict_noise_hangs_on_the_name_and_sigma_alone():
    clean = np.random.default_rng(0).integers(100, 156, (64, 64, 3), dtype=np.uint8)
    noise = STRICT.noise()
    first = noise(clean, 10, "a/x.png")
    noise(clean, 10, "b.png")
    assert np.array_equal(STRICT.noise()(clean, 10, "a/x.jpg"), first)
    assert not np.array_equal(noise(clean, 10, "a/y.png"), first)
    assert not np.array_equal(noise(clean, 15, "a/x.png") - clean.astype(int), first - clean.astype(int))
    difference = first.astype(float) - clean
    assert abs(difference.mean()) < 0.3  # rounded, not cut off: no shift
    assert difference.std() == pytest.approx(10, rel=0.05)


def test_strict_noise_on_grey_is_grey():
    clean = np.full((16, 16, 3), 128, np.uint8)
    noisy = STRICT.noise()(clean, 25, "a.png")
    assert np.ptp(noisy, axis=2).max() == 0
    assert noisy.std() > 10


def test_protocols_say_what_they_do_and_have_names():
    assert find("strict") is STRICT
    assert find(PUBLISHED) is PUBLISHED
    for name, protocol in PROTOCOLS.items():
        assert protocol.about.startswith(name)
    assert PUBLISHED.metrics[:2] == ("psnr", "ssim_uniform7")
    assert STRICT.metrics[:2] == ("psnr", "ssim_gaussian11")
    with pytest.raises(ConfigError, match="protocol loose: unknown; known: published, strict"):
        find("loose")
