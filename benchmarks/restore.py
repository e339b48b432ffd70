"""What large pictures cost: time and memory of the whole network at once, and of `mird restore`'s modes.

    python benchmarks/restore.py                                   # dynet-s, 512 x 512 and 1024 x 1024
    python benchmarks/restore.py --model dynet-tiny --sizes 4000x6000 --modes tile
    python benchmarks/restore.py --command --sizes 4000x6000 --modes tile      # `mird restore` of a JPEG
    python benchmarks/restore.py --command --sizes 512x6000 --modes tile       # of one row of its tiles

Each row is a process of its own. Memory is the highest resident size less that before the first picture; on CUDA, the
most that tensors took. "plain" is `net(image)`. "estimate" is what `mode="auto"` decides by. "differs" is the largest
difference from the plain output, or from the exact one where plain is not among the modes.

With --command a photo of that size is made, and the whole command is measured: its seconds, and the highest resident
size of its process with everything in it. The weights are random ones in both cases, from seed 0.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("plain", "exact", "tile", "tlc")
GRAIN = 8
"""Side of a blotch of the photo that --command makes, px."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dynet-s")
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1024x1024"], help="height x width")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has it")
    parser.add_argument("--malloc", nargs="+", default=["tuned"], choices=("tuned", "default"))
    parser.add_argument("--command", action="store_true", help="measure `mird restore` on a JPEG, the whole process")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(json.loads(options.one))))
        return
    print(f"{options.model}, {options.device}, {options.dtype}, {platform.platform()}")
    if options.command:
        commands(options)
        return
    print(f"{'size':>11} {'mode':>6} {'malloc':>8} {'seconds':>9} {'peak MB':>8} {'estimate':>9} {'differs':>9}")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            for mode in options.modes:
                for malloc in options.malloc:
                    row(options, size, mode, malloc, Path(folder))


def row(options: argparse.Namespace, size: str, mode: str, malloc: str, folder: Path) -> None:
    """Measure in a process of its own, and print."""
    case = {**vars(options), "size": size, "mode": mode, "malloc": malloc, "folder": str(folder)}
    done = subprocess.run([sys.executable, __file__, "--one", json.dumps(case)], capture_output=True, text=True)
    if done.returncode:
        print(f"{size:>11} {mode:>6} {malloc:>8} failed: {done.stderr.strip().splitlines()[-1:]}")
        return
    found = json.loads(done.stdout)
    print(
        f"{size:>11} {mode:>6} {malloc:>8} {found['seconds']:>9.2f} {found['peak'] / 1e6:>8.0f} "
        f"{found['estimate'] / 1e6:>9.0f} {found['differs']:>9.1e}",
        flush=True,
    )


def commands(options: argparse.Namespace) -> None:
    """`mird restore` on a photo of each size in each mode, and print."""
    import cv2
    import torch
    from PIL import Image

    from million_ird import models

    print(f"{'size':>11} {'mode':>6} {'seconds':>9} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        models.create(options.model).save_pretrained(Path(folder, "model"))
        for size in options.sizes:
            height, width = (int(side) for side in size.split("x"))
            blotches = np.random.default_rng(0).integers(0, 256, (height // GRAIN, width // GRAIN, 3), dtype=np.uint8)
            photo = Path(folder, f"{size}.jpg")
            pixels = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
            Image.fromarray(pixels).save(photo, quality=92)
            for mode in options.modes:
                if mode != "plain":
                    seconds, peak = command(options, photo, mode, Path(folder, mode))
                    print(f"{size:>11} {mode:>6} {seconds:>9.1f} {peak / 1e6:>8.0f}", flush=True)


def command(options: argparse.Namespace, photo: Path, mode: str, out: Path) -> tuple[float, int]:
    """Seconds of one `mird restore`, and the highest resident size of its process."""
    words = [sys.executable, "-m", "million_ird", "restore", str(photo), "--model", str(photo.parent / "model")]
    words += ["--out", str(out), "--mode", mode, "--device", options.device, "--dtype", options.dtype, "--fresh", "-q"]
    threads = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    began = time.perf_counter()
    process = subprocess.Popen(words, env={**os.environ, **threads})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    return time.perf_counter() - began, usage.ru_maxrss * _unit()


def measure(case: dict[str, Any]) -> dict[str, float]:
    """Seconds, bytes at most, bytes estimated, difference from the first mode measured."""
    from million_ird.restore import memory, restore, tune_malloc

    if case["malloc"] == "tuned":
        tune_malloc()
    import torch

    from million_ird import models

    if case["threads"]:
        torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    net = models.create(case["model"]).eval().to(case["device"])
    height, width = (int(side) for side in case["size"].split("x"))
    image = np.random.default_rng(0).random((height, width, 3), np.float32)
    options = {"device": case["device"], "dtype": case["dtype"]}

    def run(picture: np.ndarray) -> np.ndarray:
        if case["mode"] != "plain":
            return restore(net, picture, mode=case["mode"], **options)
        with torch.no_grad(), torch.autocast(case["device"].partition(":")[0], enabled=False):
            tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].to(case["device"])
            return net(tensor)[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()

    run(image[:64, :64])
    estimate = memory.estimate(net, height, width)
    before = _resident(case["device"])
    began = time.perf_counter()
    out = run(image)
    seconds = time.perf_counter() - began
    peak = _highest(case["device"]) - before
    first = Path(case["folder"], "first.npy")
    if not first.exists():
        np.save(first, out)
    differs = float(np.abs(out - np.load(first)).max())
    return {"seconds": seconds, "peak": peak, "estimate": estimate, "differs": differs}


def _resident(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    import psutil

    return psutil.Process().memory_info().rss


def _highest(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _unit()


def _unit() -> int:
    return 1 if sys.platform == "darwin" else 1024


if __name__ == "__main__":
    main()
