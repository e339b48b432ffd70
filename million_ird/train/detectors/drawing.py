"""Batches of pairs, drawn anew for each step, by other processes while the network learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from million_ird.degrade.op import Bytes
from million_ird.train.detectors.samples import Samples
from million_ird.train.detectors.settings import DetectorConfig
from million_ird.train.workers import alive, alone


@dataclass(frozen=True)
class Batch:
    """Pairs one after the other, without a mark and with one: `images` (B, 1, S, S) uint8; `cells` (B, S / 16, S / 16)
    int8 and `strokes` (B, S / 4, S / 4) uint8 as in `Sample`."""

    images: Tensor
    cells: Tensor
    strokes: Tensor

    @property
    def marked(self) -> Tensor:
        """(B,) float, 1 = has a mark."""
        return (self.cells == 1).flatten(1).any(1).float()


class Batches(Dataset[Batch]):
    """Batch `step` of a config's seed: always the same, whoever asks for it."""

    def __init__(self, pictures: Sequence[Bytes], config: DetectorConfig) -> None:
        self.pairs, self.steps = config.batch // 2, config.steps
        rise = round(config.rise * self.steps) * self.pairs
        self.samples = Samples(pictures, config.seed, config.size, rise=rise, decoys=config.decoys)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        found = [x for number in range(step * self.pairs, (step + 1) * self.pairs) for x in self.samples[number]]
        images, cells, strokes = (
            torch.from_numpy(np.stack([getattr(sample, name) for sample in found]))
            for name in ("image", "cells", "strokes")
        )
        return Batch(images[:, None], cells, strokes)


def batches(pictures: Sequence[Bytes], config: DetectorConfig, first: int = 0) -> Iterator[Batch]:
    """One for each step, in order.

    Args:
        pictures: clean photos, (H, W, 3) uint8.
        config: how many, how large, and in how many processes.
        first: the step to begin with.

    Raises:
        MirdError: a process died.
    """
    workers = config.workers
    made: DataLoader[Batch] = DataLoader(
        Batches(pictures, config),
        batch_size=None,
        sampler=range(first, config.steps),
        num_workers=workers,
        worker_init_fn=alone,
        multiprocessing_context="forkserver" if workers else None,
        prefetch_factor=16 if workers else None,
    )
    return alive(made, "out of memory? Give it fewer pictures, or workers=0")
