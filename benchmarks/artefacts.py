"""The artefact estimator, head by head, beside the classical meters, on photos that its training never saw.

    OMP_NUM_THREADS=1 python benchmarks/artefacts.py [--model FILE] [--out FILE.json] [--curves FILE.svg]

kodak24 and cbsd68 under one degradation at a time. Numbers: mean absolute errors of sigma of noise, JPEG quality (saved
again at 92 to 98, so that the file's own tables say nothing), width of blur, factor of upscaling. Presences: area
under the ROC curve and share found at 5 % false positives, the same photos untouched (for JPEG: saved once, at 92 to
98) being what must not be found. The classical meter of quality is a height of steps, not a quality; it is turned into
one by a monotone fit to photos of the training. Then the time for one megapixel, in processor time, best of many.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from curves import svg
from testdata import TEST_DATA, need

from million_ird import degrade as D
from million_ird.images import decode
from million_ird.meters import Frame, create
from million_ird.meters.artefacts import OURS, Artefacts
from million_ird.restore.suggest import degradations
from million_ird.rng import rng_for
from million_ird.train.detectors.artefacts.samples import spread
from million_ird.train.detectors.samples import photos
from million_ird.train.detectors.training import auc

SETS = ("kodak24", "cbsd68")
SEED = 2024
SIGMAS = (0, 5, 10, 15, 25, 35, 50)
QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
FEW = (20, 50, 80)
UP = ("bilinear_cv", "bicubic_aa", "lanczos_aa")
HEAD = ("kodak24", "kodak24, classical", "cbsd68", "cbsd68, classical", "both", "both, classical")
CLASSICAL = ("noise", "compression", "blur", "exposure", "upscale")

Row = dict[str, float]


@dataclass(frozen=True)
class Case:
    """`make(photo, key)` degrades; `truth` is the number that is to be found, or 1."""

    group: str
    name: str
    make: Callable[[Any, str], Any]
    truth: float = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=OURS, help="an ONNX file; default: the shipped one")
    parser.add_argument("--photos", type=int, help="of each set; default: all")
    parser.add_argument("--out", type=Path, help="figures as JSON")
    parser.add_argument("--curves", type=Path, help="ROC curves as SVG")
    given = parser.parse_args()
    need("kodak24", "cbsd68", "cid22")
    cv2.setNumThreads(1)
    meters = {name: create(name) for name in CLASSICAL} | {"artefacts": Artefacts(model=given.model)}
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    pictures = {
        name: [read(p) for p in sorted(photos([TEST_DATA / name]) + photos([TEST_DATA / name], held=True))][
            : given.photos
        ]
        for name in SETS
    }
    quality = calibrated(meters, given.photos)
    found = {
        (case.group, case.name, name): measured(meters, quality, case, pictures[name], name)
        for case in cases()
        for name in SETS
    }
    figures = {"numbers": numbers(found), "presences": presences(found, given.curves)}
    figures["suggested"] = {name: suggested(name, found["untouched", "untouched", name]) for name in SETS}
    figures["milliseconds"] = timing(meters["artefacts"])
    print(f"milliseconds for one megapixel, one core: {figures['milliseconds']:.2f}")
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")


def read(path: Path) -> Any:
    return decode(path.read_bytes()).rgb


def done(*nodes: Any) -> Callable[[Any, str], Any]:
    """The chain as a function of photo and key."""
    chain = D.Compose(list(nodes))
    return lambda photo, key: chain(photo, seed=SEED, image_id=key).lq


def cases() -> list[Case]:
    """Everything that is done to the photos, one thing at a time."""
    again = D.JPEG(quality=(92, 98))
    found = [Case("untouched", "untouched", lambda photo, _: photo, 0), Case("untouched", "saved", done(again), 0)]
    found += [Case("noise", f"{s}", done(D.GaussianNoise(sigma=s)), s) for s in SIGMAS]
    found += [
        Case("noise, JPEG 90", f"{s}", done(D.GaussianNoise(sigma=s), D.JPEG(quality=90)), s) for s in (5, 15, 35)
    ]
    found += [Case("quality, saved again", f"{q}", done(D.JPEG(quality=q), again), q) for q in QUALITIES]
    steps = {
        "as it is": lambda q: done(D.JPEG(quality=q)),
        "cropped, again": lambda q: done(D.JPEG(quality=q, shift=(1, 7)), again),
        "resized, again": lambda q: resized(done(D.JPEG(quality=q)), done(again)),
    }
    found += [Case(f"quality, {name}", f"{q}", make(q), q) for name, make in steps.items() for q in FEW]
    blurs = [
        *(("Gaussian", D.GaussianBlur(sigma=s), s) for s in (1, 2, 3)),
        *(("defocus", D.DefocusBlur(radius=r), r) for r in (2, 4, 7)),
        *(("motion", D.MotionBlur(kind="line", length=v), v) for v in (9, 15, 25)),
    ]
    found += [Case(f"blur, {kind}", f"{size}", done(op), width(op)) for kind, op, size in blurs]
    found += [
        Case(f"upscaled x{f:g}", up, done(D.Resize(scale=1 / f, up=up)), f)
        for f in (1.5, 2, 3, 4)
        for up in UP[: 3 if f == 2 else 1]
    ]
    found += [Case(op.family, op.family, done(op)) for op in (D.Haze(), D.Rain(), D.Snow())]
    found += [Case("low light", kind, done(D.LowLight(kind=kind))) for kind in ("gain", "gamma", "physical")]
    return found


def resized(first: Callable[[Any, str], Any], last: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Between two steps the picture becomes a fifth smaller."""

    def make(photo: Any, key: str) -> Any:
        return last(cv2.resize(first(photo, key), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), key)

    return make


def width(op: Any) -> float:
    """Standard deviation of a blur, px."""
    return spread(op.psf(op.draw(rng_for(SEED, "width"), (512, 512))))


def values(meters: dict[str, Any], quality: Callable[[float], float] | None, picture: Any) -> Row:
    """All that the meters say of a picture, by column."""
    frame = Frame(np.ascontiguousarray(picture))
    found = {c: v for meter in meters.values() for c, v in zip(meter.columns, meter(frame), strict=True)}
    if quality is not None:
        found["quality"] = quality(found["blockiness"])
        found["factor"] = 1 / max(found["upscale"] or 1, 0.1)
        found["luma"] = float(frame.luma.mean())
    return {name: math.nan if value is None else float(value) for name, value in found.items()}


def calibrated(meters: dict[str, Any], most: int | None) -> Callable[[float], float]:
    """Blockiness to quality: medians of photos of the training, made monotone."""
    pictures = [read(path) for path in photos([TEST_DATA / "cid22"])][: min(24, most or 24)]
    only = {"compression": meters["compression"]}

    def height(make: Callable[[Any, str], Any]) -> float:
        found = [values(only, None, make(picture, str(n))) for n, picture in enumerate(pictures)]
        return float(np.median([row["blockiness"] for row in found]))

    heights = [height(done(D.JPEG(quality=q), D.JPEG(quality=(92, 98)))) for q in QUALITIES]
    rising = np.maximum.accumulate(heights[::-1]) + np.arange(len(heights)) * 1e-9  # from the best to the worst
    return lambda found: float(np.interp(found, rising, QUALITIES[::-1]))


def measured(meters: dict[str, Any], quality: Any, case: Case, pictures: Sequence[Any], name: str) -> list[Row]:
    return [
        values(meters, quality, case.make(photo, f"{name} {n}")) | {"truth": case.truth}
        for n, photo in enumerate(pictures)
    ]


def numbers(found: dict[Any, list[Row]]) -> dict[str, Any]:
    """Mean absolute errors: of each group, and of each level of the two that matter most."""
    columns = {
        "noise": ("noise", "noise"),
        "qual": ("quality", "quality"),
        "blur": ("blur", ""),
        "upsc": ("upscale", "factor"),
    }
    groups = [
        group for group in dict.fromkeys(group for group, _, _ in found) if group[:4] in columns or group[:5] in columns
    ]
    wanted = [(group, "") for group in groups]
    wanted += [(g, level) for g, level, name in found if g in ("noise", "quality, saved again") and name == SETS[0]]
    figures: dict[str, Any] = {}
    rows = []
    for group, level in wanted:
        ours, classical = columns.get(group[:5]) or columns[group[:4]]
        errors = []
        for name in SETS:
            some = [
                row
                for (g, case, its), rows_ in found.items()
                if (g, its) == (group, name) and level in ("", case)
                for row in rows_
            ]
            truth = np.array([row["truth"] for row in some])
            for column in (f"artefacts_{ours}", classical):
                given = np.array([row[column] for row in some]) if column else np.full(len(some), np.nan)
                errors.append(float(np.abs(given - truth).mean()))
        title = f"{group}: {level}" if level else group
        figures[title] = dict(zip(HEAD, errors, strict=False))
        rows.append((title, *("-" if math.isnan(error) else f"{error:.2f}" for error in errors)))
    print(table(("mean absolute error", *HEAD[:4]), rows))
    return figures


def presences(found: dict[Any, list[Row]], curves: Path | None) -> dict[str, Any]:
    """ROC of what is there or not; a classical meter whose low values mean presence has a minus."""
    wanted = [
        ("noise", "5", "artefacts_noise", "noise"),
        *(("quality, saved again", q, "-artefacts_quality", "blockiness") for q in ("30", "50", "70", "90")),
        *((g, s, "unsharp", "-blur_ratio") for g, s, _ in found if g.startswith("blur") and _ == SETS[0]),
        *((f"upscaled x{f:g}", "", "artefacts_upscaled", "-upscale") for f in (1.5, 2, 3, 4)),
        ("haze", "", "artefacts_haze", "-contrast"),
        ("low light", "", "artefacts_lowlight", "-luma"),
        ("rain", "", "artefacts_rain", ""),
        ("snow", "", "artefacts_snow", ""),
    ]
    figures, rows, drawn = {}, [], []
    for group, level, *names in wanted:
        cells, title = [], f"{group} {level}".strip()
        for sets, score in ((sets, score) for sets in ((SETS[0],), (SETS[1],), SETS) for score in names):
            if not score:
                cells.append(None)
                continue
            clean, there = scored(found, group, level, score, sets)
            cells.append((auc(clean, there), float((there > np.quantile(clean, 0.95)).mean())))
            if sets == SETS:
                drawn.append((title, score == names[0], clean, there))
        figures[title] = dict(zip(HEAD, cells, strict=True))
        texts = ("-" if cell is None else f"{cell[0]:.3f} {cell[1]:4.0%}" for cell in cells)
        rows.append((title, names[1].lstrip("-") or "-", *texts))
    print("AUC, and share found at 5 % false positives:\n")
    print(table(("found", "classical meter", *HEAD), rows))
    if curves:
        curves.write_text(svg(drawn))
    return figures


def scored(found: dict[Any, list[Row]], group: str, level: str, score: str, sets: Sequence[str]) -> tuple[Any, Any]:
    """Scores of what must not and what must be found."""
    sign, name = (-1, score[1:]) if score[0] == "-" else (1, score)
    without = "saved" if group.startswith("quality") else "untouched"

    def of(rows: list[Row]) -> list[float]:
        if name == "unsharp":
            return [row["artefacts_gaussian"] + row["artefacts_defocus"] + row["artefacts_motion"] for row in rows]
        return [sign * row[name] for row in rows]

    clean = [v for s in sets for v in of(found["untouched", without, s])]
    there = [
        v for (g, case, s), rows in found.items() if g == group and level in ("", case) and s in sets for v in of(rows)
    ]
    return np.nan_to_num(clean, nan=-1e9), np.nan_to_num(there, nan=-1e9)


def suggested(name: str, rows: list[Row]) -> int:
    """Untouched photos in which `mird restore --suggest` sees something."""
    some = [degradations({key.removeprefix("artefacts_"): value for key, value in row.items()}) for row in rows]
    counts = Counter(one for seen in some for one in seen)
    print(
        f"something is suggested for {sum(map(bool, some))} of {len(rows)} untouched photos of {name}: {dict(counts)}"
    )
    return sum(map(bool, some))


def timing(meter: Artefacts) -> float:
    """Processor time for 1152 x 864 px, ms."""
    picture = np.random.default_rng(0).integers(0, 256, (864, 1152, 3), np.uint8)
    best = math.inf
    for _ in range(100):
        began = time.process_time()
        meter(Frame(picture))
        best = min(best, (time.process_time() - began) * 1000)
    return round(best, 2)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" if i == 0 else "---:" for i in range(len(head))), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
