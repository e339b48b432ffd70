"""Adapters as files, and networks that carry some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from million_ird import models
from million_ird.errors import InputError
from million_ird.models import adapters
from tests.models.nets import KINDS, RAIN, Small, small, train


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 6, 5, 3, generator=torch.Generator().manual_seed(1))  # (B, H, W, 3)


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
    refused(r"mix\.up \(\[1\], not \[8, 2\]\) of the wrong shape")
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


def test_parameters_keep_their_names() -> None:
    plain = set(Small().state_dict())
    net = small("rain")
    assert {key for key in net.state_dict() if ".deltas." not in key} == plain
    net.load_state_dict(net.state_dict())


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
