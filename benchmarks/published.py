"""Restormer, PromptIR and DyNet written the way the published code writes them: what the package is compared with.

In our own words, after the specification: (B, C, H, W) throughout, a norm that moves the channels to the end and back,
normalised q and k, the output projection as a convolution of its own, `chunk`, prompts repeated per image; tensors have
the published names and shapes, the ones that no forward pass uses included. Not part of the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormBody(nn.Module):
    """Norm of the last dimension with or without bias, by its formula."""

    def __init__(self, dim: int, biased: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        if biased:
            self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        var = x.var(-1, keepdim=True, unbiased=False)
        if not hasattr(self, "bias"):
            return x / torch.sqrt(var + 1e-5) * self.weight
        return (x - x.mean(-1, keepdim=True)) / torch.sqrt(var + 1e-5) * self.weight + self.bias


class Norm(nn.Module):
    def __init__(self, dim: int, biased: bool) -> None:
        super().__init__()
        self.body = NormBody(dim, biased)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        flat = x.flatten(2).transpose(1, 2).contiguous()  # (B, HW, C)
        return self.body(flat).transpose(1, 2).contiguous().unflatten(2, (height, width))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(dim, dim * 3, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(dim * 3, dim * 3, 3, padding=1, groups=dim * 3, bias=False)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, dim, height, width = x.shape
        heads = [
            t.reshape(batch, self.heads, dim // self.heads, height * width)
            for t in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        ]
        q, k, v = F.normalize(heads[0], dim=-1), F.normalize(heads[1], dim=-1), heads[2]
        attention = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
        return self.project_out((attention @ v).reshape(batch, dim, height, width))


class FeedForward(nn.Module):
    def __init__(self, dim: int, expansion: float) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.project_in = nn.Conv2d(dim, hidden * 2, 1, bias=False)
        self.dwconv = nn.Conv2d(hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2, bias=False)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(first) * second)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, expansion: float, biased: bool) -> None:
        super().__init__()
        self.norm1 = Norm(dim, biased)
        self.attn = Attention(dim, heads)
        self.norm2 = Norm(dim, biased)
        self.ffn = FeedForward(dim, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Embed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Down(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Up(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(dim, dim * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Prompt(nn.Module):
    def __init__(self, dim: int, width: int, size: int, length: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, length, width, size, size))
        self.linear_layer = nn.Linear(dim, length)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        weights = F.softmax(self.linear_layer(x.mean(dim=(-2, -1))), dim=1)[..., None, None, None]
        prompt = (weights * self.prompt_param.repeat(batch, 1, 1, 1, 1)).sum(dim=1)
        return self.conv3x3(F.interpolate(prompt, (height, width), mode="bilinear"))


class UNet(nn.Module):
    """What the three have in common."""

    def __init__(
        self,
        dim: int = 48,
        heads: Sequence[int] = (1, 2, 4, 8),
        refinement: int = 4,
        expansion: float = 2.66,
        biased: bool = True,
        stages: Sequence[int | None] = (4, 6, 6, 8),
    ) -> None:
        """`stages` holds the blocks of each level; None: one block, not in a Sequential."""
        super().__init__()

        def stage(level: int, width: int) -> nn.Module:
            count = stages[level]
            blocks = [Block(width, heads[level], expansion, biased) for _ in range(count or 1)]
            return blocks[0] if count is None else nn.Sequential(*blocks)

        self.patch_embed = Embed(dim)
        self.encoder_level1 = stage(0, dim)
        self.down1_2 = Down(dim)
        self.encoder_level2 = stage(1, dim * 2)
        self.down2_3 = Down(dim * 2)
        self.encoder_level3 = stage(2, dim * 4)
        self.down3_4 = Down(dim * 4)
        self.latent = stage(3, dim * 8)
        self.up4_3 = Up(dim * 8)
        self.reduce_chan_level3 = nn.Conv2d(dim * 8, dim * 4, 1, bias=False)
        self.decoder_level3 = stage(2, dim * 4)
        self.up3_2 = Up(dim * 4)
        self.reduce_chan_level2 = nn.Conv2d(dim * 4, dim * 2, 1, bias=False)
        self.decoder_level2 = stage(1, dim * 2)
        self.up2_1 = Up(dim * 2)
        self.decoder_level1 = stage(0, dim * 2)
        self.refinement = nn.Sequential(*[Block(dim * 2, heads[0], expansion, biased) for _ in range(refinement)])
        self.output = nn.Conv2d(dim * 2, 3, 3, padding=1, bias=False)


class Restormer(UNet):
    def forward(self, image: Tensor) -> Tensor:
        one = self.encoder_level1(self.patch_embed(image))
        two = self.encoder_level2(self.down1_2(one))
        three = self.encoder_level3(self.down2_3(two))
        x = self.latent(self.down3_4(three))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), three], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), two], 1)))
        x = self.decoder_level1(torch.cat([self.up2_1(x), one], 1))
        return self.output(self.refinement(x)) + image


class Prompted(UNet):
    """The prompts of PromptIR and DyNet, and the 1x1 convolutions that neither uses."""

    def __init__(
        self,
        dim: int = 48,
        heads: Sequence[int] = (1, 2, 4, 8),
        refinement: int = 4,
        expansion: float = 2.66,
        biased: bool = True,
        stages: Sequence[int | None] = (4, 6, 6, 8),
        prompts: Sequence[int] = (64, 128, 320),
        sizes: Sequence[int] = (64, 32, 16),
        length: int = 5,
    ) -> None:
        super().__init__(dim, heads, refinement, expansion, biased, stages)
        self.up4_3 = Up(dim * 4)
        self.reduce_chan_level3 = nn.Conv2d(dim * 6, dim * 4, 1, bias=False)
        dims, targets = (dim * 2, dim * 4, dim * 8), (dim * 2, dim * 4, dim * 4)
        for level, (width, size, inner, target) in enumerate(zip(prompts, sizes, dims, targets, strict=True), 1):
            setattr(self, f"prompt{level}", Prompt(inner, width, size, length))
            setattr(self, f"noise_level{level}", Block(inner + width, heads[2], expansion, biased))
            setattr(self, f"reduce_noise_level{level}", nn.Conv2d(inner + width, target, 1, bias=False))
            dead = nn.Conv2d(dim * 2 ** (level - 1) + 64 * 2 ** (level - 1), dim * 2 ** (level - 1), 1, bias=False)
            setattr(self, f"reduce_noise_channel_{level}", dead)

    def prompt(self, level: int, x: Tensor) -> Tensor:
        x = torch.cat([x, getattr(self, f"prompt{level}")(x)], 1)
        return getattr(self, f"reduce_noise_level{level}")(getattr(self, f"noise_level{level}")(x))


class PromptIR(Prompted):
    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.chnl_reduce1 = nn.Conv2d(64, 64, 1, bias=False)
        self.chnl_reduce2 = nn.Conv2d(128, 128, 1, bias=False)
        self.chnl_reduce3 = nn.Conv2d(320, 256, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        one = self.encoder_level1(self.patch_embed(image))
        two = self.encoder_level2(self.down1_2(one))
        three = self.encoder_level3(self.down2_3(two))
        x = self.prompt(3, self.latent(self.down3_4(three)))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), three], 1)))
        x = self.prompt(2, x)
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), two], 1)))
        x = self.prompt(1, x)
        x = self.decoder_level1(torch.cat([self.up2_1(x), one], 1))
        return self.output(self.refinement(x)) + image


class DyNet(Prompted):
    """One block per level, applied `frequencies` times."""

    def __init__(self, *args, frequencies: Sequence[int] = (2, 3, 3, 4), **options) -> None:
        super().__init__(*args, **{"stages": (None,) * 4, **options})
        self.frequencies = frequencies

    def repeat(self, name: str, level: int, x: Tensor) -> Tensor:
        for _ in range(self.frequencies[level]):
            x = getattr(self, name)(x)
        return x

    def forward(self, image: Tensor) -> Tensor:
        one = self.repeat("encoder_level1", 0, self.patch_embed(image))
        two = self.repeat("encoder_level2", 1, self.down1_2(one))
        three = self.repeat("encoder_level3", 2, self.down2_3(two))
        x = self.repeat("latent", 3, self.down3_4(three))
        x = self.prompt(3, x)
        x = torch.cat([self.up4_3(x), self.prompt(2, three)], 1)
        x = self.repeat("decoder_level3", 2, self.reduce_chan_level3(x))
        x = torch.cat([self.up3_2(x), self.prompt(1, two)], 1)
        x = self.repeat("decoder_level2", 1, self.reduce_chan_level2(x))
        x = self.repeat("decoder_level1", 0, torch.cat([self.up2_1(x), one], 1))
        return self.output(self.refinement(x)) + image
