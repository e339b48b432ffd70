"""The artefact estimator as ONNX, written by hand, normalisations folded in: what measures pictures needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from million_ird.meters.artefacts import COLUMNS, SIDE
from million_ird.train.detectors.artefacts import net as parts
from million_ird.train.detectors.artefacts.net import BLOCK, FLOOR, HEADS, PITCHES, UNITS, Estimator
from million_ird.train.detectors.artefacts.samples import KINDS
from million_ird.train.detectors.graph import Graph, numbers

_KIND = HEADS.index(KINDS[0])


def values(given: Tensor) -> Tensor:
    """What the network gives (B, heads) in the order and the units of the columns, (B, columns)."""
    head = dict(zip(HEADS, given.unbind(1), strict=True))
    kinds = torch.softmax(given[:, _KIND : _KIND + len(KINDS)], 1)
    found = [
        (head["noise"] * UNITS["noise"]).clamp(min=0),
        (head["quality"] * UNITS["quality"]).clamp(1, 100),
        (head["extent"] * UNITS["extent"]).clamp(min=0),
        *kinds[:, 1:].unbind(1),
        torch.exp2((head["octaves"] * UNITS["octaves"]).clamp(min=0)),
        *torch.sigmoid(given[:, _KIND + len(KINDS) :]).unbind(1),
    ]
    return torch.stack(found, 1)


def to_onnx(net: Estimator, notes: Mapping[str, str]) -> bytes:
    """The network as an ONNX file: `patches` (P, 3, 96, 96) uint8 of one picture -> `values`, the meter's columns.

    Args:
        net: trained.
        notes: kept in the file's metadata.
    """
    from onnx import TensorProto, helper

    graph = Graph()
    x = graph.node("Cast", ["patches"], to=TensorProto.FLOAT)
    seen, combs = _look(graph, x)
    over = [_over(graph, seen, kind) for kind in ("ReduceMean", "ReduceMin", "ReduceMax")]
    found = graph.node("Sub", [graph.node("Concat", over, axis=1), graph.array(numbers(net.middle))])
    found = graph.node("Div", [found, graph.array(numbers(net.spread))])
    combs = graph.node("Relu", [_linear(graph, net.combs, _over(graph, combs, "ReduceMean"))])
    found = graph.node("Relu", [_linear(graph, net.hidden, graph.node("Concat", [found, combs], axis=1))])
    found = graph.node("Relu", [_linear(graph, net.second, found)])
    found = _linear(graph, net.rows, found)
    _values(graph, graph.node("Reshape", [found, graph.array(np.array([-1], np.int64))]))
    given = [helper.make_tensor_value_info("patches", TensorProto.UINT8, ["patches", 3, SIDE, SIDE])]
    found = [helper.make_tensor_value_info("values", TensorProto.FLOAT, [len(COLUMNS)])]
    return graph.file("artefacts", given, found, notes)


def _reduced(graph: Graph, x: str, kind: str, *axes: int) -> str:
    """A reduction over axes, which vanish."""
    return graph.node(kind, [x, graph.array(np.array(axes, np.int64))], keepdims=0)


def _over(graph: Graph, x: str, kind: str) -> str:
    """A reduction of (P, C) over patches, (1, C)."""
    return graph.node(kind, [x, graph.array(np.array([0], np.int64))], keepdims=1)


def _flat(graph: Graph, x: str) -> str:
    """(P, C, h, w) -> (P, C, h * w)."""
    return graph.node("Reshape", [x, graph.array(np.array([0, 0, -1], np.int64))])


def _linear(graph: Graph, layer: nn.Linear, x: str) -> str:
    weights = graph.array(numbers(layer.weight)), graph.array(numbers(layer.bias))
    return graph.node("Gemm", [x, *weights], transB=1)


def _log(graph: Graph, x: str) -> str:
    """Logarithm of (P, C), or of the mean over the last axis of (P, C, n)."""
    return graph.node("Log", [graph.node("Add", [x, graph.number(FLOOR)])])


def _log_mean(graph: Graph, x: str) -> str:
    return _log(graph, _reduced(graph, x, "ReduceMean", 2))


def _look(graph: Graph, x: str) -> tuple[str, str]:
    """`net.look`, node by node: (P, features) and (P, combs * pitches) of (P, 3, 96, 96)."""
    luma = graph.array(np.array(parts.LUMA, np.float32).reshape(1, 3, 1, 1))
    planes = [graph.node("Conv", [x, luma], kernel_shape=[1, 1])]
    for _ in range(parts.SCALES - 1):
        planes.append(graph.node("AveragePool", [planes[-1]], kernel_shape=[2, 2], strides=[2, 2]))
    basis = graph.array(numbers(parts.transform()))
    options: dict[str, Any] = {"kernel_shape": [BLOCK] * 2, "strides": [BLOCK] * 2}
    coefficients = [_flat(graph, graph.node("Conv", [plane, basis], **options)) for plane in planes]
    found = [_log_mean(graph, graph.node("Mul", [part, part])) for part in coefficients]
    found.append(_log_mean(graph, graph.node("Abs", [coefficients[0]])))
    for plane in planes:
        found += _beyond(graph, plane)
    mask = graph.array(np.broadcast_to(np.array(parts.ROUGH, np.float32), (3, 1, 3, 3)))
    rough = graph.node("Conv", [x, mask], kernel_shape=[3, 3], group=3)
    cells = graph.node("Abs", [rough])
    cells = _flat(graph, graph.node("AveragePool", [cells], kernel_shape=[parts.CELL] * 2, strides=[parts.CELL] * 2))
    found += [_log(graph, _reduced(graph, cells, "ReduceMin", 2)), _log_mean(graph, cells)]
    found += _calm(graph, x, cells)
    darkest = graph.node("ReduceMin", [x, graph.array(np.array([1], np.int64))], keepdims=1)
    found += [
        graph.node("Div", [_reduced(graph, plane, "ReduceMean", 2, 3), graph.number(64)]) for plane in (x, darkest)
    ]
    return graph.node("Concat", found, axis=1), _teeth(graph, coefficients[0])


def _calm(graph: Graph, x: str, cells: str) -> list[str]:
    """How rough the smoothest cells are, and the smoothest of those that are neither dark nor light."""
    size = parts.CELL
    inside = (graph.array(np.array(at, np.int64)) for at in ([1, 1], [-1, -1], [2, 3]))
    level = graph.node("Slice", [x, *inside])
    level = _flat(graph, graph.node("AveragePool", [level], kernel_shape=[size] * 2, strides=[size] * 2))
    dark = graph.node("Relu", [graph.node("Sub", [graph.number(parts.DARK), level])])
    light = graph.node("Relu", [graph.node("Sub", [level, graph.number(parts.LIGHT)])])
    found = []
    for part in (cells, graph.node("Add", [cells, graph.node("Add", [dark, light])])):
        least = graph.node("TopK", [part, graph.array(np.array([parts.CALM], np.int64))], axis=2, largest=0, more=1)
        calm = _reduced(graph, least, "ReduceMean", 2)
        found += [graph.node("Div", [calm, graph.number(parts.ROUGHNESS)]), _log(graph, calm)]
    return found


def _beyond(graph: Graph, plane: str) -> list[str]:
    """How much brighter and darker things are than their surroundings."""
    size = parts.AROUND
    mean = graph.node("AveragePool", [plane], kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=0)
    up = graph.node("Relu", [_flat(graph, graph.node("Sub", [plane, mean]))])
    down = graph.node("Relu", [_flat(graph, graph.node("Sub", [mean, plane]))])
    squares = [graph.node("Mul", [part, part]) for part in (up, down)]
    return [_log_mean(graph, part) for part in (up, down, *squares)]


def _teeth(graph: Graph, coefficients: str) -> str:
    """`net.teeth`, node by node."""
    chosen = np.array([u * BLOCK + v - 1 for u, v in parts.COMBS], np.int64)
    c = graph.node("Gather", [coefficients, graph.array(chosen)], axis=1)
    square = graph.node("Mul", [c, c])
    weight = graph.node("Div", [square, graph.node("Add", [square, graph.number(1)])])
    once = graph.node("Cos", [graph.node("Mul", [c, graph.number(math.pi / PITCHES)])])
    twice = graph.node("Mul", [once, graph.number(2)])
    total = graph.node("Add", [_reduced(graph, weight, "ReduceMean", 2), graph.number(parts.RARE)])
    before, now, means = weight, graph.node("Mul", [weight, once]), []
    for _ in range(PITCHES):
        means.append(graph.node("Div", [_reduced(graph, now, "ReduceMean", 2), total]))
        before, now = now, graph.node("Sub", [graph.node("Mul", [twice, now]), before])
    return graph.node("Concat", means, axis=1)


def _values(graph: Graph, given: str) -> None:
    """`values`, node by node."""

    def part(start: int, stop: int) -> str:
        ends = (graph.array(np.array([end], np.int64)) for end in (start, stop))
        return graph.node("Slice", [given, *ends])

    def number(name: str, least: float, most: float | None = None) -> str:
        at = HEADS.index(name)
        scaled = graph.node("Mul", [part(at, at + 1), graph.number(UNITS[name])])
        return graph.node("Clip", [scaled, graph.number(least), *([] if most is None else [graph.number(most)])])

    kinds = graph.node("Softmax", [part(_KIND, _KIND + len(KINDS))], axis=0)
    seen = graph.node("Slice", [kinds, *(graph.array(np.array([end], np.int64)) for end in (1, len(KINDS)))])
    factor = graph.node("Pow", [graph.number(2), number("octaves", 0)])
    logits = graph.node("Sigmoid", [part(_KIND + len(KINDS), len(HEADS))])
    numbers = [number("noise", 0), number("quality", 1, 100), number("extent", 0)]
    graph.node("Concat", [*numbers, seen, factor, logits], "values", axis=0)
