"""`--help`, read as a new user: every option is explained, and every example works as it is printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from million_ird.cli.main import app
from tests.cli.calls import mird


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        here = (*words, name)
        if hasattr(command, "commands"):
            yield from _commands(command, here)
        else:
            yield here, command


def _tree() -> dict[str, Any]:
    from typer.main import get_command

    return {" ".join(words): command for words, command in _commands(get_command(app))}


COMMANDS = _tree()
ENDED = {"data check": {1}}
"""Exit codes of examples that may be other than 0: of Rain100L one pair is here, which is told."""
APPENDED = {
    "build": "--set policy.resolution.min_side=64 --workers 0",  # the pictures of this test are small
    "degrade": "--workers 0 --size 64 --per-image 1",
    "train dynet": "--dry-run --set data.size=64 --set batch=2 --set run.workers=0",
    "train abair": "--dry-run --set data.size=64 --set batch=2 --set run.workers=0 --set model=abair-tiny",
    "publish dataset": "--allow-unknown-licence",
    "publish index": "--allow-unknown-licence",
}
"""What keeps an example short; all else is as printed."""
ELSEWHERE = {
    "train detectors": "tests/train: takes minutes",
    "train abair": "tests/cli/test_train.py: needs a trained BASE",
    "publish model": "tests/publish: needs a trained RUN",
    "publish index": "tests/publish: needs a build from the web",
    "build": "first of all, it makes DIR",
    "review": "a server, below",
    "card": "after publish",
}
TORCH = {"eval", "restore", "export", "train dynet"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_with_an_example(name):
    command = COMMANDS[name]
    assert command.help and len(command.help.splitlines()[0]) > 15
    assert command.epilog is not None
    assert command.epilog.startswith(f"Example: mird {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_is_explained(name):
    for parameter in COMMANDS[name].params:
        about = getattr(parameter, "help", None)
        assert about and len(about) > 3, f"mird {name}: {parameter.name} is not explained"
        assert "None" not in about


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_names_only_options_that_there_are(name):
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts + parameter.secondary_opts}
    used = set(re.findall(r"(?<=\s)--[\w-]+", COMMANDS[name].epilog))
    assert used <= known


@pytest.mark.parametrize("name", ["", *sorted({name.split()[0] for name in COMMANDS})])
def test_help_is_printed_and_fits_a_terminal(name):
    done = mird(*name.split(), "--help", env={**os.environ, "COLUMNS": "80", "LINES": "40"})
    assert done.returncode == 0 and done.stderr == ""
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory, photo):
    """A folder in which the examples make sense: photos/, more.tar, testset/, DIR (a build), takedowns.txt."""
    root = tmp_path_factory.mktemp("place")
    for number, name in enumerate(["photos/holiday/beach.jpg", "photos/a.png", "photos/b.png", "testset/c.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        tile = photo[128 : 128 + 128, 128 * number :][:, :128]
        Image.fromarray(np.ascontiguousarray(tile)).save(root / name, quality=95)
    subprocess.run(["tar", "cf", "more.tar", "-C", "testset", "c.png"], cwd=root, check=True)
    (root / "takedowns.txt").write_text("photos/a.png\n")
    done = run(root, "build")
    assert done.returncode == 0, done.stderr
    return root


def example(name: str) -> list[str]:
    """The words of a command's example, and what keeps it short."""
    printed = COMMANDS[name].epilog.removeprefix("Example: mird ")
    return shlex.split(printed.split(" > ")[0]) + shlex.split(APPENDED.get(name, ""))


def run(root, name):
    # Whether the Hub answers is asked of this machine, where nothing listens.
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    return mird(*example(name), cwd=root, timeout=280, env=environment)


def lay_out_rain100l(root):
    """DIR as one pair of the set."""
    shutil.rmtree(root / "DIR")
    for part in ("rain/X2/norain-1x2.png", "norain/norain-1.png"):
        (root / "DIR" / part).parent.mkdir(parents=True)
        shutil.copy(root / "photos" / "a.png", root / "DIR" / part)


QUICK = [name for name in COMMANDS if name not in ELSEWHERE and name not in TORCH]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_an_example_works_as_printed(place, tmp_path, name):
    root = tmp_path / "copy"
    shutil.copytree(place, root)
    if name == "verify":
        shutil.rmtree(root / "DIR")
        assert run(root, "degrade").returncode == 0
    if name == "data check":
        lay_out_rain100l(root)
    if name == "degrade":
        shutil.rmtree(root / "DIR")
    done = run(root, name)
    assert done.returncode in {0} | ENDED.get(name, set()), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TORCH))
def test_an_example_that_needs_torch_works_as_printed(place, tmp_path, name):
    root = tmp_path / "copy"
    shutil.copytree(place, root)
    if name == "restore":
        shutil.rmtree(root / "DIR")
    done = run(root, name)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_of_review_serves_a_page(place):
    command = [sys.executable, "-m", "million_ird", *example("review"), "--no-open"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("http://127.0.0.1:")
        finally:
            server.terminate()
            server.communicate()
