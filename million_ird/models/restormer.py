"""Restormer (arXiv 2111.09881): attention between channels at four sizes. 26.1 M parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from million_ird.models import reference
from million_ird.models.blocks import Pointwise, Upsample
from million_ird.models.unet import Four, UNet, UNetConfig


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
        super().__init__(config, config.depths)
        self.config: RestormerConfig = config
        self.up4_3 = Upsample(8 * config.dim)
        self.reduce_chan_level3 = Pointwise(8 * config.dim, 4 * config.dim)
        self._levels()


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
