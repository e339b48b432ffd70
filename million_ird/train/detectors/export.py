"""The watermark detector as ONNX, most of it in bytes.

The first two convolutions, of few channels and many pixels, stay in float32; behind them activations are 8-bit and
weights 7-bit, each channel of a convolution with a scale of its own (Jacob et al., CVPR 2018, section 2). Seven bits,
since processors that multiply bytes in pairs would overflow with eight: so sums are exact, and the same, everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from million_ird.degrade.op import Bytes
from million_ird.train.detectors.graph import Graph, numbers
from million_ird.train.detectors.net import MIDDLE, SHARPNESS, Detector, Layer, bias_of, centred

_FLOATING = 2  # so many layers at the beginning stay in float32
_MOST = 63  # of a weight


@dataclass(frozen=True)
class Scale:
    """What a byte means: `step` times what it is above `zero`."""

    step: np.float32
    zero: np.uint8

    @classmethod
    def over(cls, low: float, high: float) -> Scale:
        """Of values from `low` to `high`; 0 is one of them."""
        low, high = min(low, 0.0), max(high, low + 1e-3, 1e-3)
        step = (high - low) / 255
        return cls(np.float32(step), np.uint8(round(-low / step)))


def to_onnx(net: Detector, notes: Mapping[str, str], scales: Sequence[Scale]) -> bytes:
    """The network as an ONNX file: `luma` (1, 1, H, W) uint8 -> `score` (1,) and `cells` (1, 1, h, w), both 0..1.

    Args:
        net: trained; its offset is part of the file.
        notes: kept in the file's metadata.
        scales: what the bytes mean, by `scales_of`.
    """
    from onnx import TensorProto, helper

    graph = Graph()
    luma = graph.node("Cast", ["luma"], to=TensorProto.FLOAT)
    ends = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 0}
    cells = _cells(graph, luma, net, scales)
    peaks = [_peak(graph, cells), _peak(graph, _cells(graph, graph.node("AveragePool", [luma], **ends), net, scales))]
    twice = graph.node("Mul", [peaks[0], graph.number(2)])
    graph.node("Sigmoid", [graph.node("Div", [graph.node("Add", [twice, peaks[1]]), graph.number(3)])], "score")
    graph.node("Sigmoid", [cells], "cells")
    info = helper.make_tensor_value_info
    given = [info("luma", TensorProto.UINT8, [1, 1, "height", "width"])]
    found = [info("score", TensorProto.FLOAT, [1]), info("cells", TensorProto.FLOAT, [1, 1, "rows", "columns"])]
    return graph.file("watermark", given, found, notes)


def _cells(graph: Graph, luma: str, net: Detector, scales: Sequence[Scale]) -> str:
    """Logits above the offset."""
    x = graph.node("Div", [graph.node("Sub", [luma, graph.number(MIDDLE)]), graph.number(MIDDLE)])
    for layer in net.steps()[:_FLOATING]:
        x = _floating(graph, x, layer.conv)
        x = graph.node("Relu", [x]) if layer.bends else x
    x = graph.node("QuantizeLinear", [x, *_scale(graph, scales[0])])
    for layer, (before, after) in zip(net.steps()[_FLOATING:], pairwise(scales), strict=True):
        x = _of_bytes(graph, x, layer, before, after)
    x = _floating(graph, graph.node("DequantizeLinear", [x, *_scale(graph, scales[-1])]), net.head)
    return graph.node("Sub", [x, graph.array(numbers(net.offset))])


def _peak(graph: Graph, cells: str) -> str:
    """`net.pooled`, node by node."""
    x = graph.node("Mul", [cells, graph.number(SHARPNESS)])
    x = graph.node("ReduceLogSumExp", [x, graph.array(np.array([1, 2, 3], np.int64))], keepdims=0)
    return graph.node("Div", [x, graph.number(SHARPNESS)])


@torch.no_grad()
def scales_of(net: Detector, planes: Sequence[Bytes]) -> list[Scale]:
    """Scales of what the layers from the last floating one on give.

    Args:
        net: trained.
        planes: (H, W) luma of pictures; what exceeds all that occurs in them will be cut.
    """
    low, high = (np.zeros(len(net.steps()) - _FLOATING + 1) for _ in range(2))
    for plane in planes:
        x = net.layers[: _FLOATING - 1](centred(torch.from_numpy(plane.copy())[None, None]))
        for number, layer in enumerate(net.steps()[_FLOATING - 1 :]):
            x = layer(x)
            low[number] = min(low[number], x.min().item())
            high[number] = max(high[number], x.max().item())
    return [Scale.over(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]


def _scale(graph: Graph, scale: Scale) -> tuple[str, str]:
    return graph.array(scale.step), graph.array(scale.zero)


def _floating(graph: Graph, x: str, conv: nn.Conv2d) -> str:
    return graph.node(
        "Conv", [x, graph.array(numbers(conv.weight)), graph.array(numbers(bias_of(conv)))], **_shape(conv)
    )


def _of_bytes(graph: Graph, x: str, layer: Layer, before: Scale, after: Scale) -> str:
    """A convolution of bytes to bytes; ReLU is that no byte is below 0."""
    weight, bias = numbers(layer.conv.weight), numbers(bias_of(layer.conv))
    steps = (np.maximum(np.abs(weight).max((1, 2, 3)), 1e-8) / _MOST).astype(np.float32)
    whole = np.rint(weight / steps[:, None, None, None]).astype(np.int8)
    sums = np.clip(np.rint(bias / (steps.astype(np.float64) * before.step)), -(2**30), 2**30).astype(np.int32)
    weights = graph.array(whole), graph.array(steps), graph.array(np.zeros(len(steps), np.int8))
    inputs = [x, *_scale(graph, before), *weights, *_scale(graph, after), graph.array(sums)]
    return graph.node("QLinearConv", inputs, **_shape(layer.conv))


def _shape(conv: nn.Conv2d) -> dict[str, Any]:
    size, stride = conv.kernel_size[0], conv.stride[0]
    return {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4, "group": conv.groups}
