"""The network that finds watermarks: the first layers of a text detector over luma, one logit for each 16 x 16 px.

Its plan is that of PP-OCRv4's mobile text detector (PaddleOCR, Apache-2.0; PP-LCNetV3 at 0.75) up to sixteenths, so
that training can begin with its weights (`million_ird.train.detectors.start`). Written as ONNX by hand: what runs where
pictures are measured needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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

# in, out, kernel, stride
_PLAN = (
    (_STEM, 32, 3, 1),  # with ReLU, which onnxruntime works into the convolutions
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

_FINE = 4  # the last block that sees eighths


class Block(nn.Module):
    """A depthwise convolution and one of 1 x 1; ReLU, or else hard swish, behind each that keeps the size."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depth = Depthwise(inside, kernel, stride)
        self.mix = nn.Conv2d(inside, outside, 1)
        self.bend = F.relu if inside == _STEM else F.hardswish

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(x)
        return self.bend(self.mix(self.bend(x) if self.depth.stride == (1, 1) else x))


class Detector(nn.Module):
    """(B, 1, H, W) uint8 luma of any size -> (B, ceil(H / 16), ceil(W / 16)) logits: a mark lies there."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, _STEM, 3, 2, 1)
        self.blocks = nn.Sequential(*(Block(*layer) for layer in _PLAN))
        self.head = nn.Conv2d(_PLAN[-1][1], 1, 1)
        for layer in self.layers():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.head.weight, 0.0, 1e-3)
        nn.init.constant_(self.head.bias, -3.0)  # type: ignore[arg-type]
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(()))  # set after training, so that 0 is where the rule may stand

    def layers(self) -> list[nn.Conv2d]:
        """All convolutions but the head's, in their order."""
        return [self.stem, *(conv for block in self.blocks for conv in (block.depth, block.mix))]  # type: ignore[list-item]

    def forward(self, luma: Tensor) -> Tensor:
        return self.head(self.blocks(self.begun(luma)))[:, 0]

    def begun(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W) uint8 -> (B, 16, ceil(H / 2), ceil(W / 2))."""
        return self.stem((luma.float() - MIDDLE) / MIDDLE)


class Coach(nn.Module):
    """The detector under training: beside its cells it must tell which pixels are strokes, which teaches the layers
    below more by each sample. What it needs for that is left behind when it is done."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net
        self.fine = nn.Conv2d(_PLAN[_FINE][1], 4, 1)
        self.coarse = nn.Conv2d(_PLAN[-1][1], 4, 1)

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) uint8 -> logits of the cells, and (B, H / 4, W / 4) logits of the strokes; H, W multiples of
        16."""
        fine = self.net.blocks[: _FINE + 1](self.net.begun(luma))
        coarse = self.net.blocks[_FINE + 1 :](fine)
        both = self.fine(fine) + F.interpolate(self.coarse(coarse), size=fine.shape[-2:], mode="nearest")
        return self.net.head(coarse)[:, 0], F.pixel_shuffle(both, 2)[:, 0]


def pooled(cells: Tensor) -> Tensor:
    """(B, h, w) logits of cells -> (B,) logit of the picture: a soft maximum."""
    return torch.logsumexp(SHARPNESS * cells.flatten(1), 1) / SHARPNESS


def to_onnx(net: Detector, notes: Mapping[str, str]) -> bytes:
    """The network as an ONNX file: `luma` (1, 1, H, W) uint8 -> `score` (1,) and `cells` (1, 1, h, w), both 0..1.

    Args:
        net: trained; its offset is part of the file.
        notes: kept in the file's metadata.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    x = graph.node("Cast", ["luma"], to=1)  # float32
    x = graph.node("Sub", [x, graph.array("middle", np.float32(MIDDLE))])
    x = graph.conv(graph.node("Div", [x, "middle"]), net.stem)
    for block in net.blocks:
        assert isinstance(block, Block)
        bend = "Relu" if block.bend is F.relu else "HardSwish"
        x = graph.conv(x, block.depth)
        if block.depth.stride == (1, 1):
            x = graph.node(bend, [x])
        x = graph.node(bend, [graph.conv(x, block.mix)])
    cells = graph.conv(x, net.head)
    cells = graph.node("Sub", [cells, graph.array("offset", _numbers(net.offset))])
    peak = graph.node("Mul", [cells, graph.array("sharpness", np.float32(SHARPNESS))])
    peak = graph.node("ReduceLogSumExp", [peak, graph.array("axes", np.array([1, 2, 3], np.int64))], keepdims=0)
    peak = graph.node("Div", [peak, "sharpness"])
    graph.node("Sigmoid", [peak], "score")
    graph.node("Sigmoid", [cells], "cells")
    made = helper.make_graph(
        graph.nodes,
        "watermark",
        [helper.make_tensor_value_info("luma", TensorProto.UINT8, [1, 1, "height", "width"])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("cells", TensorProto.FLOAT, [1, 1, "rows", "columns"]),
        ],
        graph.arrays,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="million-ird"
    )
    helper.set_model_props(model, dict(sorted(notes.items())))
    return model.SerializeToString(deterministic=True)


def _numbers(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy().astype(np.float32)


class _Graph:
    """Nodes and arrays of an ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def array(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, x: str, layer: nn.Conv2d) -> str:
        number = len(self.nodes)
        inputs = [x, self.array(f"w{number}", _numbers(layer.weight)), self.array(f"b{number}", _numbers(layer.bias))]
        size, stride = layer.kernel_size[0], layer.stride[0]
        return self.node(
            "Conv", inputs, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4, group=layer.groups
        )
