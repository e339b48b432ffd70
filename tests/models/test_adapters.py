"""Adapters: zero at start, of a rank, blended per batch or per image, merged and taken out again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from million_ird.errors import ConfigError
from million_ird.models.adapters import AdapterConfig
from tests.models.nets import KINDS, RAIN, Small, small, train


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 6, 5, 3, generator=torch.Generator().manual_seed(1))  # (B, H, W, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_fresh_adapter_changes_no_bit(kind: str, depthwise: bool, image: Tensor) -> None:
    net = small()
    before = net(image)
    net.add_adapter("rain", AdapterConfig(kind=kind, depthwise=depthwise))  # type: ignore[arg-type]
    net.adapters = {"rain": 1.0}
    assert torch.equal(net(image), before)
    train(net, "rain")
    assert not torch.allclose(net(image), before, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_of_a_weight_is_scaled_by_alpha_over_rank_and_by_the_blend(kind: str) -> None:
    net = small("rain", kind=kind, alpha=6.0, depthwise=True)
    net.adapters = {"rain": 0.25}
    for _, layer in net.adapted_layers():
        delta = layer.deltas["rain"]
        assert delta.scale == 3.0
        assert torch.allclose(layer.weight, layer.base + 0.25 * 3.0 * delta.product())
        assert delta.product().shape == layer.base.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_has_no_more_than_the_rank_asked_for(kind: str) -> None:
    net = small("rain", kind=kind)
    net.adapters = "rain"
    assert torch.linalg.matrix_rank(net.mix.deltas["rain"]().detach()) == 2
    kernel = net.embed.deltas["rain"]().detach()
    flat = kernel.transpose(1, 2).flatten(2).flatten(0, 1) if kind == "lora" else kernel.flatten(1)
    assert torch.linalg.matrix_rank(flat) == 2


def test_conv_lora_is_a_convolution_to_the_rank_and_a_1x1_back(image: Tensor) -> None:
    net = small("rain", kind="conv_lora")
    delta = net.embed.deltas["rain"]
    x = image.permute(0, 3, 1, 2)
    down = torch.nn.functional.conv2d(x, delta.down.view(2, 3, 3, 3), padding=1)
    expected = torch.nn.functional.conv2d(down, delta.up.view(8, 2, 1, 1))
    assert torch.allclose(torch.nn.functional.conv2d(x, delta(), padding=1), expected, atol=1e-6)


def test_vera_layers_share_matrices_that_a_seed_gives_and_no_file_holds(tmp_path: Path) -> None:
    net = small("rain", kind="vera")
    again, other = small("rain", kind="vera"), small("rain", kind="vera", seed=1)
    assert torch.equal(net.mix.deltas["rain"].matrix_up, again.mix.deltas["rain"].matrix_up)
    assert not torch.equal(net.mix.deltas["rain"].matrix_up, other.mix.deltas["rain"].matrix_up)
    assert torch.equal(net.mix.deltas["rain"].matrix_up[:3], net.output.deltas["rain"].matrix_up)
    net.save_adapter("rain", tmp_path)
    stored = load_file(tmp_path / "adapter.safetensors")
    assert {key.rpartition(".")[2] for key in stored} == {"up", "down"}
    assert all(tensor.ndim == 1 for tensor in stored.values())


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_more_leaves_the_outputs_of_the_others_to_the_last_bit(kind: str, image: Tensor) -> None:
    net = small("rain", "haze", kind=kind)
    asked = [{"rain": 1.0}, {"haze": 0.3, "rain": 0.7}, [{"rain": 1}, {"haze": 0.5}, {}]]
    before = []
    for blend in asked:
        net.adapters = blend
        before.append(net(image))
    net.add_adapter("snow", RAIN)
    train(net, "snow")
    for blend, expected in zip(asked, before, strict=True):
        net.adapters = blend
        assert torch.equal(net(image), expected)
    net.adapters = {"rain": 1.0, "snow": 0.0}
    assert torch.equal(net(image), before[0])


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_mixed_batch_equals_its_images_one_by_one(depthwise: bool, image: Tensor) -> None:
    net = small("rain", "haze", depthwise=depthwise)
    blends = [{"rain": 1.0}, {}, {"haze": 0.5, "rain": 0.25}]
    net.adapters = blends
    together = net(image)
    net.adapters = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.25, 0.5]])
    assert torch.equal(net(image), together)
    for blend, one, expected in zip(blends, image, together, strict=True):
        net.adapters = blend
        assert torch.allclose(net(one[None]), expected[None], atol=1e-6)


def test_blends_can_be_written_in_several_ways(image: Tensor) -> None:
    net = small("rain", "haze")
    for asked in (
        "haze:0.3, rain:0.7",
        {"haze": 0.3, "rain": 0.7},
        torch.tensor([[0.7, 0.3]] * 3, dtype=torch.float64),
    ):
        net.adapters = asked
        assert net.mixture.active == [("rain", 0.7), ("haze", 0.3)]
    net.adapters = "rain"
    assert net.mixture.active == [("rain", 1.0)]
    net.adapters = None
    assert net.adapters == {} and torch.equal(net(image), Small.forward(net, image))


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"rian": 1}, "did you mean 'rain'"),
        ({"rain": "much"}, "expected a number"),
        ({"rain": float("nan")}, "expected a number"),
        ("rain:x", "expected a number"),
        (torch.ones(2, 3), r"a tensor \(B, 1\)"),
        (7, "expected names and numbers"),
        ("auto", "estimator"),
    ],
)
def test_a_wrong_blend_is_one_clear_line(asked: Any, part: str) -> None:
    net = small("rain")
    with pytest.raises(ConfigError, match=part):
        net.adapters = asked
    assert net.adapters == {}


def test_amounts_for_another_number_of_images_are_refused(image: Tensor) -> None:
    net = small("rain")
    net.adapters = [{"rain": 1}, {}]
    with pytest.raises(ConfigError, match="2 images, but a batch of 3"):
        net(image)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_keeps_the_output_and_unmerging_gives_back_the_bits(kind: str, image: Tensor) -> None:
    net = small("rain", "haze", kind=kind, depthwise=True)
    bits = {path: layer.base.detach().clone() for path, layer in net.adapted_layers()}
    base = net(image)
    net.adapters = {"rain": 0.7, "haze": -0.3}
    beside = net(image)
    net.merge()
    assert all(layer.weight is layer.base for _, layer in net.adapted_layers())
    assert torch.allclose(net(image), beside, atol=1e-6)
    net.unmerge()
    assert all(torch.equal(bits[path], layer.base) for path, layer in net.adapted_layers())
    assert torch.equal(net(image), beside)
    net.adapters = None
    assert torch.equal(net(image), base)


def test_a_merged_network_refuses_what_would_mix_up_its_weights() -> None:
    net = small("rain")
    net.adapters = [{"rain": 1}, {}]
    with pytest.raises(ConfigError, match="one blend for all images"):
        net.merge()
    net.adapters = "rain"
    net.merge()
    net.merge()  # once is enough, and twice does no harm
    for forbidden in (lambda: net.add_adapter("haze"), lambda: net.remove_adapter("rain"), lambda: clear(net)):
        with pytest.raises(ConfigError, match="unmerge"):
            forbidden()


def clear(net: Any) -> None:
    net.adapters = {}


def test_targets_choose_layers_by_name() -> None:
    net = small()
    net.add_adapter("all", AdapterConfig())
    net.add_adapter("deep", AdapterConfig(depthwise=True))
    net.add_adapter("some", AdapterConfig(targets=("mi?", "out*")))
    chosen = {name: {key.rpartition(".")[0] for key in net.adapter_parameters(name)} for name in net.adapter_names}
    assert chosen["all"] == {"embed", "mix", "output"}
    assert chosen["deep"] == {"embed", "deep", "mix", "output"}
    assert chosen["some"] == {"mix", "output"}
    with pytest.raises(ConfigError, match=r"no layer fits nothing.*embed, mix, output"):
        net.add_adapter("none", AdapterConfig(targets=("nothing",)))


@pytest.mark.parametrize("name", ["", "a.b", "a:b", "auto", "clear", "rain"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    net = small("rain")
    with pytest.raises(ConfigError, match="adapter"):
        net.add_adapter(name)
    assert net.adapter_names == ["rain"]


def test_a_removed_adapter_is_gone(image: Tensor) -> None:
    net = small("rain", "haze")
    net.adapters = "haze"
    expected = net(image)
    net.remove_adapter("rain")
    assert torch.equal(net(image), expected) and net.adapters == "haze"
    net.remove_adapter("haze")
    assert net.adapters == {} and not any(".deltas." in path for path, _ in net.named_parameters())


def test_a_copy_of_a_network_has_adapters_of_its_own(image: Tensor) -> None:
    net = small("rain")
    net.adapters = "rain"
    expected = net(image)
    other = copy.deepcopy(net)
    other.adapters = None
    train(other, "rain")
    assert torch.equal(net(image), expected)
    other.adapters = "rain"
    assert not torch.equal(other(image), expected)
