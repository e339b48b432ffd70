"""Weights of the published code go in whole, and the networks then compute what the published ones compute."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import published
from million_ird import models
from million_ird.errors import InputError

SMALL = {"dim": 12, "heads": (1, 2, 3, 4), "refinement": 2, "expansion": 2.0}
PROMPTS = {"prompts": (6, 9, 12), "sizes": (6, 5, 4), "length": 3}

CASES = {
    "restormer": (published.Restormer, SMALL | {"stages": (1, 2, 2, 1)}),
    "restormer-biasfree": (published.Restormer, SMALL | {"stages": (2, 1, 1, 2), "biased": False}),
    "promptir": (published.PromptIR, SMALL | PROMPTS | {"stages": (1, 2, 1, 2)}),
    "dynet": (published.DyNet, SMALL | PROMPTS | {"frequencies": (2, 3, 3, 4)}),
}


def theirs(name: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    cls, small = CASES[name]
    net = cls(**(options or small))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def converter(name: str):
    return getattr(models, name.partition("-")[0]).from_reference


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("name", CASES)
def test_same_weights_and_input_give_the_published_output_and_gradients(name):
    pub = theirs(name)
    net = converter(name)(pub.state_dict())
    left = torch.rand(2, 3, 24, 16, requires_grad=True)
    right = left.detach().clone().requires_grad_()
    expected, got = pub(left), net(right)
    assert relative(got - right, expected - left) < 1e-5
    up = torch.randn_like(expected)
    expected.backward(up)
    got.backward(up)
    assert left.grad is not None and right.grad is not None
    assert relative(right.grad, left.grad) < 2e-5
    for part in ("encoder_level1", "latent", "decoder_level1", "refinement", "output"):
        first = next(p.grad for p in pub.get_submodule(part).parameters() if p.grad is not None)
        second = next(p.grad for p in net.get_submodule(part).parameters() if p.grad is not None)
        assert relative(second.flatten(), first.flatten()) < 1e-4, part


@pytest.mark.parametrize("name", ["promptir", "dynet", "restormer"])
def test_at_full_size_too(name):
    pub = theirs(name, dim=48)
    net = converter(name)(pub.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert relative(net(image) - image, pub(image) - image) < 1e-5


def test_parameters_are_as_many_as_published():
    counts = {
        "promptir": (35_592_263, 215_296, 548),
        "dynet": (16_726_031, 112_896, 182),
        "restormer": (26_126_644, 0, 494),
    }
    for name, (published_count, dead, tensors) in counts.items():
        with torch.device("meta"):
            pub = CASES[name][0]()
            net = models.create("dynet-s" if name == "dynet" else name)
        assert sum(p.numel() for p in pub.parameters()) == published_count
        assert len(pub.state_dict()) == tensors
        assert sum(p.numel() for p in net.parameters()) == published_count - dead


@pytest.mark.slow
def test_the_papers_gflops_are_counted_again():
    script = Path(__file__).parents[2] / "benchmarks" / "flops.py"
    root = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=root).stdout
    paper = {line.split()[0]: line.split()[1] for line in printed.splitlines()[2:6]}
    assert paper["dynet-l"] == "242.354" and paper["dynet-s"] == "166.379" and paper["promptir"] == "242.354"


def test_the_sizes_are_read_from_the_tensors():
    net = models.promptir.from_reference(theirs("promptir").state_dict())
    assert net.config.model_dump() == {
        "dim": 12,
        "heads": (1, 2, 3, 4),
        "refinement": 2,
        "expansion": 2.0,
        "norm_bias": True,
        "bias": False,
        "depths": (1, 2, 1, 2),
        "prompt_dims": (6, 9, 12),
        "prompt_sizes": (6, 5, 4),
        "prompt_length": 3,
    }
    assert not net.training


@pytest.mark.parametrize("expansion", [2.66, 8 / 3, 2.37, 1.0])
def test_any_expansion_is_found_again(expansion):
    pub = published.Restormer(**SMALL | {"stages": (1, 1, 1, 1), "expansion": expansion})
    net = models.restormer.from_reference(pub.state_dict())
    assert net.latent.get_submodule("0.ffn").hidden == int(96 * expansion)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"params": s},
        lambda s: {f"net.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"module.net.{k}": v for k, v in s.items()}},
        lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    ],
)
def test_wrapped_checkpoints_are_unwrapped(wrap):
    state = theirs("dynet").state_dict()
    plain, wrapped = (models.dynet.from_reference(s).state_dict() for s in (state, wrap(state)))
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)


def test_dead_tensors_are_dropped_by_name_and_may_be_absent():
    state = theirs("promptir").state_dict()
    with_them = models.promptir.from_reference(state)
    alive = {name: tensor for name, tensor in state.items() if name not in models.promptir.DEAD}
    assert len(state) - len(alive) == 6
    without = models.promptir.from_reference(alive)
    assert all(torch.equal(a, b) for a, b in zip(with_them.parameters(), without.parameters(), strict=True))


def test_anything_else_is_refused_with_its_name():
    state = theirs("dynet").state_dict()
    faults = {
        "latent.attn.temperature is missing": {k: v for k, v in state.items() if k != "latent.attn.temperature"},
        r"output\.weight missing": {k: v for k, v in state.items() if k != "output.weight"},
        r"reduce_noise_channel_4\.weight unknown": state | {"reduce_noise_channel_4.weight": torch.zeros(1)},
        r"output\.weight \(\[3, 8, 3, 3\], not \[3, 24, 3, 3\]\)": state | {"output.weight": torch.zeros(3, 8, 3, 3)},
        "epoch: not a tensor": state | {"epoch": 7},
        "nothing in it": {},
    }
    for message, wrong in faults.items():
        with pytest.raises(InputError, match=message) as caught:
            models.dynet.from_reference(wrong)
        assert "\n" not in str(caught.value)


def test_the_weights_of_another_network_are_refused():
    with pytest.raises(InputError, match=r"prompt1\.prompt_param is missing"):
        models.dynet.from_reference(theirs("restormer").state_dict())
    with pytest.raises(InputError, match="unknown"):
        models.restormer.from_reference(theirs("promptir").state_dict())


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


def test_a_checkpoint_file_is_read_and_nothing_in_it_is_run(tmp_path):
    state = theirs("restormer").state_dict()
    torch.save({"state_dict": {f"net.{k}": v for k, v in state.items()}}, tmp_path / "a.ckpt")
    net = models.restormer.from_reference(tmp_path / "a.ckpt")
    assert torch.equal(net.output.weight, state["output.weight"])
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.ckpt")
    (tmp_path / "noise.pth").write_bytes(b"no checkpoint")
    for name in ("bomb.pth", "bomb.ckpt", "noise.pth", "absent.pth"):
        with pytest.raises(InputError, match=name) as caught:
            models.restormer.from_reference(tmp_path / name)
        assert "\n" not in str(caught.value)
