"""What is trained on: clean pictures that are degraded when they are asked for, and pairs.

A task is asked for item `index` of `epoch`, and gives the same sample whoever asks, and whenever.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from million_ird.degrade.dataset import DegradedDataset, cut, to_tensor
from million_ird.degrade.pictures import Pictures, Rows, parquet_in, pictures
from million_ird.degrade.recipe import Recipe, load
from million_ird.degrade.run import Degraded
from million_ird.errors import ConfigError, InputError
from million_ird.rng import rng_for
from million_ird.sources.layouts import LAYOUTS, Found, find, mismatched
from million_ird.train import rows
from million_ird.train.pictures import Cached, First, Named
from million_ird.train.presets import RECIPES
from million_ird.train.settings import TrainConfig

IGNORED = -100
"""Class of pixels that the segmentation loss passes over: without a label, with several, on a feathered border."""

PAIRED = ("lq", "hq")
"""Folders, or columns of tables, that make a source one of pairs."""

OPTIONS = {"recipe": "NAME", "split": "NAME", "limit": "N", "stream": "ROWS"}
"""What may follow a path, and what it takes."""


class Task(Protocol):
    """One named source of samples."""

    name: str
    counts: Sequence[int]
    """Items in each group of neighbours on disk."""
    recipe: Recipe | None
    """What clean pictures are degraded by; None: pairs."""

    def __call__(self, index: int, epoch: int) -> dict[str, Any]:
        """lq, hq: (3, S, S) float32 in [0, 1]; target: (S, S) int64, class of each pixel; kinds: (K,) float32, 1 for
        each class of `recipe` present; id: str; view: int."""
        ...

    def files(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of each file that it reads."""
        ...


def fingerprint(task: Task) -> str:
    """How many items, and a hash of the names and sizes of their files: other data are told, but nothing is read."""
    mark = hashlib.blake2b(digest_size=6)
    for name, size in task.files():
        mark.update(f"{name}\0{size}\n".encode())
    return f"{sum(task.counts)} items, {mark.hexdigest()}"


@dataclass(frozen=True)
class Spec:
    """One DATA of the command line."""

    name: str
    path: str
    layout: str | None
    options: dict[str, str]

    def number(self, key: str) -> int | None:
        """An option that is a number; None where it is not given."""
        return int(self.options[key]) if key in self.options else None


def parse(text: str) -> Spec:
    """`[task=][LAYOUT:]PATH[,recipe=NAME][,split=NAME][,limit=N][,stream=ROWS]`.

    limit takes the first N pictures; stream reads a dataset of the Hub as it comes, as if it had so many rows.

    Raises:
        ConfigError: an option of another name, or a number that is none.
    """
    head, *tail = text.split(",")
    options: dict[str, str] = {}
    for part in tail:
        key, equals, value = part.partition("=")
        if not equals or key not in OPTIONS:
            known = ", ".join(f"{name}={kind}" for name, kind in OPTIONS.items())
            raise ConfigError(f"--data {text}: {part!r} is no option; there are {known}")
        if key in ("limit", "stream") and not (value.isdecimal() and int(value)):
            raise ConfigError(f"--data {text}: {key}: expected a number of 1 or more, got {value!r}")
        options[key] = value
    name, equals, path = head.partition("=")
    if not equals or "/" in name:  # a path may hold an equals sign, a name no slash
        name, path = "", head
    layout, colon, rest = path.partition(":")
    if not colon or layout not in LAYOUTS:
        layout, rest = "", path
    return Spec(name or layout, os.path.expanduser(rest), layout or None, options)  # noqa: PTH111 (addresses, too)


def _cache(config: TrainConfig) -> int:
    """Bytes of decoded pictures that one task may keep."""
    return config.data.cache_mb * 1_000_000 // max(len(config.data.tasks), 1)


class Clean:
    """Clean pictures, degraded by a recipe."""

    def __init__(self, name: str, source: Pictures, recipe: str | Path | Recipe, config: TrainConfig) -> None:
        data = config.data
        cached = Cached(source, _cache(config))
        self._set = DegradedDataset(cached, recipe, data.size, config.seed, turns=data.turns)
        self.name, self.counts = name, cached.counts
        self.recipe: Recipe | None = self._set.pipe
        self._later = data.degrade == "device"
        self.files = cached.files

    def __call__(self, index: int, epoch: int) -> dict[str, Any]:
        if self._later:
            name, crop = self._set.crop(index, epoch)
            return {"hq": to_tensor(crop), "id": name, "view": epoch}
        name, out = self._set.named(index, epoch)
        return sample(out, name, epoch)


def sample(out: Degraded, name: str, view: int) -> dict[str, Any]:
    """A degraded crop as tensors."""
    kinds = len(out.classes)
    mask = out.mask.astype(np.int64)
    target = np.full(mask.shape, IGNORED, np.int64)
    for kind in range(kinds):
        target[mask == 1 << kind] = kind
    if out.ignore is not None:
        target[out.ignore] = IGNORED
    present = [float((mask >> kind & 1).any()) for kind in range(kinds)]
    return {
        "lq": to_tensor(out.lq),
        "hq": to_tensor(out.hq),
        "target": torch.from_numpy(target),
        "kinds": torch.tensor(present),
        "id": name,
        "view": view,
    }


class Paired:
    """Pairs of a degraded and a clean picture."""

    recipe: Recipe | None = None

    def __init__(self, name: str, lq: Pictures, hq: Pictures, config: TrainConfig) -> None:
        half = _cache(config) // 2
        self._lq, self._hq = Cached(lq, half), Cached(hq, half)
        self.name, self.counts = name, self._hq.counts
        self._size, self._turns, self._seed = config.data.size, config.data.turns, config.seed

    def files(self) -> Iterator[tuple[str, int]]:
        yield from self._lq.files()
        yield from self._hq.files()

    def __call__(self, index: int, epoch: int) -> dict[str, Any]:
        name, lq = self._lq[index]
        _, hq = self._hq[index]
        if lq.shape != hq.shape:
            raise InputError(
                f"{self.name}: {name}: the degraded picture is {lq.shape[:2]}, the clean one {hq.shape[:2]}"
            )
        rng = rng_for(self._seed, name, index, epoch, "crop")  # rows of one name have different crops
        lq, hq = cut([lq, hq], self._size, self._turns, rng)
        target = torch.full(lq.shape[:2], IGNORED, dtype=torch.int64)
        pair = {"lq": to_tensor(lq), "hq": to_tensor(hq), "target": target}
        return {**pair, "kinds": torch.zeros(0), "id": name, "view": epoch}


def tasks_of(config: TrainConfig, specs: Sequence[str] | None = None) -> list[Task]:
    """The tasks of a configuration, every source looked through.

    Args:
        config: whose.
        specs: which, to be looked at: a recipe of a task's name goes before `data.recipe`, and a benchmark's test
            split is meant; None = `data.tasks`.

    Raises:
        InputError: a source is missing or empty, or pairs are incomplete or of two sizes: all of them are named, before
            the first step.
        ConfigError: two tasks of one name, or clean pictures without a recipe.
    """
    looked_at = specs is not None
    specs = config.data.tasks if specs is None else specs
    if not specs:
        raise ConfigError("data: nothing to train on; name clean images or pairs (--data [task=]PATH)")
    out = [_task(parse(text), config, looked_at) for text in specs]
    names = [task.name for task in out]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data: two sources are called {', '.join(twice)}; give each a name (--data NAME=PATH)")
    return out


def _task(spec: Spec, config: TrainConfig, looked_at: bool) -> Task:
    name, limit = spec.name or Path(spec.path).name or "data", spec.number("limit")
    split = spec.options.get("split", "test" if looked_at and spec.layout else "train")
    lq, hq = _source(spec, split, config.seed)
    if limit is not None:
        lq, hq = lq and First(lq, limit), First(hq, limit)
    if not len(hq):
        raise InputError(f"{spec.path}: there is no picture in it")
    if lq is not None:
        return Paired(name, lq, hq, config)
    general, own = config.data.recipe, RECIPES.get(name)
    recipe = spec.options.get("recipe") or (own or general if looked_at else general or own)
    if recipe is None:
        known = ", ".join(RECIPES)
        raise ConfigError(
            f"data {name}={spec.path}: clean images need a recipe: --set data.recipe=NAME, {name}={spec.path},recipe="
            f"NAME, or a task that has its own: {known}"
        )
    return Clean(name, hq, load(recipe), config)


def _source(spec: Spec, split: str, seed: int) -> tuple[Pictures | None, Pictures]:
    """Degraded pictures, None where there are clean ones alone; and clean pictures."""
    path = Path(spec.path)
    if spec.layout or all((path / part).is_dir() for part in PAIRED):
        pairs = _found(spec, split).pairs
        names = [pair.name for pair in pairs]
        lq = [pair.degraded for pair in pairs if pair.degraded is not None]
        return Named(names, lq) if lq else None, Named(names, [pair.clean for pair in pairs])
    count = spec.number("stream")
    if count is not None and not spec.path.startswith(rows.HUB):
        raise ConfigError(f"--data {spec.path}: stream= is for datasets of the Hub ({rows.HUB}ORG/NAME)")
    if count is not None:
        return None, rows.Streamed(rows.opened(spec.path, split, streaming=True), spec.path, count, seed)
    if rows.loads(spec.path):
        table = rows.opened(spec.path, split)
        if set(PAIRED) <= set(table.column_names):
            return rows.Column(table, spec.path, "lq"), rows.Column(table, spec.path, "hq")
        return None, rows.Column(table, spec.path)
    parts = parquet_in(path)
    if parts and set(PAIRED) <= _columns(parts[0]):
        return Rows(parts, "lq"), Rows(parts, "hq")
    return None, pictures(spec.path)


def _found(spec: Spec, split: str) -> Found:
    found = find(spec.layout or "pairs", spec.path, split)
    if found.missing:
        raise InputError(f"{spec.path}: {len(found.missing)} pairs are incomplete: {_some(found.missing)}")
    if wrong := mismatched([pair for pair in found.pairs if pair.degraded is not None]):
        raise InputError(f"{spec.path}: {len(wrong)} pairs are of two sizes, or no images: {_some(wrong)}")
    return found


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more (see `mird data check`)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    return set(pq.read_schema(path).names)
