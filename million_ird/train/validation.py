"""How good the network is at a moment, on named sets that never change; nothing of it touches the training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from million_ird.config import validate
from million_ird.evaluate.metrics import psnr, ssim
from million_ird.train.parallel import Team
from million_ird.train.settings import TrainConfig
from million_ird.train.stage import Set, Stage
from million_ird.train.tasks import tasks_of


def sets_of(config: TrainConfig) -> list[Set]:
    """The sets of `validation.sets`: the first pictures of each, one crop and one degradation of each.

    Raises:
        InputError, ConfigError: as for the tasks of the training.
    """
    if not config.validation.sets:
        return []
    data = {**config.data.model_dump(), "size": config.validation.size, "turns": False, "degrade": "cpu", "cache_mb": 0}
    # Of seed 0, whatever the run's: runs of several seeds are looked at on the same inputs.
    looked_at = validate(TrainConfig, {**config.model_dump(), "data": data, "seed": 0})
    found = []
    for task in tasks_of(looked_at, config.validation.sets):
        count = min(sum(task.counts), config.validation.images)
        items = [task(index, 0) for index in range(count)]
        found.append(Set(task.name, [(item["lq"], item["hq"]) for item in items]))
    return found


def run(net: Any, stage: Stage, sets: Sequence[Set], team: Team) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM of each set in each view: "denoise/s/psnr"; "denoise/input/psnr" is the input's own.

    Pictures are shared out among the processes; all get the same means.
    """
    names: list[str] = []
    sums: list[list[float]] = []
    for one in sets:
        views: dict[str, Mapping[str, Any] | None] = {"input": None, **stage.views(net, one.name)}
        for label, attributes in views.items():
            with seen_as(net, attributes or {}):
                own = one.pairs[team.rank :: team.size]
                rows = [_scores(net if attributes is not None else None, lq, hq, team) for lq, hq in own]
            total = np.sum(rows, axis=0) if rows else np.zeros(2)
            names.append("/".join(filter(None, (one.name, label))))
            sums.append([*total, len(own)])
    if not names:
        return {}
    means = team.mean(
        torch.tensor(sums, dtype=torch.float32 if team.device.type == "mps" else torch.float64).to(team.device)
    )
    out = {}
    for name, (high, alike, count) in zip(names, means.tolist(), strict=True):
        out[f"{name}/psnr"], out[f"{name}/ssim"] = high / count, alike / count
    return out


def mean_psnr(figures: Mapping[str, float], stage: Stage) -> float | None:
    """The one number by which checkpoints are compared: the mean over sets and the views that the stage judges by."""
    parts = {name: name.split("/") for name in figures if name.endswith("/psnr")}
    labels = {name: part[1] if len(part) > 2 else "" for name, part in parts.items()}
    found = [figures[name] for name, label in labels.items() if label != "input" and stage.judged(label)]
    return sum(found) / len(found) if found else None


@torch.inference_mode()
def _scores(net: Any, lq: Tensor, hq: Tensor, team: Team) -> tuple[float, float]:
    output = lq if net is None else net(lq[None].to(team.device))[0].clamp(0, 1).cpu()
    first, second = (picture.float().permute(1, 2, 0).numpy() for picture in (output, hq))
    return min(psnr(first, second), 100.0), ssim(first, second)


@contextmanager
def seen_as(net: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """The network in evaluation mode with other attributes (variant, adapters, blend), put back afterwards."""
    before, training = {name: getattr(net, name) for name in attributes}, net.training
    net.eval()
    try:
        for name, value in attributes.items():
            setattr(net, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(net, name, value)
        net.train(training)
