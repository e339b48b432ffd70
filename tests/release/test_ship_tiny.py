"""`scripts/ship_tiny.py`: weights, configurations and logs go into the package, and those before stay told of."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import yaml

from million_ird import models

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("ship_tiny", ROOT / "scripts" / "ship_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TINY", tmp_path / "tiny")
    return module


def run(folder, init, loss):
    models.create("dynet-tiny", dim=8, heads=(1, 2, 2, 4)).save_pretrained(folder / "model")
    data = {"tasks": ["clic=/somewhere/clic"], "recipe": "/somewhere/recipe.yaml"}
    (folder / "train.yaml").write_text(yaml.safe_dump({"init": init, "data": data}))
    line = {"kind": "step", "variant": "l", "loss": loss, "lr": 0.1, "gradient_norm": 1.0}
    (folder / "metrics.jsonl").write_text("".join(json.dumps({**line, "step": n}) + "\n" for n in range(1, 51)))
    return folder


def told(script):
    configs = json.loads((script.TINY / "train.json").read_text())
    lines = [json.loads(line) for line in (script.TINY / "metrics.jsonl").read_text().splitlines()]
    return [one["init"] for one in configs], [(line["run"], line["loss"]) for line in lines], configs


def test_runs_that_began_with_what_ships_are_told_after_those_before(script, tmp_path):
    script.main([run(tmp_path / "first", "", 1.0), run(tmp_path / "second", "/somewhere/first", 2.0)])
    assert told(script)[:2] == (["", "first"], [(0, 1.0), (1, 2.0)])
    script.main([run(tmp_path / "third", "tiny", 3.0)])
    inits, losses, configs = told(script)
    assert (inits, losses) == (["", "first", "tiny"], [(0, 1.0), (1, 2.0), (2, 3.0)])
    assert "somewhere" not in json.dumps(configs) and configs[2]["data"]["recipe"] == "recipe.yaml"
    script.main([run(tmp_path / "anew", "", 4.0)])
    assert told(script)[:2] == ([""], [(0, 4.0)])


def test_with_a_share_the_weights_are_the_mean_of_the_last_run_and_of_what_it_began_with(script, tmp_path):
    torch.manual_seed(0)
    first, second = run(tmp_path / "first", "", 1.0), run(tmp_path / "second", "first", 2.0)
    third = run(tmp_path / "third", "tiny", 3.0)
    script.main([first, second], share=0.25)
    shipped, before, after = (weights(folder) for folder in (script.TINY, first / "model", second / "model"))
    assert all(torch.allclose(shipped[k], 0.75 * before[k] + 0.25 * after[k], atol=1e-6) for k in shipped)
    assert any(not torch.equal(before[k], after[k]) for k in shipped)
    script.main([third], share=0.5)  # what ships is what it began with
    again, after = weights(script.TINY), weights(third / "model")
    assert all(torch.allclose(again[k], (shipped[k] + after[k]) / 2, atol=1e-6) for k in again)
    assert [one.get("share") for one in told(script)[2]] == [None, 0.25, 0.5]


def weights(folder):
    return models.load(folder).state_dict()
