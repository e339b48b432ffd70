"""What is made small.

Legend: B images, H rows, W columns, K classes. Outputs are not clipped; targets are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from million_ird.errors import ConfigError
from million_ird.train.settings import Loss
from million_ird.train.tasks import IGNORED

EPS = 1e-6
"""Of the Charbonnier loss, the square of 1e-3 (LapSRN, arXiv 1710.01992, uses 1e-3)."""

FLOOR = 1e-5
"""Of the mean square in `decibels`: 50 dB."""


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (output - target).abs().mean()


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + 1e-6): L1, but smooth at zero."""
    return ((output - target).square() + EPS).sqrt().mean()


def decibels(output: Tensor, target: Tensor) -> Tensor:
    """Minus the mean of each image's PSNR, dB (HINet, arXiv 2105.06086), never better than 50: an image that is nearly
    right counts as much as one that is far off."""
    squares = (output - target).float().square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(squares + FLOOR).mean()


def frequency(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the orthonormal half spectra, of which the other half
    is the mirror (MIMO-UNet, arXiv 2108.05054)."""
    difference = torch.fft.rfft2((output - target).float(), norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def segmentation(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K, H, W) against classes (B, H, W); `IGNORED` pixels cost nothing.

    The mean is over all pixels, so that the mean over the parts of a step is that of the whole.
    """
    return F.cross_entropy(logits.float(), target, ignore_index=IGNORED, reduction="sum") / target.numel()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "charbonnier": charbonnier,
    "psnr": decibels,
    "frequency": frequency,
}


class Restoration:
    """The weighted sum of the losses of output and target, and each by name.

    Raises:
        ConfigError: perceptual, and pyiqa is not installed; or no loss has a weight.
    """

    def __init__(self, config: Loss, device: torch.device) -> None:
        self._terms = [(name, getattr(config, name), function) for name, function in LOSSES.items()]
        if config.perceptual:
            self._terms.append(("perceptual", config.perceptual, _perceptual(device)))
        self._terms = [term for term in self._terms if term[1]]
        if not self._terms:
            raise ConfigError("loss: all weights are 0; set one of l1, charbonnier, psnr, frequency, perceptual")

    def __call__(self, output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 3, H, W) twice -> the sum, and its parts without their weights."""
        parts = {name: function(output, target) for name, _, function in self._terms}
        total = torch.stack([weight * parts[name] for name, weight, _ in self._terms]).sum()
        return total, {name: part.detach() for name, part in parts.items()}


def _perceptual(device: torch.device) -> Any:
    try:
        import pyiqa  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError('loss.perceptual: needs pyiqa: pip install "million-ird[iqa]" (non-commercial)') from None
    metric = pyiqa.create_metric("lpips", as_loss=True, device=device)
    return lambda output, target: metric(output.clamp(0, 1), target)
