"""What NIQE costs, beside a bare decode of the same picture in the same run; and how pristine models compare.

    OPENBLAS_NUM_THREADS=1 python benchmarks/niqe.py [IMAGE...]
    OPENBLAS_NUM_THREADS=1 python benchmarks/niqe.py --compare [--out FILE.json]

Without images a synthetic one of 1024 x 852 is measured. Each picture is cut or repeated to that size, compressed as
JPEG of quality 90 and timed on one thread in processor time, the best of many rounds.

`--compare`: the published parameters, the model that ships, and the same fitted without the photos of the test (four
fifths of cid22, and clic2025), on kodak24 and the held-out fifth of cid22, untouched and under degradations of four
strengths: does the score rise with the strength, do neighbouring strengths of a photo come in the right order, and do
the models agree?
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr
from testdata import TEST_DATA

from million_ird import degrade as D
from million_ird.images import decode
from million_ird.meters import Frame
from million_ird.meters.niqe import OURS, Niqe, Pristine, pristine
from million_ird.meters.nss import features
from million_ird.train.detectors.samples import photos

sys.path.insert(0, str(Path(__file__).parents[1]))
from scripts.fit_niqe import fit

WIDTH, HEIGHT = 1024, 852
ROUNDS, CALLS = 30, 5

STRENGTHS = {
    "noise, sigma 5 15 30 50": [D.GaussianNoise(sigma=s) for s in (5, 15, 30, 50)],
    "Gaussian blur, sigma .8 1.5 2.5 4": [D.GaussianBlur(sigma=s) for s in (0.8, 1.5, 2.5, 4)],
    "motion blur, 5 11 19 31 px": [D.MotionBlur(kind="line", length=v, angle=30) for v in (5, 11, 19, 31)],
    "JPEG, quality 75 50 25 10": [D.JPEG(quality=q) for q in (75, 50, 25, 10)],
    "upscaling, x1.5 2 3 4": [D.Resize(scale=1 / f) for f in (1.5, 2, 3, 4)],
    "haze, beta .5 1 1.5 2": [D.Haze(beta=b, airlight=0.85) for b in (0.5, 1, 1.5, 2)],
    "snow, density .3 .6 1 1.5": [D.Snow(density=v) for v in (0.3, 0.6, 1, 1.5)],
    "rain, density .5 1.5 3 6": [D.Rain(density=v) for v in (0.5, 1.5, 3, 6)],
}
"""What is done to the photos, from weak to strong."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What NIQE costs, and how pristine models compare.")
    parser.add_argument("images", nargs="*", help="to be timed on")
    parser.add_argument("--compare", action="store_true", help="compare pristine models instead")
    parser.add_argument("--out", type=Path, help="figures of --compare as JSON")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.compare:
        compare(given.out)
    else:
        timing(given.images)


def compare(out: Path | None) -> None:
    """Print how the models order degradations; write the figures."""
    mean, covariance, facts = fit(photos([TEST_DATA / "cid22", TEST_DATA / "clic2025"]))
    models = {
        "published": pristine(str(TEST_DATA / "iqa" / "niqe_pris_params.npz")),
        "shipped": pristine(OURS),
        "held out": Pristine(mean, covariance),
    }
    print(f"held out: fitted to {facts['sharp_blocks']:,} sharp blocks of {facts['blocks']:,}\n")
    tests = photos([TEST_DATA / "kodak24"]) + photos([TEST_DATA / "kodak24"], held=True)
    tests += photos([TEST_DATA / "cid22"], held=True)
    pictures = [decode(path.read_bytes()).rgb for path in tests]
    clean = np.array([scores(models, picture) for picture in pictures])
    figures: dict[str, object] = {"untouched": dict(zip(models, clean.mean(0).round(3).tolist(), strict=True))}
    everything = [clean]
    print(f"| {len(pictures)} photos | " + " | ".join(f"{name}: rank correlation | in order" for name in models) + " |")
    print("|---|" + "---:|---:|" * len(models))
    for name, ops in STRENGTHS.items():
        found = [clean]
        for op in ops:
            degraded = (op(picture, seed=0, image_id=str(n)).lq for n, picture in enumerate(pictures))
            found.append(np.array([scores(models, picture) for picture in degraded]))
        stack = np.stack(found)  # strengths, photos, models
        everything += found[1:]
        figures[name] = by_model(stack, list(models))
        cells = (f"{one['rank']:.3f} | {one['in_order']:.1%}" for one in figures[name].values())  # type: ignore[union-attr]
        print(f"| {name} | " + " | ".join(cells) + " |")
    alike = spearmanr(np.concatenate(everything)).statistic  # pyright: ignore[reportAttributeAccessIssue]
    figures["alike"] = {name: round(float(alike[0, i]), 4) for i, name in enumerate(models)}
    print(f"\nmeans of the untouched: {figures['untouched']}")
    print(f"rank correlation with the published over {sum(map(len, everything))} pictures: {figures['alike']}")
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n")


def scores(models: dict[str, Pristine], picture: NDArray[np.uint8]) -> list[float]:
    """NIQE over all blocks, by each model."""
    found = features(Frame(picture).luma)
    return [model.distance(found) or np.nan for model in models.values()]


def by_model(stack: NDArray[np.float64], names: list[str]) -> dict[str, dict[str, object]]:
    """Of scores (strengths, photos, models), weakest first.

    Returns:
        By model: Spearman's correlation of score and strength, mean over photos; the share of neighbouring strengths
        of a photo of which the stronger scores worse; the mean score at each strength.
    """
    figures = {}
    for index, name in enumerate(names):
        values = stack[:, :, index]
        ranks = [spearmanr(np.arange(len(values)), values[:, photo]).statistic for photo in range(values.shape[1])]  # pyright: ignore[reportAttributeAccessIssue]
        figures[name] = {
            "rank": round(float(np.mean(ranks)), 4),
            "in_order": round(float((np.diff(values, axis=0) > 0).mean()), 4),
            "means": values.mean(1).round(3).tolist(),
        }
    return figures


def timing(paths: list[str]) -> None:
    """Print what NIQE and a bare decode cost."""
    print(f"{'image':28} {'niqe':>8} {'ms/image':>9} {'decode ms':>10} {'ratio':>6}")
    for name, rgb in pictures(paths):
        jpeg = simplejpeg.encode_jpeg(rgb, quality=90)
        meter, frame = Niqe(), Frame(rgb)
        (score,) = meter(frame)  # luma and the model are there before the clock starts
        decode, niqe = best(lambda jpeg=jpeg: simplejpeg.decode_jpeg(jpeg), lambda m=meter, f=frame: m(f))
        print(f"{name:28} {score or float('nan'):8.3f} {niqe:9.2f} {decode:10.2f} {niqe / decode:6.2f}")


def pictures(paths: list[str]) -> list[tuple[str, NDArray[np.uint8]]]:
    if not paths:
        noise = np.random.default_rng(0).normal(128, 60, (HEIGHT, WIDTH, 3))
        return [("synthetic", (noise * 0.2 + cv2.GaussianBlur(noise, (0, 0), 4) * 0.8).clip(0, 255).astype(np.uint8))]
    found = []
    for path in map(Path, paths):
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"))
        rows, columns = -(-HEIGHT // rgb.shape[0]), -(-WIDTH // rgb.shape[1])
        found.append((path.name, np.ascontiguousarray(np.tile(rgb, (rows, columns, 1))[:HEIGHT, :WIDTH])))
    return found


def best(*calls: Callable[[], object]) -> list[float]:
    """Processor time of each in ms, the calls taking turns, so that a slow moment of the machine hits all alike."""
    times = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            start = time.process_time()
            for _ in range(CALLS):
                call()
            times[i] = min(times[i], (time.process_time() - start) / CALLS * 1000)
    return times


if __name__ == "__main__":
    main()
