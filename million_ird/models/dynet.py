"""DyNet (arXiv 2404.02154): one block per level, applied several times; prompts on the skips. 16.6 M parameters.

One set of weights is every variant: "s" applies the blocks of levels 1 to 4 (2, 3, 3, 4) times, "l" (4, 6, 6, 8) times,
and any other list will do. The published class has three tensors more (112,896 parameters) that no forward pass uses;
they are left out. Legend: B images, H rows, W columns, C = dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from million_ird.models import reference
from million_ird.models.unet import Four, PromptedConfig, PromptedUNet, UNetConfig, merge

DEAD = tuple(f"reduce_noise_channel_{level}.weight" for level in (1, 2, 3))
"""Tensors of the published class that no forward pass uses."""

Variant = Literal["s", "l"] | Four
"""How often the blocks of levels 1 to 4 are applied, by name or in numbers."""


class DyNetConfig(PromptedConfig):
    """Sizes of a DyNet; the defaults are the published ones."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "dynet-s": {"variant": "s"},
        "dynet-l": {"variant": "l"},
        "dynet-tiny": {
            "dim": 12,
            "refinement": 2,
            "prompt_sizes": (16, 8, 4),
            "small": (1, 1, 1, 2),
            "large": (2, 3, 3, 4),
        },
    }

    small: Four = (2, 3, 3, 4)
    """Variant "s"."""
    large: Four = (4, 6, 6, 8)
    """Variant "l"."""
    variant: Variant = "s"
    """The variant at start."""


class DyNet(PromptedUNet):
    """(B, 3, H, W) -> (B, 3, H, W); H and W multiples of 8.

    `net.variant = "l"` switches: it is read in each forward pass, and the state dict does not know it.
    """

    Config: ClassVar[type[UNetConfig]] = DyNetConfig
    family: ClassVar[str] = "dynet"

    def __init__(self, config: DyNetConfig | None = None) -> None:
        config = config or DyNetConfig()
        super().__init__(config)
        self.config: DyNetConfig = config
        self.depths = _depths(config)
        dim = config.dim
        self.encoder_level1 = self._block(1, dim)
        self.encoder_level2 = self._block(2, 2 * dim)
        self.encoder_level3 = self._block(3, 4 * dim)
        self.latent = self._block(4, 8 * dim)
        self.decoder_level3 = self._block(3, 4 * dim)
        self.decoder_level2 = self._block(2, 2 * dim)
        self.decoder_level1 = self._block(1, 2 * dim)

    @property
    def variant(self) -> Variant:
        """How often the blocks of levels 1 to 4 are applied: "s", "l" or four numbers; set it to switch.

        Raises:
            ConfigError: (on setting) it is none of these.
        """
        return self.config.variant

    @variant.setter
    def variant(self, value: Variant | Sequence[int]) -> None:
        self.reconfigure(variant=value if isinstance(value, str) else tuple(value))
        self.depths = _depths(self.config)

    def features(self, x: Tensor) -> Tensor:
        """(B, H, W, 3) -> (B, H, W, 2C)."""
        first, second, third, fourth = self.depths
        one = _repeat(self.encoder_level1, first, self.patch_embed(x).to(x.dtype))  # (B, H, W, C)
        two = _repeat(self.encoder_level2, second, self.down1_2(one))  # (B, H/2, W/2, 2C)
        three = _repeat(self.encoder_level3, third, self.down2_3(two))  # (B, H/4, W/4, 4C)
        x = _repeat(self.latent, fourth, self.down3_4(three))  # (B, H/8, W/8, 8C)
        x = self.up4_3(self.prompted(3, x))  # (B, H/4, W/4, 2C)
        x = merge(self.reduce_chan_level3, x, self.prompted(2, three))
        x = self.up3_2(_repeat(self.decoder_level3, third, x))  # (B, H/2, W/2, 2C)
        x = merge(self.reduce_chan_level2, x, self.prompted(1, two))
        x = self.up2_1(_repeat(self.decoder_level2, second, x))  # (B, H, W, C)
        x = _repeat(self.decoder_level1, first, torch.cat([x, one], -1))  # (B, H, W, 2C)
        return self.refinement(x)


def _depths(config: DyNetConfig) -> Four:
    variant = config.variant
    return {"s": config.small, "l": config.large}[variant] if isinstance(variant, str) else variant


def _repeat(block: torch.nn.Module, times: int, x: Tensor) -> Tensor:
    for _ in range(times):
        x = block(x)
    return x


def from_reference(state_dict: Mapping[str, Any] | str | Path) -> DyNet:
    """A DyNet with the weights of the published code; sizes are read from the tensors, `DEAD` ones are dropped.

    The variant is in the published code and not in its weights; here it is "s" until it is set.

    Args:
        state_dict: as published, also inside "state_dict", also with `net.` or `module.` before each name; or
            the file that holds it (nothing in it is run).

    Raises:
        InputError: naming the tensors that are missing, unknown or of the wrong shape.
    """
    tensors = reference.tensors_of(state_dict, DEAD)
    return reference.fill(DyNet, reference.sizes(tensors) | reference.prompts(tensors), tensors)
