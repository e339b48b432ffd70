"""Metrics from elsewhere: the build's NIQE, and whatever pyiqa has, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np

from million_ird.errors import ConfigError
from million_ird.evaluate.metrics import Metric, Picture

REMEDY = 'pip install "million-ird[iqa]"'


@lru_cache(1)
def niqe() -> Metric:
    """NIQE of the output alone, as `mird build` measures it, but over all blocks; lower is better.

    None for pictures that are too small or too flat to have one (see `million_ird.meters.niqe`).
    """
    from million_ird.meters import Frame
    from million_ird.meters.niqe import Niqe

    meter = Niqe(blocks=None)

    def call(output: Picture, target: Picture) -> float | None:
        pixels = np.rint(np.clip(output, 0, 1) * 255).astype(np.uint8)
        return meter(Frame(np.ascontiguousarray(pixels)))[0]

    return Metric("niqe", call, lower_better=True)


@lru_cache(16)
def from_pyiqa(name: str) -> Metric:
    """A metric of pyiqa: "pyiqa:lpips", "pyiqa:musiq", ...; on the GPU where there is one.

    What it needs of weights pyiqa downloads itself, once.

    Raises:
        ConfigError: pyiqa is not installed, or has no such metric.
    """
    if importlib.util.find_spec("pyiqa") is None:
        raise ConfigError(f"metric {name}: pyiqa is not installed: {REMEDY}")
    import torch

    pyiqa: Any = importlib.import_module("pyiqa")
    wanted = name.partition(":")[2]
    if wanted not in pyiqa.list_models():
        raise ConfigError(f"metric {name}: pyiqa has no '{wanted}'; pyiqa.list_models() lists what it has")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    judge: Any = pyiqa.create_metric(wanted, device=device)

    def tensor(picture: Picture) -> Any:
        values = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        return torch.from_numpy(np.clip(values, 0, 1)).to(device)

    def call(output: Picture, target: Picture) -> float | None:
        with torch.no_grad():
            pictures = (output, target) if judge.metric_mode == "FR" else (output,)
            return float(judge(*map(tensor, pictures)))

    return Metric(name, call, bool(judge.lower_better))
