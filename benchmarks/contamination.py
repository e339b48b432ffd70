"""Contamination: what is found of test pictures that were copied, cropped or cut from larger ones, and what is not.

    python benchmarks/contamination.py [FOLDER] [--quick]

FOLDER holds the test images (default: MIRD_TEST_DATA, else ../shared/data beside the repository). Makes hash lists of
kodak24 and cbsd68, then prints: for each kind of copy the share that is found and named rightly; of bsds500 the images
that are CBSD68 (by comparing pixels) and those found; false ones in sets that share nothing; sources of pictures that
were cropped from them; bytes per picture; and CPU time per image beside that of all meters. Seeded; about two minutes,
with `--quick`, which takes every fourth picture, half a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from million_ird.curate.contaminated import make_list
from million_ird.curate.ledger import make_meters
from million_ird.curate.settings import load_config
from million_ird.dedup.contamination import Known, fingerprint
from million_ird.dedup.hashlists import Lists, load_lists
from million_ird.images import decode, encode_jpeg, read_header
from million_ird.meters import Frame
from million_ird.meters.phash import thumb

RGB = NDArray[np.uint8]
Change = Callable[[RGB, np.random.Generator], RGB]
SETS = ("kodak24", "cbsd68")
CLEAN = ("cid22", "clic2025", "product", "noise_polyu")
PIXELS = 6.0  # grey levels: mean difference of a JPEG and its source; other pictures are above 20


def crop(rgb: RGB, height: int, width: int, rng: np.random.Generator) -> RGB:
    """A random crop, turned as the picture is; no larger than it."""
    if rgb.shape[0] > rgb.shape[1] and height < width:
        height, width = width, height
    height, width = min(height, rgb.shape[0]), min(width, rgb.shape[1])
    top, left = rng.integers(0, rgb.shape[0] - height + 1), rng.integers(0, rgb.shape[1] - width + 1)
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def side(share: float) -> Change:
    """A crop of that share of each side."""
    return lambda rgb, rng: crop(rgb, int(rgb.shape[0] * share), int(rgb.shape[1] * share), rng)


def zoom(rgb: RGB, factor: float) -> RGB:
    """Resized."""
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=how)


def jpeg(rgb: RGB, quality: int) -> RGB:
    """Compressed and back."""
    return decode(encode_jpeg(rgb, quality)).rgb


HALF_AREA, HALF_SIDE = side(0.5**0.5), side(0.5)
COPIES: dict[str, Change] = {
    "the file": lambda rgb, rng: rgb,
    "JPEG 50": lambda rgb, rng: jpeg(rgb, 50),
    "half size": lambda rgb, rng: zoom(rgb, 0.5),
    "mirrored": lambda rgb, rng: np.ascontiguousarray(rgb[:, ::-1]),
    "turned by 90": lambda rgb, rng: np.rot90(rgb).copy(),
    "480x320 crop": lambda rgb, rng: crop(rgb, 320, 480, rng),
    "50 % crop (area)": HALF_AREA,
    "50 % crop (area), JPEG 70": lambda rgb, rng: jpeg(HALF_AREA(rgb, rng), 70),
    "50 % crop (area), mirrored": lambda rgb, rng: np.ascontiguousarray(HALF_AREA(rgb, rng)[:, ::-1]),
    "50 % crop (area), turned": lambda rgb, rng: np.rot90(HALF_AREA(rgb, rng)).copy(),
    "50 % crop (area), x 0.6": lambda rgb, rng: zoom(HALF_AREA(rgb, rng), 0.6),
    "25 % crop (50 % of the sides)": HALF_SIDE,
    "25 % crop, JPEG 70": lambda rgb, rng: jpeg(HALF_SIDE(rgb, rng), 70),
    "25 % crop, x 2": lambda rgb, rng: zoom(HALF_SIDE(rgb, rng), 2),
    "256x256 crop": lambda rgb, rng: crop(rgb, 256, 256, rng),
    "128x128 crop": lambda rgb, rng: crop(rgb, 128, 128, rng),
}


def pictures(folder: Path, step: int = 1) -> list[tuple[str, RGB]]:
    """All of a folder, decoded."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [(path.name, decode(path.read_bytes()).rgb) for path in files[::step]]


def ask(lists: Lists, rgb: RGB) -> str:
    """Which test picture an image shows, "" = none."""
    frame = Frame(rgb)
    match = lists.known.find(frame.luma, thumb(frame))
    return "" if match is None else lists.names[match.index]


def copies(lists: Lists, data: Path, step: int) -> None:
    """Recall for each kind of copy."""
    print(f"{'found and named rightly':34}" + "".join(f"{name:>12}" for name in SETS))
    sets = {name: pictures(data / name, step) for name in SETS}
    for kind, change in COPIES.items():
        rng = np.random.default_rng(0)
        shares = [
            np.mean([ask(lists, change(rgb, rng)) == f"{name}/{file}" for file, rgb in found])
            for name, found in sets.items()
        ]
        print(f"  {kind:32}" + "".join(f"{share:12.3f}" for share in shares), flush=True)


def bsds(lists: Lists, data: Path, step: int) -> None:
    """CBSD68 in BSDS500: the truth by pixels, and what is found."""
    cbsd = [(f"cbsd68/{name}", rgb) for name, rgb in pictures(data / "cbsd68")]
    truth, found = {}, {}
    for name, rgb in pictures(data / "bsds500", step):
        for other, theirs in cbsd:
            if theirs.shape == rgb.shape and np.abs(theirs.astype(np.int16) - rgb).mean() < PIXELS:
                truth[name] = other
        if shown := ask(lists, rgb):
            found[name] = shown
    right = sum(found.get(name) == other for name, other in truth.items())
    print(f"bsds500: {len(truth)} are CBSD68 by pixels, {right} of them found; besides: {len(found) - right}")
    for name in sorted(found.keys() - truth.keys()):
        print(f"    {name} taken for {found[name]}")


def false_ones(lists: Lists, data: Path, step: int) -> None:
    """Sets that share nothing with the lists."""
    for name in CLEAN:
        asked = pictures(data / name, step)
        found = [(file, shown) for file, rgb in asked if (shown := ask(lists, rgb))]
        print(f"{name}: {len(found)} of {len(asked)} found" + "".join(f"; {a} taken for {b}" for a, b in found))


def sources(data: Path, step: int) -> None:
    """Test pictures that are crops of what is asked about."""
    rng = np.random.default_rng(0)
    whole = [*pictures(data / "cid22", 2 * step), *pictures(data / "clic2025")]
    kinds: dict[str, Change] = {
        "50 % of the sides": HALF_SIDE,
        "50 % of the sides, at half size": lambda rgb, rng: zoom(HALF_SIDE(rgb, rng), 0.5),
        "71 % of the sides, mirrored": COPIES["50 % crop (area), mirrored"],
    }
    print("sources of test pictures that are crops of them, found")
    for kind, change in kinds.items():
        prints = []
        for name, rgb in whole:
            frame = Frame(change(rgb, rng))
            prints.append(fingerprint(name, frame.luma, thumb(frame)))
        known, hits = Known(prints), 0
        for index, (_, rgb) in enumerate(whole):
            frame = Frame(rgb)
            match = known.find(frame.luma, thumb(frame))
            hits += match is not None and match.index == index
        print(f"  {kind:32}{hits / len(whole):12.3f}", flush=True)


def cost(lists: Lists, data: Path) -> None:
    """CPU milliseconds per image of 1 MP."""
    meters = make_meters(load_config("photos"))
    spent = {"decode": 0.0, "meters and hash": 0.0, "contaminated": 0.0}
    photos = [cv2.resize(rgb, (1224, 816), interpolation=cv2.INTER_CUBIC) for _, rgb in pictures(data / "bsds500", 15)]
    for photo in photos:
        encoded = encode_jpeg(photo, 90)
        at = [time.process_time()]
        header = read_header(encoded)
        frame = Frame(decode(encoded, header).rgb, header)
        at.append(time.process_time())
        small = thumb(frame)
        for meter in meters.values():
            meter(frame)
        at.append(time.process_time())
        lists.known.find(frame.luma, small)
        at.append(time.process_time())
        for name, took in zip(spent, np.diff(at), strict=True):
            spent[name] += took
    print("CPU ms per JPEG of 1 MP: " + ", ".join(f"{name} {s / len(photos) * 1e3:.1f}" for name, s in spent.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("MIRD_TEST_DATA", here)))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args(arguments)
    if not (asked.folder / "cbsd68").is_dir():
        print(f"{asked.folder}: no test images there; set MIRD_TEST_DATA", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    step = 4 if asked.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.parquet" for name in SETS]
        for name, path in zip(SETS, paths, strict=True):
            began = time.process_time()
            about, _ = make_list([str(asked.folder / name)], name, path)
            each = path.stat().st_size / about.count / 1e3
            print(
                f"{name}: {about.count} pictures, {each:.1f} kB each, {time.process_time() - began:.1f} s CPU to make"
            )
        lists = load_lists([str(path) for path in paths])
        began = time.process_time()
        lists.known.find(np.zeros((64, 64), np.uint8), bytes(256))
        print(f"ready to compare after {time.process_time() - began:.2f} s CPU")
        cost(lists, asked.folder)
        copies(lists, asked.folder, step)
        bsds(lists, asked.folder, step)
        false_ones(lists, asked.folder, step)
        sources(asked.folder, step)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
