"""The network that finds watermarks: a small stack of convolutions over luma and its local contrast, one logit for each
16 x 16 px.

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

NEAR = 8
"""Local contrast is against the mean and deviation of 3 x 3 squares of so many px, blended smoothly."""

_LEAST_VARIANCE = 0.01  # of luma over SPREAD: in flatter places contrast is not raised further

# in, out, kernel, stride, depthwise first. Multiples of 16 channels: what onnxruntime is quick at.
_PLAN = (
    (2, 16, 3, 2, False),
    (16, 32, 3, 2, False),
    (32, 48, 3, 2, False),
    (48, 48, 3, 1, True),
    (48, 48, 3, 1, True),
    (48, 96, 3, 2, True),
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
        return self.head(self.blocks(views(luma)))[:, 0]


def views(luma: Tensor) -> Tensor:
    """(B, 1, H, W) uint8 -> (B, 2, H, W) float32: luma, and how far it is from its surroundings' mean in deviations."""
    height, width = luma.shape[-2:]
    x = (luma.float() - MIDDLE) / SPREAD
    padded = F.pad(x, (0, NEAR - 1, 0, NEAR - 1), mode="replicate")
    coarse = F.avg_pool2d(torch.cat([padded, padded * padded], 1), NEAR)
    mean, square = F.avg_pool2d(coarse, 3, 1, 1, count_include_pad=False).split(1, 1)
    sharpness = (F.relu(square - mean * mean) + _LEAST_VARIANCE).rsqrt()
    fine = F.interpolate(torch.cat([mean, sharpness], 1), scale_factor=NEAR, mode="bilinear")[..., :height, :width]
    return torch.cat([x, (x - fine[:, :1]) * fine[:, 1:]], 1)


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
        fine = self.net.blocks[: _FINE + 1](views(luma))
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
    x = _views(graph)
    for block in net.blocks:
        assert isinstance(block, Block)
        x = _write(graph, block, x)
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


def _views(graph: _Graph) -> str:
    """What `views` does."""
    x = graph.node("Cast", ["luma"], to=1)  # float32
    x = graph.node("Sub", [x, graph.array("middle", np.float32(MIDDLE))])
    x = graph.node("Div", [x, graph.array("spread", np.float32(SPREAD))])
    room = graph.array("room", np.array([0, 0, 0, 0, 0, 0, NEAR - 1, NEAR - 1], np.int64))
    padded = graph.node("Pad", [x, room], mode="edge")
    both = graph.node("Concat", [padded, graph.node("Mul", [padded, padded])], axis=1)
    coarse = graph.node("AveragePool", [both], kernel_shape=[NEAR, NEAR], strides=[NEAR, NEAR])
    coarse = graph.node("AveragePool", [coarse], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)
    ends = [graph.array(name, np.array([value], np.int64)) for name, value in (("first", 0), ("second", 1), ("end", 2))]
    channel = graph.array("channel", np.array([1], np.int64))
    mean = graph.node("Slice", [coarse, ends[0], ends[1], channel])
    square = graph.node("Slice", [coarse, ends[1], ends[2], channel])
    variance = graph.node("Relu", [graph.node("Sub", [square, graph.node("Mul", [mean, mean])])])
    variance = graph.node("Add", [variance, graph.array("least", np.float32(_LEAST_VARIANCE))])
    sharpness = graph.node("Reciprocal", [graph.node("Sqrt", [variance])])
    scales = graph.array("scales", np.array([1, 1, NEAR, NEAR], np.float32))
    zero, sides = graph.array("zero", np.array([0, 0], np.int64)), graph.array("sides", np.array([2, 3], np.int64))
    size = graph.node("Shape", [x], start=2)
    fine = []
    for plane in (mean, sharpness):
        large = graph.node("Resize", [plane, "", scales], mode="linear")
        fine.append(graph.node("Slice", [large, zero, size, sides]))
    apart = graph.node("Mul", [graph.node("Sub", [x, fine[0]]), fine[1]])
    return graph.node("Concat", [x, apart], axis=1)


def _write(graph: _Graph, block: Block, x: str) -> str:
    y = x
    if block.depth is not None and block.middle is not None:
        y = graph.conv(y, *_folded(block.depth, block.middle), block.depth.stride[0], block.depth.groups)
    weight, bias = _folded(block.mix, block.norm)
    y = graph.conv(y, weight, bias, block.mix.stride[0])
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
