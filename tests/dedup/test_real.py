"""On real photos: copies are found, different pictures are not joined. What the bounds in `verify` were set by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from million_ird.dedup import Edges, cluster, find_edges
from million_ird.meters import Frame
from million_ird.meters.phash import hash_frame, thumb

RGB = NDArray[np.uint8]
Features = tuple[NDArray[np.uint64], NDArray[np.uint8]]

DISTANCE = 8


def jpeg(rgb: RGB, quality: int) -> RGB:
    data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def scaled(rgb: RGB, scale: float, how: int) -> RGB:
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def cropped(rgb: RGB, left: float, top: float, right: float, bottom: float) -> RGB:
    height, width = rgb.shape[:2]
    return rgb[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


COPIES: dict[str, tuple[float, Callable[[RGB], RGB]]] = {
    "half, bicubic": (0.99, lambda rgb: scaled(rgb, 0.5, cv2.INTER_CUBIC)),
    "half, area": (0.99, lambda rgb: scaled(rgb, 0.5, cv2.INTER_AREA)),
    "quarter": (0.99, lambda rgb: scaled(rgb, 0.25, cv2.INTER_AREA)),
    "JPEG 30": (0.99, lambda rgb: jpeg(rgb, 30)),
    "brighter by a tenth": (0.99, lambda rgb: np.clip(np.rint(rgb * 1.1), 0, 255).astype(np.uint8)),
    "cropped by 1.5 % at each side": (0.99, lambda rgb: cropped(rgb, 0.015, 0.015, 0.015, 0.015)),
    "cropped by 3 % at each side": (0.97, lambda rgb: cropped(rgb, 0.03, 0.03, 0.03, 0.03)),
    "cropped by 3 % at the left": (0.97, lambda rgb: cropped(rgb, 0.03, 0, 0, 0)),
}
TURNED: dict[str, tuple[float, Callable[[RGB], RGB]]] = {
    "mirrored": (0.99, lambda rgb: rgb[:, ::-1]),
    "upside down": (0.99, lambda rgb: rgb[::-1, ::-1]),
    "a quarter turn": (0.99, lambda rgb: np.rot90(rgb)),
    "three quarters": (0.99, lambda rgb: np.rot90(rgb, 3)),
    "mirrored, half, JPEG 30": (0.99, lambda rgb: jpeg(scaled(rgb[:, ::-1], 0.5, cv2.INTER_AREA), 30)),
    "turned and cropped by 1.5 %": (0.95, lambda rgb: np.rot90(cropped(rgb, 0.015, 0.015, 0.015, 0.015))),
}
ORIGINALS = ("kodak24", "cid22", "clic2025", "bsds500/train", "bsds500/val", "product/clothing", "product/iconic")


def read(folder: Path) -> Iterator[RGB]:
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in {".png", ".jpg"}:
            yield np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB))


def features(pictures: Iterator[RGB]) -> Features:
    frames = [Frame(np.ascontiguousarray(picture)) for picture in pictures]
    thumbs = np.frombuffer(b"".join(thumb(frame) for frame in frames), np.uint8).reshape(-1, 256)
    return np.array([hash_frame(frame) for frame in frames], np.uint64), thumbs


def joined(first: Features, second: Features, *, flips: bool) -> float:
    """The part of images i that are linked to i + n, and nothing else to anything."""
    count = len(first[0])
    edges = all_edges([first, second], flips=flips)
    linked = set(zip(edges.i.tolist(), edges.j.tolist(), strict=True))
    assert all(j == i + count for i, j in linked)
    assert (edges.bundle[:count] == np.arange(count)).all()
    assert np.isin(edges.bundle - np.arange(2 * count), (0, -count)).all()
    return float(np.mean([edges.bundle[i + count] == i or (i, i + count) in linked for i in range(count)]))


def all_edges(sets: list[Features], *, flips: bool) -> Edges:
    hashes, thumbs = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    return find_edges(hashes, thumbs, np.ones(len(hashes), bool), DISTANCE, flips=flips)


@pytest.fixture(scope="module")
def photos(real: Callable[[str], Path]) -> list[RGB]:
    return [*read(real("kodak24")), *read(real("cbsd68"))]


@pytest.fixture(scope="module")
def originals(photos: list[RGB]) -> Features:
    return features(iter(photos))


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found(kind: str, photos: list[RGB], originals: Features) -> None:
    least, change = COPIES[kind]
    assert joined(originals, features(change(photo) for photo in photos), flips=False) >= least


@pytest.mark.parametrize("kind", TURNED)
def test_turned_copies_are_found_when_asked_for(kind: str, photos: list[RGB], originals: Features) -> None:
    least, change = TURNED[kind]
    copies = features(change(photo) for photo in photos)
    assert joined(originals, copies, flips=True) >= least
    assert joined(originals, copies, flips=False) == 0


def test_no_two_different_pictures_are_joined(real: Callable[[str], Path], originals: Features) -> None:
    """Photos, portraits of clothes and groceries on white, some of which differ in their label only."""
    sets = [features(read(real(name))) for name in ORIGINALS]
    edges = all_edges(sets, flips=True)
    assert len(edges.bundle) > 590
    assert len(edges.i) == 0
    assert (edges.bundle == np.arange(len(edges.bundle))).all()
    # The second set's photos lie in bsds500/val as JPEG files: those are found, and nothing more.
    val = len(edges.bundle) + np.arange(len(originals[0]))
    edges = all_edges([*sets, originals], flips=False)
    found = (edges.bundle[val] != val) | np.isin(val, edges.j)
    assert found.all()
    assert np.isin(edges.j, val).all()


def test_published_copies_belong_to_their_scene(real: Callable[[str], Path]) -> None:
    """Resized, mirrored and re-encoded ones; a copy turned by some degrees, with black corners, is another picture."""
    folder = real("near_duplicates")
    names = ["00120", "00120_hflip", "00120_resize", "00120_rotation", "09268"]
    files = [folder / "mixed_images" / f"ukbench{name}.jpg" for name in names]
    files += [folder / "formats_images" / f"ukbench09380.{ending}" for ending in ("bmp", "jpeg", "png", "webp")]
    files += sorted((folder / "base_images").iterdir())
    hashes, thumbs = features(np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)) for file in files)
    leader = cluster(find_edges(hashes, thumbs, np.ones(len(files), bool), DISTANCE, flips=True), np.arange(len(files)))
    scenes: dict[int, set[str]] = {}
    for file, lead in zip(files, leader.tolist(), strict=True):
        scenes.setdefault(lead, set()).add(f"{file.parent.name[:-7]} {file.stem[7:]}{file.suffix}")
    assert scenes[0] == {"mixed 00120.jpg", "mixed 00120_hflip.jpg", "mixed 00120_resize.jpg", "base 00120.jpg"}
    assert scenes[3] == {"mixed 00120_rotation.jpg"}
    assert scenes[4] == {"mixed 09268.jpg", "base 09268.jpg"}
    assert scenes[5] == {f"formats 09380.{ending}" for ending in ("bmp", "jpeg", "png", "webp")} | {"base 09380.jpg"}
    assert len(scenes) == 4 + 7
