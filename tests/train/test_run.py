"""A run: what it writes, that it goes on exactly where it was killed, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from million_ird import models
from million_ird.errors import ConfigError, InputError, MirdError, OutputError
from million_ird.train import loop
from million_ird.train.record import read
from million_ird.train.run import dry_run, train
from tests.train.runs import config, losses, photos, weights


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(photos(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data) -> Path:
    """An unbroken run of eight steps."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(config("dynet", "pretrain", [data], steps=8, validation__sets=[f"denoise={data}"], validation__every=4), out)
    return out


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_writes_what_the_interface_names(whole):
    assert yaml.safe_load((whole / "train.yaml").read_text())["steps"] == 8
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == ["step-0000006", "step-0000008"]
    names = {path.name for path in (whole / "checkpoints" / "step-0000008").iterdir()}
    assert names == {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"}
    assert (whole / "samples" / "step-0000008.png").is_file()
    assert len(read(whole, "step")) == 8
    assert isinstance(models.load(whole / "model"), torch.nn.Module)
    assert json.loads((whole / "summary.json").read_text())["status"] == "done"


def test_validation_scores_the_input_and_each_variant(whole):
    lines = read(whole, "validation")
    assert [line["step"] for line in lines] == [4, 8]
    assert {name for name in lines[0] if name.endswith("/psnr")} == {
        "denoise/input/psnr",
        "denoise/s/psnr",
        "denoise/l/psnr",
    }
    assert models.load(whole / "best") is not None


def test_nothing_is_pickled(whole):
    assert {path.suffix for path in (whole / "checkpoints").rglob("*") if path.is_file()} == {".safetensors", ".json"}


def test_a_run_killed_and_resumed_equals_an_unbroken_one_to_the_bit(tmp_path, data, whole):
    """Killed by SIGKILL between two checkpoints, in another process."""
    settings = config("dynet", "pretrain", [data], steps=8, validation__sets=[f"denoise={data}"], validation__every=4)
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    code = f"""
import os, signal
from million_ird.train.run import train
from million_ird.train.settings import TrainConfig
def tell(position, figures):
    if position.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
settings = TrainConfig.model_validate_json(open({str(tmp_path / "config.json")!r}).read())
train(settings, {str(tmp_path / "run")!r}, tell=tell)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "run" / "model").exists()
    outcome = train(settings, tmp_path / "run", resume=True)
    assert outcome.step == 8
    assert losses(tmp_path / "run") == losses(whole)
    assert same(weights(tmp_path / "run"), weights(whole))
    assert same(models.load(tmp_path / "run" / "model").state_dict(), models.load(whole / "model").state_dict())
    assert read(tmp_path / "run", "validation") == read(whole, "validation")


def test_a_damaged_checkpoint_is_told_and_the_one_before_goes_on(tmp_path, data):
    settings = config("dynet", "pretrain", [data], steps=6, save__every=2)

    def tell(position, figures):
        if position.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", tell=tell)
    last = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    (last / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(
        InputError, match=rf"is no safetensors file.*delete {re.escape(str(last))}, and the run goes on"
    ):
        train(settings, tmp_path / "run", resume=True)
    shutil.rmtree(last)
    assert train(settings, tmp_path / "run", resume=True).step == 6
    train(settings, tmp_path / "whole")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_other_numbers_of_workers_give_the_same_run(tmp_path, data, whole):
    settings = config(
        "dynet", "pretrain", [data], steps=8, validation__sets=[f"denoise={data}"], validation__every=4, run__workers=2
    )
    train(settings, tmp_path / "run")
    assert losses(tmp_path / "run") == losses(whole)


def test_parts_of_a_step_give_what_the_whole_gives(tmp_path, data):
    train(config("dynet", "pretrain", [data], optim__kind="adam"), tmp_path / "one")
    train(config("dynet", "pretrain", [data], optim__kind="adam", accumulate=2), tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4


def test_sigterm_ends_a_run_with_a_checkpoint_that_resumes(tmp_path, data):
    settings = config("dynet", "pretrain", [data], steps=6, save__every=100)

    def tell(position, figures):
        if position.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = train(settings, tmp_path / "run", tell=tell)
    assert (stopped.status, stopped.step) == ("stopped", 3)
    assert train(settings, tmp_path / "run", resume=True).status == "done"
    train(settings, tmp_path / "whole")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_to_the_whole_group_does_so_with_workers_too(tmp_path, data):
    """As SLURM and systemd send it."""
    settings = config("dynet", "pretrain", [data], steps=400, save__every=1000, run__workers=1)
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, signal
from million_ird.train.run import train
from million_ird.train.settings import TrainConfig

def tell(position, figures):
    if position.step == 2:
        os.killpg(0, signal.SIGTERM)

if __name__ == "__main__":
    settings = TrainConfig.model_validate_json(open({str(tmp_path / "config.json")!r}).read())
    outcome = train(settings, {str(tmp_path / "run")!r}, tell=tell)
    print(outcome.status, outcome.step)
""")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 0, done.stderr
    status, step = done.stdout.split()  # the signal may come while the next step is on
    assert (status, step in "23") == ("stopped", True)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-000000{step}"]


def test_resuming_a_finished_run_says_what_it_said(tmp_path, data):
    settings = config("dynet", "pretrain", [data], validation__sets=[f"denoise={data}"])
    first = train(settings, tmp_path / "run")
    assert train(settings, tmp_path / "run", resume=True) == first


def test_the_time_that_was_given_ends_a_run(tmp_path, data):
    outcome = train(config("dynet", "pretrain", [data], run__minutes=1e-6), tmp_path / "run")
    assert (outcome.status, outcome.step) == ("stopped", 1)


def test_another_configuration_is_refused_with_the_difference(whole, data):
    settings = config("dynet", "pretrain", [data], steps=9, seed=3)
    with pytest.raises(OutputError, match=r"seed: 0 -> 3; steps: 8 -> 9"):
        train(settings, whole, resume=True)


def test_how_the_work_is_done_may_change_on_resume(tmp_path, data):
    train(config("dynet", "pretrain", [data]), tmp_path / "run")
    assert train(config("dynet", "pretrain", [data], run__workers=1, log__every=2), tmp_path / "run", resume=True)


def test_other_data_is_refused_on_resume(tmp_path):
    folder = photos(tmp_path / "photos")
    train(config("dynet", "pretrain", [str(folder)]), tmp_path / "run")
    first = folder / "0.png"
    first.write_bytes((folder / "1.png").read_bytes() + b"other")
    with pytest.raises(OutputError, match=r"\(photos: 4 items, (\w+) -> 4 items, (?!\1)\w+\); put them back"):
        train(config("dynet", "pretrain", [str(folder)]), tmp_path / "run", resume=True)
    first.unlink()
    with pytest.raises(OutputError, match=r"photos: 4 items, \w+ -> 3 items, \w+"):
        train(config("dynet", "pretrain", [str(folder)]), tmp_path / "run", resume=True)


def test_a_folder_with_a_run_is_not_written_over(whole, data):
    with pytest.raises(OutputError, match="--resume goes on with it, --fresh begins anew"):
        train(config("dynet", "pretrain", [data]), whole)


def test_resume_and_fresh_contradict(whole, data):
    with pytest.raises(ConfigError, match="one begins anew, the other goes on"):
        train(config("dynet", "pretrain", [data]), whole, resume=True, fresh=True)
    assert (whole / "model").is_dir()


def test_init_of_another_kind_or_size_is_refused(tmp_path, data, whole):
    given = {"init": str(whole), "steps": 1}
    with pytest.raises(ConfigError, match=r"model: --init .* holds a dynet, no promptir"):
        train(config("dynet", "finetune", [f"denoise={data}"], model="promptir", sizes={}, **given), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"sizes: .* dim is 8, not 16; leave sizes out"):
        train(config("dynet", "finetune", [f"denoise={data}"], sizes={"dim": 16}, **given), tmp_path / "run")
    assert not (tmp_path / "run" / "train.yaml").exists()


def test_a_worker_that_is_killed_ends_the_run_in_one_line(tmp_path, data):
    import multiprocessing

    def tell(position, figures):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(MirdError, match=r"DataLoader worker died .* Lower run.workers"):
        train(config("dynet", "pretrain", [data], steps=50, run__workers=1), tmp_path / "run", tell=tell)


def test_resume_without_a_run_says_so(tmp_path, data):
    with pytest.raises(OutputError, match="holds no run to resume"):
        train(config("dynet", "pretrain", [data]), tmp_path, resume=True)


def test_a_step_without_finite_numbers_is_skipped_and_written_down(tmp_path, data, monkeypatch):
    real, calls = loop._gradients, []

    def poisoned(job, *rest):
        figures, ids, waited = real(job, *rest)
        calls.append(ids)
        return ({**figures, "loss": float("nan")} if len(calls) == 2 else figures), ids, waited

    monkeypatch.setattr(loop, "_gradients", poisoned)
    train(config("dynet", "pretrain", [data]), tmp_path / "run")
    (line,) = read(tmp_path / "run", "skipped")
    assert line["samples"] == calls[1]
    state = json.loads((tmp_path / "run" / "checkpoints" / "step-0000004" / "state.json").read_text())
    assert (state["skipped"], state["bad"], state["updates"], state["step"]) == (1, 0, 3, 4)


def test_several_such_steps_end_the_run_and_the_last_good_checkpoint_stays(tmp_path, data, monkeypatch):
    real = loop._gradients

    def poisoned(job, *rest):
        figures, ids, waited = real(job, *rest)
        return ({**figures, "loss": float("inf")} if job.state.position.step >= 2 else figures), ids, waited

    monkeypatch.setattr(loop, "_gradients", poisoned)
    with pytest.raises(MirdError, match=r"2 steps in a row gave no finite numbers.*step-0000002 is the last good one"):
        train(config("dynet", "pretrain", [data], steps=9, bad_steps=2, save__every=2), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000002"]


def test_init_begins_with_the_weights_of_a_run(tmp_path, data, whole):
    settings = config(
        "dynet", "finetune", [f"denoise={data}"], init=str(whole), steps=1, optim__lr=1e-12, optim__floor=0.0, ema=0.0
    )
    train(settings, tmp_path / "run")
    begun, given = weights(tmp_path / "run"), models.load(whole / "model").state_dict()
    assert max(float((begun[name] - given[name]).abs().max()) for name in given) < 1e-9


def test_a_missing_init_is_named(tmp_path, data):
    with pytest.raises(InputError, match="nowhere"):
        train(config("dynet", "finetune", [f"denoise={data}"], init=str(tmp_path / "nowhere")), tmp_path / "run")


def test_clean_images_without_a_recipe_are_refused_before_the_first_step(tmp_path, data):
    with pytest.raises(ConfigError, match="clean images need a recipe"):
        train(config("dynet", "finetune", [data]), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_dry_run_estimates_and_writes_nothing(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = dry_run(config("dynet", "pretrain", [data], steps=10))
    net = models.create("dynet-tiny", **config("dynet", "pretrain", [data]).sizes)
    assert found.parameters == found.learning == sum(tensor.numel() for tensor in net.parameters())
    assert found.samples == 4
    assert found.epoch_steps == 1
    assert set(found.gflops) == {"s", "l"}
    assert found.gflops["l"] > found.gflops["s"] > 0
    assert found.hours == pytest.approx(10 * 4 / found.images_per_s / 3600)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_eight_pairs_can_be_learnt_by_heart(tmp_path):
    """More than 35 dB on the very pairs it was trained on."""
    for part, seed in (("hq", 1), ("lq", 1)):
        photos(tmp_path / "pairs" / part, count=8, size=16, seed=seed)
    for path in (tmp_path / "pairs" / "lq").iterdir():
        import cv2

        cv2.imwrite(str(path), cv2.imread(str(path)) // 2 + 40)
    settings = config(
        "dynet",
        "finetune",
        [f"dim={tmp_path / 'pairs'}"],
        steps=260,
        batch=8,
        save__every=1000,
        data__turns=False,
        optim__lr=4e-3,
        optim__decay=0.0,
        ema=0.9,
        dynet__variants={"s": 1.0},
        validation__sets=[f"dim={tmp_path / 'pairs'}"],
        validation__size=16,
        validation__every=1000,
    )
    train(settings, tmp_path / "run")
    (line,) = read(tmp_path / "run", "validation")
    assert line["dim/input/psnr"] < 20
    assert line["dim/s/psnr"] > 35


@pytest.mark.slow
@pytest.mark.parametrize(("family", "stage"), [("dynet", "pretrain"), ("abair", "pretrain"), ("abair", "adapt")])
def test_two_processes_do_what_one_does(tmp_path, data, family, stage):
    """torchrun on the CPU: the same samples in a step, so the same losses and weights, but for rounding."""
    given: dict[str, Any] = {"steps": 3, "optim__kind": "adam"}
    tasks = [data]
    if stage == "adapt":
        train(config("abair", "pretrain", tasks, steps=1), tmp_path / "base")
        given |= {"init": str(tmp_path / "base"), "task": "denoise"}
        tasks = [f"denoise={data}"]
    settings = config(family, stage, tasks, **given)
    train(settings, tmp_path / "one")
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    script = tmp_path / "two.py"
    script.write_text(f"""
from million_ird.train.run import train
from million_ird.train.settings import TrainConfig
settings = TrainConfig.model_validate_json(open({str(tmp_path / "config.json")!r}).read())
train(settings, {str(tmp_path / "two")!r})
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    if stage == "adapt":
        files = (next((tmp_path / name / "model").rglob("adapter*.safetensors")) for name in ("one", "two"))
        one, two = (load_file(path) for path in files)
    else:
        one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one and max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    assert "stride" not in done.stderr, done.stderr[-3000:]


def test_only_matrices_and_kernels_decay(tmp_path, data):
    """With a rate of nearly nothing but decay, norms and temperatures stay what they are."""
    settings = config("dynet", "pretrain", [data], steps=2, optim__kind="adamw", optim__decay=10.0, optim__clip=1e-12)
    train(settings, tmp_path / "run")
    for name, tensor in weights(tmp_path / "run").items():
        if "norm" in name and name.endswith("weight"):
            assert float((tensor - 1).abs().max()) < 5e-3, name
        if name.endswith("temperature"):
            assert float((tensor - 1).abs().max()) < 5e-3, name
