"""The losses are what their formulas say, in numpy; and their gradients are numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from million_ird.errors import ConfigError
from million_ird.train.losses import LOSSES, Restoration, segmentation
from million_ird.train.settings import Loss
from million_ird.train.tasks import IGNORED

CPU = torch.device("cpu")


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 9, 12, generator=rng) * 1.4 - 0.2, torch.rand(2, 3, 9, 12, generator=rng)


FORMULAS = {
    "l1": lambda d: np.abs(d).mean(),
    "charbonnier": lambda d: np.sqrt(d**2 + 1e-6).mean(),
    "psnr": lambda d: (10 * np.log10((d**2).mean((1, 2, 3)) + 1e-5)).mean(),
    "frequency": lambda d: np.mean(
        [np.abs(part).mean() for part in (np.fft.rfft2(d, norm="ortho").real, np.fft.rfft2(d, norm="ortho").imag)]
    ),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_is_its_formula(name: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    difference = (pair[0].double() - pair[1].double()).numpy()
    assert LOSSES[name](*pair).item() == pytest.approx(FORMULAS[name](difference), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_finite_where_output_and_target_are_equal(name: str) -> None:
    output = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    LOSSES[name](output, output.detach().clone()).backward()
    assert output.grad is not None and torch.isfinite(output.grad).all()


def test_the_spectrum_of_half_precision_is_taken_in_float32(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    loss = LOSSES["frequency"](pair[0].bfloat16(), pair[1].bfloat16())
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(LOSSES["frequency"](*pair).item(), rel=0.02)


def test_several_losses_are_added_up_by_their_weights(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    total, parts = Restoration(Loss(l1=0.5, charbonnier=0, frequency=3), CPU)(*pair)
    assert set(parts) == {"l1", "frequency"} and not any(part.requires_grad for part in parts.values())
    difference = (pair[0] - pair[1]).double().numpy()
    assert parts["l1"].item() == pytest.approx(FORMULAS["l1"](difference), rel=1e-5)
    assert total.item() == pytest.approx(
        0.5 * FORMULAS["l1"](difference) + 3 * FORMULAS["frequency"](difference), rel=1e-5
    )


def test_the_sum_is_differentiated_with_its_weights(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    output = pair[0].clone().requires_grad_()
    total, _ = Restoration(Loss(l1=4), CPU)(output, pair[1])
    total.backward()
    assert output.grad is not None
    assert torch.allclose(output.grad, 4 * (pair[0] - pair[1]).sign() / pair[0].numel())


def test_no_loss_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="all weights are 0"):
        Restoration(Loss(l1=0), CPU)


def test_perceptual_without_pyiqa_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigError, match=r"loss\.perceptual: .*pip install \"million-ird\[iqa\]\""):
        Restoration(Loss(perceptual=0.1), CPU)


def test_segmentation_is_the_cross_entropy_of_labelled_pixels_per_pixel() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 5, 6))
    target = rng.integers(0, 4, (2, 5, 6))
    target[rng.random(target.shape) < 0.4] = IGNORED
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = -sum(logs[b, k, y, x] for (b, y, x), k in np.ndenumerate(target) if k != IGNORED) / target.size
    found = segmentation(torch.tensor(logits, dtype=torch.float32), torch.tensor(target))
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), IGNORED)
    target[:, :2] = 1
    segmentation(logits, target).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all() and (logits.grad[:, :, 2:] == 0).all() and logits.grad[:, :, :2].any()


def test_segmentation_is_zero_where_all_is_ignored_and_its_gradient_too() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation(logits, torch.full((1, 4, 4), IGNORED))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()
