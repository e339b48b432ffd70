"""What users do wrong, and what they are told: one line that names the thing and the remedy, exit code 2 or 1.

The table is the list by which messages are reviewed: a new mistake that needs a message gets a line here.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.calls import Done, inside, mird

MISTAKES = [
    # the call itself
    ("bild photos", 2, ["'bild'", "did you mean 'build'", "mird --help"]),
    ("build photos", 2, ["'--out'", "mird build --help"]),
    ("build photos --out new --limt 3", 2, ["--limt", "--limit", "mird build --help"]),
    ("build photos --out new --preset lsdr", 2, ["'--preset'", "'lsdr'", "'lsdir'"]),
    ("build photos --out new --workers two", 2, ["'--workers'", "integer"]),
    ("build photos --out new --workers -1", 2, ["'--workers'", "greater than or equal to 0"]),
    ("build photos --out new --executor spark", 2, ["'--executor'", "'spark'", "'ray'"]),
    ("train dynet --stage pretrian", 2, ["'--stage'", "'pretrian'", "'pretrain'", "mird train dynet --help"]),
    ("hashes mke", 2, ["'mke'", "'make'", "mird hashes --help"]),
    ("explain built", 2, ["argument", "URI|ID", "mird explain --help"]),
    # the configuration
    ("build photos --out new --set policy.blurr.min=3", 2, ["policy.blurr", "did you mean 'blur'"]),
    ("build photos --out new --set policy.blur.min=soft", 2, ["policy.blur.min", "number", "'soft'"]),
    ("build photos --out new --set policy.blur.min", 2, ["--set policy.blur.min", "a.b.c=value"]),
    ("build photos --out new --set run.workers=-3", 2, ["run.workers", "greater than or equal to 0", "-3"]),
    ("build photos --out new --set measure.meters=[blurr]", 2, ["measure.meters", "'blurr'", "known: blur"]),
    ("build photos --out new --config none.yaml", 2, ["none.yaml", "does not exist"]),
    ("build photos --out new --config broken.yaml", 2, ["broken.yaml", "line 2", "not valid YAML"]),
    ("build photos --out new --config list.yaml", 2, ["list.yaml", "mapping", "list"]),
    ("build photos --out new --config typo.yaml", 2, ["policy.blurr", "did you mean 'blur'"]),
    ("decide built --set policy.blur.mn=3", 2, ["policy.blur.mn", "did you mean 'min'"]),
    ("degrade photos --out new --recipe denoise --set sizes=3", 2, ["sizes", "did you mean 'size'"]),
    # what is read
    ("build nowhere --out new", 2, ["nowhere", "no such file or folder"]),
    ("build --out new", 2, ["no SOURCE given", "folders, images"]),
    ("build empty --out new", 2, ["no inputs in", "empty"]),
    ("build columns.csv --out new", 2, ["columns.csv", "url", "columns: a, b", "sources.url_column"]),
    ("build 'photos/*.gif' --out new", 2, ["photos/*.gif", "matches nothing"]),
    ("build ftp://host/photos --out new", 2, ["ftp://", "folder"]),
    ("build hf://datasets/one --out new", 2, ["hf://datasets/one", "hf://datasets/ORG/NAME"]),
    ("degrade nowhere --out new --recipe denoise", 2, ["nowhere", "no such file or folder"]),
    ("degrade --out new --recipe denoise", 2, ["no INPUT given", "folder of clean images"]),
    ("degrade empty --out new --recipe denoise", 2, ["no images in", "empty"]),
    ("degrade photos --out new", 2, ["--recipe", "mird degrade --list"]),
    ("degrade photos --out new --recipe denois", 2, ["denois", "did you mean 'denoise'"]),
    ("degrade photos --out new --recipe typo.yaml", 2, ["typo.yaml", "policy", "unknown key"]),
    ("degrade photos --recipe denoise", 2, ["--out", "folder to write to"]),
    ("data check rain100 photos", 2, ["rain100", "known: rain100l"]),
    ("data check rain100l nowhere", 2, ["nowhere", "no such folder", "rain-1.png"]),
    ("hashes make empty --name mine --out mine.parquet", 2, ["empty", "no picture"]),
    ("hashes make photos --name mine --out mine.txt", 2, ["mine.txt", ".parquet"]),
    # folders of other commands, and of none
    ("build photos --out photos/0.png", 1, ["photos/0.png", "in the way", "--out"]),
    ("build photos --out photos", 2, ["--out photos", "SOURCE", "another folder"]),
    ("build photos --out pairs", 1, ["pairs", "another command", "another folder"]),
    ("degrade photos --out built --recipe denoise", 1, ["built", "another command", "another folder"]),
    ("degrade photos --out pairs --recipe derain", 2, ["--out pairs", "another configuration", "--fresh"]),
    ("decide nowhere", 2, ["nowhere", "mird build SOURCE --out nowhere"]),
    ("report nowhere", 2, ["nowhere", "mird build SOURCE --out nowhere"]),
    ("review nowhere --no-open", 2, ["nowhere", "mird build SOURCE --out nowhere"]),
    ("review built --meter blurr --no-open", 2, ["--meter blurr", "known: blur"]),
    ("explain built none.png", 1, ["built", "'none.png'"]),
    ("verify photos", 2, ["photos", "mird degrade INPUT --out photos"]),
    ("remove built", 2, ["--ids FILE", "--urls FILE"]),
    ("remove built --ids none.txt", 2, ["none.txt", "one id or URL a line"]),
    ("card nowhere", 2, ["nowhere", "config.json", "mird train"]),
    ("publish dataset photos --repo org/name --dry-run", 2, ["photos", "mird build"]),
    ("publish dataset built --repo name --dry-run", 2, ["--repo name", "ORG/NAME"]),
    ("publish index built", 2, ["--repo ORG/NAME", "--verify BUILD"]),
    ("publish model half --repo org/name --dry-run", 2, ["half", "model.safetensors", "missing"]),
    # networks
    ("restore photos --model tinyy --out new", 2, ["tinyy", "no such folder", "tiny"]),
    ("restore photos --model half --out new", 2, ["half/config.json", "save_pretrained"]),
    ("restore photos --model torn --out new", 2, ["torn/model.safetensors", "no safetensors file"]),
    ("restore photos --model tiny --out new --variant z", 2, ["--variant z", "s, l", "2,3,3,4"]),
    ("restore photos --model tiny --out new --adapter rain", 2, ["--adapter rain", "no adapters"]),
    ("restore photos --model tiny --out new --device gpu", 2, ["--device gpu", "cpu"]),
    ("restore photos --model tiny --out new --mode tile --tile 0", 2, ["tile 0", "16 px"]),
    ("restore photos --model tiny --out photos", 2, ["photos/0.png", "written over", "--out"]),
    ("restore empty --model tiny --out new", 2, ["no pictures in empty"]),
    ("restore photos --out new", 2, ["--model"]),
    ("export --model tiny --out new.onnx --format tf", 2, ["'--format'", "'tf'", "'onnx'"]),
    ("eval --model tiny --on photos --out new.json", 2, ["--on photos", "NAME=PATH"]),
    ("eval --model tiny --on set=photos,sgma=25 --out new.json", 2, ["'sgma=25'", "sigma="]),
    ("eval --model tiny --on set=photos --out new.json", 2, ["set", "sigma=25", "recipe=NAME"]),
    ("eval --model tiny --on set=photos,sigma=25 --out new.txt", 2, ["new.txt", ".json"]),
    ("eval --model tiny --on set=photos,sigma=25 --out new.json --metrics psnrr", 2, ["psnrr", "known: psnr"]),
    ("train dynet --data photos", 2, ["--out", "folder of the run"]),
    ("train dynet --out new", 2, ["--data", "clean images"]),
    ("train dynet --data nowhere --out new", 2, ["nowhere", "no such file or folder"]),
    ("train dynet --data photos --out new --set modle=dynet-s", 2, ["modle", "did you mean 'model'"]),
    ("train dynet --data photos --out new --set model=dynet-xs", 2, ["dynet-xs", "dynet-s"]),
    ("train dynet --data photos --out new --resume", 1, ["new", "no run to resume"]),
    ("train abair --phase adapt --data photos --out new", 2, ["--task NAME", "--init RUN"]),
    ("train detectors --data nowhere --out new", 2, ["nowhere", "no such file or folder"]),
]
ASIDE = "mird: warning: "
STAGES = {"list", "card", "check", "restore", "train", "decide", "hashing", "export"}
"""Progress that may stand before the error."""


@pytest.fixture(scope="module")
def world(tmp_path_factory, photo):
    """A folder with photos, a build, pairs, and files that are wrong in one way each."""
    root = tmp_path_factory.mktemp("world")
    for name in ("photos", "empty", "half", "torn"):
        (root / name).mkdir()
    for number in range(3):
        Image.fromarray(np.ascontiguousarray(photo[:128, 128 * number :][:, :128])).save(root / f"photos/{number}.png")
    files = {
        "broken.yaml": "policy: [\n",
        "list.yaml": "[1]\n",
        "typo.yaml": "policy: {blurr: {min: 3}}\n",
        "columns.csv": "a,b\n1,2\n",
        "half/config.json": '{"family": "dynet"}',
    }
    for name, text in files.items():
        (root / name).write_text(text)
    from million_ird.models.weights import TINY

    shutil.copy(TINY / "config.json", root / "torn")
    (root / "torn" / "model.safetensors").write_bytes((TINY / "model.safetensors").read_bytes()[:1000])
    settings = ["--set", "policy.resolution.min_side=64", "--workers", "0"]
    assert inside("build", root / "photos", "--out", root / "built", *settings).returncode == 0
    pairs = ["--recipe", "denoise", "--workers", "0"]
    assert inside("degrade", root / "photos", "--out", root / "pairs", *pairs).returncode == 0
    return root


def check(done: Done, code: int, words: list[str]) -> None:
    """One line, the last, that says all of `words`; before it nothing but progress."""
    *before, last = done.stderr.splitlines() or [""]
    assert last.startswith("mird: error: "), done.stderr
    assert [line for line in before if line.split(":")[0] not in STAGES and not line.startswith(ASIDE)] == []
    assert [word for word in words if word.lower() not in last.lower()] == [], last
    assert done.returncode == code
    assert done.stdout == ""


def listing(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.mark.parametrize(("call", "code", "words"), MISTAKES, ids=[call for call, _, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_it_and_the_remedy(world, monkeypatch, call, code, words):
    monkeypatch.chdir(world)
    check(inside(*shlex.split(call)), code, words)
    if (world / "new").is_dir():  # a refused call may have made its folder, but leaves no results there
        left = listing(world / "new")
        shutil.rmtree(world / "new")
        assert not left & {"dataset", "data", "model", "decisions.parquet", "restore.json"}


@pytest.mark.parametrize("call", [call for call, _, _ in MISTAKES if "photos --out" in call][:3])
def test_it_is_the_same_in_a_process_of_its_own(world, call):
    code, words = next((code, words) for known, code, words in MISTAKES if known == call)
    done = mird(*shlex.split(call), cwd=world)
    check(Done(done.returncode, done.stdout, done.stderr), code, words)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "code", "words"), MISTAKES, ids=[call for call, _, _ in MISTAKES])
def test_every_mistake_in_a_process_of_its_own(world, call, code, words):
    done = mird(*shlex.split(call), cwd=world)
    check(Done(done.returncode, done.stdout, done.stderr), code, words)
    shutil.rmtree(world / "new", ignore_errors=True)


def test_a_corrupt_picture_is_a_row_and_no_error(world, tmp_path):
    (tmp_path / "mixed").mkdir()
    whole = (world / "photos" / "0.png").read_bytes()
    (tmp_path / "mixed" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "mixed" / "text.png").write_text("no picture")
    (tmp_path / "mixed" / "torn.tar").write_bytes(b"torn")
    done = inside("build", tmp_path / "mixed", "--out", tmp_path / "out", "--workers", "0", "--strict")
    assert done.returncode == 3
    assert "truncated" in done.stdout and "unsupported" in done.stdout
    assert "Traceback" not in done.stderr
