"""Samples for the watermark detector: crops of clean photos, without and with a mark, compressed and made smaller."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from million_ird.degrade.op import Bytes, luma
from million_ird.degrade.watermark import HELD_OUT, TRAINING, Style, stamp
from million_ird.degrade.watermark.lettering import between
from million_ird.errors import BadImage, InputError
from million_ird.images import decode
from million_ird.meters.watermark import ENLARGED, Watermark
from million_ird.rng import Chance, rng_for
from million_ird.train.detectors.decoys import disguise
from million_ird.train.detectors.net import STRIDE

PIXELS: int = Watermark.model_fields["pixels"].default
"""Of a picture as the detector sees it."""

HEIGHTS = 6.5, 64.0
"""Height of capitals in the detector's input, px: `watermark.SIZES` of a quarter of a megapixel."""

HOLD_OUT = 5
"""Every so-manyth picture of a folder is kept for testing."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}

PACKAGED = {
    "skimage": [
        *(f"data/{name}.png" for name in ("astronaut", "camera", "chelsea", "coffee", "coins", "motorcycle_left")),
        *(f"data/{name}.png" for name in ("brick", "grass", "gravel", "moon", "page", "text")),
        *(f"data/{name}.jpg" for name in ("rocket", "retina", "hubble_deep_field")),
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}
"""Pictures that packages bring, by package: what `--data packages` means."""

STROKE = 4
"""Pixels to a value of the map of strokes, each way."""

_FAINT = 0.15  # share of a cell's pixels that are marked, below which the cell is not asked about


@dataclass(frozen=True)
class Sample:
    """A crop as the network sees it.

    Attributes:
        image: (S, S) uint8 luma.
        cells: (S / 16, S / 16) int8: 1 = marked, 0 = not, -1 = not asked.
        strokes: (S / 4, S / 4) uint8: how much of these pixels the mark covers, 255 = all.
    """

    image: Bytes
    cells: NDArray[np.int8]
    strokes: Bytes

    @property
    def marked(self) -> bool:
        """Whether enough of a mark is left to be asked about."""
        return bool((self.cells == 1).any())


def photos(data: Sequence[str | Path], held: bool = False) -> list[Path]:
    """The pictures of folders, of single files, or of `packages`: those to train on, or every fifth of a folder, held.

    Raises:
        InputError: no such folder, no picture in one, one given twice, or a package is not installed.
    """
    found: list[Path] = []
    for name in data:
        path = Path(name)
        if str(name) == "packages" or path.is_file():
            found += [] if held else packaged() if str(name) == "packages" else [path]
            continue
        if not path.is_dir():
            raise InputError(f"--data {name}: no such file or folder")
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not inside:
            raise InputError(f"--data {name}: no picture in it")
        few = len(inside) < 2 * HOLD_OUT  # too few to share
        found += [file for i, file in enumerate(inside) if (not few and i % HOLD_OUT == HOLD_OUT - 1) == held]
    counts = Counter(path.absolute() for path in found)
    if twice := [path for path, count in counts.items() if count > 1]:
        raise InputError(f"--data: {twice[0]} is given twice")
    return found


def packaged() -> list[Path]:
    """The pictures of `PACKAGED`.

    Raises:
        InputError: a package is not installed.
    """
    found: list[Path] = []
    for package, names in PACKAGED.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"--data packages: {package} is not installed; install it, or leave `packages` out")
        found += [Path(spec.submodule_search_locations[0]) / name for name in names]
    return found


def load(path: Path, least: int = 64) -> Bytes | None:
    """(H, W, 3) uint8, or None where it can't be read or is smaller than `least` px."""
    try:
        rgb = decode(path.read_bytes()).rgb
    except (BadImage, OSError):
        return None
    return rgb if min(rgb.shape[:2]) >= least else None


def hashes_of(paths: Iterable[Path]) -> dict[str, str]:
    """Name -> sha256 of each file, in order; a name has so many folders before it as tell it from the others."""
    paths = [path.absolute() for path in paths]
    depth = 2
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


class Samples:
    """Pair `number` of a seed: always the same, whatever came before it.

    The two differ in the mark alone: all else in them (the crop, a decoy, noise, JPEG) cancels out of what is learnt.

    Args:
        pictures: clean photos, (H, W, 3) uint8.
        seed: of all chance.
        size: side of a sample, px.
        style: what marks are made of.
        rise: the first so many get harder, pair by pair: marks are larger and stronger at the start, decoys and
            smaller sizes rarer.
        decoys: share of the pairs with one, where it is hardest.
    """

    def __init__(
        self,
        pictures: Sequence[Bytes],
        seed: int,
        size: int,
        style: Style = TRAINING,
        rise: int = 0,
        decoys: float = 0.1,
    ) -> None:
        if style is HELD_OUT:
            raise ValueError("what is held out is not for training")
        self.pictures, self.seed, self.size, self.style = pictures, seed, size, style
        self.rise, self.decoys = rise, decoys

    def __getitem__(self, number: int) -> tuple[Sample, Sample]:
        """Without a mark, and with one."""
        rng = rng_for(self.seed, "watermark", number)
        hard = min(1.0, number / self.rise) if self.rise else 1.0
        larger = 1.0
        if (kind := rng.random()) < 0.6 * hard:  # some have been made smaller, some larger
            larger = between(rng, 1.0, 1.9) if kind < 0.35 * hard else between(rng, 1 / ENLARGED, 1.0)
        image = self._crop(rng, round(self.size * larger))
        lowest = HEIGHTS[0] + 8 * (1 - hard)
        if rng.random() < self.decoys * hard:
            image = disguise(image, rng, self.style, height=between(rng, *HEIGHTS, log=True) * larger)
        height = between(rng, lowest, HEIGHTS[1], log=True) * larger
        opacity = 1.0 if rng.random() < 0.12 else between(rng, 0.15 + 0.5 * (1 - hard), 0.9)
        found = stamp(image, rng, self.style, height=height, opacity=opacity)
        clean = np.zeros_like(found.cover)

        def sample(rgb: Bytes, cover: Bytes) -> Sample:
            return finished(rgb, cover, rng_for(self.seed, "watermark finish", number), self.size)

        return sample(image, clean), sample(found.image, found.cover)

    def _crop(self, rng: Chance, side: int) -> Bytes:
        """A square of a picture at some scale, mirrored or turned, lighter or darker."""
        # Large pictures count more: a square root of their area in quarter megapixels.
        shares = np.cumsum([max(1.0, (p.shape[0] * p.shape[1] / 2**18) ** 0.5) for p in self.pictures])
        picture = self.pictures[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
        # Between native scale and that at which the whole picture is measured, and a little beyond either.
        whole = max(1 / ENLARGED, (picture.shape[0] * picture.shape[1] / PIXELS) ** 0.5)
        short = min(picture.shape[:2])
        scale = between(rng, 0.8, 1.25 * whole, log=True) if rng.random() < 0.5 else between(rng, 0.8, 1.4) * whole
        taken = min(short, max(32, round(side * scale)))
        top = int(rng.random() * (picture.shape[0] - taken + 1))
        left = int(rng.random() * (picture.shape[1] - taken + 1))
        crop = picture[top : top + taken, left : left + taken]
        way = cv2.INTER_AREA if taken > side else cv2.INTER_CUBIC
        crop = cv2.resize(np.ascontiguousarray(crop), (side, side), interpolation=way)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.15:
            crop = np.rot90(crop, 1 + int(rng.random() * 3))
        if rng.random() < 0.5:
            curve = (np.arange(256) / 255) ** between(rng, 0.6, 1.6, log=True) * between(rng, 0.8, 1.1) * 255
            crop = cv2.LUT(crop, np.clip(curve, 0, 255).astype(np.uint8))
        crop = np.ascontiguousarray(crop, np.uint8)
        return grained(crop, rng) if rng.random() < 0.3 else crop


def grained(image: Bytes, rng: Chance) -> Bytes:
    """The picture as on film: noise that is the photo's, so that a mark lies over it."""
    grain = rng.generator.standard_normal(image.shape[:2], np.float32)
    soft = between(rng, 0.0, 0.9)
    if soft > 0.3:
        grain = cv2.GaussianBlur(grain, (0, 0), soft)
    grain *= np.float32(between(rng, 1, 10, log=True)) / grain.std()
    return np.clip(image + grain[..., None] + np.float32(0.5), 0, 255).astype(np.uint8)


def finished(image: Bytes, cover: Bytes, rng: Chance, size: int) -> Sample:
    """What becomes of a picture on its way, as its luma sees it: noise, JPEG, a smaller size."""
    grey = luma(image)
    if rng.random() < 0.35:
        noise = rng.generator.standard_normal(grey.shape, np.float32) * np.float32(between(rng, 1, 8, log=True))
        grey = np.clip(grey + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        plane = np.ascontiguousarray(grey[..., None])
        coded = simplejpeg.encode_jpeg(plane, quality=int(between(rng, 45, 96)), colorspace="GRAY")
        grey = simplejpeg.decode_jpeg(coded, "GRAY")[..., 0]
    if grey.shape[0] != size:
        way = cv2.INTER_AREA if grey.shape[0] > size else cv2.INTER_CUBIC
        grey = cv2.resize(grey, (size, size), interpolation=way)
        cover = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA)
    strokes = cv2.resize(cover, (size // STROKE, size // STROKE), interpolation=cv2.INTER_AREA)
    return Sample(grey.astype(np.uint8, copy=False), cells_of(cover), strokes)


def cells_of(cover: Bytes) -> NDArray[np.int8]:
    """The cells of the map from the pixels that are marked; letters and the gaps between them count alike."""
    there = cv2.dilate((cover > 64).astype(np.uint8), np.ones((5, 5), np.uint8))
    rows, columns = -(-cover.shape[0] // STRIDE), -(-cover.shape[1] // STRIDE)
    padded = np.zeros((rows * STRIDE, columns * STRIDE), np.float32)
    padded[: cover.shape[0], : cover.shape[1]] = there
    share = padded.reshape(rows, STRIDE, columns, STRIDE).mean((1, 3))
    return np.where(share == 0, 0, np.where(share >= _FAINT, 1, -1)).astype(np.int8)
