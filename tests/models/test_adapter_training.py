"""Adapters in training: which tensors learn, in a mixed batch too, and how often weights are made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from million_ird.errors import ConfigError
from million_ird.models.mixture import AdaptedLayer
from tests.models.nets import small


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 6, 5, 3, generator=torch.Generator().manual_seed(1))  # (B, H, W, 3)


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


def test_amounts_survive_half_precision(image: Tensor) -> None:
    net = small("rain", "haze")
    net.adapters = [{"rain": 1}, {}, {"haze": 0.5}]
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(net(image).float(), expected, atol=0.05)
        assert net.mix.weight.dtype == torch.float32
    assert net.to(torch.bfloat16)(image.bfloat16()).dtype == torch.bfloat16
