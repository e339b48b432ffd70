"""Degrading batches on a device against degrading them on the CPU.

    python benchmarks/tensor.py [--device cuda] [--batch 64] [--side 128]

Prints samples/s of `degrade.tensor` on the device and of the CPU path (one process, one thread), and the largest
difference between the two on the same parameters.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import torch
from skimage import data

from million_ird import degrade as D

RECIPES = ("denoise", "dynet", "abair", "dejpeg", "dehaze", "derain", "deblur", "lowlight")


def batch_of(count: int, side: int) -> np.ndarray:
    """(count, side, side, 3) uint8 crops of photos that scikit-image carries."""
    rng = np.random.default_rng(0)
    photos = [data.astronaut(), data.coffee(), data.chelsea()]
    crops = []
    for number in range(count):
        photo = photos[number % 3]
        top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
        crops.append(photo[top : top + side, left : left + side])
    return np.stack(crops)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=128)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, batch {arguments.batch} of {arguments.side}x{arguments.side}")
    print(f"{'recipe':10}{'device/s':>10}{'CPU/s':>9}{'largest difference':>20}")
    images = batch_of(arguments.batch, arguments.side)
    floats = images.astype(np.float32) / np.float32(255)
    tensor = torch.from_numpy(floats).permute(0, 3, 1, 2).contiguous().to(device)
    ids = [str(number) for number in range(arguments.batch)]
    for recipe in RECIPES:
        on_device, on_cpu = D.tensor.load(recipe), D.load(recipe)
        out = on_device(tensor, ids, [0] * arguments.batch)
        cpu = np.stack([on_cpu(image, seed=0, image_id=key).lq for image, key in zip(floats, ids, strict=True)])
        worst = float((out.lq.permute(0, 2, 3, 1).cpu() - torch.from_numpy(cpu)).abs().max())
        start, turns = time.perf_counter(), 0
        while time.perf_counter() - start < 3:
            turns += 1
            on_device(tensor, ids, [turns] * arguments.batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        rate = turns * arguments.batch / (time.perf_counter() - start)
        start = time.process_time()
        for image, key in zip(images, ids, strict=True):
            on_cpu(image, seed=0, image_id=key)
        print(f"{recipe:10}{rate:>10.0f}{len(ids) / (time.process_time() - start):>9.0f}{worst:>20.2g}", flush=True)


if __name__ == "__main__":
    main()
