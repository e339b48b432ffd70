"""The moving average is the plain loop's, and is worn for as long as it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from million_ird.train import average


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.named_parameters()}


@pytest.mark.parametrize("decay", [0.999, 0.6])
def test_the_average_is_that_of_a_plain_loop(net: nn.Module, decay: float) -> None:
    learning = dict(net.named_parameters())
    ema = average.start(learning)
    slow = {name: tensor.detach().double().numpy().copy() for name, tensor in learning.items()}
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        with torch.no_grad():
            for tensor in learning.values():
                tensor.add_(torch.tensor(rng.normal(size=tensor.shape), dtype=torch.float32))
        average.update(ema, learning, decay, n)
        d = min(decay, (1 + n) / (10 + n))
        for name, tensor in learning.items():
            slow[name] = d * slow[name] + (1 - d) * tensor.detach().double().numpy()
    for name, tensor in ema.items():
        assert np.allclose(tensor.numpy(), slow[name], atol=1e-5)
        assert not np.allclose(tensor.numpy(), learning[name].detach().numpy(), atol=1e-2)


def test_the_average_is_a_copy_in_float32_of_half_precision_weights(net: nn.Module) -> None:
    learning = dict(net.bfloat16().named_parameters())
    ema = average.start(learning)
    average.update(ema, learning, 0.9, 1)
    assert all(tensor.dtype == torch.float32 and not tensor.requires_grad for tensor in ema.values())
    with torch.no_grad():
        learning["0.weight"].zero_()
    assert ema["0.weight"].any()


def test_the_average_is_worn_within_and_taken_off_afterwards(net: nn.Module) -> None:
    learning = dict(net.named_parameters())
    ema = {name: torch.full_like(tensor, 7.0) for name, tensor in learning.items()}
    before = weights(net)
    with average.worn(ema, learning):
        assert all((tensor == 7).all() for tensor in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.named_parameters())


def test_it_is_taken_off_after_an_exception_too(net: nn.Module) -> None:
    learning = dict(net.named_parameters())
    before = weights(net)
    with pytest.raises(RuntimeError, match="broken"), average.worn(average.start(learning), learning):
        with torch.no_grad():
            learning["0.weight"].zero_()
        raise RuntimeError("broken")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.named_parameters())


def test_without_an_average_the_weights_stay_as_they_are(net: nn.Module) -> None:
    before = weights(net)
    with average.worn({}, dict(net.named_parameters())):
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.named_parameters())
