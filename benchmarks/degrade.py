"""Speed of the degradations against albumentations, imagecorruptions and kornia, in one run on the same pictures.

    python benchmarks/degrade.py [--rounds 5] [--only haze,jpeg]

One process, one thread; 512x512 crops of photos that scikit-image and scikit-learn carry. CPU seconds, best of the
rounds, contestants taking turns. Ours is the whole call: drawing, applying, the label mask and the trace; the peers
give no labels. A peer that is not installed, or fails on the installed numpy, is left out and named; imagecorruptions
brings a second OpenCV, so install it with `pip install --no-deps imagecorruptions`.
"""

from __future__ import annotations

import argparse
import importlib.resources
import os
import platform
import sys
import time
import types
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NO_ALBUMENTATIONS_UPDATE="1")

import cv2
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_image

from million_ird import degrade as D

Work = Callable[[np.ndarray], object]
SIDE = 512


def photos(side: int) -> list[np.ndarray]:
    """Eight crops."""
    large = [data.astronaut(), data.coffee(), load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    out = []
    for image in large:
        scale = side / min(image.shape[:2])
        if scale > 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        out += [np.ascontiguousarray(image[:side, :side]), np.ascontiguousarray(image[-side:, -side:])]
    return out


def ours(pipe: Any) -> Work:
    """A node as a function of an image, another sample at each call."""
    count = iter(range(10**9))
    return lambda image: pipe(image, seed=1, image_id="bench", view=next(count))


def albumentations(name: str, **options: Any) -> Callable[[], Work]:
    """A transform of albumentations."""

    def make() -> Work:
        import albumentations as A

        transform = A.Compose([getattr(A, name)(p=1, **options)])
        return lambda image: transform(image=image)["image"]

    return make


def imagecorruptions(name: str, severity: int = 3) -> Callable[[], Work]:
    """A function of imagecorruptions, with what it needs of older packages put in place."""

    def make() -> Work:
        if "pkg_resources" not in sys.modules:
            shim: Any = types.ModuleType("pkg_resources")
            shim.resource_filename = lambda package, path: str(importlib.resources.files("imagecorruptions") / path)
            sys.modules["pkg_resources"] = shim
        if not hasattr(np, "float_"):
            setattr(np, "float_", np.float64)  # noqa: B010 (numpy 2 has no such name; linters rewrite it)
        from imagecorruptions import corrupt  # pyright: ignore[reportMissingImports]

        return lambda image: corrupt(image, severity=severity, corruption_name=name)

    return make


def kornia(name: str, *values: Any, **options: Any) -> Callable[[], Work]:
    """An augmentation of kornia on a batch of one, without the conversion to a tensor and back."""

    def make() -> Work:
        import torch
        from kornia import augmentation

        torch.set_num_threads(1)
        transform = getattr(augmentation, name)(*values, p=1.0, **options)
        tensors: dict[int, Any] = {}

        def work(image: np.ndarray) -> object:
            if id(image) not in tensors:
                tensors[id(image)] = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            return transform(tensors[id(image)])

        return work

    return make


A, C, K = albumentations, imagecorruptions, kornia
ROWS: dict[str, tuple[Any, Sequence[tuple[str, Callable[[], Work]]], float | None]] = {
    "Gaussian noise 25": (
        lambda: D.GaussianNoise(sigma=25),
        [
            ("A", A("GaussNoise", std_range=(25 / 255, 25 / 255))),
            ("C", C("gaussian_noise")),
            ("K", K("RandomGaussianNoise", 0.0, 25 / 255)),
        ],
        2.5,
    ),
    "Poisson noise 60": (
        lambda: D.PoissonNoise(peak=60),
        [("A", A("ShotNoise", scale_range=(0.1, 0.1))), ("C", C("shot_noise", 1))],
        8,
    ),
    "Camera noise": (lambda: D.ISPNoise(), [("A", A("ISONoise"))], None),
    "Speckle": (
        lambda: D.SpeckleNoise(sigma=0.2),
        [
            ("A", A("MultiplicativeNoise", multiplier=(0.6, 1.4), per_channel=True, elementwise=True)),
            ("C", C("speckle_noise", 2)),
        ],
        None,
    ),
    "Impulse 5 %": (
        lambda: D.ImpulseNoise(amount=0.05, per="pixel"),
        [
            ("A", A("SaltAndPepper", amount=(0.05, 0.05))),
            ("C", C("impulse_noise", 2)),
            ("K", K("RandomSaltAndPepperNoise", amount=(0.05, 0.05))),
        ],
        None,
    ),
    "Motion blur 15": (
        lambda: D.MotionBlur(kind="line", length=15, space="srgb"),
        [
            ("A", A("MotionBlur", blur_limit=(15, 15))),
            ("C", C("motion_blur")),
            ("K", K("RandomMotionBlur", 15, 90.0, 0.0)),
        ],
        2.5,
    ),
    "Defocus 6": (
        lambda: D.DefocusBlur(radius=6, space="srgb"),
        [("A", A("Defocus", radius=(6, 6), alias_blur=(0.1, 0.1))), ("C", C("defocus_blur"))],
        2,
    ),
    "Gaussian blur 2": (
        lambda: D.GaussianBlur(kind="isotropic", sigma=2),
        [
            ("A", A("GaussianBlur", blur_limit=(15, 15), sigma_limit=(2, 2))),
            ("K", K("RandomGaussianBlur", (15, 15), (2.0, 2.0))),
        ],
        None,
    ),
    "Haze": (
        lambda: D.Haze(beta=1.2, airlight=0.8),
        [("A", A("RandomFog", fog_coef_range=(0.5, 0.5))), ("C", C("fog"))],
        5,
    ),
    "JPEG 50": (
        lambda: D.JPEG(quality=50, sampling="4:2:0"),
        [
            ("A", A("ImageCompression", quality_range=(50, 50))),
            ("C", C("jpeg_compression", 1)),
            ("K", K("RandomJPEG", (50.0, 50.0))),
        ],
        0.95,
    ),
    "WebP 50": (
        lambda: D.WebP(quality=50),
        [("A", A("ImageCompression", quality_range=(50, 50), compression_type="webp"))],
        None,
    ),
    "Rain": (
        # albumentations draws 1.7 streaks of 20 px per 1000 px: as many, as long.
        lambda: D.Rain(density=1.7, length=20, width=1),
        [("A", A("RandomRain")), ("K", K("RandomRain", drop_height=(10, 20), drop_width=(1, 3)))],
        0.5,
    ),
    "Snow": (
        lambda: D.Snow(),
        [("A", A("RandomSnow", method="texture")), ("C", C("snow")), ("K", K("RandomSnow"))],
        0.5,
    ),
    "Masking 16 px": (
        lambda: D.Mask(patch=16, ratio=0.5),
        [("A", A("GridDropout", unit_size_range=(16, 16), random_offset=True))],
        None,
    ),
    "Bit depth 4": (
        lambda: D.BitDepth(bits=4),
        [("A", A("Posterize", num_bits=4)), ("K", K("RandomPosterize", 4))],
        None,
    ),
    "Low light, gamma": (
        lambda: D.LowLight(kind="gamma"),
        [("A", A("RandomGamma", gamma_limit=(200, 200))), ("K", K("RandomGamma"))],
        None,
    ),
    "Low light, physical": (lambda: D.LowLight(kind="physical"), [], None),
    "Ringing": (lambda: D.Ringing(), [("A", A("RingingOvershoot", blur_limit=(21, 21)))], None),
    "Down and up x4": (
        lambda: D.Resize(scale=0.25, down="area", up="bilinear_cv"),
        [("A", A("Downscale", scale_range=(0.25, 0.25)))],
        None,
    ),
    "Raindrops": (lambda: D.Raindrop(), [], None),
}
"""Name -> (ours, peers, the ratio to the fastest peer that we ask of ourselves)."""

CHAINS: dict[str, tuple[Any, int, float]] = {
    "dynet, 128x128": (lambda: D.load("dynet"), 128, 1500),
    "abair, 256x256": (lambda: D.load("abair"), 256, 120),
    "motion blur, noise, JPEG, 512x512": (
        lambda: D.Compose([D.MotionBlur(kind="line", length=15, space="srgb"), D.GaussianNoise(sigma=15), D.JPEG()]),
        512,
        100,
    ),
}
"""Name -> (pipeline, side of the picture, samples/s per core that we ask of ourselves)."""


def seconds(work: Work, images: Sequence[np.ndarray], least: float = 0.25) -> float:
    """CPU seconds per image of one turn: all images, over and over, for a quarter of a second at least."""
    done, start = 0, time.process_time()
    while True:
        for image in images:
            work(image)
        done += len(images)
        if (spent := time.process_time() - start) > least:
            return spent / done


def race(contestants: dict[str, Work], images: Sequence[np.ndarray], rounds: int) -> dict[str, float]:
    """Best CPU seconds per image of each, taking turns."""
    for work in contestants.values():
        work(images[0])
    turns = [{name: seconds(work, images) for name, work in contestants.items()} for _ in range(rounds)]
    return {name: min(turn[name] for turn in turns) for name in contestants}


def entered(name: str) -> dict[str, Work]:
    """Ours and the peers that work here."""
    make, peers, _ = ROWS[name]
    works = {"ours": ours(make())}
    probe = photos(64)[0]
    for letter, peer in peers:
        try:
            work = peer()
            work(probe)
            works[letter] = work
        except Exception as error:  # noqa: BLE001 (a peer's failure is a finding, not ours to mend)
            print(f"# {name}: {letter} left out ({type(error).__name__}: {str(error)[:70]})", file=sys.stderr)
    return works


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="parts of row names, separated by commas")
    arguments = parser.parse_args()
    chosen = [part.strip().lower() for part in arguments.only.split(",") if part.strip()]
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now():%Y-%m-%d}, numpy {np.__version__}, ", end="")
    print(f"OpenCV {cv2.__version__}; CPU ms per 512x512 image, one thread")
    print(f"{'':22}{'ours':>8}{'albument.':>11}{'imagecor.':>11}{'kornia':>9}{'ratio':>8}{'asked':>7}")
    images = photos(SIDE)
    for name, (_, _, asked) in ROWS.items():
        if chosen and not any(part in name.lower() for part in chosen):
            continue
        found = race(entered(name), images, arguments.rounds)
        mine = found.pop("ours")
        cells = "".join(
            f"{found[k] * 1e3:>{w}.2f}" if k in found else f"{'-':>{w}}"
            for k, w in zip("ACK", (11, 11, 9), strict=True)
        )
        ratio = f"{min(found.values()) / mine:.2f}x" if found else "-"
        print(f"{name:22}{mine * 1e3:>8.2f}{cells}{ratio:>8}{f'{asked:g}x' if asked else '':>7}", flush=True)
    for name, (make, side, asked) in CHAINS.items():
        if chosen and not any(part in name.lower() for part in chosen):
            continue
        found = race({"ours": ours(make())}, photos(side), arguments.rounds)["ours"]
        print(f"{name:36}{1 / found:>8.0f} samples/s per core{asked:>8.0f} asked", flush=True)


if __name__ == "__main__":
    main()
