"""A classifier of someone else as a meter: what it is given, what is taken of it, what is said when it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pydantic import ValidationError

from million_ird.curate import build
from million_ird.curate.explain import explain
from million_ird.curate.settings import load_config
from million_ird.curate.stages import decide
from million_ird.errors import ConfigError
from million_ird.meters import Frame, Meter
from million_ird.meters.onnx import OnnxFile, OnnxMeter

MEANS = (0.4, 0.5, 0.6)


def model(
    path: Path, size: int | str = 8, layout: str = "nchw", kind: int = TensorProto.FLOAT, scale: float = 1.0
) -> Path:
    """A network whose output `means` is each channel's mean times `scale`; `twice` is double that."""
    shape = ["n", 3, size, size] if layout == "nchw" else ["n", size, size, 3]
    given = helper.make_tensor_value_info("picture", kind, shape)
    outputs = [helper.make_tensor_value_info(name, kind, ["n", 3]) for name in ("means", "twice")]
    axes = numpy_helper.from_array(np.array([2, 3] if layout == "nchw" else [1, 2], np.int64), "axes")
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    factors = [numpy_helper.from_array(np.array(one, dtype), name) for one, name in ((scale, "scale"), (2, "two"))]
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["raw"], keepdims=0),
        helper.make_node("Mul", ["raw", "scale"], ["means"]),
        helper.make_node("Mul", ["means", "two"], ["twice"]),
    ]
    graph = helper.make_graph(nodes, "colours", [given], outputs, [axes, *factors])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    onnx.save(made, str(path))
    return path


def meter(path: Path, **fields: Any) -> OnnxMeter:
    return OnnxMeter(name="red", file=OnnxFile(path=str(path), **{"size": 8, **fields}))


@pytest.fixture
def frame() -> Frame:
    """64 x 48 px: (0.2, 0.4, 0.8) on the left half, its negative on the right."""
    rgb = np.full((48, 64, 3), [51, 102, 204], np.uint8)
    rgb[:, 32:] = 255 - rgb[:, 32:]
    rgb[20:28] = 0
    return Frame(rgb)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_number_is_the_models(tmp_path: Path, photo: np.ndarray, layout: Any, kind: int) -> None:
    path = model(tmp_path / "m.onnx", 8, layout, kind)
    frame = Frame(np.ascontiguousarray(photo[:64, :64]))
    means = frame.rgb.reshape(-1, 3).mean(0) / 255
    for index in range(3):
        assert meter(path, layout=layout, index=index)(frame)[0] == pytest.approx(means[index], abs=5e-3)
        assert meter(path, layout=layout, index=index, channels="bgr")(frame)[0] == pytest.approx(
            means[2 - index], abs=5e-3
        )
    normal = meter(path, layout=layout, index=1, mean=MEANS, std=(0.5, 0.25, 0.5), output="twice")
    assert normal(frame)[0] == pytest.approx(2 * (means[1] - 0.5) / 0.25, abs=4e-2)
    assert isinstance(normal, Meter) and dict(normal.columns) == {"red": "output of a third-party model"}


def test_activations(tmp_path: Path) -> None:
    path, white = model(tmp_path / "m.onnx", scale=3.0), Frame(np.full((9, 9, 3), [255, 0, 0], np.uint8))
    assert meter(path)(white)[0] == pytest.approx(3)
    assert meter(path, activation="sigmoid")(white)[0] == pytest.approx(1 / (1 + np.exp(-3)))
    assert meter(path, activation="softmax")(white)[0] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    huge = model(tmp_path / "huge.onnx", scale=1e30)
    assert meter(huge, activation="softmax")(white)[0] == 1
    assert meter(model(tmp_path / "nan.onnx", scale=float("inf")), index=1)(white) == (None,), "inf x 0"


def test_stretch_sees_all_and_crop_the_middle(tmp_path: Path) -> None:
    rgb = np.zeros((10, 40, 3), np.uint8)
    rgb[:, 15:25] = 255
    path = model(tmp_path / "m.onnx")
    assert meter(path)(Frame(rgb))[0] == pytest.approx(0.25, abs=0.01)
    assert meter(path, fit="crop")(Frame(rgb))[0] == 1
    assert meter(path, fit="crop")(Frame(rgb.transpose(1, 0, 2).copy()))[0] == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_any_picture_has_a_number(tmp_path: Path, size: tuple[int, int], fit: Any) -> None:
    found = meter(model(tmp_path / "m.onnx"), fit=fit)(Frame(np.full((*size, 3), 51, np.uint8)))
    assert found[0] == pytest.approx(0.2, abs=1e-3)


def test_sizes_that_are_open_in_the_model_are_taken_from_the_configuration(tmp_path: Path, frame: Frame) -> None:
    path = model(tmp_path / "m.onnx", "side")
    assert meter(path, size=(12, 20))(frame)[0] == pytest.approx(frame.rgb[..., 0].mean() / 255, abs=0.01)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "missing.onnx"}, r"measure\.onnx\.red\.path: .*missing\.onnx: No such file"),
        ({"path": "text.onnx"}, r"measure\.onnx\.red\.path: .*text\.onnx is no ONNX model"),
        ({"size": 16}, r"measure\.onnx\.red\.size: .*set size or layout"),
        ({"layout": "nhwc"}, r"measure\.onnx\.red\.size: .*set size or layout"),
        ({"output": "logits"}, r"measure\.onnx\.red\.output: .*no output 'logits'; it has means, twice"),
        ({"index": 3}, r"measure\.onnx\.red\.index: 3, but output 'means' .* gives 3 numbers"),
        ({"sha256": "0" * 64}, r"measure\.onnx\.red\.sha256: .*another file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = model(tmp_path / "m.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    if "path" in fields:
        path, fields = tmp_path / fields["path"], {}
    with pytest.raises(ConfigError, match=words) as error:
        meter(path, **fields).open()
    assert "\n" not in str(error.value)


def test_wrong_fields_are_refused(tmp_path: Path) -> None:
    for fields, words in (({"mean": (1.0, 2.0)}, "mean takes"), ({"std": (0.0,)}, "std must"), ({"size": 0}, "size")):
        with pytest.raises(ValidationError, match=words):
            OnnxFile(path="m.onnx", **fields)
    with pytest.raises(ConfigError, match=r"measure: onnx\.A b: a column's name"):
        load_config(sets=["measure.onnx={'A b': {path: m.onnx}}"])


# -- in a build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six flat pictures, from black to red."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (50 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


def settings(path: Path, **more: Any) -> dict[str, Any]:
    rules = ("flat", "noise", "compression", "exposure", "greyscale", "border", "product", "upscaled", "iqa", "blur")
    return {
        "measure": {"meters": ["exposure"], "onnx": {"red": {"path": str(path), "size": 8}}},
        "policy": {
            **{name: {"enabled": False} for name in (*rules, "resolution", "near_duplicate")},
            "meters": {"red": {"min": 0.3}},
        },
        "run": {"workers": 0, "shard_size": 4},
        "report": {"samples": 0},
        **more,
    }


def test_a_build_measures_and_decides_by_it(folder: Path, tmp_path: Path) -> None:
    path, out = model(tmp_path / "m.onnx"), tmp_path / "out"
    summary = build([folder], out, settings(path))
    assert summary.kept == 4 and summary.reasons == {"red": 2}
    assert str(tmp_path) not in (out / "dataset" / "README.md").read_text("utf-8")
    assert str(tmp_path) not in (out / "report.html").read_text("utf-8")
    (found,) = explain(out, "1.png")
    assert found.measurements["red"] == pytest.approx(50 / 255, abs=1e-3)
    assert next(one.verdict for one in found.asked if one.reason == "red") == "fail"
    assert "red" in pq.ParquetFile(next((out / "dataset" / "data").glob("*.parquet"))).schema.names
    assert decide(out, lambda config: load_config(config.model_dump(), sets=["policy.meters.red.min=0.1"])).kept == 5


def test_a_meter_added_later_reads_what_it_needs_and_no_other_file_takes_its_name(folder: Path, tmp_path: Path) -> None:
    path, out = model(tmp_path / "m.onnx"), tmp_path / "out"
    plain = settings(path)
    without = {**plain, "measure": {"meters": ["exposure"]}, "policy": {**plain["policy"], "meters": {}}}
    assert build([folder], out, without).kept == 6
    first = build([folder], out, plain)
    assert first.kept == 4 and first.measured == 6
    assert build([folder], out, plain).up_to_date
    moved = path.rename(tmp_path / "moved.onnx")
    assert build([folder], out, settings(moved)).kept == 4, "the same bytes in another place"
    other = model(tmp_path / "other.onnx", scale=2.0)
    with pytest.raises(ConfigError, match=r"measure\.onnx\.red\.sha256: "):
        build([folder], out, settings(other))


def test_a_name_that_is_taken_is_refused_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx")
    for name in ("blur", "width"):
        wrong = settings(path)
        wrong["measure"]["onnx"] = {name: wrong["measure"]["onnx"]["red"]}
        wrong["policy"]["meters"] = {}
        with pytest.raises(ConfigError, match=rf"measure\.onnx\.{name}: there is a column of that name"):
            build([folder], tmp_path / "out", wrong)
    with pytest.raises(ConfigError, match=r"measure\.onnx\.red\.path: .*No such file"):
        build([folder], tmp_path / "out", settings(tmp_path / "nothing.onnx"))
    assert not (tmp_path / "out").exists()
