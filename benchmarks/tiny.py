"""The shipped model beside the input and classical tools, on every recipe.

    python benchmarks/tiny.py kodak24/                        PSNR in dB, means over the pictures; minutes
    python benchmarks/tiny.py kodak24/ --model RUN/model --limit 4 --size 256

Each picture is degraded once by each recipe, drawn from its name. The classical tools are given what a user would have
to find out by trying: non-local means has the best of its strengths for each picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from million_ird import degrade as D
from million_ird import models
from million_ird.degrade.pictures import pictures
from million_ird.evaluate.metrics import psnr
from million_ird.restore import restore, tune_malloc

RGB = NDArray[np.uint8]
NOISE = (15, 25, 50)
SINGLE = ("derain", "dehaze", "deblur", "desnow", "dejpeg", "debit", "lowlight")


def non_local_means(image: RGB, target: RGB) -> RGB:
    """OpenCV's, with the strength that comes nearest to the target."""
    tries = [cv2.fastNlMeansDenoisingColored(image, None, h, h, 7, 21) for h in (3, 6, 10, 15, 22)]
    return max(tries, key=lambda one: psnr(one / 255, target / 255))


def dark_channel(image: RGB, _target: RGB) -> RGB:
    """Dark channel prior (He, Sun, Tang, CVPR 2009): omega .95, 15 px, transmission refined by a guided filter, at
    least .1."""
    x = image.astype(np.float32) / 255
    kernel = np.ones((15, 15), np.uint8)
    dark = cv2.erode(x.min(2), kernel)
    brightest = np.argsort(dark.ravel())[-max(1, dark.size // 1000) :]
    air = x.reshape(-1, 3)[brightest].max(0)
    raw = 1 - 0.95 * cv2.erode((x / np.maximum(air, 1e-3)).min(2), kernel)
    t = np.maximum(guided(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), raw.astype(np.float32)), 0.1)[..., None]
    return np.clip(((x - air) / t + air) * 255, 0, 255).round().astype(np.uint8)


def guided(guide: NDArray[np.float32], source: NDArray[np.float32], radius: int = 30, eps: float = 1e-3) -> Any:
    """Guided filter (He, Sun, Tang, ECCV 2010) of one channel by another."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_g, mean_s = cv2.blur(guide, size), cv2.blur(source, size)
    a = (cv2.blur(guide * source, size) - mean_g * mean_s) / (cv2.blur(guide * guide, size) - mean_g**2 + eps)
    return cv2.blur(a, size) * guide + cv2.blur(mean_s - a * mean_g, size)


def clahe(image: RGB, _target: RGB) -> RGB:
    """Adaptive histogram equalisation of the lightness, clip limit 2, 8 x 8 tiles."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def retinex(image: RGB, _target: RGB) -> RGB:
    """Multi-scale retinex (Jobson, Rahman, Woodell, 1997): sigmas 15, 80, 250, stretched between its percentiles."""
    x = image.astype(np.float32) + 1
    logs = [np.log(x) - np.log(cv2.GaussianBlur(x, (0, 0), sigma)) for sigma in (15, 80, 250)]
    mean = np.mean(logs, axis=0)
    low, high = np.percentile(mean, (1, 99))
    return np.clip((mean - low) / max(high - low, 1e-6) * 255, 0, 255).round().astype(np.uint8)


CLASSICAL: dict[str, dict[str, Callable[[RGB, RGB], RGB]]] = {
    "noise": {"non-local means": non_local_means},
    "dehaze": {"dark channel prior": dark_channel},
    "lowlight": {"CLAHE": clahe, "retinex": retinex},
}


def rows() -> dict[str, Any]:
    """Row -> what degrades its pictures."""
    found: dict[str, Any] = {f"noise {sigma}": D.load(D.GaussianNoise(sigma=sigma)) for sigma in NOISE}
    found |= {name: D.load(name) for name in SINGLE}
    for step in D.load("mixed").pipeline.steps[0].steps:  # each of its chains
        chain = D.load(step)
        found["mixed: " + ", ".join(chain.classes)] = chain
    return found | {"clean": D.load(D.Compose([]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--variant", help="of a DyNet (default: as it was saved)")
    parser.add_argument("--limit", type=int, help="so many pictures (default: all)")
    parser.add_argument("--size", type=int, help="their middles of this side (default: whole)")
    parser.add_argument("--only", help="rows whose names hold this")
    args = parser.parse_args()
    tune_malloc()
    net = models.load(args.model)
    if args.variant:
        net.variant = args.variant
    source = pictures(args.photos)
    count = min(len(source), args.limit or len(source))
    print(f"{args.model}, {count} pictures, PSNR in dB, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'':22} {'input':>7} {'model':>7} {'gain':>7}")
    for name, pipe in rows().items():
        if args.only and args.only not in name:
            continue
        tools = CLASSICAL.get(name.split()[0], {})
        scores: list[list[float]] = []
        for index in range(count):
            title, picture = source[index]
            clean = middle(picture, args.size)
            out = pipe(clean, seed=0, image_id=title)
            results = [out.lq, restore(net, out.lq), *(tool(out.lq, clean) for tool in tools.values())]
            scores.append([min(psnr(result / 255, clean / 255), 100.0) for result in results])
        before, after, *others = np.mean(scores, axis=0)
        told = "".join(f"   {tool} {score:.2f}" for tool, score in zip(tools, others, strict=True))
        print(f"{name:22} {before:7.2f} {after:7.2f} {after - before:+7.2f}{told}", flush=True)


def middle(picture: RGB, size: int | None) -> RGB:
    """The middle of a picture."""
    if size is None:
        return picture
    top, left = ((length - size) // 2 for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + size, left : left + size])


if __name__ == "__main__":
    main()
