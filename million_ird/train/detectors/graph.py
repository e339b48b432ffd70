"""ONNX graphs written by hand: what runs where pictures are measured needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor


class Graph:
    """Nodes and arrays of an ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self._named: dict[bytes, str] = {}

    def node(self, kind: str, inputs: list[str], output: str | None = None, more: int = 0, **attributes: Any) -> str:
        """Add a node; its first output's name. `more` = how many others it has, which nobody asks for."""
        from onnx import helper

        name = output or f"v{len(self.nodes)}"
        others = [f"{name}.{number}" for number in range(more)]
        self.nodes.append(helper.make_node(kind, inputs, [name, *others], **attributes))
        return name

    def array(self, values: Any) -> str:
        """Add an array, or find the same one; its name."""
        from onnx import numpy_helper

        values = np.asarray(values, order="C")
        key = str((values.dtype, values.shape)).encode() + values.tobytes()
        if key not in self._named:
            self._named[key] = f"a{len(self.arrays)}"
            self.arrays.append(numpy_helper.from_array(values, self._named[key]))
        return self._named[key]

    def number(self, value: float) -> str:
        """Add a float32; its name."""
        return self.array(np.float32(value))

    def file(self, name: str, given: Sequence[Any], found: Sequence[Any], notes: Mapping[str, str]) -> bytes:
        """The graph as a file.

        Args:
            name: of the graph.
            given, found: its inputs and outputs, by `onnx.helper.make_tensor_value_info`.
            notes: kept in the file's metadata.
        """
        from onnx import helper

        made = helper.make_graph(self.nodes, name, given, found, self.arrays)
        opsets = [helper.make_opsetid("", 18)]
        model = helper.make_model(made, opset_imports=opsets, ir_version=9, producer_name="million-ird")
        helper.set_model_props(model, dict(sorted(notes.items())))
        return model.SerializeToString(deterministic=True)


def numbers(tensor: Tensor) -> Any:
    """The tensor as a float32 array."""
    return tensor.detach().cpu().numpy().astype(np.float32)
