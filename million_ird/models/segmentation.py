"""Which degradation each pixel suffered from: a head for pre-training, removed afterwards.

Legend: B images, H rows, W columns, C channels, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from million_ird.models.blocks import Conv, Pointwise


class SegmentationHead(nn.Module):
    """3x3 convolution to a third of the channels, gelu, 1x1 to the classes."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        hidden = max(1, dim // 3)
        self.conv = Conv(dim, hidden, bias=True)
        self.classify = Pointwise(hidden, classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> logits (B, K, H, W)."""
        return self.classify(F.gelu(self.conv(x))).permute(0, 3, 1, 2)
