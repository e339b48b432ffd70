"""What two thumbs may differ in and still show the same picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup.verify import flat, look_alike, look_equal
from million_ird.dedup.views import turn, view_hashes

Thumbs = NDArray[np.uint8]


def small(rgb: NDArray[np.uint8]) -> Thumbs:
    luma = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    return cv2.resize(luma, (16, 16), interpolation=cv2.INTER_AREA).astype(np.uint8).reshape(1, 256)


def both_ways(one: Thumbs, other: Thumbs) -> bool:
    there, back = bool(look_alike(one, other)[0]), bool(look_alike(other, one)[0])
    assert there == back
    return there


@pytest.mark.parametrize("border", [0.01, 0.02, 0.03])
def test_a_re_cropped_copy_looks_alike(border: float, photo: NDArray[np.uint8]) -> None:
    cut = round(512 * border)
    assert both_ways(small(photo), small(photo[cut:-cut, cut:-cut]))
    assert both_ways(small(photo), small(photo[cut:, :]))


def test_tone_and_contrast_do_not_matter(photo: NDArray[np.uint8]) -> None:
    for copy in (photo * 0.5, photo * 0.7 + 60, 255 * (photo / 255) ** 0.8):
        assert both_ways(small(photo), small(np.rint(copy).astype(np.uint8)))


def test_another_picture_the_negative_and_the_mirror_image_do_not_look_alike(photo: NDArray[np.uint8]) -> None:
    for other in (255 - photo, photo[:, ::-1], photo[::-1], photo[100:, 100:], photo[:300, :300]):
        assert not both_ways(small(photo), small(other))


def test_a_shared_silhouette_is_not_enough() -> None:
    rng = np.random.default_rng(0)
    shape = np.zeros((16, 16), bool)
    shape[6:, 9:] = True
    plain, cloth = (np.where(shape, 40, 190) + rng.normal(0, 6, (16, 16)) for _ in range(2))
    one, other = (np.rint(picture).astype(np.uint8).reshape(1, 256) for picture in (plain, cloth))
    assert np.corrcoef(one[0], other[0])[0, 1] > 0.95
    assert not both_ways(one, other)


def test_an_even_gradient_is_flat_and_a_photo_is_not(photo: NDArray[np.uint8]) -> None:
    ramp = np.add.outer(np.arange(16) * 3, np.arange(16) * 5) + 50
    noisy = np.clip(np.random.default_rng(0).normal(128, 1, (16, 16)), 0, 255)
    thumbs = np.concatenate([np.rint(p).astype(np.uint8).reshape(1, 256) for p in (ramp, noisy, np.full((16, 16), 9))])
    assert flat(thumbs).all()
    assert not flat(small(photo))[0]
    assert not flat(small((photo // 8).astype(np.uint8)))[0]


def test_flat_thumbs_are_equal_up_to_rounding_only() -> None:
    level = np.full((1, 256), 100, np.uint8)
    assert look_equal(level, level + 2)[0]
    assert not look_equal(level, level + 3)[0]
    assert not look_equal(level - 3, level)[0]


def test_the_hash_of_a_turned_thumb_is_the_turned_hash() -> None:
    """However a thumb is turned, the standard turn leads to the same hashes."""
    thumbs = np.random.default_rng(1).integers(0, 256, (200, 256), dtype=np.uint8)
    for kind in range(8):
        turned = turn(thumbs, np.full(200, kind, np.uint8))
        which, turns, hashes = view_hashes(thumbs, turned=True)
        which_turned, turns_turned, hashes_turned = view_hashes(turned, turned=True)
        for index in range(0, 200, 7):
            assert set(hashes[which == index]) == set(hashes_turned[which_turned == index])
        plain = {(w, h): t for w, t, h in zip(which.tolist(), turns, hashes.tolist(), strict=True)}
        for w, t, h in zip(which_turned.tolist(), turns_turned, hashes_turned.tolist(), strict=True):
            one, other = turn(thumbs[[w]], np.array([plain[w, h]])), turn(turned[[w]], np.array([t]))
            assert np.array_equal(one, other)
