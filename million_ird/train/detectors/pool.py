"""Pairs made ahead, by several processes, and shown more than once: to draw one takes as long as to learn from it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from million_ird.degrade.op import Bytes
from million_ird.degrade.watermark.lettering import between
from million_ird.rng import Chance, rng_for
from million_ird.train.detectors.net import STRIDE
from million_ird.train.detectors.samples import STROKE, Samples
from million_ird.train.detectors.settings import DetectorConfig

_TOGETHER = 50  # pairs to a task of a process
_OURS: list[Samples] = []  # in a process: what it makes


@dataclass(frozen=True)
class Batch:
    """`images` (B, 1, S, S) uint8; `cells` (B, S / 16, S / 16) int8 and `strokes` (B, S / 4, S / 4) uint8 as in
    `Sample`."""

    images: Tensor
    cells: Tensor
    strokes: Tensor

    @property
    def marked(self) -> Tensor:
        """(B,) float, 1 = has a mark."""
        return (self.cells == 1).flatten(1).any(1).float()


@dataclass(frozen=True)
class Pool:
    """`images` (N, 2, S, S) uint8, without the mark and with it; `cells` (N, S / 16, S / 16) int8 and `strokes`
    (N, S / 4, S / 4) uint8 of the second."""

    images: Bytes
    cells: NDArray[np.int8]
    strokes: Bytes

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, chosen: NDArray[np.int64], rng: Chance) -> Batch:
        """The chosen pairs, twice as many samples: each pair at another contrast; all mirrored, upside down or as a
        negative now and then."""
        chosen = np.sort(chosen)
        images = self.images[chosen]
        for number, pair in enumerate(images):
            gain, mean = between(rng, 0.7, 1.2), float(pair[0].mean())
            tones = np.clip((np.arange(256) - mean) * gain + mean, 0, 255).round().astype(np.uint8)
            images[number] = cv2.LUT(pair, tones)
        if rng.random() < 0.1:
            images = 255 - images
        parts = [images, self.cells[chosen], self.strokes[chosen]]
        if rng.random() < 0.5:
            parts = [part[..., ::-1] for part in parts]
        if rng.random() < 0.3:
            parts = [part[..., ::-1, :] for part in parts]
        images, *labels = parts
        labels = [np.stack([np.zeros_like(part), part], 1) for part in labels]  # without a mark: nowhere
        images, *labels = (torch.from_numpy(np.ascontiguousarray(part)).flatten(0, 1) for part in (images, *labels))
        return Batch(images[:, None], *labels)


def batches(pictures: Sequence[Bytes], config: DetectorConfig) -> Iterator[Batch]:
    """One for each step: the pool in its order, where it gets harder, then in other orders."""
    pairs = config.batch // 2
    pool = make(pictures, config)
    order = np.arange(len(pool))
    for step in range(config.steps):
        rng = rng_for(config.seed, "watermark step", step)
        if len(order) < pairs:
            order = rng.generator.permutation(len(pool))
        chosen, order = order[:pairs], order[pairs:]
        yield pool.batch(chosen, rng)


def make(pictures: Sequence[Bytes], config: DetectorConfig) -> Pool:
    """Pairs 0, 1, ... of the config's seed: the same from any number of processes.

    Args:
        pictures: clean photos, (H, W, 3) uint8.
        config: how many, how large, and in how many processes.
    """
    count, size = config.pool, config.size
    cells, strokes = size // STRIDE, size // STROKE
    pool = Pool(
        np.empty((count, 2, size, size), np.uint8),
        np.empty((count, cells, cells), np.int8),
        np.empty((count, strokes, strokes), np.uint8),
    )
    for number, parts in zip(range(count), _pairs(pictures, config), strict=True):
        pool.images[number], pool.cells[number], pool.strokes[number] = parts
    return pool


def _pairs(pictures: Sequence[Bytes], config: DetectorConfig) -> Iterator[tuple[Bytes, Any, Bytes]]:
    rise = round(config.rise * config.pool)
    samples = Samples(pictures, config.seed, config.size, rise=rise, decoys=config.decoys)
    if config.workers == 1:
        for number in range(config.pool):
            yield _pair(samples, number)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, context, _begin, (samples,)) as processes:
        yield from processes.map(_ours, range(config.pool), chunksize=_TOGETHER)


def _begin(samples: Samples) -> None:
    cv2.setNumThreads(1)
    _OURS[:] = [samples]


def _ours(number: int) -> tuple[Bytes, Any, Bytes]:
    return _pair(_OURS[0], number)


def _pair(samples: Samples, number: int) -> tuple[Bytes, Any, Bytes]:
    clean, marked = samples[number]
    return np.stack([clean.image, marked.image]), marked.cells, marked.strokes
