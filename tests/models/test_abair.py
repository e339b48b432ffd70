"""ABAIR: the prompted network with spatial attention, its parts, its head and its adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from million_ird import models
from million_ird.errors import ConfigError, InputError
from million_ird.models.spatial import SpatialBlock
from tests.models.nets import little


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_the_tiny_one_has_less_than_1_5_million_parameters_with_all_its_parts() -> None:
    net = models.create("abair-tiny")
    base = sum(tensor.numel() for tensor in net.parameters())
    assert net.head is not None and base < 1_500_000
    for task in ("rain", "haze", "noise", "blur", "lowlight"):
        net.add_adapter(task)
    parts = net.parameters_by_part()
    assert sum(parts.values()) == sum(tensor.numel() for tensor in net.parameters())
    assert parts["estimator"] < 1_000_000
    assert sum(parts.values()) - parts["estimator"] - sum(parts[f"adapter {t}"] for t in net.adapter_names) == base


def test_parts_of_the_paper_scale_network_are_counted() -> None:
    with torch.device("meta"):
        net = models.create("abair")
        net.add_adapter("rain")
    parts = net.parameters_by_part()
    assert list(parts) == [*models.abair.PARTS, "adapter rain"]
    assert 30e6 < sum(parts[part] for part in list(parts)[:6]) < 40e6
    assert 4e6 < parts["estimator"] < 6e6
    assert 0.4e6 < parts["adapter rain"] < 0.8e6


@pytest.mark.parametrize(
    "sizes",
    [
        {"depths": (1, 2, 3, 1), "refinement": 3},
        {"dim": 6, "heads": (1, 2, 4, 8), "expansion": 1.5},
        {"dim": 4, "heads": (4, 2, 1, 1), "window": 4, "overlap": 1.0, "norm_bias": False},
        {"spatial": False},
        {"overlap": 0.0, "bias": True, "classes": 2},
    ],
)
def test_any_depths_heads_and_widths_will_do(sizes: dict[str, Any], image: Tensor) -> None:
    net = little(**sizes)
    restored, logits = net(image, segment=True)
    assert restored.shape == image.shape and logits.shape == (2, net.config.classes, 16, 24)
    (restored.mean() + logits.square().mean()).backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in net.parameters())


def test_every_second_block_of_a_stage_is_spatial_where_asked() -> None:
    kinds = [type(block).__name__ for block in little(depths=(1, 2, 2, 5)).latent]
    assert kinds == ["TransformerBlock", "SpatialBlock", "TransformerBlock", "SpatialBlock", "TransformerBlock"]
    assert not any(isinstance(module, SpatialBlock) for module in little(spatial=False).modules())


def test_the_head_reads_the_last_feature_and_its_removal_changes_no_bit_of_the_image(image: Tensor) -> None:
    net = little()
    plain = net(image)
    restored, logits = net(image, segment=True)
    assert torch.equal(restored, plain) and net._kept is None
    kept: list[Tensor] = []
    net.refinement[-1].register_forward_hook(lambda module, args, out: kept.append(out))
    net(image)
    assert torch.equal(net.head(kept[0]), logits)
    net.remove_head()
    assert net.parameters_by_part()["head"] == 0 and net.config.classes == 0
    assert torch.equal(net(image), plain)
    with pytest.raises(ConfigError, match="no segmentation head"):
        net(image, segment=True)


def test_segmentation_learns_through_the_whole_network(image: Tensor) -> None:
    net = little()
    _, logits = net(image, segment=True)
    F.cross_entropy(logits, torch.zeros(2, 16, 24, dtype=torch.long)).backward()
    assert net.patch_embed.weight.grad.abs().sum() > 0
    assert net.output.weight.grad is None


def test_adapters_leave_head_and_estimator_alone(image: Tensor) -> None:
    net = little("rain")
    touched = {path.partition(".")[0] for path in net.adapter_parameters("rain")}
    assert "refinement" in touched and not touched & {"head", "estimator"}
    net.trainable("rain")
    net.adapters = "rain"
    net(image).mean().backward()
    assert {path for path, t in net.named_parameters() if t.grad is not None} == {
        path for path, _ in net.named_parameters() if ".deltas.rain." in path
    }


def test_a_mixed_batch_equals_its_images_one_by_one(image: Tensor) -> None:
    net = little("rain", "haze")
    net.adapters = [{"rain": 1.0}, {"rain": 0.3, "haze": 0.7}]
    with torch.no_grad():
        together = net(image)
        for blend, one, expected in zip(net.adapters, image, together, strict=True):
            net.adapters = blend
            assert torch.allclose(net(one[None])[0], expected, atol=1e-5)
            net.merge()
            assert torch.allclose(net(one[None])[0], expected, atol=1e-5)
            net.unmerge()


def test_saved_and_loaded_it_is_the_same_with_adapters_and_estimator(image: Tensor, tmp_path: Path) -> None:
    net = little("snow", "rain")
    net.adapters, net.blend = "auto", "sw"
    net.save_pretrained(tmp_path)
    assert not any("deltas" in key or "estimator" in key for key in load_file(tmp_path / "model.safetensors"))
    loaded = models.load(tmp_path)
    assert loaded.adapter_names == ["snow", "rain"] and loaded.config == net.config
    loaded.adapters = "auto"
    with torch.no_grad():
        assert torch.equal(loaded(image), net(image))
    tensors = load_file(tmp_path / "adapters" / "estimator.safetensors")
    save_file({key: tensors[key] for key in list(tensors)[1:]}, tmp_path / "adapters" / "estimator.safetensors")
    with pytest.raises(InputError, match="missing"):
        models.load(tmp_path)


def test_a_network_without_head_is_loaded_without(image: Tensor, tmp_path: Path) -> None:
    net = little()
    net.remove_head()
    net.save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    with torch.no_grad():
        assert loaded.head is None and torch.equal(loaded(image), net(image))


@pytest.mark.slow
def test_compiled_it_gives_the_same_with_adapters_beside_the_weights() -> None:
    net = little("rain", depths=(1, 1, 1, 1), refinement=2)
    net.adapters = {"rain": 0.7}
    image = torch.rand(1, 3, 8, 8)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = net(image)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(image), expected, atol=1e-6)
