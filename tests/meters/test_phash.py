"""The perceptual hash is imagehash's, exactly or nearly; the thumb is a mean of areas."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from million_ird.errors import ConfigError
from million_ird.meters import Frame
from million_ird.meters.phash import HASHES, WEIGHT, _resample, _weights, hash_frame, phash, thumb

SIZES = [(1, 1), (1, 300), (7, 3), (31, 33), (96, 192), (193, 411), (387, 1201)]


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(rgb: NDArray[np.uint8], name: str = "phash") -> int:
    return int(str(getattr(imagehash, name)(Image.fromarray(rgb))), 16)


@pytest.mark.parametrize("size", SIZES)
def test_exact_mode_is_imagehash_bit_for_bit(size: tuple[int, int]) -> None:
    assert phash(noise(*size), "exact") == reference(noise(*size))
    assert hash_frame(Frame(noise(*size)), mode="exact") == reference(noise(*size))


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_constant_picture_has_only_its_mean_whatever_the_mode(level: int) -> None:
    picture = np.full((300, 200, 3), level, np.uint8)
    assert phash(picture, "exact") == reference(picture)
    assert phash(picture) == (1 << 63 if level else 0)


@pytest.mark.parametrize("name", ["kodak24", "cbsd68", "clic2025"])
def test_fast_mode_is_within_two_bits_of_imagehash_on_photos(name: str, real: Callable[[str], Path]) -> None:
    files = sorted(real(name).glob("*.png"))
    distances = []
    for file in files:
        rgb = np.asarray(Image.open(file).convert("RGB"))
        distances.append((phash(rgb) ^ reference(rgb)).bit_count())
    assert files
    assert max(distances) <= 2


@pytest.mark.parametrize("size", SIZES)
def test_the_hash_does_not_depend_on_which_plane_it_is_begun_from(size: tuple[int, int]) -> None:
    rgb = noise(*size)
    frame = Frame(rgb)
    assert hash_frame(frame) == phash(rgb) == phash(frame.luma)


@pytest.mark.parametrize(("side", "kernel"), [(32, "lanczos"), (16, "box")])
@pytest.mark.parametrize("size", SIZES)
def test_sums_are_exact_so_no_machine_rounds_them_differently(size: tuple[int, int], side: int, kernel: str) -> None:
    plane = noise(*size)[:, :, 0]
    across = _weights(size[1], size[1], side, kernel).astype(np.int64)
    down = _weights(size[0], size[0], side, kernel).astype(np.int64)
    assert 255 * np.abs(across).sum(axis=1).max() < 2**24
    whole, half = int(WEIGHT), int(WEIGHT) // 2
    rows = np.clip((plane.astype(np.int64) @ across.T + half) // whole, 0, 255)
    assert np.array_equal(_resample(plane, size, side, kernel), np.clip((down @ rows + half) // whole, 0, 255))


@pytest.mark.parametrize("name", [name for name in HASHES if "." in name])
def test_hashes_of_imagehash_go_by_its_own_hexadecimal(name: str, photo: NDArray[np.uint8]) -> None:
    assert hash_frame(Frame(photo), name) == reference(photo, name.partition(".")[2])
    assert 0 <= hash_frame(Frame(noise(3, 2)), name) < 2**64


def test_without_imagehash_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(ConfigError, match=r'imagehash\.dhash.*pip install "million-ird\[hash\]"'):
        hash_frame(Frame(noise(8, 8)), "imagehash.dhash")


def test_an_unknown_hash_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'ahash'.*imagehash\.whash"):
        hash_frame(Frame(noise(8, 8)), "ahash")


def test_the_thumb_is_the_mean_of_areas_row_by_row(photo: NDArray[np.uint8]) -> None:
    for rgb in (photo, photo[:331, :495], photo[:40, :77]):
        frame = Frame(np.ascontiguousarray(rgb))
        areas = cv2.resize(frame.luma.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
        made = np.frombuffer(thumb(frame), np.uint8).reshape(16, 16)
        assert np.abs(made - areas).max() <= 2
    assert thumb(Frame(np.full((1, 1, 3), 9, np.uint8))) == bytes([9] * 256)
