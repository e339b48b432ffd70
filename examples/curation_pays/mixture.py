"""The raw mixture: clean photos of which some are spoilt in place, and what lies about besides; each with its label.

A spoilt photo takes the place of the clean one, so that no training set holds the same scene once clean and once not.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

SHARES = {
    "blurred": 0.08,
    "noisy": 0.08,
    "crushed": 0.12,
    "upscaled": 0.08,
    "watermarked": 0.06,
}
"""Of the photos, how many are spoilt how. They are this experiment's own, near what uncurated collections look like;
results hold for them."""
COPIES = 0.12
"""Near duplicates that are added, for each photo."""
GRAPHICS = 0.06
"""Flat drawings that are added, for each photo."""
NATURAL = {"noisy by nature": ("noise_polyu", "*_real.*", 20), "product on white": ("product/iconic", "*", 20)}
"""Label -> (folder, pattern, how many): pictures with defects that nobody planted, where the folders are there."""
LEAKS = 12
"""Test pictures that are mixed in, for the contamination check to find: as they are, re-encoded, or crops of them."""
TILE = 512
"""Larger photos are cut into squares of so many px."""
CLEAN = ("bsds500/train", "cid22", "clic2025")
TESTS = ("kodak24", "cbsd68")
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Mixture:
    """Pictures in a folder.

    Attributes:
        folder: that holds them.
        labels: file name -> what was planted: a key of `SHARES`, "near duplicate", "graphic", a key of `NATURAL`,
            "test picture"; "" = a photo as it came.
    """

    folder: Path
    labels: dict[str, str]

    def named(self, *labels: str) -> list[str]:
        """File names of these labels, sorted."""
        return sorted(name for name, label in self.labels.items() if label in labels)


def lay(data: Path, out: Path, most: int | None = None) -> Mixture:
    """Make the mixture, or find it where it is there already.

    Args:
        data: holds `CLEAN` and `TESTS`, perhaps those of `NATURAL`.
        out: holds "raw" and "raw.json" afterwards.
        most: of each kind of picture, for a smoke test; None = all.

    Raises:
        InputError: a folder of --data has no pictures.
        ConfigError: what lies there was made with another `most`.
    """
    from million_ird.errors import ConfigError
    from million_ird.tables import read_json, write_json

    folder, listed = out / "raw", out / "raw.json"
    found = read_json(listed)
    if found and found.get("most") != most:
        raise ConfigError(
            f"--out {out}: holds a mixture that was made {'without' if most else 'with'} --quick; take another"
        )
    if not found:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        found = {"most": most, "labels": dict(sorted(_write(data, folder, most)))}
        write_json(listed, found)
    return Mixture(folder, found["labels"])


def files(folder: Path, most: int | None = None) -> list[Path]:
    """The pictures of a folder of --data, sorted.

    Raises:
        InputError: there are none.
    """
    from million_ird.errors import InputError

    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)[:most]
    if not found:
        raise InputError(f"--data: {folder} holds no pictures; README.md says which sets there have to be")
    return found


def _write(data: Path, folder: Path, most: int | None) -> Iterator[tuple[str, str]]:
    """Write everything; (file name, label) of each."""
    photos = list(_photos(data, most))
    names = [name for name, _ in photos]
    fates = _fates(names)
    for name, read in photos:
        fate = fates.get(name, "")
        content, suffix = _spoilt(read, fate, name) if fate else _as_found(read)
        (folder / f"{name}{suffix}").write_bytes(content)
        yield f"{name}{suffix}", fate
    reads = dict(photos)
    clean = [name for name in _shuffled(names, "copies") if name not in fates]
    for name in clean[: _count(COPIES, names)]:
        (folder / f"copy-{name}.jpg").write_bytes(_copy(_pixels(reads[name]), name))
        yield f"copy-{name}.jpg", "near duplicate"
    for number in range(_count(GRAPHICS, names)):
        (folder / f"graphic-{number:02}.png").write_bytes(_png(_graphic(number)))
        yield f"graphic-{number:02}.png", "graphic"
    for label, (where, pattern, count) in NATURAL.items():
        found = sorted(path for path in (data / where).glob(pattern) if path.suffix.lower() in SUFFIXES)
        for path in found[: min(count, most or count)]:
            shutil.copyfile(path, folder / f"natural-{path.name}")
            yield f"natural-{path.name}", label
    for number, path in enumerate(_some_tests(data, most)):
        content, suffix = _leak(path, number)
        (folder / f"leak-{path.stem}{suffix}").write_bytes(content)
        yield f"leak-{path.stem}{suffix}", "test picture"


Read = Callable[[], tuple[bytes, str] | RGB]
"""A photo: its file's bytes and suffix, or pixels that were cut from one."""


def _photos(data: Path, most: int | None) -> Iterator[tuple[str, Read]]:
    from million_ird.evaluate.sets import read

    for where in CLEAN:
        for path in files(data / where, most):
            name = f"{where.partition('/')[0]}-{path.stem}"
            picture = read(path)
            if min(picture.shape[:2]) < 2 * TILE:
                yield name, lambda path=path: (path.read_bytes(), path.suffix.lower())
                continue
            for top in range(0, picture.shape[0] - TILE + 1, TILE):
                for left in range(0, picture.shape[1] - TILE + 1, TILE):
                    tile = np.ascontiguousarray(picture[top : top + TILE, left : left + TILE])
                    yield f"{name}-{top}-{left}", lambda tile=tile: tile


def _pixels(read: Read) -> RGB:
    from million_ird.images import decode

    found = read()
    return decode(found[0]).rgb if isinstance(found, tuple) else found


def _as_found(read: Read) -> tuple[bytes, str]:
    found = read()
    return found if isinstance(found, tuple) else (_png(found), ".png")


def _shuffled(names: Sequence[str], what: str) -> list[str]:
    from million_ird.rng import rng_for

    return sorted(names, key=lambda name: rng_for(0, "curation pays", what, name).random())


def _count(share: float, names: Sequence[str]) -> int:
    return max(1, round(share * len(names)))


def _fates(names: Sequence[str]) -> dict[str, str]:
    """Photo -> how it is spoilt; those that are not are left out."""
    order, out = _shuffled(names, "fate"), {}
    for fate, share in SHARES.items():
        for _ in range(min(_count(share, names), len(order) // 2)):
            out[order.pop()] = fate
    return out


def _spoilt(read: Read, fate: str, name: str) -> tuple[bytes, str]:
    """The file of a spoilt photo and its suffix."""
    from million_ird import degrade as D
    from million_ird.degrade.watermark import stamp
    from million_ird.rng import rng_for

    rng, image = rng_for(0, "curation pays", fate, name), _pixels(read)
    if fate == "crushed":
        jpeg = _jpeg(image, 8 + int(rng.random() * 28))
        return (jpeg, ".jpg") if rng.random() < 0.5 else (_png(_decoded(jpeg)), ".png")
    if fate == "watermarked":
        return _png(stamp(image, rng).image), ".png"
    ops: dict[str, tuple[Any, ...]] = {
        "blurred": (D.GaussianBlur(sigma=(1.5, 4)), D.MotionBlur(length=(9, 21))),
        "noisy": (D.GaussianNoise(sigma=(15, 40)),),
        "upscaled": (D.Resize(scale=(0.2, 0.33)),),
    }
    op = ops[fate][int(rng.random() * len(ops[fate]))]
    return _png(D.load(op)(image, seed=0, image_id=name).lq), ".png"


def _copy(image: RGB, name: str) -> bytes:
    """A photo once more: smaller, brighter, or recompressed."""
    from million_ird.rng import rng_for

    kind = int(rng_for(0, "curation pays", "copy", name).random() * 3)
    if kind == 0:
        image = cv2.resize(image, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA).astype(np.uint8)
    elif kind == 1:
        image = np.clip(image * 1.1, 0, 255).astype(np.uint8)
    return _jpeg(image, 88)


def _graphic(number: int) -> RGB:
    """Plain shapes on a plain ground, as logos, charts and screens have them."""
    from million_ird.rng import rng_for

    rng = rng_for(0, "curation pays", "graphic", number)
    canvas = np.empty((384, 512, 3), np.uint8)
    canvas[:] = [int(rng.random() * 256) for _ in range(3)]
    for _ in range(3 + int(rng.random() * 5)):
        colour = tuple(int(rng.random() * 256) for _ in range(3))
        x, y, size = int(rng.random() * 512), int(rng.random() * 384), 20 + int(rng.random() * 100)
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), size, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (x, y), (x + 2 * size, y + size), colour, -1)
    return canvas


def _some_tests(data: Path, most: int | None) -> list[Path]:
    each = min(LEAKS // len(TESTS), most or LEAKS)
    return [path for name in TESTS for path in files(data / name)[1 : 1 + each]]


def _leak(path: Path, number: int) -> tuple[bytes, str]:
    from million_ird.evaluate.sets import read

    if number % 3 == 0:
        return path.read_bytes(), path.suffix.lower()
    image = read(path)
    if number % 3 == 1:
        return _jpeg(image, 85), ".jpg"
    height, width = image.shape[:2]
    return _png(np.ascontiguousarray(image[height // 8 : -(height // 8), width // 8 : -(width // 8)])), ".png"


def _jpeg(image: RGB, quality: int) -> bytes:
    from million_ird.images import encode_jpeg

    return encode_jpeg(image, quality)


def _png(image: RGB) -> bytes:
    from million_ird.images import encode_png

    return encode_png(image)


def _decoded(content: bytes) -> RGB:
    from million_ird.images import decode

    return decode(content).rgb
