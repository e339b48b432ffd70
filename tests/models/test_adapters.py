"""Adapters: zero at start, blended per batch or per image, merged and taken out again, trained alone, saved."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from million_ird import models
from million_ird.errors import ConfigError, InputError
from million_ird.models import adapters
from million_ird.models.layers import Conv, Pointwise
from million_ird.models.lowrank import DELTAS, AdapterConfig
from million_ird.models.mixture import AdaptedLayer

KINDS = tuple(DELTAS)
RAIN = AdapterConfig(rank=2)


class Small(nn.Module):
    """Each kind of layer once, and one that is applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = Conv(3, 8)
        self.deep = Conv(8, 8, groups=8)
        self.mix = Pointwise(8, 8, bias=True)
        self.output = Conv(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.output(self.mix(self.deep(self.mix(x))))


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 6, 5, 3, generator=torch.Generator().manual_seed(1))  # (B, H, W, 3)


def small(*names: str, trained: bool = True, **config: Any) -> Any:
    """A `Small` with adapters that change something."""
    torch.manual_seed(0)
    net = adapters.attach(Small())
    for name in names:
        net.add_adapter(name, AdapterConfig(rank=2, **config))
        if trained:
            train(net, name)
    return net.eval()


def train(net: Any, name: str) -> None:
    """What training would do: other numbers in each tensor of an adapter."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    with torch.no_grad():
        for tensor in net.adapter_parameters(name).values():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)


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


def test_gradients_reach_the_chosen_adapter_alone(image: Tensor) -> None:
    net = small("rain", "haze", depthwise=True)
    net.trainable("rain")
    net.adapters = {"rain": 1.0, "haze": 1.0}
    net(image).square().mean().backward()
    with_gradient = {path for path, tensor in net.named_parameters() if tensor.grad is not None}
    assert with_gradient == {path for path, _ in net.named_parameters() if ".rain." in path}
    assert all(tensor.grad.abs().sum() > 0 for tensor in net.adapter_parameters("rain").values())
    net.trainable()
    assert all(tensor.requires_grad for tensor in net.parameters())
    with pytest.raises(ConfigError, match="neither an adapter nor a part"):
        net.trainable("snow")


def test_gradients_of_a_mixed_batch_are_those_of_its_images(image: Tensor) -> None:
    net = small("rain", "haze")
    blends = [{"rain": 1.0}, {"haze": 0.5}, {"rain": 0.5, "haze": 0.5}]

    def gradients() -> list[Tensor]:
        found = [tensor.grad.clone() for tensor in net.parameters() if tensor.grad is not None]
        net.zero_grad()
        return found

    net.adapters = blends
    net(image).square().sum().backward()
    together = gradients()
    for blend, one in zip(blends, image, strict=True):
        net.adapters = blend
        net(one[None]).square().sum().backward()
    for left, right in zip(together, gradients(), strict=True):
        assert torch.allclose(left, right, atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_amounts(image: Tensor) -> None:
    net = small("rain", "haze")
    amounts = torch.full((3, 2), 0.5, requires_grad=True)
    net.adapters = amounts
    net(image).square().mean().backward()
    assert amounts.grad is not None and (amounts.grad != 0).all()


def test_a_layer_used_twice_makes_its_weight_once_per_forward(image: Tensor, monkeypatch: Any) -> None:
    net = small("rain")
    net.adapters = "rain"
    expected = net(image).detach()
    made: list[AdaptedLayer] = []
    make = net.mixture._make
    monkeypatch.setattr(net.mixture, "_make", lambda layer: made.append(layer) or make(layer))
    with torch.no_grad():
        assert torch.equal(net(image), expected)
        assert len(made) == len(set(made)) == 3
        net.adapter_parameters("rain")["mix.up"].zero_()
        assert not torch.equal(net(image), expected)  # nothing is kept for the next forward


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


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_saved_and_loaded_is_the_same(kind: str, image: Tensor, tmp_path: Path) -> None:
    net = small("rain", kind=kind, alpha=3.0)
    net.adapters = "rain"
    assert net.save_adapter("rain", tmp_path / "rain") == tmp_path / "rain"
    assert sorted(path.name for path in (tmp_path / "rain").iterdir()) == ["adapter.json", "adapter.safetensors"]
    fresh = small()
    assert fresh.load_adapter(tmp_path / "rain") == "rain"
    assert fresh.adapter_configs == net.adapter_configs
    fresh.adapters = "rain"
    assert torch.equal(fresh(image), net(image))
    assert fresh.load_adapter(tmp_path / "rain", name="drizzle") == "drizzle"


def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    net = small("rain")
    tensors = load_file(net.save_adapter("rain", tmp_path) / "adapter.safetensors")

    def refused(match: str) -> None:
        fresh = small()
        with pytest.raises(InputError, match=match):
            fresh.load_adapter(tmp_path)
        assert fresh.adapter_names == []

    save_file({**tensors, "more": torch.zeros(1)}, tmp_path / "adapter.safetensors")
    refused("more unknown")
    save_file({**tensors, "mix.up": torch.zeros(1)}, tmp_path / "adapter.safetensors")
    refused("mix.up of the wrong shape")
    save_file({key: tensor for key, tensor in tensors.items() if key != "mix.up"}, tmp_path / "adapter.safetensors")
    refused("mix.up missing")
    (tmp_path / "adapter.safetensors").write_bytes(b"no tensors")
    refused("no safetensors file")
    (tmp_path / "adapter.json").write_text(json.dumps({"name": "rain", "rang": 4}))
    refused("did you mean 'rank'")
    (tmp_path / "adapter.json").write_text("[]")
    refused("does not describe an adapter")
    (tmp_path / "adapter.json").unlink()
    refused("no such file")


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


def test_parameters_keep_their_names() -> None:
    plain = set(Small().state_dict())
    net = small("rain")
    assert {key for key in net.state_dict() if ".deltas." not in key} == plain
    net.load_state_dict(net.state_dict())


def test_amounts_survive_half_precision(image: Tensor) -> None:
    net = small("rain", "haze")
    net.adapters = [{"rain": 1}, {}, {"haze": 0.5}]
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(net(image).float(), expected, atol=0.05)
        assert net.mix.weight.dtype == torch.float32
    assert net.to(torch.bfloat16)(image.bfloat16()).dtype == torch.bfloat16


def test_any_network_of_the_registry_takes_adapters(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net: Any = adapters.attach(models.create("dynet-tiny")).eval()
    assert type(net).__mro__[2] is models.dynet.DyNet
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        base = net(image)
        net.add_adapter("rain", RAIN)
        train(net, "rain")
        assert torch.equal(net(image), base)
        net.adapters = [{"rain": 1}, {}]
        changed = net(image)
        assert not torch.allclose(changed[0], base[0], atol=1e-3) and torch.allclose(changed[1], base[1], atol=1e-5)
        net.save_pretrained(tmp_path)
        loaded = models.load(tmp_path)
        loaded.adapters = [{"rain": 1}, {}]
        assert torch.equal(loaded(image), changed)


def test_a_merged_network_is_saved_as_one_without_adapters(tmp_path: Path) -> None:
    net = adapters.attach(models.create("dynet-tiny")).eval()
    net.add_adapter("rain", RAIN)
    train(net, "rain")
    net.adapters = "rain"
    net.save_pretrained(tmp_path)  # with its adapter, which the next one must not leave there
    net.merge()
    net.save_pretrained(tmp_path)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        loaded = models.load(tmp_path)
        assert torch.equal(loaded(image), net(image))
    assert not isinstance(loaded, adapters.Adaptable)
