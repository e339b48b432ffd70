"""DyNet (arXiv 2404.02154): one block per level, applied several times; prompts on the skips. 16.6 M parameters.

One set of weights is every variant: "s" applies the blocks of levels 1 to 4 (2, 3, 3, 4) times, "l" (4, 6, 6, 8) times,
and any other list will do. The published class has three tensors more (112,896 parameters) that no forward pass uses;
they are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from million_ird.models import reference
from million_ird.models.unet import Four, PromptedConfig, PromptedUNet, UNetConfig

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
        super().__init__(config, _depths(config))
        self.config: DyNetConfig = config
        self._levels()

    def _stage(self, level: int, dim: int) -> Any:
        return self._block(level, dim)

    def _blocks(self, name: str, level: int) -> Iterable[nn.Module]:
        return repeat(self.get_submodule(name), self.depths[level - 1])

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

    def deep(self, level: int, x: Tensor) -> Tensor:
        """The deepest features get a prompt; what the decoder made of them gets none."""
        return self.prompted(3, x) if level == 3 else x

    def skip(self, level: int, x: Tensor) -> Tensor:
        """Prompts 2 and 1 are on the skips at 1/4 and 1/2 of the size."""
        return x if level == 1 else self.prompted(level - 1, x)


def _depths(config: DyNetConfig) -> Four:
    variant = config.variant
    return {"s": config.small, "l": config.large}[variant] if isinstance(variant, str) else variant


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
