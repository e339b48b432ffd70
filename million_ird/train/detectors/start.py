"""Weights to begin with: those of a published text detector, which knows letters and strokes already.

PP-OCRv4's mobile text detector is published by PaddleOCR under Apache-2.0 and comes as an ONNX file with the package
rapidocr-onnxruntime (1.4.4). Read here are its first layers. In it each convolution is followed by a factor and a
summand, and so is each hard swish; both are worked into the weights next to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from million_ird.errors import InputError
from million_ird.train.detectors.net import Detector, bias_of

_SWISH = ("Add", "Clip", "Mul", "Div")  # x + 3, cut to 0..6, times x, over 6
_EPSILON = 1e-5

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]


def begin(net: Detector, path: str | Path) -> None:
    """Give the network the weights of the text detector's first layers.

    Args:
        net: changed: its layers before the head.
        path: `ch_PP-OCRv4_det_infer.onnx`.

    Raises:
        InputError: no such file, or it is another network.
    """
    layers = [layer.conv for layer in net.steps()]
    wrong = f"init: {path} is not PP-OCRv4's mobile text detector; give its ch_PP-OCRv4_det_infer.onnx"
    try:
        found = _read(Path(path).read_bytes(), len(layers))
    except OSError as error:
        raise InputError(f"init: {path} can't be read ({error.strerror})") from None
    except (DecodeError, LookupError, ValueError):
        raise InputError(wrong) from None
    found[:1] = [(weight.sum(1, keepdims=True), bias) for weight, bias in found[:1]]  # luma on each of three channels
    if [weight.shape for weight, _ in found] != [tuple(layer.weight.shape) for layer in layers]:
        raise InputError(wrong)
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, found, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            bias_of(layer).copy_(torch.from_numpy(bias))


def _read(content: bytes, count: int) -> list[Layer]:
    """Weight and bias of the first convolutions, all between them worked in."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(content).graph
    values: dict[str, Any] = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    values |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"}
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    layers: list[Layer] = []
    factor, summand, swished, at = 1.0, 0.0, False, 0
    while at < len(nodes):
        node, numbers = nodes[at], [values[name].astype(np.float64) for name in nodes[at].input if name in values]
        if node.op_type == "Conv":
            if len(layers) == count:
                break
            weight, bias = numbers[0], numbers[1] if len(numbers) > 1 else np.zeros(len(numbers[0]))
            layers.append((weight * factor, bias + summand * weight.sum((1, 2, 3))))
            factor, summand, swished = 1.0, 0.0, False
        elif tuple(after.op_type for after in nodes[at : at + 4]) == _SWISH and numbers[0].shape == ():
            at, swished = at + 3, True
        elif node.op_type == "BatchNormalization":
            gain, shift, mean, variance = numbers
            gain = gain / np.sqrt(variance + _EPSILON)
            layers[-1] = _scaled(layers[-1], gain, shift - mean * gain)
        elif swished and node.op_type == "Mul":
            factor, summand = factor * numbers[0].item(), summand * numbers[0].item()
        elif swished and node.op_type == "Add":
            summand += numbers[0].item()
        else:
            gain, shift = (numbers[0], 0.0) if node.op_type == "Mul" else (1.0, numbers[0])
            layers[-1] = _scaled(layers[-1], gain, shift)
        at += 1
    return layers


def _scaled(layer: Layer, gain: Any, shift: Any) -> Layer:
    weight, bias = layer
    return weight * np.broadcast_to(gain, bias.shape)[:, None, None, None], bias * gain + shift
