"""Clean pictures to training pairs with labels, as a map-style torch dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
        name, out = self.named(index, self.epoch)
        return {
            "lq": to_tensor(out.lq),
            "hq": to_tensor(out.hq),
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
        return self.named(index, self.epoch if epoch is None else epoch)[1]

    def named(self, index: int, epoch: int) -> tuple[str, Degraded]:
        """The picture's name, and `sample`."""
        name, crop = self.crop(index, epoch)
        return name, self.pipe(crop, seed=self.seed, image_id=name, view=epoch)

    def crop(self, index: int, epoch: int) -> tuple[str, Image]:
        """The picture's name, and the clean crop of item `index` in an epoch: (size, size, 3)."""
        if not 0 <= index < len(self.pictures):
            raise IndexError(f"item {index} of {len(self.pictures)}")
        _one_thread()
        name, picture = self.pictures[index]
        return name, cut([picture], self.size, self.turns, rng_for(self.seed, name, epoch, "crop"))[0]


def cut(images: Sequence[Image], size: int | None, turns: bool, rng: Chance) -> list[Image]:
    """The same square out of each of several pictures (H, W, 3) of one size, turned and mirrored alike.

    Args:
        images: a picture, or a degraded one and its clean one.
        size: of the square, px; smaller pictures are first mirrored at their right and lower border; None = all.
        turns: mirror and turn by quarters at random.
        rng: of place and turn.
    """
    height, width = images[0].shape[:2]
    if size is not None:
        below, right = max(size - height, 0), max(size - width, 0)
        if below or right:
            images = [cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101) for image in images]
        top = int(rng.random() * (height + below - size + 1))
        left = int(rng.random() * (width + right - size + 1))
        images = [image[top : top + size, left : left + size] for image in images]
    if turns:
        turn = int(rng.random() * 8)
        images = [np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4) for image in images]
    return [np.ascontiguousarray(image) for image in images]


def _one_thread() -> None:
    """In a worker, keep OpenCV to one thread: workers are the parallelism, and more threads would only queue.

    Not in a forked one: there OpenCV would wait for threads that were left behind in the parent, for ever if new ones
    of the worker have taken their places. (A pool that the parent has used is idle there anyway.)
    """
    if os.getpid() == _HOME and get_worker_info() is not None:
        cv2.setNumThreads(1)


def to_tensor(image: NDArray[Any]) -> torch.Tensor:
    """(H, W, 3) uint8 or float32 to (3, H, W) float32 in [0, 1]."""
    planes = np.empty((3, *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))
    flat = torch.from_numpy(planes)
    return flat.float().div_(255) if image.dtype == np.uint8 else flat
