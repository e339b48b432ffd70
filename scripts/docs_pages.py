"""Pages of the documentation that are made when it is built, as a hook of mkdocs (`make docs`).

The command line comes from the typer app, the configuration from its models, the columns from the schemas, the list of
ops from the registry. A column without a description here is an error, not an empty cell. Pages that lie beside docs/
(ARCHITECTURE.md, ...) are shown too, and links between all of them are made to fit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from docs_columns import columns_page
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "examples/reproduce_small/README.md": "project/reproduce-small.md",
    "examples/reproduce_small/results.md": "project/reproduce-small-results.md",
}
"""File of the repository -> page."""

_BENCHMARKS = re.compile(r"<!-- benchmarks: .*? -->")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s:]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of docs/ holds."""
    made = {name: (ROOT / path).read_text(encoding="utf-8") for path, name in BESIDE.items()}
    made |= {
        "reference/cli.md": cli_page(),
        "reference/configuration.md": configuration_page(),
        "reference/columns.md": columns_page(),
        "reference/api/ops.md": ops_page(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make links fit that lead out of docs/, or come from beside it; list the benchmarks where a page asks for it."""
    return linked(_BENCHMARKS.sub(lambda _: benchmarks_list(), markdown), page.file.src_uri)


def linked(markdown: str, page: str) -> str:
    """A page's text with links to files of the repository as links to their pages, or as plain names.

    Args:
        markdown: the text.
        page: its path in the documentation.
    """
    homes = {name: path for path, name in BESIDE.items()}
    home = PurePosixPath(homes.get(page, f"docs/{page}")).parent

    def fit(found: re.Match[str]) -> str:
        mark, text, target, anchor = found.groups()
        path = normpath(str(home / target))
        if path in BESIDE:
            there = BESIDE[path]
        elif path.startswith("docs/"):
            there = path.removeprefix("docs/")
        elif (ROOT / path).exists():
            return text if text.strip("`") == path else f"{text} (`{path}`)"
        else:
            return found[0]  # mkdocs says so
        return f"{mark}[{text}]({relpath(there, str(PurePosixPath(page).parent))}{anchor or ''})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(fit, part) for part in parts)


# -- the command line


def cli_page() -> str:
    """Every command with its arguments, options and example, from the app itself."""
    from typer.main import get_command

    from million_ird.cli.main import app

    lines = [
        "# The command line",
        "",
        "Made from the program: what stands here is what `mird COMMAND --help` says. Exit codes: 0 done; 1 the work",
        "failed; 2 the call or its configuration is wrong; 3 finished, but some inputs could not be used and",
        "`--strict` was given; 130 interrupted, the same command goes on. Logs and progress go to standard error.",
        "",
    ]
    for name, command in commands(get_command(app)):
        lines += _command(name, command)
    return "\n".join(lines) + "\n"


def commands(command: Any, name: str = "mird") -> Iterator[tuple[str, Any]]:
    """A command and all below it, with the words that call them."""
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")


def _command(name: str, command: Any) -> list[str]:
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    lines = [f"## {name}", "", "```text", usage, "```", "", " ".join((command.help or "").split()), ""]
    records = [(param.param_type_name, param.get_help_record(context)) for param in command.params]
    for kind, head in (("argument", "argument"), ("option", "option")):
        rows = [record for of, record in records if of == kind and record]
        if rows:
            lines += [f"| {head} | |", "| --- | --- |"]
            lines += [f"| `{' '.join(names.split())}` | {_cell(text)} |" for names, text in rows]
            lines.append("")
    if getattr(command, "epilog", None):
        example = command.epilog.removeprefix("Example: ")
        lines += ["Example:", "", "```text", example, "```", ""]
    return lines


def _cell(text: str) -> str:
    """For a cell of a table: what looks like HTML or another cell, outside of code, must not be taken for it."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [part.replace("|", "\\|").replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


# -- the configuration


def configuration_page() -> str:
    """All keys with their defaults and meaning, as `mird config` prints them, section by section."""
    from million_ird.config import differences
    from million_ird.curate.settings import PRESETS
    from million_ird.curate.settings import load_config as build_config
    from million_ird.pairs.settings import DegradeConfig
    from million_ird.train.settings import load_config as train_config

    lines = [
        "# Configuration keys",
        "",
        "What `mird config build`, `mird config degrade` and `mird config train` print: every key, its default, and",
        "above it what it means. A file with some of these keys is given by `--config FILE`, single keys by",
        "`--set a.b=value` (YAML). An unknown key is refused, and the nearest one named. Every run writes the",
        "configuration that it resolved beside its output; given back as `--config`, that repeats the run.",
        "",
    ]
    build = build_config("photos")
    lines += ["## mird build", "", "The preset `photos`, the default.", "", *_sections(build, "build")]
    for preset in (name for name in PRESETS if name != "photos"):
        changes = differences(build.model_dump(mode="json"), build_config(preset).model_dump(mode="json"))
        lines += [f"### Preset {preset}", "", "Where it differs from `photos`:", "", "```text", *changes, "```", ""]
    lines += ["## mird degrade", "", *_sections(DegradeConfig(), "degrade")]
    train = train_config("dynet", "pretrain")
    lines += ["## mird train", "", "The preset of `dynet --stage pretrain`.", "", *_sections(train, "train")]
    stages = {"dynet": ("finetune",), "abair": ("pretrain", "adapt", "estimate")}
    for family, names in stages.items():
        for name in names:
            preset = _train_preset(family, name)
            changes = differences(train.model_dump(mode="json"), preset)
            lines += [f"### Preset {family} {name}", "", "Where it differs from `dynet pretrain`:", ""]
            lines += ["```text", *changes, "```", ""]
    return "\n".join(lines) + "\n"


def _train_preset(family: str, stage: str) -> dict[str, Any]:
    from million_ird.train.settings import load_config

    needed = {"adapt": {"task": "derain", "init": "BASE"}, "estimate": {"init": "BASE", "adapters": ["RUN"]}}
    return load_config(family, stage, **needed.get(stage, {})).model_dump(mode="json")


def _sections(config: Any, command: str) -> list[str]:
    """One heading for each section; keys outside of any section first."""
    from pydantic import BaseModel

    from million_ird.config import to_yaml

    names = list(type(config).model_fields)
    sections = [name for name in names if isinstance(getattr(config, name), BaseModel)]
    single = [name for name in names if name not in sections]
    lines: list[str] = []
    if single:
        text = to_yaml(config, comments=True, leave_out=sections)
        lines += [f"### Of {command} itself", "", "```yaml", text.rstrip(), "```", ""]
    for name in sections:
        text = to_yaml(config, comments=True, leave_out=[other for other in names if other != name])
        lines += [f"### {name} {{ #{command}-{name} }}", "", "```yaml", text.rstrip(), "```", ""]
    return lines


# -- programs and ops


def benchmarks_list() -> str:
    """What each program of benchmarks/ says of itself: what it measures, and how it is called."""
    lines = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        calls = re.findall(r"^ *((?:[A-Z_]+=\S+ )?python benchmarks/.*)$", about, re.MULTILINE)
        if calls:
            lines += [f"**{about.splitlines()[0]}**", "", "```text", *calls, "```", ""]
    return "\n".join(lines)


def ops_page() -> str:
    """The classes of all degradations and combinators, from the registry."""
    from million_ird.degrade.registry import COMBINATORS, OPS

    lines = [
        "# degrade: the ops",
        "",
        "All are attributes of `million_ird.degrade` (`from million_ird import degrade as D; D.Haze(beta=1.2)`). A",
        "field holds a number, a range `(lo, hi)`, `D.Log` or `D.Choice`; its default is a published range. What each",
        "looks like: [Degradations](../../degradations/README.md).",
        "",
    ]
    for table in (OPS, COMBINATORS):
        for name, module in table.items():
            lines += [f"::: million_ird.degrade.{module}.{name}", ""]
    return "\n".join(lines) + "\n"
