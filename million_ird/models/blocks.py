"""The blocks that restoration networks of the Restormer family are built from.

Legend: B images, H rows, W columns, C channels, h heads, c = C / h. Every block takes and gives a contiguous
(B, H, W, C) tensor (see layers.py).

Blocks read their layers' `weight` and `bias` instead of calling the layers, so whoever replaces a layer (an adapter)
needs no more than these two attributes. A weight may have a leading batch dimension: one weight per image.

Formulas: Restormer (arXiv 2111.09881), sections 3.1 and 3.2; PromptIR (arXiv 2306.13090), section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from million_ird.models.attention import MDTA
from million_ird.models.feedforward import GDFN
from million_ird.models.layers import Conv, LayerNorm, Pointwise

__all__ = [
    "GDFN",
    "MDTA",
    "Conv",
    "Downsample",
    "LayerNorm",
    "Pointwise",
    "PromptBlock",
    "TransformerBlock",
    "Upsample",
]


class TransformerBlock(nn.Module):
    """x + MDTA(norm x), then x + GDFN(norm x)."""

    def __init__(self, dim: int, heads: int, expansion: float, norm_bias: bool = True, bias: bool = False) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, norm_bias)
        self.attn = MDTA(dim, heads, bias)
        self.norm2 = LayerNorm(dim, norm_bias)
        self.ffn = GDFN(dim, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C); the sum keeps the type of x, so under autocast it stays float32."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Downsample(Conv):
    """Half the size, twice the channels: 3x3 to C / 2, then each 2x2 pixels become channels."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim // 2)

    def forward(self, input: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / 2, W / 2, 2C); H and W even."""
        x = super().forward(input)
        batch, height, width, dim = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, dim).permute(0, 1, 3, 5, 2, 4)
        return x.reshape(batch, height // 2, width // 2, 4 * dim).to(input.dtype)


class Upsample(Conv):
    """Twice the size, half the channels: 3x3 to 2C, then each four channels become 2x2 pixels."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2 * dim)

    def forward(self, input: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 2H, 2W, C / 2)."""
        x = super().forward(input)
        batch, height, width, dim = x.shape
        x = x.view(batch, height, width, dim // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, 2 * height, 2 * width, dim // 4).to(input.dtype)


class PromptBlock(nn.Module):
    """A map of features made from `length` learnt ones, weighted by what the mean feature of the image asks for.

    Args:
        dim: channels of the features that choose.
        width: channels of the prompt.
        size: rows and columns of the learnt maps; they are resized (bilinear) to the features.
        length: number of learnt maps.
    """

    def __init__(self, dim: int, width: int, size: int, length: int = 5) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(length, size, size, width))
        self.linear_layer = nn.Linear(dim, length)
        self.conv3x3 = Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, width)."""
        weights = torch.softmax(self.linear_layer(x.mean((1, 2))), -1)  # (B, length)
        maps = (weights @ self.prompt_param.flatten(1)).unflatten(1, self.prompt_param.shape[1:])
        maps = F.interpolate(maps.permute(0, 3, 1, 2), x.shape[1:3], mode="bilinear").permute(0, 2, 3, 1)
        return self.conv3x3(maps.contiguous()).to(x.dtype)
