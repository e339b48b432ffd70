"""Pages that are run as they are written: block by block in an empty folder, their output held against the page.

A block marked ```sh or ```python is run, one with a title is a file that the reader is told to write, and a ```text
block after a run one is what it printed: `...` stands for anything, and what differs from machine to machine (seconds,
speed, bytes) for any number. All other blocks are to look at.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
RUN = ("sh", "python")

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_VARIES = (
    (re.compile(r"\d[\d,]*(?:\.\d+)?(?= (?:s|images/s|samples/s|MB|steps/s)\b)"), "#"),
    (re.compile(r"\d+(?:\.\d+)?%(?= of the )"), "#%"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        kind: its language.
        title: of a file to be written; "" = none.
        text: what is in it.
        line: where it begins in the page, from 1.
    """

    kind: str
    title: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page (path relative to docs/), in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def run_page(page: str, folder: Path) -> int:
    """Do what a page says, in a folder; how many blocks were run.

    Raises:
        AssertionError: a block failed or printed something else than the page shows.
    """
    ran, printed = 0, None
    for block in blocks(page):
        where = f"docs/{page}:{block.line}"
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text, encoding="utf-8")
            install(folder)
        elif block.kind in RUN:
            printed = run_block(block, folder, where)
            ran += 1
        elif block.kind == "text" and printed is not None:
            assert matches(block.text, printed), f"{where} shows\n{block.text}\nbut this was printed\n{printed}"
            printed = None
    return ran


def run_block(block: Block, folder: Path, where: str) -> str:
    """Run a block as a reader would; what it printed on standard output."""
    command = ["bash", "-euo", "pipefail", "-c"] if block.kind == "sh" else [sys.executable, "-W", "error", "-c"]
    done = subprocess.run(
        [*command, block.text], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{where} failed\n{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(folder: Path) -> None:
    """What `pip install ./NAME` does to the packages of a page (modules beside a pyproject.toml), without a network:
    modules and metadata go to the folder `plugins`, which is on the path."""
    for project in folder.glob("*/pyproject.toml"):
        facts = tomllib.loads(project.read_text(encoding="utf-8"))
        about, modules = facts["project"], facts["tool"]["setuptools"]["py-modules"]
        info = folder / "plugins" / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
        points = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in named.items())
            for group, named in about["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(points))
        for module in modules:
            source = project.parent / f"{module}.py"
            if source.exists():
                (folder / "plugins" / source.name).write_bytes(source.read_bytes())


def environment(folder: Path) -> dict[str, str]:
    """The reader's: `mird` and `python` of this environment, caches and home in the folder, no network of the Hub."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder / ".home"),
        "HF_HOME": str(folder / ".cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder / "plugins"),
    }
    (folder / ".home").mkdir(exist_ok=True)
    return {**os.environ, **own}


def matches(shown: str, printed: str) -> bool:
    """Whether the output is what a page shows of it."""
    pattern = "".join(_pattern(line) for line in plain(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in plain(printed))) is not None


def plain(text: str) -> list[str]:
    """Lines without the width of columns, times and sizes."""
    lines = []
    for line in text.strip().splitlines():
        words = " ".join(line.split())
        for varies, mark in _VARIES:
            words = varies.sub(mark, words)
        lines.append(words)
    return lines


def _pattern(line: str) -> str:
    if line == "...":
        return r"(?:.*\n)*?"
    return re.escape(line).replace(re.escape("..."), ".*") + r"\n"


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Every `mird` command of the sh blocks of a page: the words before its options, and the options."""
    for block in blocks(page):
        if block.kind != "sh":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = line.split()
            if words[:1] == ["mird"]:
                yield line, [word.partition("=")[0] for word in words if word.startswith("--")]
