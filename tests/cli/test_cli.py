"""The command line: help, exit codes, one-line errors, JSON on standard output and nothing else there."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from million_ird import __version__
from million_ird.curate import load_config
from tests.cli.calls import mird
from tests.conftest import SMALL

COMMANDS = [
    "build",
    "decide",
    "report",
    "explain",
    "degrade",
    "verify",
    "restore",
    "eval",
    "data",
    "train",
    "export",
    "config",
    "doctor",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    done = mird(name, "--help")
    assert done.returncode == 0
    assert f"Example: mird {name}" in done.stdout


def test_version_and_help_name_the_commands():
    assert mird("--version").stdout.strip() == f"mird {__version__}"
    assert all(name in mird("--help").stdout for name in COMMANDS)


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['mird', '--help']; import million_ird.__main__; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "numpy",
        "cv2",
        "PIL",
        "pyarrow",
        "pydantic",
        "scipy",
        "torch",
        "datasets",
        "fsspec",
        "yaml",
        "ray",
        "rich",
    }
    assert not heavy & set(done.stdout.split())


def test_the_base_imports_without_heavy_packages():
    code = "import sys; from million_ird.curate import estimate, explain, stages; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "datasets", "huggingface_hub", "ray", "imagehash", "open_clip", "sklearn"} & set(
        done.stdout.split()
    )


def test_config_prints_yaml_with_comments_that_loads_back(tmp_path):
    done = mird("config", "build", "--preset", "lsdir")
    assert done.returncode == 0
    assert "# Smallest short side, px." in done.stdout
    (tmp_path / "c.yaml").write_text(done.stdout)
    assert load_config("photos", tmp_path / "c.yaml") == load_config("lsdir")


def test_doctor_says_what_is_there_and_how_to_get_what_is_not():
    done = mird("doctor", "--offline", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert found["parts"]["numpy"]
    assert "jpeg" in found["formats"]


def test_build_decide_report_explain_one_after_the_other(corpus, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(SMALL))
    out = str(tmp_path / "out")
    done = mird("build", str(corpus), "--out", out, "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["inputs"] == summary["kept"] + sum(summary["reasons"].values()) == 17
    assert "measure: 17 to do" in done.stderr
    done = mird("build", str(corpus), "--out", out, "--config", str(config))
    assert "nothing to do" in done.stdout
    assert re.search(r"noise +-1 ", done.stdout)

    done = mird("decide", out, "--set", "policy.noise.enabled=false", "--preview", "--json")
    assert "noise" not in json.loads(done.stdout)["reasons"]
    assert mird("report", out).stdout.strip().endswith("report.html")

    done = mird("explain", out, "near.png")
    assert "dropped: near_duplicate" in done.stdout
    assert "lost to: 00.png" in done.stdout
    assert re.search(r"noise +noise +\S+ +<= \S+ +pass", done.stdout)
    explained = json.loads(mird("explain", out, "copy.png", "--json").stdout)["inputs"][0]
    assert explained["decision"]["reason"] == "exact_duplicate"
    by_id = json.loads(mird("explain", out, explained["facts"]["id"], "--json").stdout)["inputs"]
    assert {item["decision"]["uri"] for item in by_id} == {"00.png", "copy.png"}

    strict = mird("build", str(corpus), "--out", out, "--config", str(config), "--strict", "-q")
    assert strict.returncode == 3
    assert "2 inputs could not be used" in strict.stderr


def test_a_dry_run_estimates_and_writes_nothing(corpus, tmp_path):
    done = mird("build", str(corpus), "--out", str(tmp_path / "out"), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["inputs"] == 17
    assert found["seconds"] > 0
    assert found["memory_bytes"] > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "nowhere", "--out", "OUT"], 2, "nowhere: no such file or folder"),
        (["build", "EMPTY", "--out", "OUT"], 2, "no inputs in"),
        (
            ["build", "EMPTY", "--out", "OUT", "--set", "policy.blurr.min=1"],
            2,
            "policy.blurr: unknown key; did you mean",
        ),
        (["build", "EMPTY", "--out", "OUT", "--config", "none.yaml"], 2, "none.yaml does not exist"),
        (["build", "EMPTY"], 2, "--out"),
        (["build", "--out", "OUT"], 2, "no SOURCE given"),
        (["build", "EMPTY", "--out", "/proc/nowhere/out"], 1, "/proc/nowhere"),
        (["decide", "EMPTY"], 2, "no build here"),
        (["explain", "EMPTY", "x"], 2, "no build here"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_calls_exit_with_one_line_and_the_remedy(tmp_path, words, code, message):
    (tmp_path / "empty").mkdir()
    places = {"OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "empty")}
    done = mird(*(places.get(word, word) for word in words), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
