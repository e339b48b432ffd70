"""`mird train detectors --only artefacts`: the same file from the same seed, labels that are true, an honest file."""

from __future__ import annotations

import json
import math

import numpy as np
import onnxruntime
import pytest
import torch

from million_ird import degrade as D
from million_ird.errors import InputError
from million_ird.images import encode_jpeg, encode_png
from million_ird.meters.artefacts import COLUMNS
from million_ird.rng import rng_for
from million_ird.train.detectors.artefacts import ArtefactConfig, train_artefacts, training
from million_ird.train.detectors.artefacts.export import to_onnx, values
from million_ird.train.detectors.artefacts.net import (
    COMBS,
    FEATURES,
    HEADS,
    PITCHES,
    UNITS,
    Estimator,
    calm,
    look,
    pooled,
    teeth,
)
from million_ird.train.detectors.artefacts.samples import LABELS, Samples, labels_of, part_of, spread
from million_ird.train.detectors.artefacts.training import clean, losses, pool
from tests.cli.calls import inside

TINY = ArtefactConfig(pool=6, steps=3, batch=4, checks=4)


@pytest.fixture(scope="module")
def folder(photo, tmp_path_factory):
    out = tmp_path_factory.mktemp("photos")
    for number in range(10):
        (out / f"{number}.png").write_bytes(encode_png(np.ascontiguousarray(photo[20 * number :][:160, :200])))
    return out


def labelled(steps, saved=100):
    return dict(zip(LABELS, labels_of(steps, saved).tolist(), strict=True))


def plan(*ops):
    return D.Compose(list(ops))(np.full((120, 120, 3), 90, np.uint8), seed=0).trace["steps"]


def test_a_run_writes_its_files_and_the_same_seed_the_same_bytes(folder, tmp_path):
    first, again, _ = (
        train_artefacts([folder], tmp_path / name, TINY.model_copy(update={"seed": seed}))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    read = [(tmp_path / name / "artefacts.onnx").read_bytes() for name in "abc"]
    assert read[0] == read[1] != read[2]
    assert first.pictures == 8 and first.steps == 3 and first.figures == again.figures
    facts = json.loads((tmp_path / "a" / "artefacts.json").read_text())
    assert len(facts["pictures"]) == 8 and facts["config"]["seed"] == 1
    assert facts["sha256"] in (tmp_path / "a" / "artefacts.md").read_text()
    assert str(folder.parent) not in (tmp_path / "a" / "artefacts.json").read_text()


def test_a_finished_run_is_not_done_again_and_not_written_over(folder, tmp_path):
    done = train_artefacts([folder], tmp_path, TINY)
    told = []
    again = train_artefacts([folder], tmp_path, TINY, lambda *step: told.append(step))
    assert told == [] and (again.figures, again.pictures, again.model) == (done.figures, 8, done.model)
    with pytest.raises(InputError, match="holds a finished artefacts, with other settings"):
        train_artefacts([folder], tmp_path, TINY.model_copy(update={"seed": 5}))


def test_the_card_says_where_nothing_was_held_out(folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    done = train_artefacts([folder / "1.png", tmp_path / "broken.png"], tmp_path / "out", TINY)
    card = (tmp_path / "out" / "artefacts.md").read_text()
    assert "the photos that it was trained on, none being held out" in card and done.unused == [
        str(tmp_path / "broken.png")
    ]


@pytest.mark.parametrize("at", ["made", "trained"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch, at):
    monkeypatch.setattr(training, "_PART", 2)
    config = TINY.model_copy(update={"steps": 7, "every": 2, "watch": 3})

    def cut(step, figures):
        if figures.get("made") == 6 if at == "made" else step == 5:
            raise KeyboardInterrupt

    train_artefacts([folder], tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        train_artefacts([folder], tmp_path / "cut", config, cut)
    place = tmp_path / "cut" / "checkpoints"
    kept = {path.name for path in place.iterdir()}
    for other, what in ((config.model_copy(update={"rate": 1e-4}), "settings"), (config, "pictures")):
        with pytest.raises(
            InputError, match=f"cut off, with other {what}; give another --out, or delete .*checkpoints"
        ):
            train_artefacts([folder if what == "settings" else folder / "1.png"], tmp_path / "cut", other)
    run = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps({**run, "seconds": 9000.0, "processor_seconds": 6000.0}))
    made, steps = [], []

    def tell(step, figures):
        made.append(figures["made"]) if "made" in figures else steps.append(step)

    done = train_artefacts([folder], tmp_path / "cut", config, tell)
    assert 9000 < done.seconds < 9600  # those before it was cut off count
    assert 6000 <= json.loads((tmp_path / "cut" / "artefacts.json").read_text())["processor_seconds"] < 6600
    parts = {f"pool-000000{start}.safetensors" for start in (0, 2, 4)}
    if at == "made":
        assert kept == {"run.json", *parts} - {"pool-0000004.safetensors"}
        assert made == [6] and steps == [1, 2, 3, 4, 5, 6, 7]
    else:
        assert kept == {"run.json", "step-0000003", *parts} and made == [] and steps == [4, 5, 6, 7]
    for name in ("artefacts.onnx", "artefacts.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not place.exists()


def test_the_command_trains_what_it_is_told(folder, tmp_path):
    words = ["train", "detectors", "--only", "artefacts", "--data", folder, "--out", tmp_path / "run", "--json"]
    words += ["--steps", "2", *(w for s in ("pool=4", "batch=2", "checks=2") for w in ("--set", s))]
    done = inside(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2 and (tmp_path / "run" / "artefacts.onnx").is_file()
    wrong = inside(*words, "--set", "size=64")
    assert wrong.returncode == 2 and "size" in wrong.stderr and "Traceback" not in wrong.stderr


def test_labels_say_what_the_steps_did():
    found = labelled(plan(D.GaussianNoise(sigma=20), D.JPEG(quality=70)), saved=95)
    assert found["noise"] == 20 and found["quality"] == 70 and found["upscaled"] == found["kind"] == 0
    assert labelled(plan(D.JPEG(quality=96)), saved=91)["quality"] == 91
    assert labelled([])["quality"] == 100
    found = labelled(plan(D.Resize(scale=0.5)))
    assert found["octaves"] == 1 and found["upscaled"] == 1 and found["extent"] == 0
    found = labelled(plan(D.Rain(), D.MotionBlur(kind="line", length=21)))
    assert found["rain"] == 1 and found["haze"] == 0 and found["kind"] == 3
    assert found["extent"] == pytest.approx(21 / math.sqrt(12), rel=0.05)


def test_what_cannot_be_known_is_not_asked():
    assert math.isnan(labelled(plan(D.GaussianNoise(sigma=20), D.JPEG(quality=20)))["noise"])
    assert math.isnan(labelled(plan(D.LowLight(kind="physical")))["noise"])
    labels = torch.from_numpy(labels_of(plan(D.LowLight(kind="physical")), 100))[None]
    given = torch.zeros(1, len(HEADS), requires_grad=True)
    torch.stack(list(losses(given, labels).values())).sum().backward()
    assert given.grad is not None and torch.isfinite(given.grad).all()
    assert given.grad[0, HEADS.index("noise")] == 0 != given.grad[0, HEADS.index("quality")]


def test_the_width_of_a_blur_is_that_of_its_widest_direction():
    from million_ird.degrade import kernels

    assert spread(kernels.gaussian(2.0)) == pytest.approx(2, rel=0.02)
    assert spread(kernels.gaussian(1.0, 3.0, 40)) == pytest.approx(3, rel=0.05)
    assert spread(kernels.disk(6.0)) == pytest.approx(3, rel=0.03)


def test_a_sample_depends_on_its_number_alone(photo):
    first = [Samples([photo], 0)[number] for number in (5, 6)]
    again = [Samples([photo], 0)[number] for number in (6, 5)][::-1]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.patches, b.patches)
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("shape", [(96, 96), (97, 640), (512, 512)])
def test_a_part_of_any_picture_is_large_enough(photo, shape):
    picture = np.ascontiguousarray(np.tile(photo, (1, 2, 1))[: shape[0], : shape[1]])
    for number in range(12):
        part = part_of(picture, rng_for(0, "part", number))
        assert min(part.shape[:2]) >= 96 and part.dtype == np.uint8 and part.flags.c_contiguous


def test_a_comb_stands_where_the_steps_of_a_jpeg_are():
    step = 12
    coefficients = torch.randint(-4, 5, (1, 63, 4000)).float() * step
    seen = teeth(coefficients).view(PITCHES, len(COMBS))
    at = [2 * PITCHES / step * tooth - 1 for tooth in (1, 2)]
    assert all(seen[int(place)].min() > 0.9 for place in at)
    assert seen[int(at[0]) + 4].max() < 0.3


def test_noise_is_read_off_the_smoothest_cells():
    rough = torch.full((1, 1, 36), 300.0)  # texture everywhere but in eight cells, two of them nearly black
    rough[..., :8], rough[..., :2] = 80.0, 20.0
    level = torch.full((1, 1, 36), 128.0)
    anywhere, _, seen, _ = calm(rough, level)
    assert anywhere == seen == pytest.approx((2 * 20 + 4 * 80) / 6 / 40)
    level[..., :2] = 4
    anywhere, _, seen, _ = calm(rough, level)
    assert anywhere == pytest.approx(1.5) and seen == pytest.approx(((2 * (20 + 36)) + 4 * 80) / 6 / 40)
    noise = 128 + 8 * torch.randn(2, 9, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    found, _ = look(noise.round().clamp(0, 255).byte())
    assert found[..., -16:-13].mean() == pytest.approx(1, abs=0.15)


def test_pictures_of_one_name_are_both_written_down(photo, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            part = np.ascontiguousarray(photo[30 * number :][: 160 if name == "a" else 150, :200])
            (tmp_path / name / f"{number}.png").write_bytes(encode_png(part))
    train_artefacts([tmp_path / "a", tmp_path / "b"], tmp_path / "run", TINY)
    facts = json.loads((tmp_path / "run" / "artefacts.json").read_text())
    assert {"a/0.png", "b/0.png"} <= set(facts["pictures"])


def test_the_file_gives_what_the_network_gives(photo):
    torch.manual_seed(0)
    seen, combs, _ = pool(Samples([photo], 0), range(4))
    net = Estimator().eval()
    net.middle, net.spread = pooled(seen).mean(0), pooled(seen).std(0) + 0.1
    for layer in (net.rows, net.second, net.hidden):
        torch.nn.init.normal_(layer.weight, std=0.1)
    session = onnxruntime.InferenceSession(to_onnx(net, {"title": "test"}), providers=["CPUExecutionProvider"])
    sample = Samples([photo], 0)[2].patches
    one, teeth_of_it = look(torch.from_numpy(sample)[None])
    assert one.shape == (1, 9, FEATURES) and torch.equal(one[0], seen[2])
    with torch.no_grad():
        expected = values(net(one, teeth_of_it))[0].numpy()
    (found,) = session.run(None, {"patches": sample})
    assert found.shape == (len(COLUMNS),)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert combs.dtype == torch.float16


def test_the_loss_falls_on_what_is_seen_again_and_again(photo):
    torch.manual_seed(0)
    seen, combs, labels = pool(Samples([photo], 0), range(16))
    net = Estimator()
    net.middle, net.spread = pooled(seen).mean(0), pooled(seen).std(0) + 1e-3
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    heard = []
    for _ in range(60):
        loss = torch.stack(list(losses(net(seen, combs.float()), labels).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        heard.append(loss.item())
    assert heard[-1] < 0.4 * heard[0] and set(UNITS) <= set(HEADS)


def test_jpegs_are_made_half_as_large_and_small_pictures_left_out(photo, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(photo, 80))
    (tmp_path / "b.png").write_bytes(encode_png(photo))
    (tmp_path / "c.jpg").write_bytes(encode_jpeg(np.ascontiguousarray(photo[:150]), 80))
    found = {path.name: rgb.shape for path, rgb in clean(sorted(tmp_path.iterdir())).items()}
    assert found == {"a.jpg": (256, 256, 3), "b.png": (512, 512, 3)}


def test_no_picture_that_is_large_enough_is_said(photo, tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.ascontiguousarray(photo[:70, :70])))
    with pytest.raises(InputError, match="no picture of 96 px"):
        train_artefacts([tmp_path], tmp_path / "run", TINY)
