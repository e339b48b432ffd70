"""Clean pictures to training pairs with labels, as a map-style torch dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from million_ird.degrade.labels import multi_hot
from million_ird.degrade.op import Image, Node
from million_ird.degrade.pictures import pictures
from million_ird.degrade.recipe import load
from million_ird.degrade.run import Degraded
from million_ird.errors import ConfigError
from million_ird.rng import Chance, rng_for

_HOME = os.getpid()
"""The process that imported this: another one that has it is a fork."""


class DegradedDataset(Dataset[dict[str, Any]]):
    """Crops of clean pictures, degraded when they are asked for.

    Item `index` depends on (seed, the picture's name, epoch, recipe, size) and on nothing else: not on the worker, the
    batch, the order or what was asked for before. A new epoch gives another crop and another degradation.

    Args:
        source: see `pictures`: a folder, a file, a `mird build` output, a list of arrays or paths, or a dataset.
        pipe: a recipe's name, its file, or a node.
        size: side of the square crop, px; None = whole pictures (which a loader can batch only if all are one size).
            A smaller picture is first mirrored at its right and lower border until it is large enough.
        seed: of crops and degradations.
        turns: mirror the crop and turn it by quarters at random before it is degraded.

    Items:
        lq, hq: (3, size, size) float32 in [0, 1], the degraded and the clean crop.
        mask: (size, size) int32, bit i set where class i of `classes` acted; 0 = the very same pixel as in hq.
        labels: (K,) float32, 1 for each class present.
        index: int; id: str, the picture's name.

    Raises:
        InputError: no such source; later, from an item: a picture that cannot be decoded, by name.
        ConfigError: a wrong recipe or size.
    """

    def __init__(
        self,
        source: Any,
        pipe: str | Path | Node,
        size: int | None = 128,
        seed: int = 0,
        *,
        turns: bool = False,
    ) -> None:
        if size is not None and size < 1:
            raise ConfigError(f"size: expected 1 px or more, or None for whole pictures, got {size}")
        self.pictures = pictures(source)
        self.pipe = load(pipe)
        self.classes = self.pipe.classes
        self.size, self.seed, self.turns = size, seed, turns
        # One number in shared memory: workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def epoch(self) -> int:
        """The epoch whose items are given."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Give the items of another epoch, in all workers; call it before the loader is gone through again."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, out = self._made(index, self.epoch)
        return {
            "lq": _tensor(out.lq),
            "hq": _tensor(out.hq),
            "mask": torch.from_numpy(out.mask.astype(np.int32)),
            "labels": torch.from_numpy(multi_hot(out.mask, len(self.classes)).astype(np.float32)),
            "index": int(index),
            "id": name,
        }

    def sample(self, index: int, epoch: int | None = None) -> Degraded:
        """What item `index` is made of: arrays, trace and all.

        Args:
            index: of the picture.
            epoch: of the item; None = the current one.
        """
        return self._made(index, self.epoch if epoch is None else epoch)[1]

    def _made(self, index: int, epoch: int) -> tuple[str, Degraded]:
        if not 0 <= index < len(self.pictures):
            raise IndexError(f"item {index} of {len(self.pictures)}")
        _one_thread()
        name, picture = self.pictures[index]
        crop = self._crop(picture, rng_for(self.seed, name, epoch, "crop"))
        return name, self.pipe(crop, seed=self.seed, image_id=name, view=epoch)

    def _crop(self, picture: Image, rng: Chance) -> Image:
        if self.size is not None:
            height, width = picture.shape[:2]
            below, right = max(self.size - height, 0), max(self.size - width, 0)
            if below or right:
                picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REFLECT_101)
            top = int(rng.random() * (picture.shape[0] - self.size + 1))
            left = int(rng.random() * (picture.shape[1] - self.size + 1))
            picture = picture[top : top + self.size, left : left + self.size]
        if self.turns:
            turn = int(rng.random() * 8)
            picture = np.rot90(picture[:, ::-1] if turn >= 4 else picture, turn % 4)
        return np.ascontiguousarray(picture)


def _one_thread() -> None:
    """In a worker, keep OpenCV to one thread: workers are the parallelism, and more threads would only queue.

    Not in a forked one: there OpenCV would wait for threads that were left behind in the parent, for ever if new ones
    of the worker have taken their places. (A pool that the parent has used is idle there anyway.)
    """
    if os.getpid() == _HOME and get_worker_info() is not None:
        cv2.setNumThreads(1)


def _tensor(image: NDArray[Any]) -> torch.Tensor:
    """(H, W, 3) uint8 or float32 to (3, H, W) float32 in [0, 1]."""
    planes = np.empty((3, *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))
    flat = torch.from_numpy(planes)
    return flat.float().div_(255) if image.dtype == np.uint8 else flat
