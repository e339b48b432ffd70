"""What `mird export` writes, in tools that run any ONNX network on a picture (chaiNNer and its like).

Such a tool knows nothing of ours. It asks the file for one input and one output of four dimensions with a number of
channels, finds out the scale and which multiples the sizes have to be of by inferring shapes, pads a picture by
mirroring, runs it as float32 RGB in [0, 1], and cuts.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from skimage import data

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from million_ird import models  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # exporting takes a minute
SIZES = (64, 48), (37, 51), (300, 451), (16, 9)
ASKED = 16, 64, 256
"""Sides that shapes are inferred at, until one gives the output's."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The shipped network as `mird export` writes it."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    words = ["export", "--model", "tiny", "--format", "onnx", "--out", str(path), "--json"]
    done = subprocess.run([sys.executable, "-m", "million_ird", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == path.stat().st_size
    return path


def dims(value) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_the_file_is_one_picture_in_and_one_picture_out_with_sizes_left_open(file):
    net = onnx.load(file)
    onnx.checker.check_model(net, full_check=True)
    (source,), (target,) = net.graph.input, net.graph.output
    for value in (source, target):
        batch, channels, height, width = dims(value)
        assert channels == 3 and all(isinstance(size, str) for size in (batch, height, width))
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {name.domain for name in net.opset_import} == {""}, "operators of the standard alone"
    assert not any(tensor.external_data for tensor in net.graph.initializer), "all in one file"


@pytest.mark.parametrize("side", ASKED)
def test_shapes_can_be_inferred_so_that_the_scale_is_known(file, side):
    net = onnx.load(file)
    for dim, size in zip(net.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True):
        dim.dim_value = size  # the output's stay open
    inferred = onnx.shape_inference.infer_shapes(net, strict_mode=True)
    assert dims(inferred.graph.output[0])[1:] == [3, side, side]


@pytest.mark.parametrize("multiple", [8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_a_padded_picture_of_any_size_is_restored_as_by_the_network(file, size, multiple):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (height, width), net = size, models.load("tiny")
    picture = data.chelsea()[:height, :width].astype(np.float32) / 255
    # Two multiples at least; mirroring cannot give more than there is, so tools pad little pictures in steps.
    rows, columns = (max(16, -(-side // multiple) * multiple) - side for side in size)
    padded = np.pad(picture, ((0, rows), (0, columns), (0, 0)), "reflect").transpose(2, 0, 1)[None]
    (found,) = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: padded})
    with torch.no_grad():
        expected = net(torch.from_numpy(padded)).numpy()
    assert found.dtype == np.float32 and found.shape == padded.shape
    assert np.abs(found - expected).max() < 1e-4
    cut = found[0, :, :height, :width].transpose(1, 2, 0)
    assert cut.shape == picture.shape and np.abs(cut.clip(0, 1) - picture).mean() < 0.1
