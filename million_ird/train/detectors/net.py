"""The network that finds watermarks: the first layers of a text detector over luma, one logit for each 16 x 16 px.

Its plan is that of PP-OCRv4's mobile text detector (PaddleOCR, Apache-2.0; PP-LCNetV3 at 0.75) up to sixteenths, so
that training can begin with its weights (`million_ird.train.detectors.start`), with ReLU in place of its hard swish: of
bytes onnxruntime reckons convolutions with ReLU three times as quickly (`million_ird.train.detectors.export`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from million_ird.train.detectors.depthwise import Depthwise

STRIDE = 16
"""Pixels to a cell of the map, each way."""

SHARPNESS = 2.0
"""Of the soft maximum over the map: log of the sum of exp(2 x) over 2."""

MIDDLE = 127.5
"""What is taken from, and divides, bytes of luma; beyond the border lies middle grey."""

_STEM = 16  # channels at half the size

# in, out, kernel, stride: of a depthwise convolution, which one of 1 x 1 follows
_PLAN = (
    (_STEM, 32, 3, 1),
    (32, 48, 3, 2),
    (48, 48, 3, 1),
    (48, 96, 3, 2),
    (96, 96, 3, 1),
    (96, 192, 3, 2),
    (192, 192, 5, 1),
    (192, 192, 5, 1),
    (192, 192, 5, 1),
    (192, 192, 5, 1),
)

FINE = 11
"""So many layers see eighths or more; those after them sixteenths."""


class Layer(nn.Module):
    """A convolution; ReLU behind it where it bends.

    While `soft` is above 0 that share of what bends is hard swish, with which the weights to begin with were learnt.
    """

    def __init__(self, conv: nn.Conv2d, bends: bool = True) -> None:
        super().__init__()
        self.conv, self.bends = conv, bends
        self.soft = 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.bends:
            return x
        return torch.lerp(F.relu(x), F.hardswish(x), self.soft) if self.soft else F.relu(x)


class Detector(nn.Module):
    """(B, 1, H, W) uint8 luma of any size -> (B, ceil(H / 16), ceil(W / 16)) logits: a mark lies there."""

    def __init__(self) -> None:
        super().__init__()
        layers = [Layer(nn.Conv2d(1, _STEM, 3, 2, 1), bends=False)]
        for inside, outside, kernel, stride in _PLAN:
            layers += [
                Layer(Depthwise(inside, kernel, stride), bends=stride == 1),
                Layer(nn.Conv2d(inside, outside, 1)),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(192, 1, 1)
        for layer in layers:
            nn.init.kaiming_normal_(layer.conv.weight, nonlinearity="relu")
            nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.head.weight, 0.0, 1e-3)
        nn.init.constant_(self.head.bias, -3.0)  # type: ignore[arg-type]
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(()))  # set after training, so that 0 is where the rule may stand

    def steps(self) -> list[Layer]:
        """The layers before the head."""
        return list(self.layers)  # type: ignore[arg-type]

    def soften(self, share: float) -> None:
        """Have so much of hard swish in place of ReLU."""
        for layer in self.steps():
            layer.soft = share

    def forward(self, luma: Tensor) -> Tensor:
        return self.head(self.layers(centred(luma)))[:, 0]


def bias_of(conv: nn.Conv2d) -> Tensor:
    """All convolutions here have one."""
    assert conv.bias is not None
    return conv.bias


def centred(luma: Tensor) -> Tensor:
    """uint8 -> float32, -1..1."""
    return (luma.float() - MIDDLE) / MIDDLE


class Coach(nn.Module):
    """The detector under training: beside its cells it must tell which pixels are strokes, which teaches the layers
    below more by each sample. What it needs for that is left behind when it is done."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net
        self.fine, self.coarse = nn.Conv2d(96, 4, 1), nn.Conv2d(192, 4, 1)

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) uint8 -> logits of the cells, and (B, H / 4, W / 4) logits of the strokes; H, W multiples of
        16."""
        fine = self.net.layers[:FINE](centred(luma))
        coarse = self.net.layers[FINE:](fine)
        both = self.fine(fine) + F.interpolate(self.coarse(coarse), size=fine.shape[-2:], mode="nearest")
        return self.net.head(coarse)[:, 0], F.pixel_shuffle(both, 2)[:, 0]


def judged(net: Detector, luma: Tensor) -> Tensor:
    """(B, 1, H, W) uint8 -> (B,) logit of the picture: of two looks, the second at half the width and height, by which
    large marks are told and fine detail is not; two thirds the first."""
    half = F.avg_pool2d(luma.float(), 2, ceil_mode=True, count_include_pad=False)
    return (2 * pooled(net(luma)) + pooled(net(half))) / 3


def pooled(cells: Tensor) -> Tensor:
    """(B, h, w) logits of cells -> (B,) logit of the picture: a soft maximum."""
    return torch.logsumexp(SHARPNESS * cells.flatten(1), 1) / SHARPNESS
