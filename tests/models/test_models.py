"""What every network of the registry promises."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from million_ird import models
from million_ird.errors import ConfigError
from million_ird.models.registry import MODELS

SMALL = {"dim": 8, "heads": (1, 2, 2, 4), "refinement": 1}
PROMPTS = {"prompt_sizes": (6, 4, 3), "prompt_length": 2}
SHRUNK = {
    "restormer": SMALL | {"depths": (1, 1, 1, 2)},
    "promptir": SMALL | PROMPTS | {"depths": (1, 1, 1, 2)},
    "dynet": SMALL | PROMPTS | {"small": (1, 2, 1, 2), "large": (2, 2, 2, 3)},
    "abair": SMALL | PROMPTS | {"depths": (1, 2, 1, 1), "window": 4, "estimator_dim": 4},
}
"""Sizes at which a family is tested."""

ALL = models.names()
EACH = ("restormer", "promptir", "dynet-s", "abair")
"""One of each family."""


def make(name: str):
    torch.manual_seed(0)
    return models.create(name, **SHRUNK[MODELS[name]])


@pytest.fixture
def image():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ALL)
def test_every_network_builds_at_its_own_size(name):
    with torch.device("meta"):
        net = models.create(name)
        assert net(torch.empty(1, 3, 64, 48)).shape == (1, 3, 64, 48)
    if name.endswith("-tiny"):
        assert sum(p.numel() for p in net.parameters()) < 1_500_000


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_learns(name, image):
    net = make(name)
    outputs = net(image, segment=True) if MODELS[name] == "abair" else [net(image)]
    sum(out.square().mean() for out in outputs).backward()
    idle = [n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not idle


@pytest.mark.parametrize("name", ALL)
def test_save_and_load_give_the_same_output(name, image, tmp_path):
    net = make(name).eval()
    net.save_pretrained(tmp_path)
    again = models.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))


@pytest.mark.parametrize("name", ALL)
def test_the_output_has_the_shape_and_type_of_the_input(name, image):
    net = make(name).eval()
    with torch.no_grad():
        expected = net(image)
        assert expected.shape == image.shape
        for dtype, limit in ((torch.float64, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)):
            got = net.to(dtype)(image.to(dtype))
            assert got.dtype == dtype
            assert (got - expected).abs().max() < limit, dtype
            net.float()


@pytest.mark.parametrize("name", ALL)
def test_autocast_keeps_the_result_float_and_close(name, image):
    net = make(name)
    expected = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        got = net(image)
        got.float().mean().backward()
    assert (got - expected).abs().max() < 3e-2
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ALL)
def test_sizes_that_do_not_divide_are_refused_by_number(name):
    net = make(name)
    assert net.multiple == 8
    with pytest.raises(ValueError, match=r"height 20 and width 24 must be multiples of 8"):
        net(torch.zeros(1, 3, 20, 24))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        net(torch.zeros(3, 24, 24))


@pytest.mark.parametrize("name", ALL)
def test_each_image_of_a_batch_is_on_its_own(name, image):
    net = make(name).eval()
    with torch.no_grad():
        torch.testing.assert_close(net(image)[1:], net(image[1:]))


@pytest.mark.parametrize("name", ALL)
def test_channels_last_gives_the_same_output(name, image):
    net = make(name).eval()
    with torch.no_grad():
        expected = net(image)
        net.to(memory_format=torch.channels_last)
        torch.testing.assert_close(net(image.contiguous(memory_format=torch.channels_last)), expected)
        assert net(image).is_contiguous(memory_format=torch.channels_last)


def compared(name: str, image: torch.Tensor, backend: str) -> tuple[Any, Any]:
    """Output and gradients of a network as it is, and of the same one compiled as one graph."""
    torch.compiler.reset()
    net, found = make(name), []
    for run in (net, torch.compile(net, backend=backend, fullgraph=True, dynamic=False)):
        net.zero_grad()
        output = run(image)
        output.square().mean().backward()
        grads = {name: tensor.grad.clone() for name, tensor in net.named_parameters() if tensor.grad is not None}
        found.append((output.detach(), grads))
    return found[0], found[1]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "abair" else pytest.mark.slow) for name in EACH]
)
def test_traced_it_is_one_graph_and_gives_the_same_output_and_gradients(name, image):
    (output, grads), (traced, traced_grads) = compared(name, image, "eager")
    assert grads.keys() == traced_grads.keys()
    torch.testing.assert_close(traced, output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(traced_grads, grads, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ("restormer", "dynet-s", "abair"))
def test_compiled_it_gives_the_same_output_and_gradients(name, image):
    (output, grads), (compiled, compiled_grads) = compared(name, image, "inductor")
    assert grads.keys() == compiled_grads.keys()
    torch.testing.assert_close(compiled, output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled_grads, grads, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EACH)
def test_onnx_gives_the_same_output_at_other_sizes(name, tmp_path):
    export = pytest.importorskip("million_ird.restore.export")
    pytest.importorskip("onnxscript")
    done = export.export(make(name), tmp_path / "net.onnx")
    assert len(done.differences) == len(export.SHAPES) and max(done.differences) < 1e-4


@pytest.mark.parametrize("name", ALL)
def test_any_size_goes_through_restore(name):
    restore = pytest.importorskip("million_ird.restore").restore
    net = make(name).eval()
    for height, width in ((13, 21), (1, 40)):
        assert restore(net, torch.rand(height, width, 3).numpy()).shape == (height, width, 3)


def test_a_dynet_is_all_its_variants(image):
    net = make("dynet-s").eval()
    with torch.no_grad():
        small, state = net(image), {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net.variant = "l"
        assert net.depths == (2, 2, 2, 3)
        large = net(image)
        net.variant = [2, 1, 1, 1]
        other = net(image)
        net.variant = "s"
        assert torch.equal(net(image), small)
        assert not torch.equal(large, small) and not torch.equal(other, small)
        again = models.create("dynet-l", **SHRUNK["dynet"]).eval()
        assert again.variant == "l" and again.state_dict().keys() == state.keys()
        again.load_state_dict(state)
        assert torch.equal(again(image), large)


def test_the_published_variants_are_the_defaults():
    assert models.create("dynet-s").depths == (2, 3, 3, 4)
    assert models.create("dynet-l").depths == (4, 6, 6, 8)


@pytest.mark.parametrize("wrong", ["m", (1, 2, 3), (1, 2, 3, 0), 4])
def test_a_variant_that_is_none_is_refused_and_changes_nothing(wrong):
    net = make("dynet-s")
    with pytest.raises((ConfigError, TypeError)):
        net.variant = wrong
    assert net.variant == "s" and net.depths == (1, 2, 1, 2)


def test_all_channels_follow_from_dim():
    config = models.promptir.PromptIRConfig()
    assert config.widths == (64, 128, 320)
    for dim, heads in ((10, (1, 1, 1, 2)), (24, (1, 2, 4, 8)), (36, (1, 2, 3, 4))):
        net = models.create("dynet-s", dim=dim, heads=heads, prompt_sizes=(4, 3, 2))
        assert net(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_the_modules_of_the_package_are_reached_by_name():
    assert inspect.ismodule(models.dynet) and "dynet" in dir(models)
    with pytest.raises(AttributeError, match="no resnet"):
        models.resnet  # noqa: B018
