"""The blocks compute what the published ones compute, and their derivatives are right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import published
from million_ird.models import attention, layers
from million_ird.models.attention import MDTA
from million_ird.models.blocks import GDFN, Downsample, LayerNorm, PromptBlock, TransformerBlock, Upsample
from million_ird.models.layers import convolve, gate, pointwise
from million_ird.models.reference import tensors_of


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def tiny_stripes(monkeypatch):
    """Stripes of two rows, even for the smallest tensors."""
    monkeypatch.setattr(layers, "STRIPE_BYTES", 1)
    monkeypatch.setattr(layers, "STRIPE_ROWS", 2)


def nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def port(theirs: nn.Module, ours: nn.Module) -> None:
    """Give both the same random weights."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    ours.load_state_dict(tensors_of(theirs.state_dict()))


def assert_same(theirs: nn.Module, ours: nn.Module, x: Tensor) -> None:
    """Equal outputs, equal gradients of the input and of every parameter."""
    left, right = x.clone().requires_grad_(), nhwc(x).requires_grad_()
    expected, got = theirs(left), ours(right)
    torch.testing.assert_close(nchw(got), expected)
    up = torch.randn_like(expected)
    expected.backward(up)
    got.backward(nhwc(up))
    assert left.grad is not None and right.grad is not None
    torch.testing.assert_close(nchw(right.grad), left.grad)
    grads = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    own = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    converted = tensors_of(grads)
    assert own.keys() == converted.keys()
    for name, grad in own.items():
        torch.testing.assert_close(grad, converted[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("dim", "heads", "size"), [(8, 1, (6, 4)), (24, 4, (5, 7)), (12, 2, (1, 3))])
def test_a_block_equals_the_published_one_with_all_gradients(dim, heads, size, biased):
    theirs = published.Block(dim, heads, 2.66, biased).double()
    ours = TransformerBlock(dim, heads, 2.66, biased).double()
    port(theirs, ours)
    assert_same(theirs, ours, torch.randn(2, dim, *size, dtype=torch.float64) + 0.5)


def test_a_resampling_and_a_prompt_equal_the_published_ones():
    x = torch.randn(2, 8, 6, 4, dtype=torch.float64)
    for theirs, ours in (
        (published.Down(8), Downsample(8)),
        (published.Up(8), Upsample(8)),
        (published.Prompt(8, 4, 3, 5), PromptBlock(8, 4, 3, 5)),
    ):
        theirs, ours = theirs.double(), ours.double()
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        tensors = {name.replace("body.0.", ""): tensor for name, tensor in theirs.state_dict().items()}
        if "prompt_param" in tensors:
            tensors["prompt_param"] = tensors["prompt_param"][0].permute(0, 2, 3, 1)
        ours.load_state_dict(tensors)
        torch.testing.assert_close(nchw(ours(nhwc(x))), theirs(x))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7, 6)])
def test_the_derivative_of_the_bias_free_norm_is_right(shape):
    norm = LayerNorm(shape[-1], bias=False).double()
    weight = torch.randn(shape[-1], dtype=torch.float64, requires_grad=True)
    x = (3 * torch.randn(shape, dtype=torch.float64) + 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, w: layers._BiasFreeNorm.apply(a, w), (x, weight))
    expected = x / torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm(x), expected)


def test_the_derivatives_of_the_gate_and_of_the_attention_are_right():
    assert torch.autograd.gradcheck(gate, torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True))
    shapes = (2, 2, 3, 12), (2, 1, 1), (4, 4)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *args: attention._Attend.apply(*args), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_norm_and_the_attention_stay_accurate_in_half_precision(dtype):
    x = 100 + 3 * torch.randn(1, 32, 32, 8)
    for bias in (True, False):
        norm = LayerNorm(8, bias)
        expected = norm(x.to(dtype).float())
        got = norm.to(dtype)(x.to(dtype)).float()
        assert (got - expected).abs().max() <= 2**-7 * expected.abs().max()
    block = MDTA(8, 2)
    sums = block.to(dtype).statistics(block.project(x.to(dtype)) + 40)
    assert all(s.dtype == torch.float32 and s.isfinite().all() for s in sums)
    assert sums[1].max() > 65504


def test_pixels_of_no_length_give_finite_results():
    block = TransformerBlock(8, 2, 2.0)
    with torch.no_grad():
        block.attn.qkv.weight.zero_()
    x = torch.zeros(1, 4, 4, 8, requires_grad=True)
    block(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


def test_the_steps_of_the_attention_make_stripes_equal_to_the_whole():
    block = MDTA(12, 3).double()
    x = torch.randn(2, 8, 5, 12, dtype=torch.float64)
    expected = block(x)
    qk = block.project(x, slice(0, 2))
    parts = [block.statistics(qk[:, rows]) for rows in (slice(0, 3), slice(3, 8))]
    matrix = block.mixing(*(left + right for left, right in zip(*parts, strict=True)))
    v = block.project(x, slice(2, 3))
    torch.testing.assert_close(torch.cat([qk, v], -1), block.project(x))
    torch.testing.assert_close(block.mix(v, matrix), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 11])
def test_in_stripes_a_block_gives_the_same_result_and_gradients(height, bias, monkeypatch):
    block = TransformerBlock(8, 2, 2.66, bias=bias).double()
    x = torch.randn(2, height, 5, 8, dtype=torch.float64, requires_grad=True)
    up = torch.randn_like(x)

    def run() -> list[Tensor]:
        out = block(x)
        return [out, *torch.autograd.grad(out, [x, *block.parameters()], up)]

    assert len(layers.stripes(x, 8)) == 1
    expected = run()
    monkeypatch.setattr(layers, "STRIPE_BYTES", 1)
    monkeypatch.setattr(layers, "STRIPE_ROWS", 2)
    assert len(layers.stripes(x, 8)) == -(-height // 2)
    torch.testing.assert_close(run(), expected)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected[0])


def test_in_stripes_autocast_works_too(tiny_stripes):
    block = TransformerBlock(8, 2, 2.66)
    x = torch.randn(2, 6, 5, 8, requires_grad=True)
    expected = torch.autograd.grad(block(x).sum(), [x, *block.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        out = block(x)
    got = torch.autograd.grad(out.sum(), [x, *block.parameters()])
    assert out.dtype == torch.float32
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() < 0.05 * other.norm()


def test_in_stripes_frozen_weights_and_weights_per_image_work_too(tiny_stripes):
    block = TransformerBlock(8, 2, 2.66).double()
    x = torch.randn(2, 6, 5, 8, dtype=torch.float64)
    block.requires_grad_(False)
    block.ffn.dwconv.weight.requires_grad_()
    block(x).sum().backward()
    assert [name for name, p in block.named_parameters() if p.grad is not None] == ["ffn.dwconv.weight"]
    weights = {"ffn.project_out.weight": block.ffn.project_out.weight.expand(2, -1, -1)}
    torch.testing.assert_close(torch.func.functional_call(block, weights, x), block(x))


def test_the_hidden_channels_are_the_published_ones_and_memory_gets_a_number_it_likes():
    assert [GDFN(dim, 2.66).hidden for dim in (48, 96, 192, 384)] == [127, 255, 510, 1021]
    for dim in (48, 96, 192, 384):
        block = GDFN(dim, 2.66)
        assert block.project_in.weight.shape == (2 * block.hidden, dim)
        assert block.width >= block.hidden and block.width % 8 == 0 and block.width % 256


def test_a_weight_per_image_equals_the_images_one_by_one():
    block = TransformerBlock(8, 2, 2.66).double()
    x = torch.randn(3, 4, 5, 8, dtype=torch.float64)
    several = {name: p for name, p in block.named_parameters() if p.ndim in (2, 4)}
    weights = {name: torch.randn(3, *p.shape, dtype=p.dtype) for name, p in several.items()}
    expected = torch.cat(
        [torch.func.functional_call(block, {n: w[i] for n, w in weights.items()}, x[i : i + 1]) for i in range(3)]
    )
    torch.testing.assert_close(torch.func.functional_call(block, weights, x), expected)
    kernel, bias = torch.randn(3, 6, 8, 3, 3, dtype=x.dtype), torch.randn(6, dtype=x.dtype)
    each = [convolve(x[i : i + 1], kernel[i], bias) for i in range(3)]
    torch.testing.assert_close(convolve(x, kernel, bias), torch.cat(each))
    each = [F.linear(x[i : i + 1], kernel[i, ..., 0, 0], bias) for i in range(3)]
    torch.testing.assert_close(pointwise(x, kernel[..., 0, 0], bias), torch.cat(each))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="10 channels do not divide into 4 heads"):
        MDTA(10, 4)
