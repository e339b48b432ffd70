"""A sample is a function of its number: not of workers, processes, accumulation or where a run began."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from million_ird.config import merge, validate
from million_ird.errors import ConfigError, InputError
from million_ird.images import encode_png
from million_ird.train.batches import Samples, collate, loader, numbers
from million_ird.train.parallel import Team
from million_ird.train.settings import TrainConfig
from million_ird.train.tasks import tasks_of

Batch = dict[str, Any]


@pytest.fixture
def sources(clean: Path, paired: Path) -> list[str]:
    return [f"denoise={clean}", f"derain={paired}", f"dejpeg={clean}"]


def config(sources: list[str], **given: Any) -> TrainConfig:
    base = {"steps": 4, "batch": 6, "data": {"size": 16, "tasks": sources}}
    return validate(TrainConfig, merge(base, given))


def samples(settings: TrainConfig) -> Samples:
    return Samples(tasks_of(settings), settings)


def batches(settings: TrainConfig, first: int = 0, rank: int = 0, size: int = 1, workers: int = 0) -> list[Batch]:
    return list(loader(samples(settings), settings, first, Team(rank, size), workers))


def same(a: Batch, b: Batch) -> bool:
    """Whether two batches are bit-equal."""

    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor):
            return isinstance(y, torch.Tensor) and torch.equal(x, y)
        if isinstance(x, list):
            return len(x) == len(y) and all(map(equal, x, y))
        return bool(x == y)

    return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2])
def test_the_processes_share_out_every_number_of_every_step(accumulate: int, size: int) -> None:
    settings = TrainConfig(steps=7, batch=12, accumulate=accumulate)
    ranks = [list(numbers(settings, 3, rank, size)) for rank in range(size)]
    assert all(len(parts) == 4 * accumulate for parts in ranks)
    for step in range(3, 7):
        at = (step - 3) * accumulate
        together = [n for index in range(at, at + accumulate) for parts in ranks for n in parts[index]]
        assert together == list(range(12 * step, 12 * step + 12))


def test_the_batches_of_all_processes_together_are_the_batch_of_one(sources: list[str]) -> None:
    settings = config(sources)
    alone = batches(settings)
    ranks = [batches(settings, rank=rank, size=3) for rank in range(3)]
    assert len(alone) == len(ranks[0]) == 4
    for step, batch in enumerate(alone):
        parts = [rank[step] for rank in ranks]
        assert batch["number"] == [n for part in parts for n in part["number"]] == list(range(6 * step, 6 * step + 6))
        assert batch["id"] == [name for part in parts for name in part["id"]]
        for key in ("lq", "hq", "target"):
            assert torch.equal(batch[key], torch.cat([part[key] for part in parts]))


def test_parts_of_a_step_together_are_its_batch(sources: list[str]) -> None:
    whole, parts = batches(config(sources)), batches(config(sources, accumulate=2))
    for step, batch in enumerate(whole):
        assert torch.equal(batch["lq"], torch.cat([part["lq"] for part in parts[2 * step : 2 * step + 2]]))


def test_a_resumed_run_goes_on_with_the_very_samples_that_would_have_come(sources: list[str]) -> None:
    settings = config(sources, steps=6)
    unbroken = batches(settings)
    for first in (1, 4, 5):
        rest = batches(settings, first=first)
        assert len(rest) == 6 - first and all(map(same, rest, unbroken[first:]))
    assert batches(settings, first=6) == []


def test_workers_make_the_samples_that_one_process_makes(sources: list[str]) -> None:
    settings = config(sources)
    here, there = batches(settings), batches(settings, workers=2)
    assert len(here) == len(there) == 4 and all(map(same, here, there))


def test_another_seed_is_another_stream(sources: list[str]) -> None:
    first, second = batches(config(sources))[0], batches(config(sources, seed=1))[0]
    assert first["id"] != second["id"] and not torch.equal(first["lq"], second["lq"])


def test_a_sample_says_its_task_and_number_and_comes_to_workers_as_it_is(sources: list[str]) -> None:
    made = samples(config(sources))
    item = made[17]
    assert item["number"] == 17 and item["task"] == made.tasks[made.stream[17].task].name
    again = pickle.loads(pickle.dumps(made))[17]  # noqa: S301 (its own bytes)
    assert torch.equal(item["lq"], again["lq"]) and item["id"] == again["id"]


def test_an_epoch_holds_every_item_of_every_task_once(sources: list[str]) -> None:
    made = samples(config(sources))
    assert made.stream.epoch == 18
    seen: dict[str, list[tuple[int, int]]] = {}
    for place in (made.stream[n] for n in range(1024)):
        seen.setdefault(made.tasks[place.task].name, []).append((place.epoch, place.index))
    assert set(seen) == {"denoise", "derain", "dejpeg"}
    for items in seen.values():
        for number in range(len(items) // 6):
            assert sorted(items[6 * number : 6 * number + 6]) == [(number, index) for index in range(6)]


def counts(made: Samples, total: int = 1024) -> dict[str, int]:
    names = [made.tasks[made.stream[n].task].name for n in range(total)]
    return {name: names.count(name) for name in names}


def test_tasks_take_turns_by_their_sizes_and_how_often_they_are_repeated(sources: list[str]) -> None:
    assert set(counts(samples(config(sources))).values()) <= {341, 342}
    found = counts(samples(config(sources, data={"repeat": {"derain": 2.0}})))
    assert found["derain"] == 512 and found["denoise"] == found["dejpeg"] == 256


def test_the_published_factors_are_preset(clean: Path, paired: Path) -> None:
    tasks = [f"denoise={clean}", f"derain={paired}", f"dehaze={clean},limit=3"]
    settings = config(tasks, data={"repeat": "three"})
    made = samples(settings)
    weights = {"denoise": 9 * 6, "derain": 120 * 6, "dehaze": 3}
    assert made.stream.epoch == sum(weights.values())
    found = counts(made, 10 * 1024)
    assert all(abs(found[name] / 10240 - weights[name] / 777) < 3 / 10240 for name in weights)
    five = samples(config([*tasks, f"deblur={clean}", f"lowlight={clean}"], data={"repeat": "five"}))
    assert five.stream.epoch == 777 + 5 * 6 + 20 * 6


def test_factors_for_tasks_that_are_not_there_are_an_error(sources: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"data\.repeat: rain is no task; the tasks are denoise, derain, dejpeg"):
        samples(config(sources, data={"repeat": {"rain": 2.0}}))
    with pytest.raises(ConfigError, match=r"data\.repeat: three has no factor for dejpeg, only for derain, dehaze, "):
        samples(config(sources, data={"repeat": "three"}))


def test_a_task_is_not_disturbed_by_the_others(clean: Path, paired: Path) -> None:
    def stream(tasks: list[str]) -> list[tuple[str, int, bytes]]:
        made = samples(config(tasks))
        items = (made[n] for n in range(60))
        found = (
            (item["id"], item["view"], item["lq"].numpy().tobytes()) for item in items if item["task"] == "denoise"
        )
        return list(itertools.islice(found, 12))

    assert stream([f"denoise={clean}"]) == stream([f"derain={paired}", f"denoise={clean}"])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_one_line_that_names_it(tmp_path: Path, workers: int) -> None:
    (tmp_path / "good.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    (tmp_path / "bad.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"^bad\.jpg: unsupported") as caught:
        batches(config([f"denoise={tmp_path}"]), workers=workers)
    assert "\n" not in str(caught.value) and get_worker_info() is None


def test_tensors_of_one_shape_are_stacked_and_all_else_is_listed() -> None:
    items = [
        {"lq": torch.zeros(3, 2, 2), "kinds": torch.zeros(2), "id": "a", "only": torch.zeros(1)},
        {"lq": torch.ones(3, 2, 2), "kinds": torch.zeros(0), "id": "b"},
    ]
    out = collate(items)
    assert out["lq"].shape == (2, 3, 2, 2) and [len(kinds) for kinds in out["kinds"]] == [2, 0]
    assert out["id"] == ["a", "b"] and out["only"][1] is None and list(out) == ["lq", "kinds", "id", "only"]
