"""`mird train`: its options, what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli import calls
from tests.train.runs import DYNET, SMALL, losses, photos


def mird(*words: str, **options) -> subprocess.CompletedProcess:
    return calls.mird("train", *words, **options)


def sets(**over) -> list[str]:
    given = SMALL | {"model": "dynet-tiny", "sizes": DYNET} | over
    return [part for name, value in given.items() for part in ("--set", f"{name}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(photos(tmp_path_factory.mktemp("photos")))


@pytest.mark.slow
def test_a_run_resumes_and_prints_what_came_of_it(tmp_path, data):
    out = str(tmp_path / "run")
    words = ["dynet", "--data", data, "--out", out, "--validate", f"denoise={data}"]
    first = mird(*words, *sets(**{"run.minutes": 1e-6}))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("stopped after 1 steps")
    again = mird(*words, *sets())
    assert (again.returncode, "--resume goes on with it" in again.stderr) == (1, True)
    done = mird(*words, *sets(), "--resume", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["step"], told["model"]) == ("done", 4, f"{out}/model")
    assert "train: 4 of 4" in done.stderr


@pytest.mark.slow
def test_fresh_deletes_a_run_but_nothing_else(tmp_path, data):
    out = tmp_path / "run"
    assert mird("dynet", "--data", data, "--out", str(out), *sets(steps=1)).returncode == 0
    assert mird("dynet", "--data", data, "--out", str(out), *sets(steps=1), "--fresh").returncode == 0
    kept = (out / "checkpoints" / "step-0000001" / "state.json").read_bytes()
    assert mird("dynet", "--data", "nowhere", "--out", str(out), *sets(steps=1), "--fresh").returncode == 2
    assert (out / "checkpoints" / "step-0000001" / "state.json").read_bytes() == kept
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    done = mird("dynet", "--data", data, "--out", str(tmp_path / "mine"), *sets(steps=1), "--fresh")
    assert (done.returncode, "holds no run of mird train" in done.stderr) == (1, True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


@pytest.mark.slow
def test_a_run_goes_on_and_is_repeated_from_its_own_configuration(tmp_path, data):
    out, again = tmp_path / "run", tmp_path / "again"
    words = ["dynet", "--stage", "finetune", "--data", f"denoise={data}", "--seed", "0"]
    stopped = mird(*words, "--out", str(out), *sets(seed=3), "--set", "run.minutes=1e-6")
    assert "--resume goes on" in stopped.stdout
    assert (again_said := mird("dynet", "--out", str(out), "--resume", "--set", "run.minutes=null")).returncode == 0
    assert again_said.stdout.startswith("done after 4 steps")
    repeated = mird("dynet", "--config", str(out / "train.yaml"), "--out", str(again), "--set", "run.minutes=null")
    assert repeated.returncode == 0, repeated.stderr
    first, second = (yaml.safe_load((folder / "train.yaml").read_text()) for folder in (out, again))
    assert first == second
    assert (first["stage"], first["seed"]) == ("finetune", 0)
    assert losses(out) == losses(again)


def test_a_dry_run_prints_what_is_to_be_expected(data):
    done = mird("dynet", "--data", data, "--dry-run", *sets())
    assert done.returncode == 0, done.stderr
    for word in ("parameters", "an epoch is 1 steps of 4", "GFLOPs s", "images/s", "h for 4 steps", "memory"):
        assert word in done.stdout


def test_a_phase_of_abair_runs(tmp_path, data):
    sizes = {"dim": 8, "depths": [1, 1, 1, 1], "refinement": 1, "prompt_sizes": [4, 2, 2], "window": 4}
    done = mird(
        "abair", "--phase", "pretrain", "--data", data, "--out", str(tmp_path / "run"),
        *sets(model="abair-tiny", sizes=sizes, steps=1),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["dynet", "--data", "nowhere", "--out", "run"], "nowhere"),
        (["dynet", "--data", "DATA"], "--out: name the folder of the run"),
        (["dynet", "--data", "DATA", "--out", "run", "--set", "optim.rate=1"], "optim.rate: unknown key"),
        (
            ["dynet", "--data", "DATA", "--out", "run", "--set", "batch=3", "--set", "accumulate=2"],
            "accumulate: batch 3 does not",
        ),
        (["abair", "--phase", "adapt", "--data", "DATA", "--out", "run"], "task: the adapter needs a name"),
        (["abair", "--phase", "estimate", "--data", "DATA", "--out", "run"], "init: estimate needs a trained base"),
    ],
)
def test_mistakes_are_named_in_one_line_before_anything_is_written(tmp_path, data, words, named):
    done = mird(*[data if word == "DATA" else word for word in words], cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (Path(tmp_path) / "run" / "train.yaml").exists()
