"""Which sample comes when: a function of (seed, number) alone, so that any process can begin anywhere.

Sample number n of a run belongs to a task; it is that task's k-th, hence item `order(k)` of its epoch k // length. An
epoch's order goes through the files' row groups in shuffled pools: global enough for training, near enough on disk
for slow storage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from million_ird.rng import rng_for

BLOCK = 1024
"""Sample numbers whose tasks are shuffled together."""

KEPT = 4
"""Pools and blocks that are remembered."""


@dataclass(frozen=True)
class Place:
    """Where a sample comes from."""

    number: int
    task: int
    index: int
    epoch: int


class Order:
    """The order of one task's items in each of its epochs.

    Args:
        counts: items in each row group (one group where there are none).
        pool: groups that are shuffled together.
    """

    def __init__(self, counts: Sequence[int], seed: int, name: str, pool: int) -> None:
        self._counts = np.asarray(counts, np.int64)
        self._firsts = np.concatenate([[0], np.cumsum(self._counts)])
        self._seed, self._name, self._pool = seed, name, pool
        self._epochs: OrderedDict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = OrderedDict()
        self._pools: OrderedDict[tuple[int, int], NDArray[np.int64]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __call__(self, k: int) -> tuple[int, int]:
        """(item, epoch) of the k-th sample of the task."""
        epoch, position = divmod(k, len(self))
        groups, ends = self._epoch(epoch)
        pool = int(np.searchsorted(ends, position, side="right"))
        first = int(ends[pool - 1]) if pool else 0
        return int(self._items(epoch, pool, groups)[position - first]), epoch

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The groups in their order, and where each pool ends."""
        if epoch not in self._epochs:
            groups = rng_for(self._seed, "groups", self._name, epoch).generator.permutation(len(self._counts))
            sizes = self._counts[groups]
            ends = np.cumsum([sizes[at : at + self._pool].sum() for at in range(0, len(groups), self._pool)])
            _remember(self._epochs, epoch, (groups, ends))
        return self._epochs[epoch]

    def _items(self, epoch: int, pool: int, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        if (epoch, pool) not in self._pools:
            chosen = groups[pool * self._pool : (pool + 1) * self._pool]
            items = np.concatenate([np.arange(int(self._firsts[g]), int(self._firsts[g + 1])) for g in chosen])
            rng_for(self._seed, "items", self._name, epoch, pool).generator.shuffle(items)
            _remember(self._pools, (epoch, pool), items)
        return self._pools[epoch, pool]


class Stream:
    """Sample number -> `Place`, for several tasks that take turns by their shares.

    The first n samples hold each task by its share, to within the number of tasks and the shuffling inside of `BLOCK`.
    """

    def __init__(self, orders: Sequence[Order], shares: Sequence[float], seed: int) -> None:
        total = sum(shares)
        self._orders, self._seed = orders, seed
        self._shares = [share / total for share in shares]
        self._blocks: OrderedDict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = OrderedDict()

    @cached_property
    def epoch(self) -> int:
        """Samples after which every item of the task that takes longest was seen once."""
        return max(round(len(order) / share) for order, share in zip(self._orders, self._shares, strict=True))

    def __getitem__(self, number: int) -> Place:
        block, at = divmod(number, BLOCK)
        tasks, ordinals = self._block(block)
        task = int(tasks[at])
        index, epoch = self._orders[task](int(ordinals[at]))
        return Place(number, task, index, epoch)

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each number in a block: its task, and the how-manieth of that task it is."""
        if block not in self._blocks:
            before, after = self._until(block * BLOCK), self._until((block + 1) * BLOCK)
            tasks = np.repeat(np.arange(len(before)), after - before)
            rng_for(self._seed, "tasks", block).generator.shuffle(tasks)
            ordinals = np.empty_like(tasks)
            for task, first in enumerate(before):
                mine = tasks == task
                ordinals[mine] = first + np.arange(mine.sum())
            _remember(self._blocks, block, (tasks, ordinals))
        return self._blocks[block]

    def _until(self, number: int) -> NDArray[np.int64]:
        """How many of the first `number` samples are each task's.

        Each takes its share of what those before it left: so no count ever falls as `number` grows, and all add up.
        """
        counts, left, whole = [], number, 1.0
        for share in self._shares[:-1]:
            mine = min(int(left * (share / whole) + 0.5), left)
            counts.append(mine)
            left, whole = left - mine, whole - share
        return np.array([*counts, left], np.int64)


def _remember(kept: OrderedDict, key: object, value: object) -> None:
    kept[key] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
