"""Networks as files of other programs: any number of images, any size, the same output."""

from __future__ import annotations

import pytest
import torch

from million_ird import models
from million_ird.errors import ConfigError, MirdError
from million_ird.restore import export as module
from million_ird.restore.export import export

SHAPES = (1, 3, 16, 16), (2, 3, 40, 88), (5, 3, 16, 24)


def make(name, **sizes):
    torch.manual_seed(0)
    net = models.create(name, **sizes).eval()
    if name.startswith("abair"):
        net.add_adapter("rain")
        net.adapters = "rain"
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def agrees(net, answer):
    for shape in SHAPES:
        image = torch.rand(shape)
        with torch.no_grad():
            expected = net(image)
        found = answer(image)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max().clamp_min(1), shape


def onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in (*session.get_inputs(), *session.get_outputs())] == ["image", "restored"]
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["restormer", "promptir", "dynet-s", "abair-tiny"])
def test_onnx_at_full_size_gives_the_same_for_any_number_of_images_of_any_size(name, tmp_path):
    pytest.importorskip("onnxscript")
    net = make(name)
    done = export(net, tmp_path / "net.onnx")
    assert max(done.differences) <= 1e-4
    assert done.bytes == (tmp_path / "net.onnx").stat().st_size
    agrees(net, onnx(tmp_path / "net.onnx"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["dynet-tiny", "abair-tiny"])
def test_a_program_of_torch_gives_the_same_for_any_number_of_images_of_any_size(name, tmp_path):
    net = make(name, dim=8)
    export(net.train(), tmp_path / "net.pt2", "torch")
    assert net.training
    agrees(net.eval(), torch.export.load(tmp_path / "net.pt2").module())


def test_a_file_whose_output_is_another_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_torch", lambda net, scratch: (b"", lambda image: net(image) + 0.01))
    with pytest.raises(MirdError, match=r"differs from the network's by \d.*nothing was written"):
        export(make("dynet-tiny", dim=8), tmp_path / "net.pt2", "torch")
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize("asked", ["auto", [{"rain": 1.0}, {}], torch.ones(2, 1)])
def test_adapters_that_differ_from_image_to_image_are_refused(asked, tmp_path):
    net = make("abair-tiny", dim=8)
    net.adapters = asked
    with pytest.raises(ConfigError, match="cannot choose adapters by the picture"):
        export(net, tmp_path / "net.onnx")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="format tf: unknown; known: onnx, torch"):
        export(make("dynet-tiny", dim=8), tmp_path / "net", "tf")
