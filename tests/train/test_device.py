"""Batches degraded where the network is are what the workers would have made; and which device that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from million_ird.config import merge, validate
from million_ird.errors import ConfigError
from million_ird.train.batches import Samples, collate
from million_ird.train.device import Degrader
from million_ird.train.parallel import Team, team
from million_ird.train.settings import TrainConfig
from million_ird.train.tasks import IGNORED, tasks_of

CPU = torch.device("cpu")

REGIONS = """
name: regions
classes: [noise, uniform]
pipeline:
  - op: CutMix
    regions: [2, 3]
    untouched: 0.2
    feather: 3
    branches:
      - {op: GaussianNoise, sigma: 30}
      - {op: UniformNoise, label: uniform, amplitude: 40}
"""


def made(where: str, *tasks: str, **given: Any) -> dict[str, Any]:
    """A batch of twelve samples, degraded in workers ("cpu") or afterwards ("device")."""
    base = {"data": {"size": 32, "tasks": tasks, "degrade": where}}
    config = validate(TrainConfig, merge(base, given))
    samples = Samples(tasks_of(config), config)
    return Degrader(samples.tasks, config, CPU)(collate([samples[n] for n in range(12)]))


def test_noise_on_regions_is_the_workers_noise_but_for_their_rounding_to_8_bits(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(REGIONS)
    source = f"a={clean},recipe={tmp_path}/regions.yaml"
    here, there = made("cpu", source), made("device", source)
    assert here["id"] == there["id"] and torch.equal(here["hq"], there["hq"])
    assert (here["lq"] - there["lq"]).abs().max() <= 0.5 / 255 + 4e-5
    assert (here["lq"] - here["hq"]).abs().max() > 0.1
    assert torch.equal(here["target"], there["target"]) and there["target"].dtype == torch.int64
    assert set(there["target"].unique().tolist()) == {IGNORED, 0, 1}
    assert torch.equal(here["kinds"], there["kinds"]) and there["kinds"].dtype == torch.float32


@pytest.mark.parametrize(
    ("recipe", "most"), [("denoise", 4e-5), ("derain", 1e-3), ("dehaze", 1e-3), ("deblur", 1e-3), ("desnow", 1e-3)]
)
def test_every_recipe_comes_as_near_as_the_degradations_promise(clean: Path, recipe: str, most: float) -> None:
    here, there = made("cpu", f"{recipe}={clean}"), made("device", f"{recipe}={clean}")
    assert (here["lq"] - there["lq"]).abs().max() <= 0.5 / 255 + most + 1e-6
    assert torch.equal(here["target"], there["target"])


def test_jpeg_on_the_device_is_near(clean: Path) -> None:
    here, there = made("cpu", f"dejpeg={clean}"), made("device", f"dejpeg={clean}")
    errors = (here["lq"] - there["lq"]).square().mean(dim=(1, 2, 3))
    assert (-10 * errors.log10()).min() > 38


def test_an_op_that_only_the_cpu_knows_is_done_there(clean: Path, tmp_path: Path) -> None:
    from million_ird.degrade import tensor

    assert "Snow" not in tensor.NATIVE
    (tmp_path / "snow.yaml").write_text("name: snow\npipeline:\n  - {op: Snow}\n")
    source = f"a={clean},recipe={tmp_path}/snow.yaml"
    here, there = made("cpu", source), made("device", source)
    assert (here["lq"] - there["lq"]).abs().max() <= 0.5 / 255 + 1e-3 and not torch.equal(there["lq"], there["hq"])


def test_the_samples_of_several_tasks_are_each_degraded_by_their_own_recipe(clean: Path) -> None:
    tasks = (f"denoise={clean}", f"dehaze={clean}", f"mix={clean},recipe=mixed")
    here, there = made("cpu", *tasks), made("device", *tasks)
    assert len(set(there["task"])) == 3
    plain = [row for row, task in enumerate(there["task"]) if task != "mix"]
    assert (here["lq"][plain] - there["lq"][plain]).abs().max() <= 0.5 / 255 + 1e-3
    assert torch.equal(here["target"], there["target"])
    assert all(torch.equal(a, b) for a, b in zip(here["kinds"], there["kinds"], strict=True))
    assert [len(kinds) for kinds in there["kinds"]] == [5 if task == "mix" else 1 for task in there["task"]]


def test_a_sample_degraded_there_does_not_depend_on_its_batch(clean: Path) -> None:
    base = {"data": {"size": 32, "tasks": [f"denoise={clean}"], "degrade": "device"}}
    config = validate(TrainConfig, base)
    samples = Samples(tasks_of(config), config)
    degrade = Degrader(samples.tasks, config, CPU)
    together = degrade(collate([samples[n] for n in range(6)]))
    alone = degrade(collate([samples[4]]))
    assert torch.equal(together["lq"][4], alone["lq"][0])


def test_pairs_cannot_be_degraded_again(paired: Path) -> None:
    with pytest.raises(ConfigError, match=r"data derain: pairs are not degraded; set data\.degrade=cpu"):
        made("device", f"derain={paired}")


def test_what_workers_degraded_is_passed_on_as_it_is(clean: Path, paired: Path) -> None:
    batch = made("cpu", f"denoise={clean}", f"derain={paired}")
    assert batch["lq"].device == CPU and batch["target"].shape == (12, 32, 32)
    assert sorted(set(map(len, batch["kinds"]))) == [0, 1]


def test_one_process_is_a_team_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with team("cpu") as mates:
        assert mates == Team(0, 1, CPU) and mates.first
        mates.wait()
        assert mates.mean(torch.tensor([2.0])).item() == 2


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", ""])
def test_a_device_that_is_not_here_is_an_error_that_says_what_is(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.device .*: not here; here are: auto, .*cpu"), team(device):
        pass


def test_auto_is_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with team("auto") as mates:
        assert mates.device == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with team("auto") as mates:
        assert mates.device == torch.device("cuda", 2)
    with team("cuda:1") as mates:
        assert mates.device == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(ConfigError, match="cuda:3: not here"), team("auto"):
        pass
