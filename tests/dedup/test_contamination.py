"""Contamination: test pictures are recognised whole, cropped and as parts of larger ones; hash lists say where they are
from."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from skimage import data
from sklearn.datasets import load_sample_image

from million_ird.dedup.contamination import Known, fingerprint
from million_ird.dedup.hashlists import Provenance, built_in, find_list, load_lists, read_list, write_list
from million_ird.errors import ConfigError
from million_ird.images import decode, encode_jpeg
from million_ird.meters import Frame
from million_ird.meters.phash import thumb

PHOTOS = {
    "astronaut": data.astronaut(),
    "coffee": data.coffee(),
    "cat": data.chelsea(),
    "china": load_sample_image("china.jpg"),
}


def printed(name: str, rgb: np.ndarray):
    frame = Frame(np.ascontiguousarray(rgb))
    return fingerprint(name, frame.luma, thumb(frame))


def found(known: Known, rgb: np.ndarray) -> str | None:
    frame = Frame(np.ascontiguousarray(rgb))
    match = known.find(frame.luma, thumb(frame))
    return None if match is None else known.prints[match.index].name


@pytest.fixture(scope="module")
def known() -> Known:
    return Known([printed(name, rgb) for name, rgb in PHOTOS.items()])


def cut(rgb: np.ndarray, share: float) -> np.ndarray:
    """The part below and right of the middle, of so much of each side."""
    height, width = int(rgb.shape[0] * share), int(rgb.shape[1] * share)
    top, left = (rgb.shape[0] - height) * 2 // 3, (rgb.shape[1] - width) * 2 // 3
    return rgb[top : top + height, left : left + width]


CHANGES = {
    "as it is": lambda rgb: rgb,
    "small": lambda rgb: cv2.resize(rgb, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA),
    "half of each side": lambda rgb: cut(rgb, 0.5),
    "a crop, compressed": lambda rgb: decode(encode_jpeg(np.ascontiguousarray(cut(rgb, 0.7)), 60)).rgb,
    "a crop, larger": lambda rgb: cv2.resize(cut(rgb, 0.6), None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
    "a crop, brighter": lambda rgb: np.minimum(cut(rgb, 0.7) * 0.7 + 60, 255).astype(np.uint8),
    **{f"a crop, view {k}": lambda rgb, k=k: np.rot90(cut(rgb, 0.7)[:, :: -1 if k > 3 else 1], k) for k in range(8)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_test_picture_is_recognised_however_it_was_copied_or_cropped(known, name, change):
    assert found(known, change(PHOTOS[name])) == name


@pytest.mark.parametrize("name", PHOTOS)
def test_a_picture_that_a_test_picture_is_cut_from_is_recognised(name):
    part = Known([printed("part", cut(PHOTOS[name], 0.5))])
    assert found(part, PHOTOS[name]) == "part"


def test_other_pictures_are_not_taken_for_test_pictures(known):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
    stripes = np.repeat(np.tile(np.array([0, 255], np.uint8), 200), 3).reshape(1, -1, 3).repeat(300, 0)
    checks = (np.indices((300, 400)).sum(0) // 16 % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, 2)
    others = [data.rocket(), load_sample_image("flower.jpg"), noise, stripes, checks]
    assert [found(known, other) for other in others] == [None] * 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (15, 15), (17, 16), (40, 33), (20, 3000)])
def test_any_size_and_a_flat_picture_are_compared_without_an_error(known, shape):
    flat = np.full((*shape, 3), 128, np.uint8)
    assert found(known, flat) is None
    assert found(Known([printed("flat", flat)]), flat) is None


def test_a_flat_test_picture_claims_no_sky(known):
    sky = np.repeat(np.linspace(120, 200, 256).astype(np.uint8), 256 * 3).reshape(256, 256, 3)
    assert found(Known([printed("sky", sky)]), sky) is None


def test_the_share_is_that_of_the_smaller_picture():
    photo = PHOTOS["astronaut"]
    part = Known([printed("left", photo[:, :300])])
    frame = Frame(np.ascontiguousarray(photo[:, 150:]))
    match = part.find(frame.luma, thumb(frame))
    assert match is not None
    assert match.share == pytest.approx(0.5, abs=0.05)


def test_without_test_pictures_nothing_is_found():
    assert found(Known([]), PHOTOS["cat"]) is None


def test_a_hash_list_comes_back_as_it_was_written(tmp_path):
    prints = [printed(name, rgb) for name, rgb in PHOTOS.items()]
    about = Provenance("mine", "scikit-image", "CC0", len(prints), "by a test")
    write_list(tmp_path / "mine.parquet", prints, about)
    again, theirs = read_list(tmp_path / "mine.parquet")
    assert theirs == about
    for one, other in zip(prints, again, strict=True):
        assert (one.name, one.width, one.height) == (other.name, other.width, other.height)
        assert all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ("thumb", "plain", "mirrored"))
        assert np.abs(one.points - other.points).max() <= 1 / 32
    assert (tmp_path / "mine.parquet").stat().st_size < 40_000 * len(prints)


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        about = Provenance("mine", "", "", 1, "by a test")
        write_list(tmp_path / name, [printed("cat", PHOTOS["cat"])], about)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_list_has_another_digest(tmp_path):
    for name, photo in (("a", "cat"), ("b", "coffee")):
        write_list(tmp_path / f"{name}.parquet", [printed(photo, PHOTOS[photo])], Provenance(name, "", "", 1, ""))
    one, other = str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")
    digests = {load_lists(names).digest for names in ([one], [other], [one, other])}
    assert len(digests) == 3
    assert load_lists([one, other]).names == ("a/cat", "b/coffee")


def test_what_is_no_hash_list_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no hash list called 'imagenet'; known: .*kodak24"):
        find_list("imagenet")
    with pytest.raises(ConfigError, match=r"gone\.parquet: no such file"):
        find_list(str(tmp_path / "gone.parquet"))
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ConfigError, match=r"text\.parquet: not a hash list"):
        read_list(tmp_path / "text.parquet")
    pq.write_table(pq.read_table(find_list("kodak24")).replace_schema_metadata({}), tmp_path / "bare.parquet")
    with pytest.raises(ConfigError, match=r"bare\.parquet: not a hash list"):
        read_list(tmp_path / "bare.parquet")
    write_list(tmp_path / "old.parquet", [], Provenance("old", "", "", 0, "", "thumb8/0"))
    with pytest.raises(ConfigError, match=r"kind 'thumb8/0', this version reads"):
        read_list(tmp_path / "old.parquet")


@pytest.mark.parametrize("name", sorted(built_in()))
def test_built_in_lists_say_where_they_are_from(name):
    prints, about = read_list(built_in()[name])
    assert about.name == name
    assert about.count == len(prints) > 0
    assert about.source and about.licence and about.made


def test_half_of_every_kodak_photo_is_found_and_nothing_in_cid22(real):
    rng = np.random.default_rng(0)
    lists = load_lists(["kodak24"])
    photos = sorted(real("kodak24").glob("*.png"))
    hits = 0
    for path in photos[::3]:
        rgb = decode(path.read_bytes()).rgb
        height, width = rgb.shape[0] * 707 // 1000, rgb.shape[1] * 707 // 1000
        top, left = rng.integers(0, rgb.shape[0] - height), rng.integers(0, rgb.shape[1] - width)
        hits += found(lists.known, rgb[top : top + height, left : left + width]) == path.name
    assert hits == len(photos[::3])
    for path in sorted(real("cid22").glob("*.png"))[::5]:
        assert found(lists.known, decode(path.read_bytes()).rgb) is None
