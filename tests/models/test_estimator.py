"""The estimator of ABAIR: what it sees in a picture of any size, and what "auto" makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from million_ird.errors import ConfigError
from million_ird.models import estimator
from million_ird.models.estimator import MODES, Estimator, patches
from tests.models.nets import little


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


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


def test_the_estimator_tells_apart_what_leaves_means_as_they_are() -> None:
    """Noise and blur, which change no mean, beside darkness; clean pictures are as bright as chance has it."""
    generator = torch.Generator().manual_seed(0)

    def degraded(count: int) -> Tensor:
        mosaic = F.interpolate(torch.rand(3 * count, 3, 16, 16, generator=generator), (32, 32))
        noisy, blurred, dark = (mosaic * (0.3 + 0.7 * torch.rand(3 * count, 3, 1, 1, generator=generator))).chunk(3)
        noise = 0.1 * torch.randn(noisy.shape, generator=generator)
        return torch.cat([noisy + noise, F.avg_pool2d(blurred, 5, 1, 2), dark * 0.1])

    torch.manual_seed(0)
    net = Estimator(4, (1, 1))
    for name in ("noise", "blur", "dark"):
        net.add(name)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        loss = F.cross_entropy(net(degraded(8)), torch.arange(3).repeat_interleave(8))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = net(degraded(16)).argmax(1) == torch.arange(3).repeat_interleave(16)
    assert right.view(3, 16).float().mean(1).min() > 0.9


def test_a_flat_picture_has_finite_gradients() -> None:
    net = Estimator(4, (1, 1))
    net.add("haze")
    net(torch.full((1, 3, 32, 32), 0.5)).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in net.parameters())
