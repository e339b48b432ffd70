"""`mird train detectors`: the same file from the same seed, and one that says what torch says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from million_ird.degrade.watermark import HELD_OUT, TRAINING
from million_ird.errors import InputError
from million_ird.images import encode_png
from million_ird.meters import Frame
from million_ird.meters.watermark import Watermark
from million_ird.rng import rng_for
from million_ird.train.detectors import DetectorConfig, train_watermark
from million_ird.train.detectors.artefacts import ArtefactConfig
from million_ird.train.detectors.decoys import DECOYS, disguise
from million_ird.train.detectors.depthwise import Depthwise
from million_ird.train.detectors.drawing import Batches, batches
from million_ird.train.detectors.export import Scale, scales_of, to_onnx
from million_ird.train.detectors.net import Coach, Detector, judged
from million_ird.train.detectors.samples import Samples, cells_of, photos
from million_ird.train.detectors.start import begin
from million_ird.train.detectors.training import auc, loss_of
from tests.cli.calls import inside

TINY = DetectorConfig(steps=3, batch=2, size=64, workers=0, checks=4)


@pytest.fixture(scope="module")
def folder(photo, tmp_path_factory):
    out = tmp_path_factory.mktemp("photos")
    for number in range(10):
        (out / f"{number}.png").write_bytes(encode_png(np.ascontiguousarray(photo[20 * number :][:160, :200])))
    return out


def test_a_run_writes_its_files_and_the_same_seed_the_same_bytes(folder, tmp_path):
    first, again, other = (
        train_watermark([folder], tmp_path / name, TINY.model_copy(update={"seed": seed}))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    read = [(tmp_path / name / "watermark.onnx").read_bytes() for name in "abc"]
    assert read[0] == read[1] != read[2]
    assert first.pictures == 8 and first.steps == 3 and first.figures == again.figures
    facts = json.loads((tmp_path / "a" / "watermark.json").read_text())
    assert len(facts["pictures"]) == 8 and facts["config"]["seed"] == 1
    assert facts["sha256"] in (tmp_path / "a" / "watermark.md").read_text()
    assert str(folder.parent) not in (tmp_path / "a" / "watermark.json").read_text()
    assert 0 <= Watermark(model=other.model)(Frame(np.zeros((50, 70, 3), np.uint8)))[0] <= 1  # type: ignore[operator]


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(folder, tmp_path):
    config = TINY.model_copy(update={"steps": 7, "every": 2, "watch": 3, "batch": 4})

    def cut(step, _):
        if step == 5:
            raise KeyboardInterrupt

    train_watermark([folder], tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_watermark([folder], tmp_path / "cut", config, cut)
    kept = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    for other, what in ((config.model_copy(update={"rate": 1e-4}), "settings"), (config, "pictures")):
        with pytest.raises(
            InputError, match=f"cut off, with other {what}; give another --out, or delete .*checkpoints"
        ):
            train_watermark([folder if what == "settings" else folder / "1.png"], tmp_path / "cut", other)
    run = tmp_path / "cut" / "checkpoints" / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "seconds": 9000.0}))
    steps = []
    done = train_watermark([folder], tmp_path / "cut", config, lambda step, _: steps.append(step))
    assert 9000 < done.seconds < 9600  # those before it was cut off count
    assert kept == ["run.json", "step-0000003"] and steps == [4, 5, 6, 7]
    for name in ("watermark.onnx", "metrics.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_a_finished_run_is_not_done_again_and_not_written_over(folder, tmp_path):
    done = train_watermark([folder], tmp_path, TINY)
    steps = []
    again = train_watermark([folder], tmp_path, TINY, lambda step, _: steps.append(step))
    assert steps == [] and (again.figures, again.pictures, again.model) == (done.figures, 8, done.model)
    for data, config, what in (
        (folder, TINY.model_copy(update={"seed": 5}), "settings"),
        (folder / "1.png", TINY, "pictures"),
    ):
        with pytest.raises(InputError, match=f"holds a finished watermark, with other {what}; give another --out"):
            train_watermark([data], tmp_path, config)


def test_other_order_other_draws(folder, tmp_path):
    """The order of the pictures decides what is drawn of them: a run that was cut off takes no other."""

    def cut(step, _):
        if step == 2:
            raise KeyboardInterrupt

    config = TINY.model_copy(update={"watch": 1})
    files = [folder / "1.png", folder / "2.png"]
    with pytest.raises(KeyboardInterrupt):
        train_watermark(files, tmp_path, config, cut)
    with pytest.raises(InputError, match="cut off, with other pictures"):
        train_watermark(files[::-1], tmp_path, config)
    for damage, words in ((b"{", "damaged"), (None, "missing")):
        log = tmp_path / "metrics.jsonl"
        log.write_bytes(damage) if damage else log.unlink()
        with pytest.raises(InputError, match=r"metrics\.jsonl: is missing or damaged; .*delete .*checkpoints") as error:
            train_watermark(files, tmp_path, config)
        assert words in str(error.value)
    (tmp_path / "checkpoints" / "run.json").unlink()
    with pytest.raises(InputError, match=r"run\.json: is missing or damaged; .*delete .*checkpoints"):
        train_watermark(files, tmp_path, config)


def test_the_card_names_what_was_used_and_nothing_else(folder, photo, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "p").mkdir(parents=True)
        (tmp_path / name / "p" / "1.png").write_bytes(encode_png(np.ascontiguousarray(photo[:160, :200])))
    (tmp_path / "b" / "p" / "2.png").write_bytes(b"no picture")
    done = train_watermark([tmp_path / "a" / "p", tmp_path / "b" / "p"], tmp_path / "out", TINY)
    facts = json.loads((tmp_path / "out" / "watermark.json").read_text())
    assert list(facts["pictures"]) == ["a/p/1.png", "b/p/1.png"] and done.pictures == 2
    assert done.unused == [str(tmp_path / "b" / "p" / "2.png")] and facts["held_out_pictures"] == 0
    card = (tmp_path / "out" / "watermark.md").read_text()
    assert "Pictures: 2 clean photos" in card and "2 photos that it was trained on, none being held out" in card
    train_watermark([folder], tmp_path / "other", TINY)
    assert "2 photos that were held out" in (tmp_path / "other" / "watermark.md").read_text()
    with pytest.raises(InputError, match=r"--data: .*1\.png is given twice"):
        train_watermark([folder, folder / "1.png"], tmp_path / "twice", TINY)


def test_the_number_of_workers_is_no_part_of_the_file(folder, tmp_path):
    for workers in (0, 1):
        train_watermark([folder], tmp_path / str(workers), TINY.model_copy(update={"workers": workers}))
    first, second = ((tmp_path / str(workers) / "watermark.onnx").read_bytes() for workers in (0, 1))
    assert first == second


def test_a_run_that_has_kept_nothing_may_begin_again_with_other_settings(folder, tmp_path):
    with pytest.raises(InputError, match=r"init: nowhere\.onnx can't be read"):
        train_watermark([folder], tmp_path, TINY.model_copy(update={"init": "nowhere.onnx"}))
    assert train_watermark([folder], tmp_path, TINY).steps == 3


@pytest.mark.parametrize(("name", "kind"), [("watermark", DetectorConfig), ("artefacts", ArtefactConfig)])
def test_the_defaults_can_be_printed_and_read_again(name, kind):
    printed = inside("config", name).stdout
    assert kind.model_validate(yaml.safe_load(printed)) == kind() and "# Steps between two" in printed


@pytest.mark.slow
def test_the_command_trains_and_prints_where(folder, tmp_path):
    words = [
        "detectors",
        "--data",
        str(folder),
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "2",
        "--seed",
        "3",
        "--json",
    ]
    words += ["--set", "batch=2", "--set", "size=64", "--set", "checks=2"]
    done = subprocess.run(
        [sys.executable, "-m", "million_ird", "train", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2 and (tmp_path / "run" / "watermark.onnx").is_file()
    words = [
        "train",
        "detectors",
        "--out",
        str(tmp_path / "few"),
        "--steps",
        "1",
        "--set",
        "size=64",
        "--set",
        "checks=1",
    ]
    done = subprocess.run([sys.executable, "-m", "million_ird", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "few" / "watermark.json").read_text())["data"] == ["packages"]
    wrong = [
        sys.executable,
        "-m",
        "million_ird",
        "train",
        "detectors",
        "--data",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path),
    ]
    refused = subprocess.run(wrong, capture_output=True, text=True, timeout=120)
    assert refused.returncode != 0 and "no such file or folder" in refused.stderr and "Traceback" not in refused.stderr


def test_the_loss_falls():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 60, (128, 128, 3), np.uint8)]
    net = Coach(Detector())
    seen = Batches(pictures, TINY.model_copy(update={"batch": 8}))[2]
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        cells, strokes = net(seen.images)
        loss = loss_of(cells, strokes, seen, TINY)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_pair_depends_on_its_number_alone(photo):
    samples = Samples([photo], 0, 64)
    first = [samples[number] for number in (5, 6)]
    again = [Samples([photo], 0, 64)[number] for number in (6, 5)][::-1]
    for a, b in zip((x for pair in first for x in pair), (x for pair in again for x in pair), strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.cells, b.cells)
        np.testing.assert_array_equal(a.strokes, b.strokes)
    assert (first[0][0].image != first[1][0].image).any()


def test_a_pair_is_one_scene_without_and_with_a_mark(photo):
    pairs = [Samples([photo], 0, 128, rise=10**6)[number] for number in range(20)]
    for clean, marked in pairs:
        assert not clean.marked and not clean.strokes.any() and (clean.cells == 0).all()
        change = np.abs(clean.image.astype(int) - marked.image)
        far = cv2.dilate(marked.strokes, np.ones((13, 13), np.uint8)).repeat(4, 0).repeat(4, 1) == 0
        # Where no stroke is near, the two are one picture: JPEG codes blocks of 8 px alone.
        assert not change[far].any() and (change.any() or not marked.strokes.any())
    assert sum(marked.marked for _, marked in pairs) >= 18


def test_batches_are_the_same_from_any_number_of_processes_and_get_harder(photo):
    config = TINY.model_copy(update={"steps": 30, "batch": 4, "rise": 0.5})
    here, beside = (list(batches([photo], config.model_copy(update={"workers": n}))) for n in (0, 2))
    assert len(here) == len(beside) == 30
    for one, other in zip(here, beside, strict=True):
        assert one.images.shape == (4, 1, 64, 64) and one.cells.shape == (4, 4, 4) and one.strokes.shape == (4, 16, 16)
        for name in ("images", "cells", "strokes"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert not one.marked[::2].any() and not one.strokes[::2].any()
    seen = {bytes(image.numpy()) for batch in here for image in batch.images[::2]}
    assert len(seen) == 60  # no pair is shown twice
    change = [
        (batch.images[1::2].int() - batch.images[::2].int()).abs().amax((1, 2, 3)).float().mean() for batch in here
    ]
    assert np.mean(change[:7]) > np.mean(change[15:])


def test_held_out_styles_and_pictures_are_not_trained_on(photo, folder):
    with pytest.raises(ValueError, match="held out"):
        Samples([photo], 0, 64, HELD_OUT)
    shown, held = photos([folder]), photos([folder], held=True)
    assert (len(shown), len(held)) == (8, 2) and not set(shown) & set(held)


@pytest.mark.parametrize("kind", DECOYS)
def test_a_decoy_repeats_and_fits_any_picture(photo, kind):
    for shape in ((1, 1), (30, 200), (200, 160)):
        picture = np.ascontiguousarray(photo[: shape[0], : shape[1]])
        first, again = (DECOYS[kind](picture, rng_for(0, kind), TRAINING, 12.0) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert first.shape == picture.shape and first.dtype == np.uint8
    assert (disguise(photo, rng_for(0, kind), height=20) != photo).any()


def test_cells_are_marked_clean_or_not_asked():
    cover = np.zeros((64, 50), np.uint8)
    cover[16:32, 16:32] = 255
    cells = cells_of(cover)
    assert cells.shape == (4, 4) and cells[1, 1] == 1 and cells[3, 3] == 0 and cells[0, 0] == -1


def reckoned_in_bytes(net, scales, luma):
    """Logits of the cells by the formula: sums of whole numbers, scaled and rounded after each convolution."""
    x = net.layers[:2]((luma.float() - 127.5) / 127.5).double()
    x = (torch.round(x / float(scales[0].step)) + int(scales[0].zero)).clamp(0, 255)
    for layer, (before, after) in zip(net.steps()[2:], pairwise(scales), strict=True):
        conv, weight = layer.conv, layer.conv.weight.double()
        steps = weight.abs().amax((1, 2, 3)) / 63
        whole, sums = torch.round(weight / steps[:, None, None, None]), conv.bias / (steps * float(before.step))
        options = conv.stride, conv.padding, 1, conv.groups
        x = torch.nn.functional.conv2d(x - int(before.zero), whole, torch.round(sums), *options)
        x = torch.round(x * (steps * float(before.step) / float(after.step))[:, None, None])
        x = (x + int(after.zero)).clamp(0, 255)
    return net.head(((x - int(scales[-1].zero)) * float(scales[-1].step)).float())[:, 0]


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (37, 61), (200, 133)])
def test_the_file_gives_nearly_what_the_network_gives(shape, tmp_path):
    torch.manual_seed(0)
    net = Detector()
    for layer in net.layers:
        torch.nn.init.normal_(layer.conv.bias, 0, 0.1)  # type: ignore[arg-type]
    torch.nn.init.normal_(net.head.weight, 0, 0.5)
    net.eval().offset.fill_(-2.5)
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (9, 12), np.uint8), (133, 200)) for _ in range(4)]
    path = tmp_path / "net.onnx"
    scales = scales_of(net, pictures)
    path.write_bytes(to_onnx(net, {}, scales))
    luma = np.ascontiguousarray(pictures[0][: shape[0], : shape[1]])
    with torch.no_grad():
        cells, picture = net(torch.from_numpy(luma)[None, None]), judged(net, torch.from_numpy(luma)[None, None])
        exact = torch.sigmoid(reckoned_in_bytes(net, scales, torch.from_numpy(luma)[None, None]) - net.offset)
    score, found = onnxruntime.InferenceSession(path).run(["score", "cells"], {"luma": luma[None, None]})
    expected = torch.sigmoid(cells - net.offset).numpy()
    # A byte that lies on the edge between two may round the other way, and what it reaches with it.
    np.testing.assert_allclose(found[0], exact.numpy(), atol=0.03)
    assert np.isclose(found[0], exact.numpy(), atol=1e-3).mean() > 0.8
    np.testing.assert_allclose(found[0], expected, atol=0.1)
    assert score[0] == pytest.approx(float(torch.sigmoid(picture - net.offset)), abs=0.1)
    assert found.size < 20 or np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_bytes_mean_what_lies_between_the_ends():
    for low, high in ((0.0, 5.1), (-2.0, 3.0), (1.0, 2.0), (-3.0, -1.0), (0.0, 0.0)):
        scale = Scale.over(low, high)
        ends = [(byte - int(scale.zero)) * float(scale.step) for byte in (0, 255)]
        assert ends[0] <= min(low, 0) + scale.step and ends[1] >= max(high, 0) - scale.step
        assert 0 <= int(scale.zero) <= 255 and scale.step > 0


def test_weights_leave_room_for_sums_of_two_products():
    net = Detector()
    graph = onnx.load_from_string(to_onnx(net, {}, scales_of(net, [np.zeros((64, 64), np.uint8)]))).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    whole = [arrays[node.input[3]] for node in graph.node if node.op_type == "QLinearConv"]
    assert len(whole) == 2 * (len(net.steps()) - 2)  # two looks
    assert all(w.dtype == np.int8 and np.abs(w.astype(int)).max() == 63 for w in whole)  # 2 * 255 * 63 < 2**15


def test_what_is_learnt_beside_the_cells_teaches_all_layers_and_changes_no_cell():
    torch.manual_seed(0)
    coach, luma = Coach(Detector()), torch.randint(0, 256, (2, 1, 80, 48), dtype=torch.uint8)
    cells, strokes = coach(luma)
    assert cells.shape == (2, 5, 3) and strokes.shape == (2, 20, 12)
    assert torch.equal(cells, coach.net(luma))
    strokes.sum().backward()
    assert all(p.grad is not None for p in coach.net.layers.parameters()) and coach.net.head.weight.grad is None


def test_hard_swish_becomes_relu_while_training():
    net, x = Detector(), torch.randn(2, 1, 32, 32) * 50 + 128
    hard = net(x)
    net.soften(1.0)
    for layer in net.layers:
        y = torch.linspace(-4, 4, 9 * layer.conv.in_channels).view(1, -1, 3, 3)
        expected = torch.nn.functional.hardswish(layer.conv(y)) if layer.bends else layer.conv(y)
        torch.testing.assert_close(layer(y), expected)
    assert not torch.equal(net(x), hard)
    net.soften(0.0)
    assert torch.equal(net(x), hard)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_convolutions_and_their_gradients_are_torchs(kernel, stride):
    torch.manual_seed(0)
    layer = Depthwise(6, kernel, stride).double()
    x = torch.randn(2, 6, 13, 10, dtype=torch.float64, requires_grad=True)
    plain = torch.nn.functional.conv2d(x, layer.weight, layer.bias, stride, kernel // 2, 1, 6)
    ours, grad = layer(x), torch.randn_like(plain)
    torch.testing.assert_close(ours, plain)
    wanted = [x, layer.weight, layer.bias]
    for a, b in zip(torch.autograd.grad(ours, wanted, grad), torch.autograd.grad(plain, wanted, grad), strict=True):
        torch.testing.assert_close(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(x.float()).dtype == torch.bfloat16


def published(path, net, rng):
    """A file as the text detector's: three colours, normalisation behind the stem, factors and summands between.
    What it gives for a picture, too."""
    nodes, arrays, values = [], [], "x"

    def node(kind, *inputs, **more):
        nonlocal values
        nodes.append(helper.make_node(kind, inputs, [f"v{len(nodes)}"], **more))
        values = nodes[-1].output[0]
        return values

    def array(content):
        arrays.append(numpy_helper.from_array(np.asarray(content, np.float32), f"a{len(arrays)}"))
        return arrays[-1].name

    def drawn(*shape):
        return array(rng.normal(0.1, 0.3, shape))

    def affine():
        node("Mul", drawn(1), values)
        node("Add", values, drawn(1))

    def swish():
        x = values
        node("Add", x, array(3.0))
        node("Clip", values, array(0.0), array(6.0))
        node("Mul", x, values)
        node("Div", values, array(6.0))

    for number, layer in enumerate(found.conv for found in net.steps()):
        out, inside, *size = layer.weight.shape
        weight = array(rng.normal(0, 1 / np.sqrt(inside * size[0] ** 2), (out, 3 if number == 0 else inside, *size)))
        more = {"strides": list(layer.stride), "pads": [size[0] // 2] * 4, "group": layer.groups}
        node("Conv", values, weight, *([drawn(out)] if number else []), kernel_shape=size, **more)
        if number == 0:
            spread = array(rng.uniform(0.5, 2, out))
            node("BatchNormalization", values, drawn(out), drawn(out), drawn(out), spread)
            continue
        affine()
        if layer.stride == (1, 1):
            swish()
            affine()
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info(values, TensorProto.FLOAT, None)],
        arrays,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    return path


def test_training_begins_with_a_text_detectors_layers(tmp_path):
    torch.manual_seed(0)
    net = Detector()
    path = published(tmp_path / "text.onnx", net, np.random.default_rng(0))
    begin(net, path)
    luma = torch.randint(0, 256, (1, 1, 320, 320), dtype=torch.uint8)
    colours = ((luma.float() - 127.5) / 127.5).repeat(1, 3, 1, 1).numpy()
    expected = np.asarray(onnxruntime.InferenceSession(path).run(None, {"x": colours})[0])
    net.soften(1.0)
    with torch.no_grad():
        ours = net.layers((luma.float() - 127.5) / 127.5).numpy()
    middle = np.s_[..., 9:-9, 9:-9]  # beyond the border a summand that is worked in is zero, too
    factor, summand = np.polyfit(ours[middle].ravel(), expected[middle].ravel(), 1)  # the last ones, left behind
    np.testing.assert_allclose(ours[middle] * factor + summand, expected[middle], atol=1e-3 * expected.std())


@pytest.mark.parametrize("content", [None, b"", b"no network", "other"])
def test_what_is_no_text_detector_is_refused(tmp_path, content):
    path = tmp_path / "text.onnx"
    if content == "other":
        content = to_onnx(Detector(), {}, scales_of(Detector(), []))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"init: .*text\.onnx (is not PP-OCRv4's|can't be read)"):
        begin(Detector(), path)


def test_the_card_says_what_training_began_with(folder, tmp_path):
    path = published(tmp_path / "text.onnx", Detector(), np.random.default_rng(0))
    train_watermark([folder], tmp_path / "run", TINY.model_copy(update={"init": str(path), "rate": 1e-6}))
    card, facts = ((tmp_path / "run" / f"watermark.{kind}").read_text() for kind in ("md", "json"))
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest() in card
        and "PP-OCRv4" in card
        and str(tmp_path) not in card + facts
    )


def test_auc_counts_pairs():
    assert auc([0, 1], [2, 3]) == 1 and auc([0, 1], [0, 1]) == 0.5 and auc([1], [0]) == 0


def test_no_pictures_is_said(tmp_path):
    with pytest.raises(InputError, match="no picture in it"):
        photos([tmp_path])
