"""`mird restore` and `mird export`: what they print, what they exit with."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from million_ird import models
from million_ird.cli.restore import load
from million_ird.restore import tune_malloc
from tests.cli.calls import inside


def restored(*words):
    tuned = "--help" in words or "restore" not in words or "--no-malloc-tuning" in words
    return inside(*words, *([] if tuned else ["--no-malloc-tuning"]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    net = models.create("dynet-tiny", dim=8, refinement=1)
    torch.nn.init.zeros_(net.output.weight)
    net.save_pretrained(folder / "identity")
    net = models.create("abair-tiny", dim=8, refinement=1)
    net.add_adapter("rain")
    net.add_adapter("haze")
    net.save_pretrained(folder / "abair")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)).save(folder / "a.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.parametrize("name", ["restore", "export"])
def test_help_has_an_example(name):
    done = restored(name, "--help")
    assert done.returncode == 0
    assert f"Example: mird {name}" in done.stdout


def test_a_folder_is_restored_and_what_is_bad_is_named(model, photos, tmp_path):
    done = restored(
        "restore", photos, "--model", model / "identity", "--out", tmp_path / "out", "--json", "--variant", "l"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["restored"], summary["failed"]) == (1, 1)
    assert "notes.txt: unsupported" in done.stderr
    out = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.array_equal(out, np.asarray(Image.open(photos / "a.png")))


def test_exit_codes(model, photos, tmp_path):
    call = ["restore", photos, "--model", model / "identity", "--out", tmp_path / "out", "--no-malloc-tuning"]
    assert restored(*call, "--strict").returncode == 3
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no picture")
    assert (
        restored("restore", tmp_path / "bad", "--model", model / "identity", "--out", tmp_path / "none").returncode == 1
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nowhere"], "nowhere"),
        (["--model", "IDENTITY", "--variant", "xl"], "variant"),
        (["--model", "IDENTITY", "--adapter", "rain"], "no adapters"),
        (["--model", "ABAIR", "--adapter", "snow"], "adapter snow: unknown"),
        (["--model", "ABAIR", "--variant", "s"], "no variants"),
        (["--model", "IDENTITY", "--device", "abacus"], "--device abacus"),
        (["--model", "IDENTITY", "--overlap", "300"], "overlap 300"),
    ],
)
def test_a_wrong_call_is_one_line(model, photos, tmp_path, words, message):
    places = {"IDENTITY": model / "identity", "ABAIR": model / "abair"}
    done = restored("restore", photos, "--out", tmp_path / "out", *(places.get(word, word) for word in words))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_what_the_estimator_saw_is_printed_and_can_be_overruled(model, photos, tmp_path):
    call = ["restore", photos / "a.png", "--model", model / "abair", "--out"]
    seen = restored(*call, tmp_path / "seen")
    assert seen.returncode == 0, seen.stderr
    assert "a.png: seen: " in seen.stderr
    assert "rain 0." in seen.stderr
    forced = restored(*call, tmp_path / "forced", "--adapter", "rain:0.5,haze:0.5")
    assert forced.returncode == 0, forced.stderr
    assert "seen" not in forced.stderr


def test_a_model_saved_in_half_precision_is_run_in_whole(tmp_path):
    models.create("dynet-tiny", dim=8, refinement=1).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in load(str(tmp_path), None, "auto").parameters()} == {torch.float32}


def test_malloc_tuning_takes_on_glibc_and_harms_nowhere():
    done = subprocess.run(
        [sys.executable, "-c", "from million_ird.restore.memory import tune_malloc; print(tune_malloc())"],
        capture_output=True,
        text=True,
        check=True,
    )
    import platform

    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
    assert callable(tune_malloc)


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_an_exported_network_gives_the_same(model, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    done = restored("export", "--model", model / "identity", "--variant", "s", "--out", tmp_path / "net.onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout)["differences"]) <= 1e-4
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 3, 40, 88), np.float32)
    (out,) = session.run(None, {"image": image})
    assert np.abs(out - image).max() <= 1e-4
    program = restored("export", "--model", model / "identity", "--format", "torch", "--out", tmp_path / "net.pt2")
    assert program.returncode == 0, program.stderr
    found = torch.export.load(tmp_path / "net.pt2").module()(torch.from_numpy(image))
    assert np.abs(found.detach().numpy() - image).max() <= 1e-4


def test_a_network_that_looks_at_the_picture_cannot_be_exported(model, tmp_path):
    done = restored("export", "--model", model / "abair", "--out", tmp_path / "net.onnx")
    assert done.returncode == 2
    assert "--adapter" in done.stderr
    assert not (tmp_path / "net.onnx").exists()
