"""PromptIR (arXiv 2306.13090): Restormer's blocks, and prompts in the decoder. 35.6 M parameters as published.

The published class has six tensors more (215,296 parameters) that no forward pass uses; they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from million_ird.models import reference
from million_ird.models.unet import Four, PromptedConfig, PromptedUNet, UNetConfig

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
        super().__init__(config, config.depths)
        self.config: PromptIRConfig = config
        self._levels()

    def deep(self, level: int, x: Tensor) -> Tensor:
        """The features below `level` with their prompt."""
        return self.prompted(level, x)


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
