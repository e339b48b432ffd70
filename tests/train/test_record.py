"""metrics.jsonl is cut at the checkpoint and bears a kill; TensorBoard and the services get the same figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from million_ird.errors import ConfigError
from million_ird.train.record import METRICS, Record, read
from million_ird.train.settings import Log, TrainConfig


def config(**log: Any) -> TrainConfig:
    return TrainConfig(log=Log(**{"tensorboard": False, **log}))


def written(out: Path, steps: range, first: int, **log: Any) -> None:
    record = Record(out, config(**log), first)
    for step in steps:
        record("step", step, loss=step / 8, lr=0.5, variant="s")
    record.close()


def scalars(out: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: name -> step -> value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(str(out / "tensorboard"))
    seen.Reload()
    return {name: {event.step: event.value for event in seen.Scalars(name)} for name in seen.Tags()["scalars"]}


def test_a_line_is_a_kind_a_step_and_figures(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4), 0)
    record = Record(tmp_path, config(), 3)
    record("validation", 3, **{"rain/psnr": 30.5})
    assert read(tmp_path)[0] == {"kind": "step", "step": 1, "loss": 0.125, "lr": 0.5, "variant": "s"}
    assert read(tmp_path, "validation") == [{"kind": "validation", "step": 3, "rain/psnr": 30.5}]
    assert [line["step"] for line in read(tmp_path, "step")] == [1, 2, 3]


def test_on_resume_the_lines_after_the_checkpoint_are_gone_and_the_others_stay(tmp_path: Path) -> None:
    written(tmp_path, range(1, 8), 0)
    before = (tmp_path / METRICS).read_text().splitlines()
    written(tmp_path, range(6, 10), 5)
    after = (tmp_path / METRICS).read_text().splitlines()
    assert after[:5] == before[:5]
    assert [json.loads(line)["step"] for line in after] == list(range(1, 10))


def test_half_a_last_line_of_a_killed_run_is_passed_over_and_removed(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4), 0)
    path = tmp_path / METRICS
    whole = path.read_bytes()
    for length in (1, 10, len(whole.splitlines()[-1]) - 1):
        path.write_bytes(whole + whole.splitlines()[-1][:length])
        assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]
        written(tmp_path, range(4, 5), 3)
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_a_run_that_begins_anew_keeps_no_lines_of_the_last_one(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4), 0)
    written(tmp_path, range(1, 3), 0)
    assert [line["step"] for line in read(tmp_path)] == [1, 2]


def test_without_a_file_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read(tmp_path) == []


def test_numbers_that_are_not_finite_leave_the_file_json(tmp_path: Path) -> None:
    record = Record(tmp_path, config(), 0)
    record("step", 1, loss=float("nan"), gradient_norm=float("inf"), lr=0.5)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (line,) = (tmp_path / METRICS).read_text().splitlines()
    assert json.loads(line, parse_constant=refuse) == {
        "kind": "step",
        "step": 1,
        "loss": None,
        "gradient_norm": None,
        "lr": 0.5,
    }


def test_tensorboard_gets_the_numbers_and_a_resume_hides_what_comes_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    written(tmp_path, range(1, 8), 0, tensorboard=True)
    written(tmp_path, range(6, 10), 5, tensorboard=True)
    found = scalars(tmp_path)
    assert set(found) == {"step/loss", "step/loss/s", "step/lr"}
    assert found["step/loss"] == {step: step / 8 for step in range(1, 10)}


def test_a_killed_runs_events_after_the_checkpoint_are_hidden(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    written(tmp_path, range(1, 8), 0, tensorboard=True)
    written(tmp_path, range(6, 7), 5, tensorboard=True)
    assert sorted(scalars(tmp_path)["step/loss"]) == [1, 2, 3, 4, 5, 6]


def test_tensorboard_that_is_not_there_says_how_to_get_it_or_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install tensorboard, or --set log\.tensorboard=false"):
        Record(tmp_path, config(tensorboard=True), 0)


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_service_that_is_not_installed_says_how_to_get_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"log\.{package}: {package} is not installed: pip install {package}"):
        Record(tmp_path, config(**{package: "project"}), 0)


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_resumed_run_goes_on_as_the_same_run_of_a_service(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        init=lambda **options: begun.append(options), log=lambda figures, step: None, finish=lambda: None
    )
    monkeypatch.setitem(sys.modules, package, fake)
    for folder, first in (("run", 0), ("run", 2), ("other", 0)):
        (tmp_path / folder).mkdir(exist_ok=True)
        written(tmp_path / folder, range(first + 1, first + 3), first, **{package: "restoration"})
    anew, resumed, other = begun
    assert resumed["resume"] == "allow" and anew["name"] == resumed["name"] == "run"
    if package == "wandb":
        assert anew["id"] == resumed["id"] != other["id"]
    else:
        assert anew["resume"] == other["resume"] == "never" and "id" not in anew


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_service_is_told_the_configuration_and_the_figures(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    fake = SimpleNamespace(
        init=lambda **options: calls.append(options),
        log=lambda figures, step: calls.append((step, figures)),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, package, fake)
    written(tmp_path, range(1, 3), 0, **{package: "restoration"})
    begun, *rest = calls
    assert (begun["project"], begun["name"], begun["config"]["batch"]) == ("restoration", tmp_path.name, 8)
    assert rest == [
        *[(step, {"step/loss": step / 8, "step/lr": 0.5, "step/loss/s": step / 8}) for step in (1, 2)],
        "finished",
    ]
