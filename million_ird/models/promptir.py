"""PromptIR (arXiv 2306.13090): Restormer's blocks, and prompts in the decoder. 35.6 M parameters as published.

The published class has six tensors more (215,296 parameters) that no forward pass uses; they are left out.
Legend: B images, H rows, W columns, C = dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from million_ird.models import reference
from million_ird.models.unet import Four, PromptedConfig, PromptedUNet, UNetConfig, merge

DEAD = tuple(f"{name}{level}.weight" for name in ("chnl_reduce", "reduce_noise_channel_") for level in (1, 2, 3))
"""Tensors of the published class that no forward pass uses."""


class PromptIRConfig(PromptedConfig):
    """Sizes of a PromptIR; the defaults are the published ones."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {"promptir": {}}

    depths: Four = (4, 6, 6, 8)
    """Blocks of each level, from full size down; the decoder has as many."""


class PromptIR(PromptedUNet):
    """(B, 3, H, W) -> (B, 3, H, W); H and W multiples of 8."""

    Config: ClassVar[type[UNetConfig]] = PromptIRConfig
    family: ClassVar[str] = "promptir"

    def __init__(self, config: PromptIRConfig | None = None) -> None:
        config = config or PromptIRConfig()
        super().__init__(config)
        self.config: PromptIRConfig = config
        dim = config.dim
        self.encoder_level1 = self._stage(1, dim)
        self.encoder_level2 = self._stage(2, 2 * dim)
        self.encoder_level3 = self._stage(3, 4 * dim)
        self.latent = self._stage(4, 8 * dim)
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
        x = self.prompted(3, self.latent(self.down3_4(three)))  # (B, H/8, W/8, 4C)
        x = self.decoder_level3(merge(self.reduce_chan_level3, self.up4_3(x), three))  # (B, H/4, W/4, 4C)
        x = self.up3_2(self.prompted(2, x))  # (B, H/2, W/2, 2C)
        x = self.decoder_level2(merge(self.reduce_chan_level2, x, two))
        x = self.up2_1(self.prompted(1, x))  # (B, H, W, C)
        x = self.decoder_level1(torch.cat([x, one], -1))  # (B, H, W, 2C)
        return self.refinement(x)


def from_reference(state_dict: Mapping[str, Any] | str | Path) -> PromptIR:
    """A PromptIR with the weights of the published code; sizes are read from the tensors, `DEAD` ones are dropped.

    Args:
        state_dict: as published, also inside "state_dict", also with `net.` or `module.` before each name; or
            the file that holds it (nothing in it is run).

    Raises:
        InputError: naming the tensors that are missing, unknown or of the wrong shape.
    """
    tensors = reference.tensors_of(state_dict, DEAD)
    sizes = reference.sizes(tensors) | {"depths": reference.depths(tensors)} | reference.prompts(tensors)
    return reference.fill(PromptIR, sizes, tensors)
