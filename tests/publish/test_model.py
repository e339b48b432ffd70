"""`mird publish model`: a network goes up with its card, and `models.load` has it from there."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import yaml

from million_ird import publish
from million_ird.errors import ConfigError, InputError
from million_ird.publish.networks import write_card
from million_ird.publish.outcome import Unfit

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")
REPO = "org/net"
TABLE = {
    "million_ird": "0.1.0",
    "model": "/home/ann/run/model",
    "protocol": {"name": "strict", "about": "whole pictures, 8-bit output"},
    "metrics": ["psnr", "ssim"],
    "sets": [
        {
            "name": "kodak24, sigma 25",
            "images": 24,
            "mean": {"output": {"psnr": 31.25, "ssim": 0.87654}, "input": {"psnr": 20.2, "ssim": 0.4}},
            "warnings": ["3 pictures were trained on"],
        },
        {
            "name": "clean",
            "images": 2,
            "mean": {"output": {"psnr": "inf", "ssim": 1.0}, "input": {"psnr": None, "ssim": 1}},
        },
    ],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run, with a network, data and an evaluation."""
    from million_ird import models

    out = tmp_path / "run"
    shutil.copytree(models.weights.TINY, out / "model")
    for name in ("metrics.jsonl", "train.json"):
        (out / "model" / name).unlink()
    data = tmp_path / "rain"
    for part in ("lq", "hq"):
        (data / part).mkdir(parents=True)
        (data / part / "1.png").write_bytes(b"x")
    config = {
        "model": "dynet-tiny",
        "family": "dynet",
        "stage": "pretrain",
        "steps": 500,
        "batch": 8,
        "seed": 3,
        "data": {"tasks": [f"rain={data}", f"noise={tmp_path}/gone,recipe=denoise"], "recipe": "", "size": 64},
        "run": {"workers": 3},
    }
    (out / "train.yaml").write_text(yaml.safe_dump(config))
    (out / "summary.json").write_text(json.dumps({"status": "done", "step": 500}))
    (tmp_path / "table.json").write_text(json.dumps(TABLE))
    return out


def test_a_network_comes_back_from_the_hub_as_it_went(hub, run):
    from million_ird import models

    done = publish.model(run, REPO)
    assert done.private and hub.repos[f"models/{REPO}"].private and done.address == f"{hub.endpoint}/{REPO}"
    here, there = models.load(run / "model"), models.load(REPO)
    assert there.variant == here.variant
    assert all(torch.equal(a, b) for a, b in zip(here.state_dict().values(), there.state_dict().values(), strict=True))
    again = publish.model(run / "model", REPO)
    assert not again.changed and again.commit == done.commit


def test_the_card_of_a_network_tells_what_made_it_and_how_it_did(hub, run, tmp_path):
    from huggingface_hub import ModelCard

    publish.model(run, REPO, evals=[tmp_path / "table.json"], licence="apache-2.0")
    files = hub.repos[f"models/{REPO}"].files
    text = files["README.md"].decode()
    card = ModelCard(text)
    card.validate()
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert found["kodak24, sigma 25", "psnr"] == 31.25 and ("clean", "psnr") not in found
    assert all(math.isfinite(value) for value in found.values())
    assert card.data.license == "apache-2.0" and card.data.pipeline_tag == "image-to-image"
    assert "arxiv:2404.02154" in card.data.tags
    for words in (
        "31.25 (20.2)",
        "inf (-)",
        "Protocol `strict`",
        "3 pictures were trained on",
        f'models.load("{REPO}")',
    ):
        assert words in text
    for words in ("500 of 500 steps", '`net.variant = "l"`', "| `rain` | rain | pairs | 1 |", "not here any more"):
        assert words in text
    named = yaml.safe_load(files["train.yaml"])
    assert named["data"]["tasks"] == ["rain=rain", "noise=gone,recipe=denoise"] and "run" not in named
    assert str(tmp_path).encode() not in b"".join(files.values())


def test_data_that_changed_has_another_hash_on_the_card(run, tmp_path):
    def hashes() -> list[str]:
        text = write_card(run).read_text()
        return [line for line in text.splitlines() if "names and sizes sha256:" in line]

    first = hashes()
    assert len(first) == 1 and hashes() == first
    (tmp_path / "rain" / "lq" / "1.png").write_bytes(b"longer")
    assert hashes() != first


def test_data_that_was_built_is_named_by_what_was_decided(run, licensed):
    config = yaml.safe_load((run / "train.yaml").read_text())
    config["data"]["tasks"] = [f"denoise={licensed}"]
    (run / "train.yaml").write_text(yaml.safe_dump(config))
    text = write_card(run).read_text()
    assert "| `denoise` | out | `mird build`, configuration `" in text and "decisions sha256:" in text


def test_a_card_without_a_run_says_that_nothing_is_known(run):
    bare = Path(shutil.copytree(run / "model", run.parent / "alone"))
    text = write_card(bare).read_text()
    assert "published without the run that made them" in text and "Not evaluated by `mird eval` yet" in text


def test_a_dry_run_of_a_network_writes_and_asks_nothing(hub, run):
    before = sorted(path for path in run.rglob("*"))
    found = publish.model(run, REPO, dry_run=True)
    assert sorted(path for path in run.rglob("*")) == before and not hub.requests
    assert set(found.files) == {"README.md", "config.json", "model.safetensors", "train.yaml"}


def test_what_is_no_network_or_no_evaluation_is_said(run, tmp_path):
    with pytest.raises(InputError, match=r"holds no network \(config.json is missing\)"):
        publish.model(tmp_path, REPO)
    with pytest.raises(ConfigError, match=r"--eval .*: is no table of `mird eval`"):
        publish.model(run, REPO, evals=[run / "summary.json"])
    with pytest.raises(ConfigError, match=r"--eval .*cannot be read"):
        publish.model(run, REPO, evals=[run / "none.json"])
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(InputError, match="is no safetensors file"):
        publish.model(run, REPO)
    weights.unlink()
    with pytest.raises(InputError, match="holds no weights"):
        publish.model(run, REPO)


def test_a_path_of_this_machine_beside_a_network_is_refused(hub, run):
    (run / "model" / "notes.json").write_text('{"trained on": "/home/ann/photos"}')
    with pytest.raises(Unfit, match=r"notes.json: holds a path of this machine: /home/ann"):
        publish.model(run, REPO)
    assert not hub.requests
