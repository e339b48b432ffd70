"""ABAIR (arXiv 2411.18412): a prompted U-Net, a head that says what degrades each pixel, adapters, and an estimator.

The paper gives no layers and its code was never published; what had to be chosen is written down in docs/abair.md.
Legend: B images, H rows, W columns, C = dim, K classes, N adapters.

Three phases: train all of it, the head too; remove the head and train one adapter per degradation on the frozen base;
train the estimator with the rest frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from million_ird.errors import ConfigError
from million_ird.models import adapter_files, weights
from million_ird.models.adapters import Adaptable
from million_ird.models.estimator import MODES, Estimator, Mode, amounts
from million_ird.models.lowrank import AdapterConfig
from million_ird.models.promptir import PromptIR, PromptIRConfig
from million_ird.models.segmentation import SegmentationHead
from million_ird.models.spatial import SpatialBlock
from million_ird.models.unet import Four, UNetConfig

ESTIMATOR = "estimator.safetensors"

PARTS = {
    "embedding": ("patch_embed",),
    "encoder": ("encoder_", "down", "latent"),
    "prompts": ("prompt", "noise_level", "reduce_noise_level"),
    "decoder": ("decoder_", "up", "reduce_chan_level"),
    "refinement": ("refinement",),
    "output": ("output",),
    "head": ("head",),
    "estimator": ("estimator",),
}
"""Part of the network -> how the names of its modules begin."""


class AbairConfig(PromptIRConfig):
    """Sizes of an ABAIR; the defaults are those of PromptIR, with spatial attention in every other block."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "abair": {},
        "abair-tiny": {
            "dim": 12,
            "depths": (2, 2, 2, 2),
            "refinement": 2,
            "prompt_sizes": (16, 8, 4),
            "estimator_dim": 16,
            "estimator_depths": (1, 1, 1, 1),
        },
    }

    spatial: bool = True
    """Every second block of a stage attends to pixels in windows, not to channels."""
    window: PositiveInt = 8
    """Rows and columns of the windows."""
    overlap: float = Field(default=0.5, ge=0, le=1)
    """Both margins of a window together, as a share of it."""
    classes: NonNegativeInt = 5
    """Degradations that the segmentation head tells apart; 0 = no head."""
    estimator_dim: PositiveInt = 48
    """Channels of the estimator's first stage; it is made with the first adapter."""
    estimator_depths: Four = (2, 2, 4, 3)
    """Residual blocks of the estimator's stages."""
    blend: Mode = "oh"
    """What "auto" makes of the estimator's logits: oh (the best), sw (by probability), sum, average."""


class Abair(Adaptable, PromptIR):
    """(B, 3, H, W) -> (B, 3, H, W); H and W multiples of 8. For what else it can do see `Adaptable`."""

    Config: ClassVar[type[UNetConfig]] = AbairConfig
    family: ClassVar[str] = "abair"
    unadapted: ClassVar[tuple[str, ...]] = ("head", "estimator")
    separate: ClassVar[tuple[str, ...]] = ("estimator",)
    head: SegmentationHead | None
    estimator: Estimator | None

    def __init__(self, config: AbairConfig | None = None) -> None:
        config = config or AbairConfig()
        super().__init__(config)
        self.config: Any = config
        self._alternate(self.refinement, 1, 2 * config.dim)
        self.head = SegmentationHead(2 * config.dim, config.classes) if config.classes else None
        self.estimator = None
        self.seen: dict[str, list[float]] = {}
        self._kept: list[Tensor] | None = None

    def _stage(self, level: int, dim: int) -> nn.Sequential:
        return self._alternate(super()._stage(level, dim), level, dim)

    def _alternate(self, stage: nn.Sequential, level: int, dim: int) -> nn.Sequential:
        config = self.config
        for i in range(1, len(stage), 2) if config.spatial else ():
            sizes = config.heads[level - 1], config.expansion, config.norm_bias, config.bias
            stage[i] = SpatialBlock(dim, *sizes, config.window, config.overlap)
        return stage

    def forward(self, image: Tensor, segment: bool = False) -> Any:
        """Restored images (B, 3, H, W), not clipped; with `segment` also the logits (B, K, H, W) of the head.

        Raises:
            ConfigError: `segment`, but the head is removed; amounts per image that are not as many as the images.
            ValueError: H or W is no multiple of 8.
        """
        if not segment:
            return super().forward(image)
        if self.head is None:
            raise ConfigError("segment: this network has no segmentation head")
        with self._keeping() as kept:
            restored = super().forward(image)
        return restored, self.head(kept[0])

    def features(self, x: Tensor) -> Tensor:
        """(B, H, W, 3) -> (B, H, W, 2C)."""
        x = super().features(x)
        if self._kept is not None:
            self._kept.append(x)
        return x

    @contextmanager
    def _keeping(self) -> Iterator[list[Tensor]]:
        self._kept = kept = []
        try:
            yield kept
        finally:
            self._kept = None

    def remove_head(self) -> None:
        """Drop the segmentation head; the restored images stay what they are."""
        self.head = None
        self.reconfigure(classes=0)

    @property
    def blend(self) -> Mode:
        """How "auto" blends: "oh", "sw", "sum" or "average"; set it to switch.

        Raises:
            ConfigError: (on setting) it is none of these.
        """
        return self.config.blend

    @blend.setter
    def blend(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ConfigError(f"blend {mode}: unknown; known: {', '.join(MODES)}")
        self.reconfigure(blend=mode)

    def add_adapter(self, name: str, config: AdapterConfig | None = None) -> None:
        """As `Adaptable.add_adapter`; the estimator learns its name, or is made with it."""
        super().add_adapter(name, config)
        if self.estimator is None:
            self.estimator = Estimator(self.config.estimator_dim, self.config.estimator_depths)
            self.estimator.to(self.output.weight)
        self.estimator.add(name)

    def remove_adapter(self, name: str) -> None:
        """As `Adaptable.remove_adapter`; the estimator forgets it."""
        super().remove_adapter(name)
        if self.estimator is not None:
            self.estimator.remove(name)

    def can_decide(self) -> None:
        """ConfigError unless there is an adapter to decide about."""
        if not self.adapter_names:
            raise ConfigError('adapters: "auto" needs adapters; add or load one first')

    def decide(self, image: Tensor) -> Tensor:
        """Amounts (B, N) for images (B, 3, H, W) as `blend` has it; `seen` says what was seen in them.

        `seen` is name -> a probability for each image, of the last images about which "auto" had to decide.
        """
        assert self.estimator is not None
        logits = self.estimator(image)
        shares = torch.softmax(logits.detach(), -1).T.tolist()
        self.seen = dict(zip(self.adapter_names, shares, strict=True))
        return amounts(logits, self.blend)

    def save_parts(self, folder: Path) -> None:
        """The estimator, in estimator.safetensors."""
        if self.estimator is not None:
            weights.write_tensors(folder / ESTIMATOR, self.estimator.state_dict())

    def load_parts(self, folder: Path) -> None:
        """What `save_parts` wrote.

        Raises:
            InputError: it is missing, or not the estimator of this network and these adapters.
        """
        if self.estimator is not None:
            tensors = weights.read_tensors(folder / ESTIMATOR)
            own = dict(self.estimator.named_parameters())
            adapter_files.copy(own, tensors, str(folder / ESTIMATOR), "the estimator")

    def parameters_by_part(self) -> dict[str, int]:
        """Numbers of parameters: of the base's parts, the head, the estimator, and each adapter ("adapter rain")."""
        counts = dict.fromkeys(PARTS, 0)
        for path, tensor in self.named_parameters():
            if not adapter_files.is_adapter(path):
                counts[next(part for part, starts in PARTS.items() if path.startswith(starts))] += tensor.numel()
        for name in self.adapter_names:
            counts[f"adapter {name}"] = sum(tensor.numel() for tensor in self.adapter_parameters(name).values())
        return counts
