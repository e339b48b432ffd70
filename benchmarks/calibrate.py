"""The thresholds of the `photos` preset against clean and degraded photos: what is kept, what is dropped and why.

    python benchmarks/calibrate.py [FOLDER] [--quick]

FOLDER holds the test images (default: MIRD_TEST_DATA, else ../shared/data beside the repository). Prints, per corpus,
the share of clean photos that each rule keeps; per defect, the share dropped and for which reasons; products, pages and
graphics against photos; how far each threshold lies from clean and from degraded photos; and the CPU time per meter,
against a bare decode. Seeded; about two minutes, with `--quick`, which takes every fourth photo, half a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from million_ird.curate.rules import fails, lines
from million_ird.curate.settings import load_config
from million_ird.images import decode, encode_jpeg, read_header
from million_ird.meters import Frame, create
from million_ird.records import Header

CLEAN = {"kodak24": "*.png", "cbsd68": "*.png", "cid22": "*.png", "clic2025": "*.png"}
HELD_OUT = {"bsds500/train": "*.jpg", "product/clothing": "*.jpg", "noise_polyu": "*_mean.JPG"}
PRODUCTS = {"product/iconic": "*.jpg"}

METERS = {
    name: create(name)
    for name in ("blur", "flat", "noise", "compression", "exposure", "border", "background", "upscale", "watermark")
}
COLUMNS = [column for meter in METERS.values() for column in meter.columns]
LINES = [line for line in lines(load_config("photos").policy) if line.column in COLUMNS and line.enabled]
REASONS = list(dict.fromkeys(line.reason for line in LINES))

RGB = NDArray[np.uint8]
Table = dict[str, NDArray[np.float64]]
Defect = Callable[[RGB, np.random.Generator], RGB | bytes]


class Photo(NamedTuple):
    """One image and what its file says of it."""

    rgb: RGB
    header: Header


def measure(frames: Iterator[Frame]) -> Table:
    """All columns of some frames; none = NaN."""
    rows = [[value for meter in METERS.values() for value in meter(frame)] for frame in frames]
    return dict(zip(COLUMNS, np.array(rows, np.float64).T, strict=True))


def reasons(table: Table) -> list[str]:
    """The first rule that each row fails, in cascade order; "" = kept."""
    found = np.full(len(table["blur"]), "", dtype=object)
    for line in reversed(LINES):
        found[fails(line, table[line.column])] = line.reason
    return found.tolist()


def blurred(rgb: RGB, _: np.random.Generator, sigma: float = 2.5) -> RGB:
    """Gaussian blur."""
    return cv2.GaussianBlur(rgb, (0, 0), sigma).astype(np.uint8, copy=False)


def shaken(rgb: RGB, rng: np.random.Generator, angle: float | None = None, length: int = 15) -> RGB:
    """Motion blur along a line of `length` px, at an angle in degrees or at a drawn one."""
    turn = np.deg2rad(rng.uniform(0, 180) if angle is None else angle)
    side, fine = length + 4, 8
    reach = length * fine / 2 * np.array((np.cos(turn), np.sin(turn)))
    ends = np.round(side * fine / 2 + np.outer((-1, 1), reach)).astype(int)
    drawn = cv2.line(np.zeros((side * fine, side * fine), np.float32), ends[0].tolist(), ends[1].tolist(), 1.0, fine)
    kernel = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.filter2D(rgb, -1, kernel / kernel.sum()).astype(np.uint8, copy=False)


def noisy(rgb: RGB, rng: np.random.Generator, sigma: float = 25) -> RGB:
    """Gaussian noise, independent from channel to channel, clipped and rounded."""
    return np.clip(np.rint(rgb + rng.normal(0, sigma, rgb.shape)), 0, 255).astype(np.uint8)


def small_again(down: int, up: int, factor: int = 4) -> Defect:
    """Reduced and enlarged again by a factor, with OpenCV's interpolations `down` and `up`."""

    def defect(rgb: RGB, _: np.random.Generator) -> RGB:
        height, width = rgb.shape[:2]
        small = cv2.resize(rgb, (width // factor, height // factor), interpolation=down)
        return cv2.resize(small, (width, height), interpolation=up).astype(np.uint8, copy=False)

    return defect


def enlarged(rgb: RGB, _: np.random.Generator, factor: int = 4) -> RGB:
    """The photo itself (its upper left 512 px) enlarged."""
    part = rgb[:512, :512]
    size = part.shape[1] * factor, part.shape[0] * factor
    return cv2.resize(part, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def saved(rgb: RGB, _: np.random.Generator, quality: int = 15) -> bytes:
    """A JPEG file."""
    return encode_jpeg(rgb, quality)


def saved_again(offset: tuple[int, int] = (0, 0), quality: int = 15) -> Defect:
    """The pixels of a JPEG, from an offset on, as a PNG would hold them."""
    top, left = offset
    return lambda rgb, rng: np.ascontiguousarray(decode(saved(rgb, rng, quality)).rgb[top:, left:])


def then_saved(defect: Defect, quality: int = 95) -> Defect:
    """A defect, and a JPEG file of good quality of its result."""

    def both(rgb: RGB, rng: np.random.Generator) -> bytes:
        return encode_jpeg(np.asarray(defect(rgb, rng), np.uint8), quality)

    return both


AREA, CUBIC, LINEAR, LANCZOS, NEAREST = (
    cv2.INTER_AREA,
    cv2.INTER_CUBIC,
    cv2.INTER_LINEAR,
    cv2.INTER_LANCZOS4,
    cv2.INTER_NEAREST,
)
SOFT = {"blur", "upscaled"}
DEFECTS: dict[str, tuple[Defect, set[str]]] = {
    "Gaussian blur 2.5": (blurred, SOFT),
    "Gaussian blur 2.5, JPEG 95": (then_saved(blurred), SOFT),
    "motion blur 15": (shaken, SOFT),
    "motion blur 15, 0 deg": (lambda rgb, rng: shaken(rgb, rng, 0), SOFT),
    "motion blur 15, 45 deg": (lambda rgb, rng: shaken(rgb, rng, 45), SOFT),
    "motion blur 15, 90 deg": (lambda rgb, rng: shaken(rgb, rng, 90), SOFT),
    "motion blur 15, JPEG 95": (then_saved(shaken), SOFT),
    "noise 25": (noisy, {"noise"}),
    "JPEG 15": (saved, {"compression"}),
    "JPEG 15 as PNG": (saved_again(), {"compression"}),
    "JPEG 15 as PNG, cropped": (saved_again((3, 5)), {"compression"}),
    "x4 area, bicubic": (small_again(AREA, CUBIC), SOFT),
    "x4 area, bilinear": (small_again(AREA, LINEAR), SOFT),
    "x4 area, Lanczos": (small_again(AREA, LANCZOS), SOFT),
    "x4 bicubic, bicubic": (small_again(CUBIC, CUBIC), SOFT),
    "x4 bicubic, bilinear": (small_again(CUBIC, LINEAR), SOFT),
    "x4 bicubic, Lanczos": (small_again(CUBIC, LANCZOS), SOFT),
    "x4 area, nearest": (small_again(AREA, NEAREST), SOFT),
    "x4 area, bicubic, JPEG 95": (then_saved(small_again(AREA, CUBIC)), SOFT),
    "enlarged x4, bicubic": (enlarged, SOFT),
}
EXTRA = {  # not promised: where the thresholds lie
    "Gaussian blur 1.5": (lambda rgb, rng: blurred(rgb, rng, 1.5), SOFT),
    "motion blur 9": (lambda rgb, rng: shaken(rgb, rng, length=9), SOFT),
    "noise 15": (lambda rgb, rng: noisy(rgb, rng, 15), {"noise"}),
    "JPEG 30 as PNG": (saved_again(quality=30), {"compression"}),
    "x3 area, bicubic": (small_again(AREA, CUBIC, 3), SOFT),
    "x2 area, bicubic": (small_again(AREA, CUBIC, 2), SOFT),
}


def damaged(photos: list[Photo], defect: Defect) -> Iterator[Frame]:
    """Each photo with a defect, seeded by its place."""
    for number, photo in enumerate(photos):
        result = defect(photo.rgb, np.random.default_rng(number))
        if isinstance(result, bytes):
            found = decode(result)
            yield Frame(found.rgb, found.header)
        else:
            yield Frame(result)


def page(rng: np.random.Generator) -> RGB:
    """A page of text."""
    image = Image.new("RGB", (1000, 1400), (int(rng.integers(235, 256)),) * 3)
    size = int(rng.integers(14, 28))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=size)
    for top in range(80, 1300, int(size * 1.7)):
        letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz     "), 70)
        draw.text((80, top), "".join(letters), font=font, fill=(20, 20, 20))
    sheet = np.array(image)
    sheet[:, 920:] = sheet[0, 0]
    return sheet


def graphic(rng: np.random.Generator) -> RGB:
    """Shapes in flat colours all over."""
    image = Image.new("RGB", (3200, 2400), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for shape in range(12):
        x, y, side = (int(value) for value in rng.integers((0, 0, 240), (3200, 2400, 1200)))
        box, colour = (x, y, x + side, y + side), tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if shape % 2 else draw.rectangle)(box, fill=colour)
    return np.array(image.resize((800, 600), Image.Resampling.LANCZOS))


def drawn(make: Callable[[np.random.Generator], RGB], count: int = 24) -> Iterator[Frame]:
    """Pages or graphics, every second one through JPEG."""
    for number in range(count):
        rgb = make(np.random.default_rng(number))
        yield Frame(decode(encode_jpeg(rgb, 85)).rgb if number % 2 else rgb)


def load(root: Path, corpora: Mapping[str, str], step: int = 1) -> dict[str, list[Photo]]:
    """The images of some folders, every `step`-th."""
    found = {}
    for name, pattern in corpora.items():
        files = sorted((root / name).glob(pattern))[::step]
        if not files:
            sys.exit(f"{root / name}: no {pattern} there; give the folder of the test images, or set MIRD_TEST_DATA")
        found[name] = [Photo(decode(data).rgb, read_header(data)) for data in (file.read_bytes() for file in files)]
    return found


def print_kept(tables: Mapping[str, Table]) -> None:
    """Share of clean photos that pass all rules, and each by itself."""
    print(f"\nkept, % {'':17}{'n':>5}{'all':>7}" + "".join(f"{reason:>13}" for reason in REASONS))
    for name, table in tables.items():
        alone = []
        for reason in REASONS:
            failed = [fails(line, table[line.column]) for line in LINES if line.reason == reason]
            alone.append(100 * (1 - np.any(failed, axis=0).mean()))
        found = reasons(table)
        share = 100 * found.count("") / len(found)
        print(f"{name:25}{len(found):>5}{share:>7.1f}" + "".join(f"{value:>13.1f}" for value in alone))


def print_dropped(photos: list[Photo], defects: Mapping[str, tuple[Defect, set[str]]]) -> dict[str, Table]:
    """Share of damaged photos that are dropped, and that for a right reason."""
    tables = {}
    for name, (defect, right) in defects.items():
        table = tables[name] = measure(damaged(photos, defect))
        count = Counter(reasons(table))
        kept, total = count.pop("", 0), len(photos)
        good = sum(count[reason] for reason in right)
        told = ", ".join(f"{reason} {100 * n / total:.1f}" for reason, n in count.most_common())
        upscaled = next(line for line in LINES if line.reason == "upscaled")
        own = 100 * fails(upscaled, table["upscale"]).mean()
        print(f"{name:30}{100 * good / total:>7.1f}{100 * (1 - kept / total):>9.1f}{own:>9.1f}   {told}")
    return tables


def print_margins(clean: Table, worst: Mapping[str, tuple[Table, str]]) -> None:
    """Where each threshold lies between the clean and the damaged."""
    print(f"\nmargins {'':18}clean p1      p2      p5   median   threshold   damaged p95 (max: p5), of")
    for line in LINES:
        good = clean[line.column] if line.bound == "min" else -clean[line.column]
        marks = np.abs(np.nanpercentile(good, (1, 2, 5, 50))) if np.isfinite(good).any() else np.full(4, np.nan)
        bad, name = worst.get(line.column, ({}, ""))
        end = np.nanpercentile(bad[line.column], 95 if line.bound == "min" else 5) if name else np.nan
        values = "".join(f"{mark:8.3g}" for mark in marks)
        print(f"{line.key[7:]:26}{values}   {line.bound} {line.value:<8g}{end:12.3g}   {name}")


def print_times(photos: list[Photo], repeats: int = 5) -> None:
    """CPU time per meter on 1024x852 JPEGs of quality 90, each the best of some runs, averaged over the photos."""
    total: dict[str, float] = defaultdict(float)
    crops = [part for photo in photos for part in _crops(photo.rgb)]
    for crop in crops:
        data = encode_jpeg(crop, 90)
        best: dict[str, float] = defaultdict(lambda: np.inf)
        for _ in range(repeats):
            for name, seconds in _timed(data):
                best[name] = min(best[name], seconds)
        for name, seconds in best.items():
            total[name] += 1e3 * seconds / len(crops)
    print(f"\nCPU time, ms, 1024x852 px, mean of {len(crops)} crops {'':10}of the decode")
    for name, value in total.items():
        print(f"{name:15}{value:8.3f}{value / total['decode']:42.3f}")


def _crops(rgb: RGB) -> list[RGB]:
    upright = rgb if rgb.shape[0] > rgb.shape[1] else rgb.transpose(1, 0, 2)
    return [np.ascontiguousarray(upright[top : top + 1024, 60:912]) for top in (0, 500, 1000)]


def _timed(data: bytes) -> Iterator[tuple[str, float]]:
    clock = time.process_time
    started = clock()
    rgb = simplejpeg.decode_jpeg(data, "RGB")
    yield "decode", clock() - started
    frame, whole = Frame(rgb), 0.0
    steps: dict[str, Callable[[], Any]] = {
        "(luma)": lambda: frame.luma,
        "(points)": lambda: frame.points,
        "(detail)": lambda: frame.detail,
    } | {name: (lambda meter=meter: meter(frame)) for name, meter in METERS.items()}
    for name, step in steps.items():
        started = clock()
        step()
        spent = clock() - started
        whole += spent
        yield name, spent
    yield "all meters", whole


def main() -> None:
    """Print all tables."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("MIRD_TEST_DATA", beside)))
    parser.add_argument("--quick", action="store_true", help="every fourth photo")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    step = 4 if arguments.quick else 1

    clean = load(arguments.folder, CLEAN, step)
    photos = [photo for corpus in clean.values() for photo in corpus]
    others = load(arguments.folder, HELD_OUT | PRODUCTS, step)
    tables = {
        name: measure(Frame(photo.rgb, photo.header) for photo in corpus) for name, corpus in (clean | others).items()
    }
    together = {column: np.concatenate([tables[name][column] for name in CLEAN]) for column in COLUMNS}
    for line in LINES:
        print(f"{line.key}: {line.value:g}")
    print_kept({name: tables[name] for name in CLEAN} | {"together": together} | {n: tables[n] for n in HELD_OUT})
    found = reasons(together)
    print("clean photos dropped:", dict(Counter(reason for reason in found if reason)))

    print(f"\ndropped, % of {len(photos):<15}right reason    all   upscale alone   reasons")
    worst = print_dropped(photos, DEFECTS)
    print("\nnot promised:")
    print_dropped(photos, EXTRA)

    product = next(line for line in LINES if line.column == "background")
    print(f"\nabove the product cut, %{'':>8}first reason, %")
    shown = tables | {"clean, together": together, "pages": measure(drawn(page)), "graphics": measure(drawn(graphic))}
    for name, table in shown.items():
        told = Counter(reason for reason in reasons(table) if reason)
        count = len(table["background"])
        shares = ", ".join(f"{reason} {100 * number / count:.1f}" for reason, number in told.most_common())
        print(f"{name:25}{100 * fails(product, table['background']).mean():>7.1f}   {shares}")

    print_margins(
        together,
        {
            "blur": (worst["Gaussian blur 2.5"], "Gaussian blur 2.5"),
            "blur_ratio": (worst["motion blur 15"], "motion blur 15"),
            "noise": (worst["noise 25"], "noise 25"),
            "blockiness": (worst["JPEG 15 as PNG"], "JPEG 15 as PNG"),
            "background": (tables["product/iconic"], "product/iconic"),
            "upscale": (worst["x4 bicubic, bilinear"], "x4 bicubic, bilinear"),
        },
    )
    print_times(clean["clic2025"])


if __name__ == "__main__":
    main()
