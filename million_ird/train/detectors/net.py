"""The network that finds watermarks: a small stack of convolutions over luma, one logit for each 16 x 16 px.

Written as ONNX by hand, batch normalisation folded in: what runs where pictures are measured needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Pixels to a cell of the map, each way."""

SHARPNESS = 2.0
"""Of the soft maximum over the map: log of the sum of exp(2 x) over 2."""

MIDDLE, SPREAD = 128.0, 64.0
"""What is taken from, and divides, bytes of luma; beyond the border lies middle grey."""

# in, out, kernel, stride, depthwise first. Multiples of 16 channels: what onnxruntime is quick at.
_PLAN = (
    (1, 16, 3, 2, False),
    (16, 32, 3, 2, False),
    (32, 48, 3, 2, False),
    (48, 48, 3, 1, True),
    (48, 48, 3, 1, True),
    (48, 96, 3, 2, False),
    (96, 96, 5, 1, True),
    (96, 96, 5, 1, True),
    (96, 96, 5, 1, True),
)


_FINE = 4  # the last block that sees eighths


class Block(nn.Module):
    """Convolution, normalisation, ReLU; maybe a depthwise one first and the input added where the shape is kept."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, depthwise: bool) -> None:
        super().__init__()
        self.add = depthwise and stride == 1 and inside == outside
        self.depth = (
            nn.Conv2d(inside, inside, kernel, stride, kernel // 2, groups=inside, bias=False) if depthwise else None
        )
        self.middle = nn.BatchNorm2d(inside) if depthwise else None
        own = (1, 1, 0) if depthwise else (kernel, stride, kernel // 2)
        self.mix = nn.Conv2d(inside, outside, *own, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.depth is not None and self.middle is not None:
            y = self.middle(self.depth(y))
        y = F.relu(self.norm(self.mix(y)))
        return x + y if self.add else y


class Detector(nn.Module):
    """(B, 1, H, W) uint8 luma of any size -> (B, ceil(H / 16), ceil(W / 16)) logits: a mark lies there."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(*layer) for layer in _PLAN))
        self.head = nn.Conv2d(_PLAN[-1][1], 1, 1)
        nn.init.constant_(self.head.bias, -3.0)  # type: ignore[arg-type]
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(()))  # set after training, so that 0 is where the rule may stand

    def forward(self, luma: Tensor) -> Tensor:
        x = (luma.float() - MIDDLE) / SPREAD
        return self.head(self.blocks(x))[:, 0]


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
        fine = self.net.blocks[: _FINE + 1]((luma.float() - MIDDLE) / SPREAD)
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
    x = graph.node("Cast", ["luma"], to=TensorProto.FLOAT)
    x = graph.node("Sub", [x, graph.array("middle", np.float32(MIDDLE))])
    for number, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        x = _write(graph, block, x, 1 / SPREAD if number == 0 else 1)
    cells = graph.conv(x, _numbers(net.head.weight), _numbers(net.head.bias), 1)
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


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Any, Any]:
    """Weight and bias of a convolution with its normalisation."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return _numbers(conv.weight.double() * scale.view(-1, 1, 1, 1)), _numbers(bias)


def _write(graph: _Graph, block: Block, x: str, scale: float) -> str:
    """A block of an input that is to be multiplied by `scale` first."""
    y = x
    if block.depth is not None and block.middle is not None:
        y = graph.conv(y, *_folded(block.depth, block.middle), block.depth.stride[0], block.depth.groups)
    weight, bias = _folded(block.mix, block.norm)
    y = graph.conv(y, weight * np.float32(scale), bias, block.mix.stride[0])
    y = graph.node("Relu", [y])
    return graph.node("Add", [x, y]) if block.add else y


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

    def conv(self, x: str, weight: Any, bias: Any, stride: int, groups: int = 1) -> str:
        number, size = len(self.nodes), weight.shape[2]
        inputs = [x, self.array(f"w{number}", weight), self.array(f"b{number}", bias)]
        pads = [size // 2] * 4
        return self.node("Conv", inputs, kernel_shape=[size, size], strides=[stride] * 2, pads=pads, group=groups)
