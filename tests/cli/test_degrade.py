"""`mird degrade` and `mird verify` as commands: exit codes, one-line errors, JSON, and what each option does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from skimage import data

from million_ird.config import load
from million_ird.degrade.registry import OPS
from million_ird.pairs import DegradeConfig
from tests.cli.test_cli import mird

RECIPE = "name: hiss\npipeline:\n- {op: GaussianNoise, sigma: [10, 50]}\n- {op: ImpulseNoise, label: impulse}\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """in/ with two pictures, an unreadable one and a hidden file; r.yaml beside it."""
    folder = tmp_path_factory.mktemp("degrade")
    (folder / "in").mkdir()
    photo = np.ascontiguousarray(data.astronaut())
    for number in range(2):
        Image.fromarray(photo[:80, 100 * number : 100 * number + 80]).save(folder / "in" / f"p{number}.png")
    (folder / "in" / "bad.jpg").write_text("no picture")
    (folder / "in" / ".hidden").write_text("x")
    (folder / "r.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def done(source):
    words = ["in", "--out", "out", "--recipe", "r.yaml", "--per-image", "2", "--size", "48", "--seed", "9"]
    return mird("degrade", *words, "--format", "folder", "--workers", "0", "--json", cwd=source)


@pytest.mark.parametrize("name", ["degrade", "verify"])
def test_the_commands_have_help_with_an_example(name):
    found = mird(name, "--help")
    assert found.returncode == 0
    assert f"Example: mird {name}" in found.stdout


def test_degrade_prints_its_summary_and_says_the_rest_to_standard_error(source, done):
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["inputs"], summary["images"], summary["samples"]) == (3, 2, 4)
    assert summary["skipped"] == {"unsupported": 1}
    assert summary["passed_over"] == {"hidden": 1}
    assert summary["labels"] == {"noise": 4, "impulse": 4}
    assert "degrade: 3 to do" in done.stderr
    config = load(DegradeConfig, file=source / "out" / "degrade.yaml")
    assert (config.per_image, config.size, config.seed, config.format) == (2, 48, 9, "folder")


def test_verify_passes_what_was_written_and_exits_1_naming_what_was_changed(source, done):
    assert done.returncode == 0
    found = mird("verify", "out", "--json", cwd=source)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["checked"] == 4
    assert "all as written" in mird("verify", "out", cwd=source).stdout
    path = source / "out" / "lq" / "p1_001.png"
    before = path.read_bytes()
    image = np.array(Image.open(path))
    image[3, 3, 0] ^= 1
    Image.fromarray(image).save(path)
    found = mird("verify", "out", cwd=source)
    path.write_bytes(before)
    assert found.returncode == 1
    assert "p1_001: lq: 1 px differ, by up to 1 levels" in found.stdout


def test_strict_exits_3_and_a_second_run_does_nothing(source, done):
    assert done.returncode == 0
    found = mird("degrade", "--config", "out/degrade.yaml", "--out", "out", "--strict", cwd=source)
    assert found.returncode == 3
    assert "nothing to do" in found.stdout
    assert "1 images could not be used" in found.stderr


def test_only_renders_the_same_bytes_again_by_name_uri_or_id(source, done):
    assert done.returncode == 0
    lines = [json.loads(line) for line in (source / "out" / "traces.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["name"] == "p1_001")
    found = mird("degrade", "--out", "out", "--only", "p1_001", "--json", cwd=source)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["samples"] == [line]
    for kind in ("lq", "hq", "mask"):
        assert (source / "out/only" / kind / "p1_001.png").read_bytes() == (
            source / "out" / kind / "p1_001.png"
        ).read_bytes()
    for wanted in (line["id"], "p1.png", "p1"):
        found = mird("degrade", "--out", "out", "--only", wanted, "--json", cwd=source)
        assert [one["name"] for one in json.loads(found.stdout)["samples"]] == ["p1_000", "p1_001"]
    words = ["in", "--recipe", "r.yaml", "--per-image", "2", "--size", "48", "--seed", "9", "--only", line["id"]]
    found = mird("degrade", *words, "--preview", "one.png", "--json", cwd=source)
    assert json.loads(found.stdout)["samples"][1] == line
    assert (source / "one.png").exists()
    assert (source / "one.html").exists()


def test_preview_needs_no_folder_to_work_in(source):
    found = mird("degrade", "in", "--recipe", "r.yaml", "--preview", "grid.png", "--json", "-q", cwd=source)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["classes"] == ["noise", "impulse"]
    assert "bad.jpg: unsupported" in found.stderr
    with Image.open(source / "grid.png") as sheet:
        assert sheet.size[0] > 900


def test_virtual_and_limit(source):
    words = ["in", "--out", "v", "--recipe", "r.yaml", "--virtual", "--limit", "2", "--workers", "0"]
    assert mird("degrade", *words, cwd=source).returncode == 0
    (path,) = (source / "v" / "data").iterdir()
    assert pq.ParquetFile(path).schema_arrow.names == ["labels", "trace", "id", "uri", "index", "seed"]


def test_a_dry_run_estimates_and_writes_nothing(source):
    words = ["in", "--out", "dry", "--recipe", "r.yaml", "--per-image", "4", "--dry-run", "--json"]
    found = mird("degrade", *words, cwd=source)
    assert found.returncode == 0, found.stderr
    estimate = json.loads(found.stdout)
    assert (estimate["inputs"], estimate["samples"]) == (3, 12)
    assert all(estimate[name] > 0 for name in ("seconds", "bytes", "memory_bytes", "money"))
    assert not (source / "dry").exists()


def test_the_list_names_every_degradation_with_its_parameters_and_every_recipe():
    found = mird("degrade", "--list", "--json")
    assert found.returncode == 0, found.stderr
    listed = json.loads(found.stdout)
    ops = {op["name"]: op for op in listed["degradations"]}
    assert set(OPS) <= set(ops)
    (sigma, kind) = ops["GaussianNoise"]["parameters"]
    assert (sigma["default"], sigma["range"]) == ([0, 55], "0 to 255")
    assert kind["range"] == "colour, grey, correlated"
    assert all(op["about"] and op["tier"] in ("exact", "versions", "codec") and op["family"] for op in ops.values())
    assert all(parameter["about"] for op in ops.values() for parameter in op["parameters"])
    recipes = {recipe["name"]: recipe for recipe in listed["recipes"]}
    assert {"abair", "dynet", "denoise", "derain", "dehaze", "deblur", "lowlight", "dejpeg"} <= set(recipes)
    assert all(recipe["about"] and recipe["classes"] for recipe in recipes.values())
    text = mird("degrade", "--list").stdout
    assert all(name in text for name in [*ops, *recipes, "CutMix"])


def test_the_schema_is_json_that_knows_the_ops():
    found = mird("degrade", "--schema")
    assert found.returncode == 0, found.stderr
    assert set(OPS) <= set(json.loads(found.stdout)["$defs"])


def test_config_degrade_prints_yaml_with_comments_that_loads_back(tmp_path):
    found = mird("config", "degrade")
    assert found.returncode == 0
    assert "# Samples made of each image." in found.stdout
    (tmp_path / "c.yaml").write_text(found.stdout)
    assert load(DegradeConfig, file=tmp_path / "c.yaml") == DegradeConfig()


MANY = yaml.safe_dump({"pipeline": [{"op": "GaussianNoise", "label": f"kind{n}"} for n in range(17)]})


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["degrade", "nowhere", "--out", "o", "--recipe", "r.yaml"], 2, "nowhere: no such file or folder"),
        (["degrade", "empty", "--out", "o", "--recipe", "r.yaml"], 2, "no images in"),
        (["degrade", "empty", "--out", "o"], 2, "--recipe is missing"),
        (["degrade", "empty", "--recipe", "r.yaml"], 2, "--out is missing"),
        (["degrade", "--out", "o", "--recipe", "r.yaml"], 2, "no INPUT given"),
        (["degrade", "empty", "--out", "o", "--recipe", "derian"], 2, "did you mean 'derain'?"),
        (
            ["degrade", "empty", "--out", "o", "--recipe", "r.yaml", "--set", "per_imag=2"],
            2,
            "did you mean 'per_image'?",
        ),
        (["degrade", "empty", "--out", "o", "--recipe", "many.yaml"], 2, "16 at most"),
        (["degrade", "empty", "--out", "o", "--recipe", "wrong.yaml"], 2, "pipeline (GaussianNoise): sigma"),
        (["degrade", "--out", "o", "--only", "x"], 2, "no degraded set here"),
        (["degrade", "in", "--recipe", "r.yaml", "--only", "x"], 2, "no image has this id, uri or name"),
        (["verify", "empty"], 2, "no degraded set here"),
    ],
)
def test_wrong_calls_exit_with_one_line_and_the_remedy(source, tmp_path, words, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").symlink_to(source / "in")
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "many.yaml").write_text(MANY)
    (tmp_path / "wrong.yaml").write_text("pipeline: {op: GaussianNoise, sigma: [50, 10]}\n")
    found = mird(*words, cwd=tmp_path)
    assert found.returncode == code, found.stderr
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""
    assert not (tmp_path / "o" / "data").exists()
