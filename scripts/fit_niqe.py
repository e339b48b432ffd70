"""Fit the pristine model of NIQE, million_ird/meters/weights/niqe.npz, to folders of good photos.

    python scripts/fit_niqe.py DATA/cid22 DATA/kodak24 DATA/clic2025 --out million_ird/meters/weights/niqe.npz \\
        [--published niqe_pris_params.npz --test IMAGE...]

Only give folders whose licence lets statistics of the pixels be published. Of each photo the sharp blocks count, as in
the paper: those whose mean local deviation is above 0.75 of the photo's highest. Drawings, diagrams and cut-outs on
white are no photos and are left out: more than a fifth of their pixels equal all eight neighbours. There is no chance
in it: the same photos give the same model. What it was fitted to is printed, and stored as `provenance` (JSON).
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from million_ird.meters import Frame
from million_ird.meters.niqe import Niqe
from million_ird.meters.nss import BLOCK, features

VERSION = 1
SHARP = 0.75
FLAT = 0.2
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fit the pristine model of NIQE to folders of good photos.")
    parser.add_argument("folders", nargs="+", type=Path, help="folders of good photos, not searched deeper")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--published", type=Path, help="other NIQE parameters to compare with, .npz or .mat")
    parser.add_argument("--test", nargs="*", type=Path, default=[], help="images or folders to compare on")
    args = parser.parse_args(arguments)

    mean, covariance, provenance = fit(args.folders)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, mu=mean, cov=covariance, provenance=np.array(json.dumps(provenance)))
    print(json.dumps({key: value for key, value in provenance.items() if key != "images"}, indent=2))
    if args.published:
        compare(args.out, args.published, [path for given in args.test for path in images_of(given)])


def fit(folders: Sequence[Path]) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, object]]:
    """Mean (36,) and covariance (36, 36) over the sharp blocks of all photos, and where they come from."""
    kept: list[NDArray[np.float64]] = []
    names: dict[str, list[str]] = {}
    left_out: list[str] = []
    blocks = 0
    for folder in folders:
        for path in images_of(folder):
            luma = read(path).luma
            if flat_share(luma) > FLAT:
                left_out.append(f"{folder.name}/{path.name}")
                continue
            statistics, sharp = features(luma), sharpness(luma)
            blocks += len(sharp)
            kept.append(statistics[(sharp > SHARP * sharp.max(initial=0)) & np.isfinite(statistics).all(axis=1)])
            names.setdefault(folder.name, []).append(path.name)
    chosen = np.concatenate(kept)
    provenance = {
        "script": f"scripts/fit_niqe.py, version {VERSION}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "sets": {name: len(files) for name, files in names.items()},
        "blocks": blocks,
        "sharp_blocks": len(chosen),
        "sharp": SHARP,
        "flat": FLAT,
        "left_out": left_out,
        "images": names,
    }
    return chosen.mean(axis=0), np.cov(chosen, rowvar=False), provenance


def images_of(given: Path) -> list[Path]:
    """The image, or the images of the folder by name."""
    if given.is_file():
        return [given]
    return sorted(path for path in given.iterdir() if path.suffix.lower() in SUFFIXES)


def read(path: Path) -> Frame:
    with Image.open(path) as image:
        return Frame(np.asarray(image.convert("RGB")))


def flat_share(luma: NDArray[np.uint8]) -> float:
    """Share of the pixels that equal all their neighbours."""
    spread = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return 1 - cv2.countNonZero(spread) / spread.size


def sharpness(luma: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(blocks,) mean local deviation of each whole block, in reading order."""
    value = luma.astype(np.float64)
    mean, square = (
        cv2.GaussianBlur(plane, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE) for plane in (value, value**2)
    )
    rows, columns = (side // BLOCK for side in luma.shape)
    deviation = np.sqrt(np.abs(square - mean**2))[: rows * BLOCK, : columns * BLOCK]
    return deviation.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)).ravel()


def compare(ours: Path, published: Path, paths: Sequence[Path]) -> None:
    """Print the scores of both models and how far they rank the images alike."""
    meters = Niqe(model=str(ours)), Niqe(model=str(published))
    rows: list[tuple[float, float]] = []
    print(f"{'image':40} {'ours':>8} {'published':>10}")
    for path in paths:
        frame = read(path)
        (one,), (other,) = (meter(frame) for meter in meters)
        if one is not None and other is not None:
            rows.append((one, other))
            print(f"{path.parent.name + '/' + path.name:40} {one:8.3f} {other:10.3f}")
    if len(rows) > 2:
        alike = np.corrcoef(rankdata(rows, axis=0), rowvar=False)[0, 1]
        print(f"rank correlation (Spearman) over {len(rows)} images: {alike:.4f}")


if __name__ == "__main__":
    main()
