"""Tutorials and how-to pages do what they say: each is run as it is written, in an empty folder, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from million_ird.cli.main import app
from tests.docs.pages import DOCS, RUN, blocks, commands, matches, run_page

TUTORIALS = ["tutorials/curate.md", "tutorials/degrade.md", "tutorials/train.md"]
HOW_TO = [
    "howto/thresholds.md",
    "howto/meter.md",
    "howto/degradation.md",
    "howto/all-in-one.md",
    "howto/storage.md",
    "howto/completion.md",
]


def test_every_page_of_tutorials_and_how_to_is_run():
    found = [
        path.relative_to(DOCS).as_posix() for room in ("tutorials", "howto") for path in (DOCS / room).glob("*.md")
    ]
    assert sorted(found) == sorted([*TUTORIALS, *HOW_TO])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [*TUTORIALS, *HOW_TO])
def test_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    assert run_page(page, tmp_path) == sum(block.kind in RUN and not block.title for block in blocks(page)) > 0


@pytest.mark.parametrize("page", [*TUTORIALS, *HOW_TO])
def test_commands_of_a_page_exist_with_the_options_that_it_uses(page: str) -> None:
    asked = list(commands(page))
    for line, options in asked:
        words = line.split()[1:]
        command: Any = get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        known |= {"--help", "--install-completion", "--show-completion"}
        assert set(options) <= known, f"docs/{page}: {line}"
        assert not hasattr(command, "commands") or options, f"docs/{page}: {line}"


@pytest.mark.parametrize("page", [*TUTORIALS, *HOW_TO])
def test_python_blocks_of_a_page_are_python(page: str) -> None:
    for block in blocks(page):
        if block.kind == "python" or block.title.endswith(".py"):
            assert compile(block.text, f"docs/{page}:{block.line}", "exec")


def test_what_a_page_shows_is_held_against_every_line():
    printed = "images       3\n  noise  2\n0.8 MB in 4.9 s, 3.2 samples/s\npairs: pairs\n"
    assert matches("images 3\n...\npairs: pairs\n", printed)
    assert matches("images 3\n  noise 2\n9 MB in 1 s, 70.1 samples/s\npairs: ...", printed)
    assert not matches("images 4\n...\npairs: pairs\n", printed)
    assert not matches("images 3\n...\n", printed.replace("\n", " "))
    assert not matches("images 3\n  noise 2\npairs: pairs", printed)
