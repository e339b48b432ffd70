"""What Restormer, PromptIR and DyNet share: four levels, each half the size and twice the channels of the last.

Legend: B images, H rows, W columns, C = dim. Inside, tensors are contiguous (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from million_ird.config import Config
from million_ird.models.blocks import Conv, Downsample, Pointwise, PromptBlock, TransformerBlock, Upsample
from million_ird.models.weights import Pretrained

Four = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
Three = tuple[PositiveInt, PositiveInt, PositiveInt]


class UNetConfig(Config):
    """Sizes; all numbers of channels follow from `dim`."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    dim: PositiveInt = Field(default=48, multiple_of=2)
    """Channels at full size; twice, four and eight times as many at the levels below."""
    heads: Four = (1, 2, 4, 8)
    """Attention heads of each level, from full size down."""
    refinement: PositiveInt = 4
    """Blocks at full size behind the decoder."""
    expansion: float = Field(default=2.66, gt=0)
    """Inner channels of the feed-forward part, per channel."""
    norm_bias: bool = True
    """LayerNorm with mean and bias; false is the bias-free one of Restormer's denoisers."""
    bias: bool = False
    """Biases in the convolutions of the transformer blocks."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for level, heads in enumerate(self.heads):
            if self.dim * 2**level % heads:
                raise ValueError(f"heads: {self.dim * 2**level} channels do not divide into {heads} heads")
        return self


class UNet(nn.Module, Pretrained):
    """Encoder, decoder and what joins them; a model adds its depths, and what it does to skips and before upsampling.

    A subclass calls `_levels` at the end of its `__init__`. `multiple` is what H and W have to be multiples of; whoever
    calls with other sizes has to pad. `depths` is how many blocks a picture passes at levels 1 to 4.
    """

    Config: ClassVar[type[UNetConfig]] = UNetConfig
    multiple: ClassVar[int] = 8
    up4_3: Upsample

    def __init__(self, config: UNetConfig, depths: Four) -> None:
        super().__init__()
        self.config = config
        self.depths = depths
        dim = config.dim
        self.patch_embed = Conv(3, dim)
        self.down1_2 = Downsample(dim)
        self.down2_3 = Downsample(2 * dim)
        self.down3_4 = Downsample(4 * dim)
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = Pointwise(4 * dim, 2 * dim)
        self.up2_1 = Upsample(2 * dim)
        self.refinement = nn.Sequential(*(self._block(1, 2 * dim) for _ in range(config.refinement)))
        self.output = Conv(2 * dim, 3)

    def _block(self, level: int, dim: int) -> TransformerBlock:
        config = self.config
        return TransformerBlock(dim, config.heads[level - 1], config.expansion, config.norm_bias, config.bias)

    def _levels(self) -> None:
        """Make the stages: encoder, latent, decoder."""
        dim = self.config.dim
        self.encoder_level1 = self._stage(1, dim)
        self.encoder_level2 = self._stage(2, 2 * dim)
        self.encoder_level3 = self._stage(3, 4 * dim)
        self.latent = self._stage(4, 8 * dim)
        self.decoder_level3 = self._stage(3, 4 * dim)
        self.decoder_level2 = self._stage(2, 2 * dim)
        self.decoder_level1 = self._stage(1, 2 * dim)

    def _stage(self, level: int, dim: int) -> Any:
        """The module that holds the blocks of a stage; `_blocks` knows what to make of it."""
        return nn.Sequential(*(self._block(level, dim) for _ in range(self.depths[level - 1])))

    def _blocks(self, name: str, level: int) -> Iterable[nn.Module]:
        """The blocks of a stage in the order in which they are applied."""
        return self.get_submodule(name).children()

    def forward(self, image: Tensor) -> Tensor:
        """Restored images, not clipped.

        Args:
            image: (B, 3, H, W), any float type, RGB, nominally [0, 1]; H and W multiples of 8.

        Raises:
            ValueError: the shape is another, or H or W is no multiple of 8.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"expected images of shape (B, 3, H, W), got {tuple(image.shape)}")
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"height {height} and width {width} must be multiples of {self.multiple}; pad the images")
        x = image.permute(0, 2, 3, 1).contiguous()
        return (self.output(self.features(x)) + x).permute(0, 3, 1, 2)

    def features(self, x: Tensor) -> Tensor:
        """What `output` sees: (B, H, W, 3) -> (B, H, W, 2C).

        Blocks are called one by one, since a call holds its arguments: a stage would keep the map that it was given to
        its end, beside the two of the block at work.
        """
        skips = []
        x = self.patch_embed(x).to(x.dtype)
        for level, down in enumerate((self.down1_2, self.down2_3, self.down3_4), 1):
            for block in self._blocks(f"encoder_level{level}", level):
                x = block(x)  # (B, H, W, C), (B, H/2, W/2, 2C), (B, H/4, W/4, 4C)
            skips.append(x)
            x = down(x)
        for block in self._blocks("latent", 4):
            x = block(x)  # (B, H/8, W/8, 8C)
        for level, up in ((3, self.up4_3), (2, self.up3_2), (1, self.up2_1)):
            x = self._joined(level, up(self.deep(level, x)), self.skip(level, skips.pop()))
            for block in self._blocks(f"decoder_level{level}", level):
                x = block(x)  # (B, H/4, W/4, 4C), (B, H/2, W/2, 2C), (B, H, W, 2C)
        for block in self.refinement:
            x = block(x)
        return x

    def _joined(self, level: int, x: Tensor, skip: Tensor) -> Tensor:
        if level == 1:
            return torch.cat([x, skip], -1)
        return merge(self.get_submodule(f"reduce_chan_level{level}"), x, skip)

    def deep(self, level: int, x: Tensor) -> Tensor:
        """What is enlarged to the size of `level`: the features below it, which this leaves as they are."""
        return x

    def skip(self, level: int, x: Tensor) -> Tensor:
        """What the encoder hands to the decoder at `level`: its features, which this leaves as they are."""
        return x


def merge(layer: nn.Module, *parts: Tensor) -> Tensor:
    """Tensors side by side, and through a 1x1 convolution; keeps the type of the first (autocast would lower it)."""
    return layer(torch.cat(parts, -1)).to(parts[0].dtype)


class PromptedConfig(UNetConfig):
    """Sizes of a network with prompts at levels 1/2, 1/4 and 1/8."""

    prompt_dims: Three | None = None
    """Channels of the three prompts, from 1/2 down; null: 4/3, 8/3, 20/3 of `dim`, rounded to a multiple of heads."""
    prompt_sizes: Three = (64, 32, 16)
    """Rows and columns of the learnt maps, from 1/2 down."""
    prompt_length: PositiveInt = 5
    """Learnt maps per prompt."""

    @property
    def widths(self) -> Three:
        """Channels of the three prompts."""
        if self.prompt_dims is not None:
            return self.prompt_dims
        heads = self.heads[2]
        return tuple(max(1, round(part * self.dim / 3 / heads)) * heads for part in (4, 8, 20))  # type: ignore

    @model_validator(mode="after")
    def _prompts_divide(self) -> Self:
        for width in self.widths:
            if width % self.heads[2]:
                raise ValueError(f"prompt_dims: {width} channels do not divide into {self.heads[2]} heads")
        return self


class PromptedUNet(UNet):
    """Prompts: features that say what is wrong with the image, laid beside the features of a level and mixed in."""

    def __init__(self, config: PromptedConfig, depths: Four) -> None:
        super().__init__(config, depths)
        dim, heads = config.dim, config.heads[2]
        inner, outer = (2 * dim, 4 * dim, 8 * dim), (2 * dim, 4 * dim, 4 * dim)
        for level, width, size in zip((1, 2, 3), config.widths, config.prompt_sizes, strict=True):
            into, out = inner[level - 1], outer[level - 1]
            block = TransformerBlock(into + width, heads, config.expansion, config.norm_bias, config.bias)
            self.add_module(f"prompt{level}", PromptBlock(into, width, size, config.prompt_length))
            self.add_module(f"noise_level{level}", block)
            self.add_module(f"reduce_noise_level{level}", Pointwise(into + width, out))
        self.up4_3 = Upsample(4 * dim)
        self.reduce_chan_level3 = Pointwise(6 * dim, 4 * dim)

    def prompted(self, level: int, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C); at level 3, of 8 * dim channels, half as many."""
        prompt = self.get_submodule(f"prompt{level}")(x)
        mixed = self.get_submodule(f"noise_level{level}")(torch.cat([x, prompt], -1))
        return merge(self.get_submodule(f"reduce_noise_level{level}"), mixed)
