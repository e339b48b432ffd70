"""DyNet's training: one variant for each step, what joint training saves; and other networks in the same loop."""

from __future__ import annotations

import pytest
import torch

from million_ird import models
from million_ird.errors import ConfigError
from million_ird.train import cost
from million_ird.train.dynet import DyNetTraining, as_variant
from million_ird.train.record import read
from million_ird.train.run import train
from tests.train.runs import DYNET, config, photos


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(photos(tmp_path_factory.mktemp("photos")))


def stage(data: str, **variants: float) -> DyNetTraining:
    given = {"dynet__variants": variants} if variants else {}
    return DyNetTraining(config("dynet", "pretrain", [data], **given), torch.device("cpu"))


def test_variants_are_drawn_by_their_shares_and_by_the_step_alone(data):
    one, other = stage(data, s=0.25, l=0.75), stage(data, s=0.25, l=0.75)
    drawn = [one.variant(step) for step in range(2000)]
    assert drawn.count("s") == pytest.approx(500, abs=60)
    assert drawn[::-1] == [other.variant(step) for step in reversed(range(2000))]


def test_one_variant_alone_can_be_trained(data):
    alone = stage(data, l=1.0)
    assert {alone.variant(step) for step in range(50)} == {"l"}


def test_the_variant_of_a_step_is_what_runs(data):
    net = models.create("dynet-tiny", **DYNET)
    figures = [stage(data).begin(net, step)["variant"] for step in range(8)]
    assert set(figures) == {"s", "l"}
    for step, name in enumerate(figures):
        stage(data).begin(net, step)
        assert net.variant == name


def test_each_step_is_written_down_with_its_variant_loss_and_gradient(tmp_path, data):
    outcome = train(config("dynet", "pretrain", [data], steps=6), tmp_path / "run")
    lines = read(tmp_path / "run", "step")
    assert all(line["variant"] in "sl" and line["loss"] > 0 and line["gradient_norm"] > 0 for line in lines)
    counts = {name: [line["variant"] for line in lines].count(name) for name in ("s", "l")}
    assert outcome.figures["steps_by_variant"] == {name: count for name, count in counts.items() if count}


def test_joint_training_of_two_variants_saves_half(tmp_path, data):
    """Half of the FLOPs of two sessions of as many steps each, whatever the variants cost."""
    outcome = train(config("dynet", "pretrain", [data], steps=6), tmp_path / "run")
    assert outcome.figures["cost"]["saved"] == pytest.approx(0.5)
    found = cost.joint({"s": 1.0, "l": 3.0}, {"s": 0.25, "l": 0.75}, {"s": [1, 1], "l": [2, 2, 9]})
    assert found["gflops_joint"] == 2.5
    assert found["saved"] == pytest.approx(1 - 2.5 / 4)
    assert found["saved_seconds"] == pytest.approx(1 - 1.75 / 3)


def test_paper_variants_cost_what_the_paper_says():
    """181.6 and 264.5 GFLOPs at 224 x 224, attention's products counted (reference: 223.0 for the mean)."""
    net = models.create("dynet-s")
    found = cost.gflops(net, DyNetTraining(config("dynet", "pretrain", ["x"]), torch.device("cpu")), 224)
    assert found["s"] < found["l"]
    assert (found["s"] + found["l"]) / 2 == pytest.approx(223, rel=0.05)


def test_the_kept_model_is_of_the_first_variant(tmp_path, data):
    train(config("dynet", "pretrain", [data], dynet__variants={"l": 0.5, "s": 0.5}), tmp_path / "run")
    assert models.load(tmp_path / "run" / "model").variant == "l"


@pytest.mark.parametrize("name", ["x", "1,2,3", "1,2,three,4"])
def test_an_unknown_variant_is_refused_before_the_first_step(tmp_path, data, name):
    with pytest.raises(ConfigError, match="variant"):
        train(config("dynet", "pretrain", [data], dynet__variants={name: 1.0}), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_variants_can_be_numbers():
    assert as_variant("2,3,3,4") == (2, 3, 3, 4)
    assert as_variant("l") == "l"


@pytest.mark.parametrize("model", ["restormer", "promptir"])
def test_networks_without_variants_are_trained_by_the_same_loop(tmp_path, data, model):
    sizes = {"dim": 8, "refinement": 1, "depths": [1, 1, 1, 1]}
    sizes |= {"prompt_sizes": [4, 2, 2], "prompt_length": 2} if model == "promptir" else {}
    outcome = train(config("dynet", "pretrain", [data], model=model, sizes=sizes, steps=2), tmp_path / "run")
    assert outcome.status == "done"
    assert "variant" not in read(tmp_path / "run", "step")[0]
