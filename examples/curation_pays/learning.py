"""The small network, its training and its scores."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from million_ird import degrade as D
from million_ird.degrade.dataset import cut, to_tensor
from million_ird.evaluate.metrics import psnr
from million_ird.evaluate.protocols import STRICT
from million_ird.evaluate.sets import Sample, Spec, open_set, read
from million_ird.rng import rng_for

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """Of all trainings alike.

    Attributes:
        width, blocks: of the network: channels, residual blocks.
        steps: changes of the weights.
        batch: crops of a step.
        size: of a crop, px.
        lr: highest learning rate.
        limit: test pictures of each set; 0 = all.
        centre: of each test picture, so many px in the square are compared.
    """

    width: int = 32
    blocks: int = 2
    steps: int = 2000
    batch: int = 8
    size: int = 48
    lr: float = 2e-3
    limit: int = 0
    centre: int = 256


TASKS: Mapping[str, tuple[str, Any]] = {
    "denoise": ("Gaussian noise of sigma 25", D.GaussianNoise(sigma=25)),
    "dejpeg": ("JPEG of quality 20", D.JPEG(quality=20)),
}
"""Task -> what is mended, in words and as an op; trained and tested alike."""


class Network(nn.Module):
    """Residual blocks at half size, whose output is added to the picture: EDSR's blocks (arXiv 1707.02921) behind the
    reversible shuffle of FFDNet (arXiv 1710.04026). (B, 3, H, W) in [0, 1] -> (B, 3, H, W); H and W even.

    No DyNet, because it is trained dozens of times: this one learns from more than ten times as many crops a second.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(12, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        pairs = [[nn.Conv2d(width, width, 3, padding=1) for _ in range(2)] for _ in range(blocks)]
        self.blocks = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)

    def forward(self, x: Tensor) -> Tensor:
        found = self.first(F.pixel_unshuffle((x - 0.5) * GAIN, 2))
        for one, two in self.blocks:  # pyright: ignore[reportGeneralTypeIssues]
            found = found + two(F.relu_(one(found)))
        return x + F.pixel_shuffle(self.last(found), 2) / GAIN


GAIN = 4.0
"""Pixels are brought to about unit variance; without that the network learns ten times slower."""


def train(pictures: Mapping[str, RGB], task: str, seed: int, settings: Settings) -> Network:
    """The network after `settings.steps` steps on crops of some pictures, by L1.

    Weights at the start and chance depend on `seed`, not on the pictures; each is gone through before one comes again.
    """
    torch.manual_seed(seed)
    net = Network(settings.width, settings.blocks).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr, weight_decay=0)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings.steps))
    stream = samples(pictures, task, seed, settings.size)
    for _ in range(settings.steps):
        pairs = [next(stream) for _ in range(settings.batch)]
        lq, hq = (torch.stack(one).contiguous(memory_format=torch.channels_last) for one in zip(*pairs, strict=True))
        optimizer.zero_grad(set_to_none=True)
        F.l1_loss(net(lq), hq).backward()
        optimizer.step()
        rate.step()
    return net.eval()


def _rate(step: int, steps: int) -> float:
    """A short rise, then a half cosine down to a hundredth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def samples(pictures: Mapping[str, RGB], task: str, seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of a degraded and a clean crop, (3, size, size) in [0, 1] each, without end."""
    pipe, epoch = D.load(TASKS[task][1]), 0
    while True:
        for name in sorted(pictures, key=lambda name: rng_for(seed, "order", epoch, name).random()):
            crop = cut([pictures[name]], size, True, rng_for(seed, "crop", epoch, name))[0]
            out = pipe(crop, seed=seed, image_id=name, view=epoch)
            yield to_tensor(out.lq), to_tensor(out.hq)
        epoch += 1


@lru_cache(maxsize=4)
def tests(folder: Path, task: str, limit: int, centre: int) -> tuple[Sample, ...]:
    """The samples of a test set, cut to their centres; what degrades them is drawn from each picture's name."""
    noise = task == "denoise"
    found = open_set(Spec(folder.name, "clean", str(folder), 25.0 if noise else 0.0, limit=limit))
    if not noise:
        found = replace(found, recipe=D.load(TASKS[task][1]))
    return tuple(_cut(sample, centre) for sample in found.samples(STRICT))


def _cut(sample: Sample, side: int) -> Sample:
    height, width = sample.target.shape[:2]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    rows, columns = slice(top, top + side), slice(left, left + side)
    given, target = (np.ascontiguousarray(one[rows, columns]) for one in (sample.input, sample.target))
    return Sample(sample.name, given, target)


@torch.inference_mode()
def score(net: Network, folder: Path, task: str, settings: Settings) -> dict[str, float]:
    """{"output", "input"}: mean PSNR over the set, dB."""
    found: list[tuple[float, float]] = []
    for sample in tests(folder, task, settings.limit, settings.centre):
        given, target = sample.input / 255.0, sample.target / 255.0
        height, width = given.shape[:2]
        x = F.pad(to_tensor(sample.input)[None], (0, width % 2, 0, height % 2), mode="replicate")
        y = net(x.contiguous(memory_format=torch.channels_last))[0, :, :height, :width]
        output = STRICT.finish(y.permute(1, 2, 0).numpy())
        found.append((psnr(output, target), psnr(given, target)))
    output, given = (sum(one) / len(found) for one in zip(*found, strict=True))
    return {"output": output, "input": given}


@cache
def _read(path: Path) -> RGB:
    return read(path)


def load(folder: Path, names: Sequence[str]) -> dict[str, RGB]:
    """Pictures by file name, each decoded once."""
    return {name: _read(folder / name) for name in names}


def digest(what: Any, settings: Settings) -> str:
    """Of all that a score depends on."""
    text = json.dumps([what, asdict(settings), torch.__version__.partition("+")[0]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
