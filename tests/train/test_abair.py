"""ABAIR's three phases, one after the other, as a user runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from million_ird import models
from million_ird.errors import ConfigError, InputError, OutputError
from million_ird.train import abair
from million_ird.train.record import read
from million_ird.train.run import dry_run, train
from million_ird.train.tasks import IGNORED, tasks_of
from tests.train.runs import config, photos

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(photos(tmp_path_factory.mktemp("photos")))


@pytest.fixture(scope="module")
def base(tmp_path_factory, data) -> Path:
    out = tmp_path_factory.mktemp("base") / "run"
    train(config("abair", "pretrain", [data], steps=3), out)
    return out


@pytest.fixture(scope="module")
def adapters(tmp_path_factory, data, base) -> list[Path]:
    outs = []
    for task in ("denoise", "dehaze"):
        out = tmp_path_factory.mktemp(task) / "run"
        given = {"validation__sets": [f"{task}={data}"], "validation__size": 16, "init": str(base)}
        train(config("abair", "adapt", [f"{task}={data}"], task=task, steps=3, **given), out)
        outs.append(out)
    return outs


def test_pretraining_logs_both_losses_and_how_well_pixels_are_told_apart(base):
    for line in read(base, "step"):
        assert line["loss"] == pytest.approx(line["l1"] + 0.05 * line["segmentation"], rel=1e-5)
        assert 0 <= line["miou"] <= 1
        assert 0 <= line["pixel_accuracy"] <= 1


def test_parts_of_a_step_give_what_the_whole_gives(tmp_path, data):
    """The head's loss and scores too, though its labelled pixels are not shared out evenly."""
    for name, parts in (("one", 1), ("two", 2)):
        train(config("abair", "pretrain", [data], steps=3, accumulate=parts, optim__kind="adam"), tmp_path / name)
    whole, apart = (read(tmp_path / name, "step") for name in ("one", "two"))
    for name, near in (("loss", 1e-5), ("segmentation", 1e-5), ("pixel_accuracy", 0.01), ("miou", 0.01)):
        assert [line[name] for line in apart] == pytest.approx([line[name] for line in whole], rel=near), name


@pytest.mark.parametrize("phase", ["adapt", "estimate"])
def test_a_dry_run_knows_the_phases(data, base, adapters, phase):
    given = {"task": "derain"} if phase == "adapt" else {"adapters": [str(out) for out in adapters]}
    task = "derain" if phase == "adapt" else "denoise"
    found = dry_run(config("abair", phase, [f"{task}={data}"], init=str(base), **given))
    assert 0 < found.learning < found.parameters
    assert found.step_seconds > 0


@pytest.mark.slow
def test_the_head_learns(tmp_path, data):
    """Its loss falls below that of a guess, ln 5."""
    weights = {"loss__segmentation": 1.0, "optim__lr": 5e-3, "ema": 0.0}
    train(config("abair", "pretrain", [data], steps=60, save__every=100, batch=8, **weights), tmp_path / "run")
    lines = [line["segmentation"] for line in read(tmp_path / "run", "step")]
    assert sum(lines[-10:]) / 10 < 0.9 * sum(lines[:3]) / 3


def test_scores_of_pixels_against_plain_counting():
    target = torch.tensor([[[0, 0, 1, 1], [2, IGNORED, 1, 0]]])
    guess = torch.tensor([[[0, 1, 1, 1], [2, 2, 0, 0]]])
    logits = torch.nn.functional.one_hot(guess, 4).permute(0, 3, 1, 2).float()
    found = abair.scores(abair.confusion(logits, target))
    assert float(found["pixel_accuracy"]) == pytest.approx(5 / 7)
    assert float(found["miou"]) == pytest.approx((2 / 4 + 2 / 4 + 1) / 3)  # class 3 is neither there nor seen


def test_pairs_have_no_labels_for_the_head(tmp_path, data):
    for part in ("lq", "hq"):
        photos(tmp_path / "pairs" / part)
    with pytest.raises(ConfigError, match=r"the segmentation head needs clean images"):
        train(config("abair", "pretrain", [str(tmp_path / "pairs")]), tmp_path / "run")
    settings = config("abair", "pretrain", [str(tmp_path / "pairs")], loss__segmentation=0.0, steps=1)
    assert train(settings, tmp_path / "run").status == "done"


def test_a_recipe_with_other_classes_needs_another_head(tmp_path, data):
    with pytest.raises(ConfigError, match=r"give --set sizes.classes=9"):
        train(config("abair", "pretrain", [data], data__recipe="allinone"), tmp_path / "run")


def test_an_adapter_is_trained_and_the_base_stays_what_it_was_to_the_bit(base, adapters):
    before = models.load(base / "model").state_dict()
    after = models.load(adapters[0] / "model")
    assert after.adapter_names == ["denoise"]
    kept = {name: tensor for name, tensor in after.state_dict().items() if name in before}
    assert len(kept) == len([name for name in before if not name.startswith("head.")])
    assert all(torch.equal(tensor, before[name]) for name, tensor in kept.items())
    changed = [tensor.detach() for tensor in after.adapter_parameters("denoise").values()]
    fresh = abair.attach(models.load(base / "model"))
    fresh.add_adapter("denoise", after.adapter_configs["denoise"])
    begun = list(fresh.adapter_parameters("denoise").values())
    assert sum(not torch.equal(one, other) for one, other in zip(changed, begun, strict=True)) > len(begun) / 2


def test_a_base_that_changed_between_kill_and_resume_is_refused(data, base, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    given = {"task": "denoise", "init": str(tmp_path / "base"), "steps": 3}
    train(config("abair", "adapt", [f"denoise={data}"], **given, run__minutes=1e-6), tmp_path / "run")
    weights = tmp_path / "base" / "model" / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if tensors[name].ndim == 4 and not name.startswith("head."))
    save_file({**tensors, name: tensors[name] + 1}, weights)
    with pytest.raises(OutputError, match="another base than it began with"):
        train(config("abair", "adapt", [f"denoise={data}"], **given), tmp_path / "run", resume=True)


def test_a_base_that_changed_would_be_noticed(data, base):
    stage = abair.Adapting(config("abair", "adapt", ["x"], task="derain", init=str(base)), CPU)
    net = stage.prepare(models.load(base / "model"))
    assert stage.finish(net)["base_unchanged"]
    with torch.no_grad():
        net.output.base[0, 0, 0, 0] += 1e-3
    with pytest.raises(AssertionError, match="frozen base changed"):
        stage.finish(net)


def test_only_the_adapter_has_gradients(data, base):
    stage = abair.Adapting(config("abair", "adapt", ["x"], task="derain", init=str(base)), CPU)
    net = stage.prepare(models.load(base / "model"))
    loss, _ = stage(net, {"lq": torch.rand(1, 3, 16, 16), "hq": torch.rand(1, 3, 16, 16)})
    loss.backward()
    learning = {name for name, tensor in net.named_parameters() if tensor.grad is not None}
    assert learning
    assert all(".deltas.derain." in name for name in learning)


def test_validation_shows_the_base_beside_the_adapter(adapters):
    (line,) = read(adapters[0], "validation")
    assert {"denoise/input/psnr", "denoise/psnr", "denoise/base/psnr"} <= set(line)


@pytest.mark.parametrize("kind", ["vera", "conv_lora"])
def test_other_kinds_of_adapters(tmp_path, data, base, kind):
    given = {"abair__kind": kind, "abair__rank": 2, "init": str(base), "task": "derain", "steps": 2}
    train(config("abair", "adapt", [f"derain={data}"], **given), tmp_path / "run")
    net = models.load(tmp_path / "run" / "model")
    assert net.adapter_configs["derain"].kind == kind


def test_the_estimator_learns_to_choose_and_every_way_of_blending_is_reported(tmp_path, data, base, adapters):
    tasks = [f"denoise={data}", f"dehaze={data}", f"both={data},recipe=abair"]
    classes = {"noise": "denoise", "haze": "dehaze", "blur": "denoise", "rain": "denoise", "lowlight": "dehaze"}
    given = {
        "init": str(base),
        "adapters": [str(out) for out in adapters],
        "abair__classes": classes,
        "steps": 40,
        "batch": 8,
        "optim__lr": 5e-3,
        "save__every": 100,
        "validation__sets": [f"denoise={data}", f"mixed={data},recipe=abair"],
        "validation__size": 16,
        "validation__every": 100,
        "ema": 0.0,
    }
    train(config("abair", "estimate", tasks, **given), tmp_path / "run")
    lines = read(tmp_path / "run", "step")
    assert sum(line["accuracy"] for line in lines[-10:]) / 10 > 0.6
    (line,) = read(tmp_path / "run", "validation")
    ways = {"input", "oh", "sw", "sum", "average", "base"}
    assert {name.split("/")[1] for name in line if name.startswith("mixed/")} == ways
    assert {name.split("/")[1] for name in line if name.startswith("denoise/")} == {*ways, "oracle"}
    net = models.load(tmp_path / "run" / "model")
    assert net.adapter_names == ["denoise", "dehaze"]
    trained, untouched = net.state_dict(), models.load(adapters[0] / "model").state_dict()
    same = [name for name in untouched if not name.startswith("estimator.")]
    assert all(torch.equal(trained[name], untouched[name]) for name in same)


def test_the_confusion_of_the_estimator_is_counted(tmp_path, data, base, adapters):
    given = {"init": str(base), "adapters": [str(out) for out in adapters], "steps": 2}
    given |= {"validation__sets": [f"denoise={data}", f"dehaze={data}"], "validation__size": 16}
    outcome = train(config("abair", "estimate", [f"denoise={data}", f"dehaze={data}"], **given), tmp_path / "run")
    table = outcome.figures["confusion"]
    assert table["columns"] == ["denoise", "dehaze"]
    assert {name: sum(row) for name, row in table["rows"].items()} == {"denoise": 4, "dehaze": 4}


def test_a_task_added_later_leaves_the_others_as_they_were(tmp_path, data, base, adapters):
    given = {"init": str(base), "task": "derain", "steps": 2}
    train(config("abair", "adapt", [f"derain={data}"], **given), tmp_path / "derain")
    runs = [str(out) for out in [*adapters, tmp_path / "derain"]]
    tasks = [f"{name}={data}" for name in ("denoise", "dehaze", "derain")]
    train(config("abair", "estimate", tasks, init=str(base), adapters=runs, steps=2), tmp_path / "run")
    net, old = models.load(tmp_path / "run" / "model"), models.load(adapters[0] / "model")
    net.adapters = old.adapters = {"denoise": 1.0}
    image = torch.rand(1, 3, 24, 24)
    with torch.inference_mode():
        assert torch.equal(net(image), old(image))


def test_wanted_adapters_of_single_and_mixed_images(data, base, adapters):
    tasks = [f"denoise={data}", f"mixed={data},recipe=mixed"]
    classes = {"blur": "denoise", "jpeg": "denoise", "snow": "dehaze"}
    runs = [str(out) for out in adapters]
    settings = config("abair", "estimate", tasks, init=str(base), adapters=runs, abair__classes=classes)
    stage = abair.Estimating(settings, CPU, tasks_of(settings))
    stage.prepare(models.load(base / "model"))
    kinds = [torch.tensor([1.0]), torch.tensor([0.0, 0, 0, 1, 1])]  # mixed: blur, noise, jpeg, haze, snow
    wanted = stage.wanted({"task": ["denoise", "mixed"], "kinds": kinds}, CPU)
    assert wanted.tolist() == [[1, 0], [0, 1]]
    kinds[1] = torch.tensor([1.0, 0, 0, 1, 0])
    assert stage.wanted({"task": ["denoise", "mixed"], "kinds": kinds}, CPU).tolist() == [[1, 0], [0.5, 0.5]]


def test_an_adapter_that_is_there_already_is_not_passed_over(data, adapters):
    runs = [str(adapters[0])]
    settings = config("abair", "estimate", [f"denoise={data}"], init=str(adapters[0]), adapters=runs)
    with pytest.raises(ConfigError, match=r"the network has an adapter denoise already"):
        abair.Estimating(settings, CPU, tasks_of(settings)).prepare(models.load(adapters[0] / "model"))


def test_classes_that_no_adapter_mends_are_named(data, base, adapters):
    tasks = [f"denoise={data}", f"mixed={data},recipe=mixed"]
    settings = config("abair", "estimate", tasks, init=str(base), adapters=[str(out) for out in adapters])
    with pytest.raises(ConfigError, match=r"no adapter mends blur, jpeg, snow"):
        abair.Estimating(settings, CPU, tasks_of(settings)).prepare(models.load(base / "model"))


def test_adapters_are_found_in_runs_models_and_folders(tmp_path, adapters):
    for place in (adapters[0], adapters[0] / "model", adapters[0] / "model" / "adapters" / "denoise"):
        assert [path.name for path in abair.adapters_in(place)] == ["denoise"]
    with pytest.raises(InputError, match="there is no adapter in it"):
        abair.adapters_in(tmp_path)
