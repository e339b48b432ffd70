"""What NIQE costs, beside a bare decode of the same picture in the same run.

    OPENBLAS_NUM_THREADS=1 python benchmarks/niqe.py [IMAGE...]

Without images a synthetic one of 1024 x 852 is measured. Each picture is cut or repeated to that size, compressed as
JPEG of quality 90 and timed on one thread in processor time, the best of many rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from million_ird.meters import Frame
from million_ird.meters.niqe import Niqe

WIDTH, HEIGHT = 1024, 852
ROUNDS, CALLS = 30, 5


def main(paths: list[str]) -> None:
    cv2.setNumThreads(1)
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
    main(sys.argv[1:])
