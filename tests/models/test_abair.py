"""ABAIR: the prompted network with spatial attention, its head, its estimator, and what "auto" does."""

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
from million_ird.models import estimator, spatial
from million_ird.models.adapters import AdapterConfig
from million_ird.models.estimator import MODES, Estimator, patches
from million_ird.models.spatial import SpatialBlock, WindowAttention

LITTLE: dict[str, Any] = {
    "dim": 4,
    "depths": (2, 2, 2, 2),
    "heads": (1, 1, 2, 2),
    "refinement": 2,
    "prompt_sizes": (4, 2, 2),
    "estimator_dim": 4,
    "estimator_depths": (1, 1, 1, 1),
}


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def little(*names: str, **sizes: Any) -> Any:
    """A little Abair, with adapters that change something."""
    torch.manual_seed(0)
    net = models.create("abair-tiny", **{**LITTLE, **sizes}).eval()
    for name in names:
        net.add_adapter(name, AdapterConfig(rank=2))
        with torch.no_grad():
            for tensor in net.adapter_parameters(name).values():
                tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return net


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


def attention_by_hand(net: WindowAttention, x: Tensor) -> Tensor:
    """The definition, pixel by pixel: (H, W, C) -> (H, W, C)."""
    height, width, dim = x.shape
    q, k, v = (net.qkv(x[None])[0]).unflatten(-1, (3, net.heads, -1)).unbind(2)  # (H, W, h, c) each
    out = torch.empty(height, width, dim)
    reach = net.window + net.margin - 1
    for i in range(height):
        for j in range(width):
            top, left = i // net.window * net.window - net.margin, j // net.window * net.window - net.margin
            rows = range(max(0, top), min(height, top + net.window + 2 * net.margin))
            columns = range(max(0, left), min(width, left + net.window + 2 * net.margin))
            keys = [(r, c) for r in rows for c in columns]
            for head in range(net.heads):
                logits = torch.stack([q[i, j, head] @ k[r, c, head] for r, c in keys]) / q.shape[-1] ** 0.5
                logits = logits + torch.stack([net.offsets[head, r - i + reach, c - j + reach] for r, c in keys])
                mixed = torch.softmax(logits, 0) @ torch.stack([v[r, c, head] for r, c in keys])
                out[i, j].unflatten(0, (net.heads, -1))[head] = mixed
    return F.linear(out, net.project_out.weight)


@pytest.mark.parametrize(("window", "overlap", "size"), [(4, 0.5, (9, 6)), (4, 1.0, (3, 5)), (2, 0.0, (4, 4))])
def test_window_attention_is_what_it_says(window: int, overlap: float, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = WindowAttention(6, 2, window, overlap)
    torch.nn.init.normal_(net.offsets)
    x = torch.randn(1, *size, 6)
    with torch.no_grad():
        assert torch.allclose(net(x)[0], attention_by_hand(net, x[0]), atol=1e-5)


def test_window_attention_in_bands_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = WindowAttention(4, 2, window=4)
    torch.nn.init.normal_(net.offsets)
    x = torch.randn(2, 18, 7, 4)
    whole = net(x)
    monkeypatch.setattr(spatial, "LOGITS_BYTES", 1)
    with torch.no_grad():
        assert len(net._bands(x)) == 5
        assert torch.allclose(net(x), whole, atol=1e-6)


def test_the_head_reads_the_last_feature_and_its_removal_changes_no_bit_of_the_image(image: Tensor) -> None:
    net = little()
    plain = net(image)
    restored, logits = net(image, segment=True)
    assert torch.equal(restored, plain) and net._kept is None
    kept: list[Tensor] = []
    net.refinement.register_forward_hook(lambda module, args, out: kept.append(out))
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


def test_modes_of_blending() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    found = {mode: estimator.amounts(logits, mode) for mode in MODES}
    assert torch.equal(found["oh"], torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    assert torch.equal(found["sw"], torch.softmax(logits, 1))
    assert torch.equal(found["sum"], torch.ones(2, 3))
    assert torch.equal(found["average"], torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize("mode", MODES)
def test_auto_gives_each_image_what_the_estimator_saw_in_it(mode: Any, image: Tensor) -> None:
    net = little("rain", "haze", "noise")
    with torch.no_grad():
        net.estimator.rows["haze"].bias.fill_(1.0)
        net.blend = mode
        net.adapters = "auto"
        out = net(image)
        logits = net.estimator(image)
        net.adapters = estimator.amounts(logits, mode)
        assert torch.allclose(net(image), out, atol=1e-6)
    assert list(net.seen) == ["rain", "haze", "noise"]
    shares = torch.tensor(list(net.seen.values())).T
    assert torch.allclose(shares, torch.softmax(logits, 1))
    assert net.config.blend == mode


def test_what_auto_needs_is_said() -> None:
    net = little()
    with pytest.raises(ConfigError, match="needs adapters"):
        net.adapters = "auto"
    with pytest.raises(ConfigError, match="known: oh, sw, sum, average"):
        net.blend = "best"
    net = little("rain")
    net.adapters = "auto"
    with pytest.raises(ConfigError, match="one blend for all images"):
        net.merge()


def test_tiles_of_a_picture_share_one_decision(image: Tensor) -> None:
    net = little("rain", "haze")
    net.adapters, net.blend = "auto", "sw"
    with torch.no_grad():
        with net.settled(image[:1]):
            seen = dict(net.seen)
            tile = net(image[1:])
            assert net.seen == seen
        net.adapters = {name: share[0] for name, share in seen.items()}
        assert torch.allclose(net(image[1:]), tile, atol=1e-6)
        net.adapters = "auto"
        net(image[1:])
    assert net.seen != seen


def test_the_estimator_learns_alone_through_the_soft_blend_or_from_labels(image: Tensor) -> None:
    net = little("rain", "haze")
    net.trainable("estimator")
    net.adapters, net.blend = "auto", "sw"
    net(image).square().mean().backward()
    touched = {path.partition(".")[0] for path, tensor in net.named_parameters() if tensor.grad is not None}
    assert touched == {"estimator"}
    F.cross_entropy(net.estimator(image), torch.tensor([0, 1])).backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in net.estimator.parameters())


def test_an_adapter_more_extends_the_estimator_and_keeps_the_old_logits(image: Tensor) -> None:
    net = little("rain", "haze")
    net.adapters = "auto"
    with torch.no_grad():
        before, out = net.estimator(image), net(image)
        net.add_adapter("snow")
        assert net.estimator.names == ["rain", "haze", "snow"]
        assert torch.equal(net.estimator(image)[:, :2], before)
        net.estimator.rows["snow"].bias.fill_(-100.0)
        assert torch.equal(net(image), out)  # where the estimator picks the old ones
        net.remove_adapter("snow")
        assert torch.equal(net.estimator(image), before)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (256, 256), (257, 40), (900, 1300)])
def test_the_estimator_reads_any_size_without_shrinking_it(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    parts = patches(image)
    assert all(part.shape[-2:] == (min(256, size[0]), min(256, size[1])) for part in parts)
    assert len(parts) <= 9
    assert torch.equal(parts[0][..., 0, 0], image[..., 0, 0]) and torch.equal(
        parts[-1][..., -1, -1], image[..., -1, -1]
    )
    net = Estimator(4, (1, 1, 1, 1))
    net.add("rain")
    with torch.no_grad():
        assert net(image).shape == (1, 1) and net(image).isfinite().all()


def test_the_estimator_can_tell_noise_from_darkness() -> None:
    torch.manual_seed(0)
    net = Estimator(4, (1, 1))
    net.add("noise")
    net.add("dark")
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    smooth = F.interpolate(torch.rand(32, 3, 4, 4), (32, 32), mode="bilinear")
    noisy, dark = smooth + 0.1 * torch.randn(32, 3, 32, 32), smooth * 0.25
    labels = torch.tensor([0] * 16 + [1] * 16)
    for _ in range(30):
        loss = F.cross_entropy(net(torch.cat([noisy[:16], dark[:16]])), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    held_out = net(torch.cat([noisy[16:], dark[16:]])).argmax(1)
    assert (held_out == labels).float().mean() > 0.9


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


def test_compiled_it_gives_the_same_with_adapters_beside_the_weights() -> None:
    net = little("rain", depths=(1, 1, 1, 1), refinement=2)
    net.adapters = {"rain": 0.7}
    image = torch.rand(1, 3, 8, 8)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = net(image)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(image), expected, atol=1e-6)
