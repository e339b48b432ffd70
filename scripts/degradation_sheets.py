"""Draws the sheets in docs/degradations: each degradation from weak to strong on two photos that scikit-image carries.

python scripts/degradation_sheets.py [NAME ...] [--out docs/degradations]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data

from million_ird import degrade as D
from million_ird.degrade.labels import colours
from million_ird.images import encode_jpeg

SIDE, GAP = 176, 4
SCENES = ("rain", "snow", "haze", "raindrop", "low_light", "cutmix")
"""Sheets that show whole scenes; the others show details, pixel by pixel."""

SHEETS: dict[str, tuple[Any, ...]] = {
    "gaussian_noise": tuple(D.GaussianNoise(sigma=s) for s in (5, 15, 25, 50, 75)),
    "poisson_noise": tuple(D.PoissonNoise(peak=p) for p in (1000, 200, 60, 25, 8)),
    "poisson_gaussian_noise": tuple(
        D.PoissonGaussianNoise(shot=s, read=s / 20) for s in (0.001, 0.003, 0.01, 0.03, 0.1)
    ),
    "isp_noise": tuple(D.ISPNoise(shot=s) for s in (0.0005, 0.002, 0.006, 0.012, 0.03)),
    "speckle_noise": tuple(D.SpeckleNoise(sigma=s) for s in (0.05, 0.15, 0.25, 0.4, 0.6)),
    "impulse_noise": tuple(D.ImpulseNoise(amount=a) for a in (0.01, 0.03, 0.09, 0.17, 0.27)),
    "uniform_noise": tuple(D.UniformNoise(amplitude=a) for a in (8, 20, 40, 70, 95)),
    "jpeg": tuple(D.JPEG(quality=q, sampling="4:2:0") for q in (60, 30, 15, 8, 3)),
    "webp": tuple(D.WebP(quality=q) for q in (60, 30, 12, 4, 0)),
    "mask": tuple(D.Mask(patch=16, ratio=r) for r in (0.1, 0.3, 0.5, 0.75, 0.9)),
    "bit_depth": tuple(D.BitDepth(bits=b) for b in (6, 4, 3, 2, 1)),
    "low_light": tuple(D.LowLight(kind="physical", ratio=r, shot=0.004) for r in (2, 4, 8, 16, 32)),
    "cutmix": tuple(
        D.CutMix(
            [
                D.Rain(),
                D.Haze(),
                D.GaussianNoise(sigma=40),
                D.MotionBlur(kind="line", length=17),
                D.LowLight(kind="gain", gain=0.3),
            ],
            shapes=shape,
            regions=4,
        )
        for shape in ("rectangle", "polygon", "spline", "blob", "voronoi")
    ),
    "gaussian_blur": tuple(D.GaussianBlur(kind="isotropic", sigma=s) for s in (0.6, 1, 1.8, 3, 5)),
    "motion_blur": tuple(D.MotionBlur(kind="trajectory", length=n) for n in (5, 10, 17, 27, 41)),
    "defocus_blur": tuple(D.DefocusBlur(radius=r) for r in (1, 2, 3.5, 6, 10)),
    "rain": tuple(
        D.Rain(angle=12, density=d, length=n, width=w, opacity=o, veil=v)
        for d, n, w, o, v in (
            (0.5, 16, 0.9, 0.3, 0),
            (1.2, 24, 1.1, 0.35, 0),
            (2.5, 32, 1.3, 0.45, 0),
            (4, 42, 1.5, 0.5, 0.2),
            (6, 56, 1.8, 0.55, 0.5),
        )
    ),
    "raindrop": tuple(
        D.Raindrop(density=d, radius=r, defocus=b)
        for d, r, b in ((0.4, 10, 0.8), (0.7, 14, 1.2), (1.2, 18, 1.8), (1.8, 24, 2.6), (2.5, 30, 4))
    ),
    "snow": tuple(
        D.Snow(angle=20, density=d, size=s, near=n, opacity=o, smear=m, veil=v)
        for d, s, n, o, m, v in (
            (0.3, 0.8, 0, 0.6, 1, 0),
            (0.6, 0.9, 0.2, 0.7, 3, 0),
            (0.9, 1, 0.5, 0.8, 5, 0),
            (1.2, 1.15, 0.8, 0.85, 8, 0.15),
            (1.6, 1.3, 1, 0.9, 12, 0.4),
        )
    ),
    "haze": tuple(D.Haze(beta=b, airlight=0.8, tint=0.02, heterogeneity=0.2) for b in (0.4, 0.8, 1.2, 1.8, 2.6)),
    "ringing": tuple(D.Ringing(cutoff=c, size=21) for c in (2.6, 2.1, 1.6, 1.3, 1.05)),
    "resize": tuple(D.Resize(scale=s) for s in (0.8, 0.6, 0.4, 0.25, 0.15)),
}
"""File name -> five degradations, weak to strong."""


def photos(scene: bool) -> list[np.ndarray]:
    """Two, SIDE x SIDE: whole, or a detail of each."""
    if scene:
        whole = data.astronaut(), data.coffee()[:, 80:480]
        return [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8) for image in whole]
    details = data.astronaut()[10 : 10 + SIDE, 135 : 135 + SIDE], data.coffee()[110 : 110 + SIDE, 225 : 225 + SIDE]
    return [np.ascontiguousarray(image) for image in details]


def sheet(name: str) -> np.ndarray:
    """Columns of degradations, rows of photos; below those of CutMix, the labels of the second."""
    nodes = SHEETS[name]
    rows = []
    for number, photo in enumerate(photos(name in SCENES)):
        outs = [node(photo, seed=5, image_id=str(number)) for node in nodes]
        rows.append([out.lq for out in outs])
        if name == "cutmix" and number == 1:
            rows.append([colours()[D.palette(out.mask, len(out.classes))[0]] for out in outs])
    size = len(rows) * (SIDE + GAP) - GAP, len(nodes) * (SIDE + GAP) - GAP
    page = np.full((*size, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (SIDE + GAP), x * (SIDE + GAP)
            page[top : top + SIDE, left : left + SIDE] = picture
    return page


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "degradations")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or SHEETS:
        encoded = encode_jpeg(sheet(name), 80, "4:2:0")
        (arguments.out / f"{name}.jpg").write_bytes(encoded)
        print(f"{name}.jpg {len(encoded) // 1000} kB")


if __name__ == "__main__":
    main()
