"""Small runs for the tests of training: pictures, configurations, and what a run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.torch import load_file

from million_ird.train.record import read
from million_ird.train.settings import TrainConfig, load_config

DYNET = {"dim": 8, "refinement": 1, "prompt_sizes": [4, 2, 2], "prompt_length": 2, "large": [1, 2, 1, 1]}
ABAIR = {
    "dim": 8,
    "depths": [1, 1, 1, 1],
    "refinement": 1,
    "prompt_sizes": [4, 2, 2],
    "prompt_length": 2,
    "estimator_dim": 8,
    "estimator_depths": [1, 1, 1, 1],
    "window": 4,
}
SMALL = {
    "batch": 4,
    "steps": 4,
    "data.size": 16,
    "optim.warmup": 1,
    "optim.lr": 1e-3,
    "save.every": 2,
    "log.samples": 100,
    "log.tensorboard": False,
    "run.workers": 0,
    "run.threads": 1,
    "run.device": "cpu",
}


def photos(folder: Path, count: int = 4, size: int = 40, seed: int = 0) -> Path:
    """A folder of smooth random pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
    return folder


def config(family: str, stage: str, data: list[str], **given: Any) -> TrainConfig:
    """A configuration of a small run; `given` in dotted names, `__` for the dot."""
    sizes = {"dynet": DYNET, "abair": ABAIR}[family]
    over = {"model": f"{family}-tiny", "sizes": sizes, "data.tasks": data}
    return load_config(family, stage, **SMALL | over | {key.replace("__", "."): value for key, value in given.items()})


def losses(out: Path) -> list[float]:
    """The loss of each step."""
    return [line["loss"] for line in read(out, "step")]


def weights(out: Path) -> dict[str, Any]:
    """The final weights, not averaged."""
    last = sorted((out / "checkpoints").glob("step-*"))[-1]
    return load_file(last / "model.safetensors")
