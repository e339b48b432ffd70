"""What a step costs: FLOPs counted on shapes, seconds and memory measured on a step or two."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from million_ird.train.batches import Samples, collate
from million_ird.train.device import Degrader
from million_ird.train.parallel import Team
from million_ird.train.settings import TrainConfig
from million_ird.train.stage import Stage
from million_ird.train.validation import seen_as

MOMENTS = 12
"""Bytes per learning parameter of what the measured step does without: two moments and the moving average."""


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        parameters: of the network; `learning` of them change.
        epoch_steps: steps in which the longest task is gone through once.
        gflops: of each variant, forward, one sample ("" where there are none).
        sample_seconds: to make one sample in one worker.
        step_seconds: of a step whose samples are there.
        images_per_s: to expect, the slower of the network and the workers.
        hours: of the whole run.
        memory_bytes: peak of this process on a CPU, of the device else, and what the optimiser adds.
    """

    parameters: int
    learning: int
    samples: int
    epoch_steps: int
    gflops: dict[str, float]
    sample_seconds: float
    step_seconds: float
    images_per_s: float
    hours: float
    memory_bytes: int


def estimate(config: TrainConfig, net: Any, stage: Stage, samples: Samples, team: Team, workers: int) -> Estimate:
    """Make one batch, and run one step of each variant with it, on a copy: nothing of the run is touched."""
    net = copy.deepcopy(net)
    part = config.batch // config.accumulate // team.size
    tick = time.perf_counter()
    batch = Degrader(samples.tasks, config, team.device)(collate([samples[number] for number in range(part)]))
    sample_seconds = (time.perf_counter() - tick) / part
    seconds = []
    for attributes in stage.states(net):
        with seen_as(net, attributes):
            net.train()
            last = 0.0
            for _ in range(2):  # the first one warms up
                tick = time.perf_counter()
                with torch.autocast(team.device.type, torch.bfloat16, enabled=bool(config.run.bf16)):
                    loss, _ = stage(stage.learner(net), batch)
                loss.backward()
                if team.device.type == "cuda":
                    torch.cuda.synchronize()
                last = time.perf_counter() - tick
            seconds.append(last * config.accumulate)
    step = sum(seconds) / len(seconds)
    rate = min(config.batch / step, max(workers, 1) * team.size / sample_seconds)
    tensors = list(net.parameters())
    return Estimate(
        parameters=sum(tensor.numel() for tensor in tensors),
        learning=sum(tensor.numel() for tensor in tensors if tensor.requires_grad),
        samples=sum(len(order) for order in samples.orders),
        epoch_steps=-(-samples.stream.epoch // config.batch),
        gflops=gflops(net, stage, config.data.size),
        sample_seconds=sample_seconds,
        step_seconds=step,
        images_per_s=rate,
        hours=config.steps * config.batch / rate / 3600,
        memory_bytes=_peak(team.device) + MOMENTS * sum(tensor.numel() for tensor in tensors if tensor.requires_grad),
    )


def gflops(net: nn.Module, stage: Stage, size: int) -> dict[str, float]:
    """Products of one forward pass of one sample, 2 per multiply-add, for each state the network is looked at in."""
    with torch.device("meta"):
        shapes = copy.deepcopy(net).to("meta")
    out = {}
    for label, attributes in stage.views(shapes, "").items():
        if attributes.get("adapters"):  # costs what the base does, and "auto" would look at pixels
            continue
        with seen_as(shapes, attributes), torch.no_grad(), FlopCounterMode(display=False) as counter:
            shapes(torch.empty(1, 3, size, size, device="meta"))
        out[label] = counter.get_total_flops() / 1e9
    return out


def joint(
    gflops: Mapping[str, float], shares: Mapping[str, float], seconds: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """What training several variants as one saves against training each of them for as many steps, by FLOPs and by
    the seconds measured: the paper's "50 %" for two."""
    total = sum(shares.values())
    together = sum(gflops[name] * share / total for name, share in shares.items())
    apart = sum(gflops[name] for name in shares)
    found: dict[str, Any] = {"gflops_joint": together, "gflops_apart": apart, "saved": 1 - together / apart}
    if all(seconds.get(name) for name in shares):
        means = {name: sorted(seconds[name])[len(seconds[name]) // 2] for name in shares}
        spent = sum(means[name] * share / total for name, share in shares.items())
        found |= {"seconds_per_step": means, "saved_seconds": 1 - spent / sum(means.values())}
    return found


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
