"""Sample numbers to batches: made in workers, the same whatever their number and that of the processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from million_ird.errors import ConfigError, MirdError
from million_ird.train.order import Order, Stream
from million_ird.train.parallel import Team
from million_ird.train.presets import REPEATS
from million_ird.train.settings import TrainConfig
from million_ird.train.tasks import Task
from million_ird.train.workers import alive, alone


class Samples(Dataset[dict[str, Any]]):
    """Sample `number` of a run, whoever asks for it.

    Items are the task's, and number: int; task: str.

    Raises:
        ConfigError: `data.repeat` and the tasks have other names.
    """

    def __init__(self, tasks: Sequence[Task], config: TrainConfig) -> None:
        data = config.data
        repeat = _repeats([task.name for task in tasks], data.repeat)
        self.tasks = tasks
        self.orders = [Order(task.counts, config.seed, task.name, data.pool) for task in tasks]
        shares = [len(order) * repeat.get(task.name, 1.0) for order, task in zip(self.orders, tasks, strict=True)]
        self.stream = Stream(self.orders, shares, config.seed)

    def __getitem__(self, number: int) -> dict[str, Any]:
        place = self.stream[number]
        task = self.tasks[place.task]
        return {**task(place.index, place.epoch), "number": number, "task": task.name}


def _repeats(names: Sequence[str], repeat: Mapping[str, float] | str) -> Mapping[str, float]:
    """Task -> how often an epoch goes through it. Published factors are for all tasks or none: half of them would be
    nobody's."""
    if not isinstance(repeat, str):
        if lost := sorted(set(repeat) - set(names)):
            raise ConfigError(f"data.repeat: {', '.join(lost)} is no task; the tasks are {', '.join(names)}")
        return repeat
    known = REPEATS[repeat]
    if lost := [name for name in names if name not in known]:
        raise ConfigError(
            f"data.repeat: {repeat} has no factor for {', '.join(lost)}, only for {', '.join(known)}; name the tasks "
            f"so (--data {next(iter(known))}=PATH), or give factors (--set data.repeat.{lost[0]}=2)"
        )
    return known


def numbers(config: TrainConfig, first: int, rank: int, size: int) -> Iterator[list[int]]:
    """The sample numbers of each part of each step from step `first` on that are process `rank`'s of `size`.

    A step takes `batch` numbers in a row; its parts split these, and the processes the parts.
    """
    part = config.batch // config.accumulate
    own = part // size
    for step in range(first, config.steps):
        for index in range(config.accumulate):
            begin = step * config.batch + index * part + rank * own
            yield list(range(begin, begin + own))


def loader(samples: Samples, config: TrainConfig, first: int, team: Team, workers: int) -> Iterator[dict[str, Any]]:
    """Batches, in the order of `numbers`.

    Raises:
        MirdError: as a sample raised it, and not wrapped up in a worker's traceback; or a worker died.
    """
    made = DataLoader(
        _Told(samples),
        batch_sampler=_Lazy(config, first, team.rank, team.size),
        num_workers=workers,
        pin_memory=team.device.type == "cuda",
        collate_fn=_collate,
        worker_init_fn=alone,
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
    )
    for batch in alive(made, "out of memory? Lower run.workers or data.cache_mb, then --resume"):
        if isinstance(batch, MirdError):
            raise batch
        yield batch


class _Told(Dataset[dict[str, Any] | MirdError]):
    """Samples, or what a user has to be told instead."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, number: int) -> dict[str, Any] | MirdError:
        try:
            return self._samples[number]
        except MirdError as error:
            return error


def _collate(items: Sequence[Any]) -> Any:
    return next((item for item in items if isinstance(item, MirdError)), None) or collate(items)


class _Lazy:
    """`numbers`, for a loader: a million steps are not listed beforehand."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __iter__(self) -> Iterator[list[int]]:
        return numbers(*self._arguments)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tensors of one shape stacked, all else in lists; None where an item lacks what others have."""
    out: dict[str, Any] = {}
    for key in dict.fromkeys(key for item in items for key in item):
        values = [item.get(key) for item in items]
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        alike = len(tensors) == len(values) and len({tensor.shape for tensor in tensors}) == 1
        out[key] = torch.stack(tensors) if alike else values
    return out
