"""Restormer (arXiv 2111.09881): attention between channels at four sizes. 26.1 M parameters.

Legend: B images, H rows, W columns, C = dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from million_ird.models import reference
from million_ird.models.blocks import Pointwise, Upsample
from million_ird.models.unet import Four, UNet, UNetConfig, merge


class RestormerConfig(UNetConfig):
    """Sizes of a Restormer; the defaults are the published ones."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {"restormer": {}}

    depths: Four = (4, 6, 6, 8)
    """Blocks of each level, from full size down; the decoder has as many."""


class Restormer(UNet):
    """(B, 3, H, W) -> (B, 3, H, W); H and W multiples of 8."""

    Config: ClassVar[type[UNetConfig]] = RestormerConfig
    family: ClassVar[str] = "restormer"

    def __init__(self, config: RestormerConfig | None = None) -> None:
        config = config or RestormerConfig()
        super().__init__(config)
        self.config: RestormerConfig = config
        dim = config.dim
        self.encoder_level1 = self._stage(1, dim)
        self.encoder_level2 = self._stage(2, 2 * dim)
        self.encoder_level3 = self._stage(3, 4 * dim)
        self.latent = self._stage(4, 8 * dim)
        self.up4_3 = Upsample(8 * dim)
        self.reduce_chan_level3 = Pointwise(8 * dim, 4 * dim)
        self.decoder_level3 = self._stage(3, 4 * dim)
        self.decoder_level2 = self._stage(2, 2 * dim)
        self.decoder_level1 = self._stage(1, 2 * dim)

    def _stage(self, level: int, dim: int) -> nn.Sequential:
        return nn.Sequential(*(self._block(level, dim) for _ in range(self.config.depths[level - 1])))

    def features(self, x: Tensor) -> Tensor:
        """(B, H, W, 3) -> (B, H, W, 2C)."""
        one = self.encoder_level1(self.patch_embed(x).to(x.dtype))  # (B, H, W, C)
        two = self.encoder_level2(self.down1_2(one))  # (B, H/2, W/2, 2C)
        three = self.encoder_level3(self.down2_3(two))  # (B, H/4, W/4, 4C)
        x = self.latent(self.down3_4(three))  # (B, H/8, W/8, 8C)
        x = self.decoder_level3(merge(self.reduce_chan_level3, self.up4_3(x), three))  # (B, H/4, W/4, 4C)
        x = self.decoder_level2(merge(self.reduce_chan_level2, self.up3_2(x), two))  # (B, H/2, W/2, 2C)
        x = self.decoder_level1(torch.cat([self.up2_1(x), one], -1))  # (B, H, W, 2C)
        return self.refinement(x)


def from_reference(state_dict: Mapping[str, Any] | str | Path) -> Restormer:
    """A Restormer with the weights of the published code; sizes are read from the tensors.

    Args:
        state_dict: as published, also inside "state_dict" or "params", also with `net.` or `module.` before each
            name; or the file that holds it (nothing in it is run).

    Raises:
        InputError: naming the tensors that are missing, unknown or of the wrong shape.
    """
    tensors = reference.tensors_of(state_dict)
    sizes = reference.sizes(tensors) | {"depths": reference.depths(tensors)}
    return reference.fill(Restormer, sizes, tensors)
